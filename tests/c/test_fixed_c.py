"""firmware/core/fixed.h against tinyfl/reference/fixed.py."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from support_runner import COMPILERS, FLAGS, ROOT, SANITIZE

from tinyfl.reference.fixed import mix, requantize, xorshift32

EDGES = [0, 1, -1, 2**30, -(2**30), 2**31 - 1, -(2**31), -(2**31) + 1]


def cases() -> np.ndarray:
    """(x, multiplier, shift): random ones of every magnitude and the ends of the ranges."""
    rng = np.random.default_rng(3)
    x = rng.integers(-(2**31), 2**31, 3000) >> rng.integers(0, 31, 3000)
    x[: len(EDGES) * 60] = np.tile(EDGES, 60)
    return np.stack([x, rng.integers(2**30, 2**31, 3000), rng.integers(-31, 31, 3000)], axis=1)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_c_equals_twin(compiler: str, tmp_path: Path) -> None:
    program = tmp_path / "probe"
    sources = ["-I", str(ROOT / "firmware/core"), str(ROOT / "tests/c/fixed_probe.c"), "-o", str(program)]
    subprocess.run([compiler, *FLAGS, *SANITIZE, *sources], check=True, timeout=60)
    rows = cases()
    text = "\n".join(" ".join(map(str, row)) for row in rows.tolist())
    done = subprocess.run([str(program)], input=text, capture_output=True, text=True, check=True, timeout=60)
    got = np.array([line.split() for line in done.stdout.splitlines()], np.int64)
    np.testing.assert_array_equal(got[:, 0], requantize(rows[:, 0], rows[:, 1], rows[:, 2]))
    assert got[:, 1].tolist() == [mix(x & 0xFFFFFFFF, m, 3, 4) for x, m, _ in rows.tolist()]
    assert got[:, 2].tolist() == [xorshift32(m) for _, m, _ in rows.tolist()]
    assert got[:, 3].tolist() == (rows[:, 0] & 0xFF).tolist()

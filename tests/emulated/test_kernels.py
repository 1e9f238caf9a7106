"""The kernels of each CPU family, bit for bit: the random models of tests/c on emulated cores == numpy twin.

tests/c compares the twin with TFLite's reference kernels and with the plain C99 versions, on the same inputs.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from support_operator import FAMILIES, Case, cases
from support_qemu import ENVS, assert_cpu_agrees, build_image, case_input, installed, run_image
from support_runner import ROOT
from support_sparse import cases as sparse_cases

from tinyfl.reference.fixed import high_mul

pytestmark = pytest.mark.emulated
PARTS = 7  # images, so that the smallest flash holds one
PRODUCTS = 2**32 - 1  # the case of kernels.c that multiplies


@cache
def every_case() -> tuple[Case, ...]:
    return tuple(case for family in FAMILIES for case in cases(family))


def test_the_cases_are_of_every_kind() -> None:
    assert len([case for case in every_case() if case.family != "network"]) >= 300
    text = "".join(case.model.sources["model.c"] for case in every_case())
    kernels = re.findall(r"^void (tfl_\w+)\(", (ROOT / "firmware/include/tfl/tfl_ops.h").read_text(), re.MULTILINE)
    sparse = "".join(case.model.sources["model.c"] for case in sparse_cases())  # test_sparse_kernels.py runs these
    assert len(kernels) >= 10
    for kernel in kernels:
        assert (text + sparse).count(f" {kernel}(") >= 2, kernel
    for kind in ("TFL_SCALE_FULL", "TFL_SCALE_CLAMP", "TFL_SCALE_ANY"):
        assert text.count(kind) >= 40
    scratch = [layer for case in every_case() for layer in case.model.manifest["layers"] if layer["scratch_bytes"]]
    assert len(scratch) >= 150
    assert sum(layer["arena_in"][0] == layer["arena_out"] for layer in scratch) >= 30, "in place"


def needs_tools() -> None:
    if not installed():
        pytest.skip("arm-none-eabi-gcc or qemu-system-arm is not installed")


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("env", ENVS)
def test_every_core_computes_the_same_bytes(env: str, part: int, tmp_path: Path) -> None:
    needs_tools()
    assert_cpu_agrees(every_case()[part::PARTS], env, tmp_path)


@pytest.mark.parametrize(("env", "level"), [("qemu-m4", "-O0"), ("qemu-m0", "-Os")])
def test_where_compilers_keep_registers_for_themselves(env: str, level: str, tmp_path: Path) -> None:
    needs_tools()
    assert_cpu_agrees(every_case()[:: PARTS + 1], env, tmp_path, level)


@pytest.mark.parametrize("env", ENVS)
def test_every_core_rounds_products_alike(env: str, tmp_path: Path) -> None:
    needs_tools()
    pairs = products(np.random.default_rng(56))
    image = build_image(env, [every_case()[0].model], tmp_path)
    got = np.frombuffer(run_image(env, image, case_input(PRODUCTS, pairs)), "<i4")
    np.testing.assert_array_equal(got, high_mul(pairs[:, 0].astype(np.int64) // 2, pairs[:, 1].astype(np.int64)))


def products(rng: np.random.Generator) -> np.ndarray:
    """(2 x, m), int32: of every magnitude, and with lower words that just round up or just do not."""
    x = rng.integers(-(2**29) + 1, 2**29, 6000) >> rng.integers(0, 29, 6000)
    m = rng.integers(2**30, 2**31, 6000)
    x[:8], m[:4] = [0, 1, -1, 2**29 - 1, -(2**29) + 1, 2**16, -(2**16), 2**15], [2**30, 2**31 - 1, 2**31 - 2**16, 0]
    near = np.round(2.0**30 * (2 * rng.integers(0, 2**16, 3000) + 1) / np.maximum(1, np.abs(x[3000:]))).astype(np.int64)
    m[3000:] = np.where((near >= 2**30) & (near < 2**31), near, m[3000:])
    return np.stack([2 * x, m], axis=1).astype("<i4")

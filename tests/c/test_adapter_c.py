"""firmware/core/adapter.c against tinyfl/reference/adapter.py, bit for bit: weights of both layers, losses, outputs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from support_adapter import Case, compare, random_case
from support_runner import QUICK_COMPILERS, build_probe

from tinyfl.graph import AdapterFormat, HeadFormat
from tinyfl.reference.adapter import TwinAdapter
from tinyfl.reference.head import MASTER_MAX, MASTER_MIN, MAX_WEIGHT, TwinHead

SHAPES = [(32, 7, 16), (32, 7, 32), (64, 12, 8), (1, 2, 1), (3, 3, 2), (17, 5, 4), (8, 6, 1), (5, 9, 3), (40, 2, 40)]


@pytest.fixture(scope="module", params=QUICK_COMPILERS)
def probe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_probe(request.param, tmp_path_factory.mktemp("adapter"), "adapter", ("adapter", "head", "tensor"))


def check(probe: Path, cases: list[Case]) -> list[tuple[TwinHead, TwinAdapter, int]]:
    stdin = b"".join(case.pack() for case in cases)
    done = subprocess.run([str(probe)], input=stdin, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return compare(done.stdout, cases)


def test_random_adapters(probe: Path) -> None:
    rng = np.random.default_rng(15)
    sizes = rng.integers(1, 65, 20)
    shapes = SHAPES + [(int(n), int(rng.integers(2, 14)), int(rng.integers(1, n + 1))) for n in sizes]
    check(probe, [random_case(rng, shape, int(rng.integers(1, 100)), int(rng.integers(1, 4))) for shape in shapes])


def test_thousands_of_steps(probe: Path) -> None:
    rng = np.random.default_rng(16)
    check(probe, [random_case(rng, (32, 7, 16), 350, 8), random_case(rng, (64, 12, 64), 333, 3)])


def test_no_samples_change_nothing(probe: Path) -> None:
    head, adapter, _ = check(probe, [random_case(np.random.default_rng(17), (9, 4, 4), 0, 3)])[0]
    assert not adapter.delta().any() and head.max_delta() == 0


def extreme_case(classes: int, sign: int) -> Case:
    """256 features in one group, all weights at their ends: sums, errors sent back and steps are as large as any.

    The right class loses throughout, and the first feature's weights move on beyond the clamp for 32 steps."""
    features, right, wrong = 256, 1, 0
    offset = np.full(features, -128 if sign > 0 else 127, np.int8)
    initial = np.full((features + 1, classes), MAX_WEIGHT, np.int16)
    initial[:, right] = -MAX_WEIGHT
    initial[0] *= -1
    initial[:, 2:] = initial[:, [wrong]]
    adapter = AdapterFormat(offset, features, 1.0)
    format = HeadFormat(features, classes, np.full(features, -128, np.int8), 128, 1.0, 20, initial, adapter=adapter)
    x = np.full((75, features), 127 if sign > 0 else -128, np.int8)
    weights = np.full(adapter.size, MAX_WEIGHT * sign, np.int16)
    return Case(format, weights, x, np.full(75, right, np.uint8), 2, (1 << 14, 30), (1 << 15, 1), (1, 2, 3))


@pytest.mark.parametrize("sign", [1, -1])
def test_extremes_stay_in_int32(probe: Path, sign: int) -> None:
    for _, adapter, _ in check(probe, [extreme_case(4, sign), extreme_case(7, sign)]):
        assert adapter.master[0, 0] == (MASTER_MAX if sign > 0 else MASTER_MIN)
        assert adapter.delta().any()


def test_the_clamp_comes_at_the_same_step(probe: Path) -> None:
    """Weights that wander over the clamp and back."""
    rng, cases = np.random.default_rng(18), []
    for shape in SHAPES:
        case = random_case(rng, shape, 150, 2)
        case.weights = rng.choice([-MAX_WEIGHT, MAX_WEIGHT], case.weights.shape).astype(np.int16)
        case.rate, case.adapter_rate = (1 << 14, 20), (1 << 15, 1)
        cases.append(case)
    check(probe, cases)

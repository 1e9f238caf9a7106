"""The head on emulated cores: it learns the numpy twin's weights, bit for bit, and a step costs what is budgeted."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tinyfl.errors import TinyflError
from tinyfl.graph import HeadFormat
from tinyfl.reference.head import MASTER_MAX, MASTER_MIN, MAX_WEIGHT, TwinHead

pytestmark = pytest.mark.emulated
ROOT = Path(__file__).parents[2]
BUDGETS = tomllib.loads((ROOT / "tests/budgets.toml").read_text())
SLACK = 0.02
MOST = {"qemu-m4": 4500, "qemu-m3": 6200, "qemu-m0": 11000}  # 64 features, 12 classes, none of them zero
BUILDS = [("qemu-m4", "-O2"), ("qemu-m3", "-O2"), ("qemu-m0", "-O2"), ("qemu-m55", "-O2")]
BUILDS += [("qemu-m4", "-O0"), ("qemu-m3", "-Os"), ("qemu-m0", "-Os")]  # where compilers keep registers for themselves
SHAPES = [(int(5 + 7 * classes), classes) for classes in range(1, 10)]  # every width, alone and behind others
SHAPES += [(1, 4), (2, 3), (3, 2), (4, 7), (64, 12), (256, 4), (256, 7), (256, 11)]


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """tools/bench/head.py, which builds and runs."""
    if shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None:
        pytest.skip("arm-none-eabi-gcc or qemu-system-arm is not installed")
    spec = importlib.util.spec_from_file_location("bench_head", ROOT / "tools/bench/head.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def random_case(bench: ModuleType, rng: np.random.Generator, features: int, classes: int, zeros: float) -> Any:
    """Random embeddings with a share of zeros; every other time, weights that wander over the clamp and back."""
    extreme = bool(rng.integers(2))
    offset = rng.choice([-128, 127, 3], features).astype(np.int8)
    size = features + 1, classes
    initial = rng.choice([-MAX_WEIGHT, MAX_WEIGHT], size) if extreme else rng.normal(0, 2000, size)
    initial = np.clip(initial, -MAX_WEIGHT, MAX_WEIGHT).astype(np.int16)
    fw = int(rng.integers(5, 21))
    format = HeadFormat(features, classes, offset, int(2 ** rng.integers(0, 8)), 1.0, fw, initial)
    x = rng.integers(-128, 128, (45, features)).astype(np.int8)
    x = np.where(rng.random(x.shape) < zeros, offset, x).astype(np.int8)
    rate = int(rng.integers(1 << 14, (1 << 15) + 1)), 13 if extreme else int(rng.integers(13, 31))
    return bench.Case(format, x, rng.integers(0, classes, len(x)).astype(np.uint8), 3, rate)


@pytest.mark.parametrize(("env", "level"), BUILDS)
def test_every_core_learns_the_same_bits(bench: ModuleType, env: str, level: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(57)
    cases = [random_case(bench, rng, *shape, zeros) for shape in SHAPES for zeros in (0, 0, 0.5, 0.5, 1)]
    results = bench.run(env, bench.build(env, tmp_path, level), cases)
    clamped = 0
    for case, result in zip(cases, results, strict=True):
        head = TwinHead(case.format)
        loss = head.train(case.x, case.y.tolist(), bench.STREAM, case.epochs, case.rate)
        np.testing.assert_array_equal(result.master, head.master, f"{env}, {case.format.initial.shape}")
        assert result.loss // len(case.x) == loss
        clamped += int(np.isin(head.master, (MASTER_MIN, MASTER_MAX)).any())
    assert clamped > 10


@pytest.mark.parametrize("env", ["qemu-m4", "qemu-m3", "qemu-m0", "qemu-m55"])
def test_a_step_costs_what_the_budget_says(
    bench: ModuleType, env: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "tools/bench")
    try:
        cases = bench.cases()
    except TinyflError as error:
        pytest.skip(error.message)
    results = bench.run(env, bench.build(env, tmp_path), list(cases.values()))
    counts = {name: result.instructions for name, result in zip(cases, results, strict=True)}
    assert counts["step-64x12"] <= MOST.get(env, MOST["qemu-m4"])
    share = np.count_nonzero(cases["step-har"].x != cases["step-har"].format.offset) / cases["step-har"].x.size
    assert counts["step-har"] < counts["step-32x7"] * (1 - 0.5 * (1 - share)), "zeros are not skipped"
    for case, result in zip(cases.values(), results, strict=True):
        head = TwinHead(case.format)
        head.train(case.x, case.y.tolist(), bench.STREAM, case.epochs, case.rate)
        np.testing.assert_array_equal(result.master, head.master)
    compiler = subprocess.run(["arm-none-eabi-gcc", "-dumpfullversion"], capture_output=True, text=True, check=True)
    if not BUDGETS["compiler"].endswith(f" {compiler.stdout.strip()}"):
        pytest.skip(f"the budgets are those of {BUDGETS['compiler']}, this is {compiler.stdout.strip()}")
    for name, count in counts.items():
        change = count / BUDGETS[name][env]["instructions"] - 1
        assert abs(change) <= SLACK, f"{name} {count:,.0f}, {100 * change:+.1f} %: make budgets, if it is meant"

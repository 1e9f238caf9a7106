"""The bench behind docs/METHODS.md: its rows can be run, and its figures are what they are called."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tinyfl.errors import DataError
from tinyfl_host.dataset import load_samples
from tinyfl_host.recipe import load_recipe

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "tools" / "bench"


@pytest.fixture
def methods(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    return __import__("methods")


def test_every_row_can_be_run_and_every_table_has_its_place() -> None:
    try:
        for name in ("har", "fashion"):
            load_samples(load_recipe(ROOT / "models" / name))
    except DataError as error:
        pytest.skip(f"{error.message}: {error.hint}")
    done = subprocess.run([sys.executable, BENCH / "methods.py", "--check"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_a_saving_is_bytes_until_the_mean_is_at_the_goal(methods: ModuleType) -> None:
    def row(curve: list[float], payload: float) -> object:
        bytes = np.full(len(curve) - 1, payload)
        return methods.Figures(methods.spread([curve[-1]]), None, None, np.array(curve), bytes, bytes, bytes)

    goal = methods.goal_of(row([0.5, 0.7, 0.8, 0.78, 0.8], 0.0), weights=10)
    assert goal.accuracy == pytest.approx(0.79) and (goal.first, goal.stays) == (2, 4)
    quick, slow = row([0.5, 0.8, 0.8, 0.8, 0.8], 4.0), row([0.5, 0.6, 0.8, 0.7, 0.7], 4.0)
    assert methods.saving(quick, goal, methods.reached) == 2 * 40 / 4
    assert methods.saving(quick, goal, methods.stays) == 4 * 40 / 4
    assert methods.saving(slow, goal, methods.reached) == 2 * 40 / 8
    assert methods.saving(slow, goal, methods.stays) is None
    assert methods.loss(slow, goal) == pytest.approx(10.0)


@pytest.mark.parametrize("method", ["shared", "fedper"])
def test_rounds_of_boards_are_those_of_the_layers_alone(
    method: str, methods: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What tools/bench/adapter.py computes of head and adapter is what the firmware's core comes to in rounds."""
    monkeypatch.setenv("TINYFL_BUILD", str(tmp_path))
    try:
        bench, experiments = __import__("adapter"), __import__("experiments")
        task, format = bench.load(16)
    except DataError as error:
        pytest.skip(f"{error.message}: {error.hint}")
    table = next(table for table in experiments.read_tables() if table.name == "personal")
    given = {"adapter_rate": 1.0, "private": "head" if method == "fedper" else "none", "rounds": 4}
    row = experiments.Row(method, given, "federated", adapter=16)
    job = experiments.Job(experiments.folder(table, row), "sim", row, 0)
    assert job.run() is None
    run = dataclasses.replace(task.recipe.run, rounds=4)
    alone = bench.integers(format, bench.boards_of(task, 0, False), method, run, (0.5, 1.0))
    assert job.outcome().own == alone["own"]


def test_liars_are_spread_over_the_clients(methods: ModuleType) -> None:
    from liars import liars  # type: ignore[import-not-found]

    from tinyfl_host.fleet import Member

    members = tuple(Member(f"b{i}", i, "sim", "1", "unseen" if i >= 20 else "client") for i in range(25))
    assert liars(members, 0.2) == ["b0", "b5", "b10", "b15"]
    assert liars(members, 0.0) == []

"""Rounds on QEMU boards: equal to the twin's byte for byte, killed in each phase, and counted in instructions."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support_rounds import MODEL, ProcessFleet, TwinFleet, contents, members, run, settings

from tinyfl_host.artifacts import Artifacts
from tinyfl_host.build import build_firmware
from tinyfl_host.events import BoardDropped, RoundDone
from tinyfl_host.report import read_summary

pytestmark = pytest.mark.emulated


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The small model's firmware for an environment."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "c").mkdir()
    for name, text in MODEL.sources.items():
        (folder / "c" / name).write_text(text)
    return lambda env: build_firmware(Artifacts("small", folder, folder), env)


@pytest.fixture
def fleet(build: Callable[[str], Path]) -> Iterator[ProcessFleet]:
    with ProcessFleet("qemu-m4", build("qemu-m4"), members(3, 1)) as fleet:
        yield fleet


@pytest.mark.parametrize("env", ["qemu-m4", "qemu-m0", "microbit"])
def test_a_run_on_qemu_is_the_twins_run_byte_for_byte(tmp_path: Path, build: Callable[[str], Path], env: str) -> None:
    with ProcessFleet(env, build(env), members(3, 1)) as fleet:
        run(tmp_path / "qemu", fleet)
    run(tmp_path / "twin", TwinFleet(members(3, 1)))
    assert contents(tmp_path / "qemu") == contents(tmp_path / "twin")
    summary = read_summary(tmp_path / "qemu" / "0001")
    assert summary.instructions_per_window and summary.instructions_per_step
    assert 100 < summary.instructions_per_step < 20_000 and 1_000 < summary.instructions_per_window < 200_000


@pytest.mark.parametrize("method", ["hello", "load", "train", "collect"])
def test_a_killed_emulator_is_left_out_and_the_rounds_go_on(tmp_path: Path, fleet: ProcessFleet, method: str) -> None:
    """kill -9 in round 2's broadcast, training and collecting, and before the first hello."""
    at = 0 if method == "hello" else 2

    def fault(name: str, round: int) -> None:
        if name == method and round == at:
            threading.Timer(0.02, fleet.emulators["b1"].kill).start() if method == "train" else fleet.emulators[
                "b1"
            ].kill()

    fleet.faults["b1"] = fault
    outcome = run(tmp_path, fleet, settings(local_only=False, epochs=2000, deadline=30.0))
    assert [done.boards for done in outcome.of(RoundDone)] == ([2, 2, 2] if method == "hello" else [3, 2, 2])
    phases = [(d.round, d.phase) for d in outcome.of(BoardDropped)]
    phase = {"load": "broadcast"}.get(method, method)
    assert phases == ([(r, "hello") for r in range(4)] if method == "hello" else [(2, phase), (3, "hello")])
    assert all(done.seconds < 10 for done in outcome.of(RoundDone))

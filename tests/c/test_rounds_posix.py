"""Rounds on boards that are processes, with sanitizers: equal to the twin's byte for byte, and killed in each phase."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support_board import build_board
from support_rounds import MODEL, ProcessFleet, contents, members, run, settings

from tinyfl_host.events import BoardDropped, BoardJoined, RoundDone


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_board("gcc", MODEL, tmp_path_factory.mktemp("board"))


@pytest.fixture
def fleet(firmware: Path) -> Iterator[ProcessFleet]:
    with ProcessFleet("posix", firmware, members()) as fleet:
        yield fleet


def once(method: str, round: int, fault: Callable[[], None]) -> Callable[[str, int], None]:
    """Does ``fault`` before ``method`` of this round."""

    def fail(name: str, now: int) -> None:
        if name == method and now == round:
            fault()

    return fail


def test_a_run_on_processes_is_the_twins_run_byte_for_byte(tmp_path: Path, fleet: ProcessFleet) -> None:
    run(tmp_path / "process", fleet)
    run(tmp_path / "twin")
    assert contents(tmp_path / "process") == contents(tmp_path / "twin")


@pytest.mark.parametrize("phase", ["train", pytest.param("collect", marks=pytest.mark.slow)])
def test_a_killed_board_is_left_out_and_the_rounds_go_on(tmp_path: Path, fleet: ProcessFleet, phase: str) -> None:
    fleet.faults["b1"] = once(phase, 2, fleet.emulators["b1"].kill)
    start = time.monotonic()
    outcome = run(tmp_path, fleet, settings(local_only=False))
    assert time.monotonic() - start < 10
    assert [done.boards for done in outcome.of(RoundDone)] == [4, 3, 3]
    drops = outcome.of(BoardDropped)
    assert [(d.round, d.board, d.phase) for d in drops] == [(2, "b1", phase), (3, "b1", "hello")]
    assert "its emulator has ended" in drops[0].reason
    assert "emulator has ended" in drops[1].reason


def test_a_board_killed_before_hello_never_joins(tmp_path: Path, fleet: ProcessFleet) -> None:
    fleet.faults["b1"] = once("hello", 0, fleet.emulators["b1"].kill)
    outcome = run(tmp_path, fleet, settings(local_only=False))
    assert {(d.board, d.phase) for d in outcome.of(BoardDropped)} == {("b1", "hello")}
    assert [done.boards for done in outcome.of(RoundDone)] == [3, 3, 3]


@pytest.mark.slow
def test_a_board_killed_in_the_middle_of_training(tmp_path: Path, fleet: ProcessFleet) -> None:
    fleet.faults["b1"] = once("train", 2, lambda: threading.Timer(0.05, fleet.emulators["b1"].kill).start())
    outcome = run(tmp_path, fleet, settings(local_only=False, epochs=20_000))
    assert [done.boards for done in outcome.of(RoundDone)] == [4, 3, 3]
    assert outcome.of(BoardDropped)[0].phase == "train"


def test_a_board_that_stands_still_misses_one_round_and_joins_again(tmp_path: Path, fleet: ProcessFleet) -> None:
    pid = fleet.emulators["b1"].pid

    def freeze() -> None:
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(1.2, os.kill, (pid, signal.SIGCONT)).start()

    fleet.faults["b1"] = once("train", 2, freeze)
    outcome = run(tmp_path, fleet, settings(local_only=False, deadline=1.0, rounds=4))
    assert [done.boards for done in outcome.of(RoundDone)][:2] == [4, 3]
    assert outcome.of(RoundDone)[1].seconds < 1.5 and outcome.of(RoundDone)[3].boards == 4
    drop = outcome.of(BoardDropped)[0]
    assert (drop.round, drop.phase) == (2, "train") and "TRAIN" in drop.reason
    assert outcome.of(BoardJoined)[-1].board == "b1"


def test_bytes_of_a_round_hold_the_deltas_and_little_more(tmp_path: Path, fleet: ProcessFleet) -> None:
    outcome = run(tmp_path, fleet, settings(local_only=False))
    assert outcome.done is not None
    used = outcome.done.bytes
    weights = 13 * 5
    assert used.payload_up == 3 * 4 * weights
    assert used.payload_up < used.up < used.payload_up + 3 * 4 * 300 and used.down > 3 * 4 * 2 * weights

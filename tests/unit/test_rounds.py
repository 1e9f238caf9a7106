"""Rounds on numpy twins: order, faults in each phase, quorum, deadline, late join, resume."""

import dataclasses
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_rounds import TwinFleet, final, hanging, head_format, members, raising, run, settings, twin

from tinyfl.errors import LinkError, QuorumError
from tinyfl.federated.selection import select
from tinyfl.reference import head
from tinyfl.reference.board import TwinBoard
from tinyfl.reference.fixed import mix
from tinyfl.wire.messages import Delta
from tinyfl_host import events
from tinyfl_host.crew import RETURNS
from tinyfl_host.events import BoardDropped, BoardJoined, Evaluated, Event, RoundDone, RoundStart
from tinyfl_host.fleet import Board, Member
from tinyfl_host.ledger import Ledger
from tinyfl_host.traffic import Traffic


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The master weights after an undisturbed run."""
    folder = tmp_path_factory.mktemp("whole")
    run(folder)
    return final(folder)


def test_a_round_is_the_arithmetic_of_the_specification(tmp_path: Path) -> None:
    """Written down once more, without threads, seats or ledger."""
    outcome = run(tmp_path, plan=settings(local_only=False))
    rate = head.rate(0.5, head_format().r2, head_format().fw)
    master = head.to_wire(head_format().initial).astype(np.int64) << 16
    boards = [twin(member) for member in members()[:4]]
    for round in (1, 2, 3):
        trained = [board.train(round, 3, i, 2, *rate, head.broadcast(master)) for i, board in enumerate(boards)]
        shift = head.fleet_shift([reply.max_delta for reply in trained])
        deltas = [board.collect(round, shift, mix(3, round, 0xFFFF, i)) for i, board in enumerate(boards)]
        total = sum(d.samples for d in deltas)
        weighted = sum(d.samples * d.deltas.view(np.int8).astype(object) for d in deltas)
        master = master + np.array([(2 * 2**shift * int(w) + total) // (2 * total) for w in weighted])
    assert final(tmp_path) == master.astype("<i4").tobytes()
    assert outcome.done is not None
    sha = hashlib.sha256(head.broadcast(master).astype("<i2").tobytes()).hexdigest()
    assert outcome.done.head_sha256 == sha


def test_the_run_learns_and_its_last_event_keeps_the_contract(tmp_path: Path) -> None:
    outcome = run(tmp_path, plan=settings(rounds=12, epochs=5))
    last = events.as_document(outcome.events[-1])
    keys = ["event", "run", "rounds", "before", "after", "local_only", "head_sha256", "bytes", "boards", "dropped"]
    assert list(last) == keys and last["event"] == "run_done"
    assert [list(last[key]) for key in ("before", "after", "local_only")] == [["clients", "unseen"]] * 3
    assert list(last["bytes"]) == ["up", "down", "payload_up", "body_up", "body_down", "measuring"]
    assert last["after"]["clients"] > last["before"]["clients"] + 0.1
    assert (last["rounds"], last["boards"], last["dropped"]) == (12, 5, 0)
    assert last["bytes"]["payload_up"] == 12 * 4 * len(head.to_wire(head_format().initial))


def test_the_order_of_boards_does_not_change_a_bit(tmp_path: Path, whole: bytes) -> None:
    for i, order in enumerate(((3, 1, 4, 0, 2), (4, 3, 2, 1, 0))):
        run(tmp_path / str(i), TwinFleet([members()[k] for k in order]))
        assert final(tmp_path / str(i)) == whole


@pytest.mark.parametrize("phase", ["hello", "train", "collect"])
def test_a_board_that_fails_is_left_out_and_asked_again(tmp_path: Path, phase: str) -> None:
    """In round 2 board 1 is gone in one phase; hello fails after a reset in round 1's collect."""
    fault = hello_fault() if phase == "hello" else raising(phase, 2)
    fleet = TwinFleet(members(), {"b1": fault})
    outcome = run(tmp_path, fleet)
    drops = [(d.round, d.board, d.phase) for d in outcome.of(BoardDropped)]
    assert (2, "b1", phase) in drops and {d[1] for d in drops} == {"b1"}
    assert [d.reason for d in outcome.of(BoardDropped)] == ["the cable is out"] * len(drops)
    assert outcome.of(RoundDone)[1].boards == 3 and outcome.of(RoundDone)[2].boards == 4
    assert outcome.of(BoardJoined)[-1].board == "b1" and outcome.of(BoardJoined)[-1].round == 3
    with Ledger(tmp_path / "0001", write=False) as ledger:
        assert {u.board for _, u in ledger.updates(2)} == {"b0", "b2", "b3"}
        assert [(d.round, d.board, d.phase) for d in ledger.drops()] == drops


def hello_fault() -> Callable[[str, int], None]:
    """Collect fails in round 1, so that round 2 has to say HELLO, which fails too."""
    state = {"hello": 0}

    def fail(name: str, round: int) -> None:
        if name == "collect" and round == 1:
            raise LinkError("the cable is out")
        if name == "hello":
            state["hello"] += 1
            if state["hello"] == 2:
                raise LinkError("the cable is out")

    return fail


def test_a_board_that_comes_late_joins(tmp_path: Path) -> None:
    now = [0]

    class Late(TwinFleet):
        def open(self, member: Member, traffic: Traffic) -> Board:
            if member.name == "b3" and now[0] < 2:
                raise LinkError("no such port")
            return super().open(member, traffic)

    def clock(event: Event) -> None:
        if isinstance(event, RoundStart):
            now[0] = event.round

    outcome = run(tmp_path, Late(members()), stop=clock)
    assert [done.boards for done in outcome.of(RoundDone)] == [3, 4, 4]
    assert outcome.of(BoardJoined)[-1] == BoardJoined(2, "b3", 20, 12)
    drops = [(d.round, d.phase, d.reason) for d in outcome.of(BoardDropped)]
    assert drops == [(0, "hello", "no such port"), (1, "hello", "no such port")]


@pytest.mark.parametrize("phase", ["train", pytest.param("collect", marks=pytest.mark.slow)])
def test_a_board_that_hangs_is_left_behind_at_the_deadline(tmp_path: Path, phase: str) -> None:
    fleet = TwinFleet(members(), {"b0": hanging(phase, 2)})
    start = time.monotonic()
    outcome = run(tmp_path, fleet, settings(deadline=1.0, local_only=False))
    assert time.monotonic() - start < 4
    drop = outcome.of(BoardDropped)[0]
    assert (drop.round, drop.board, drop.phase) == (2, "b0", phase) and "when the deadline came" in drop.reason
    assert outcome.of(RoundDone)[1].seconds <= 1.5
    assert [done.boards for done in outcome.of(RoundDone)] == [4, 3, 4]


def test_below_the_quorum_the_run_stops_and_resumes(tmp_path: Path, whole: bytes) -> None:
    faults = {name: raising("train", 2) for name in ("b0", "b1", "b2")}
    with pytest.raises(QuorumError, match="round 2: 1 of 4 boards are left, the quorum is 2") as error:
        run(tmp_path, TwinFleet(members(), faults))
    assert error.value.exit_code == 7 and "b1, train: the cable is out" in error.value.message
    with Ledger(tmp_path / "0001", write=False) as ledger:
        assert [row.round for row in ledger.rounds()] == [0, 1] and len(ledger.drops()) == 3
    outcome = run(tmp_path, resume=True)
    assert final(tmp_path) == whole and outcome.done is not None and outcome.done.dropped == 3


def test_nobody_there_is_a_missed_quorum_before_the_first_round(tmp_path: Path) -> None:
    faults = {member.name: raising("hello", 0) for member in members()}
    with pytest.raises(QuorumError, match="round 0: 0 of 4"):
        run(tmp_path, TwinFleet(members(), faults))
    assert run(tmp_path, resume=True).done is not None


@pytest.mark.parametrize("at", range(14))
def test_a_run_that_is_killed_anywhere_ends_with_the_same_weights(tmp_path: Path, whole: bytes, at: int) -> None:
    """Killed at the at-th of the events that mark a boundary, in the middle of a round or of what follows."""
    marks = [0]

    def kill(event: Event) -> None:
        if isinstance(event, RoundStart | RoundDone | Evaluated | BoardJoined | events.LocalOnly):
            marks[0] += 1
            if marks[0] == at + 1:
                raise KeyboardInterrupt

    try:
        run(tmp_path, stop=kill)
    except KeyboardInterrupt:
        outcome = run(tmp_path, resume=True)
        assert outcome.done is not None and outcome.done.rounds == 3
    assert final(tmp_path) == whole


def test_a_fraction_of_the_boards_is_selected_by_seed_and_round(tmp_path: Path) -> None:
    outcome = run(tmp_path, plan=settings(fraction=0.5, rounds=6, local_only=False))
    seen = [start.boards for start in outcome.of(RoundStart)]
    assert seen == [[f"b{i}" for i in select(4, 0.5, 3, round)] for round in range(1, 7)]
    assert len({tuple(boards) for boards in seen}) > 1


def test_a_board_without_samples_changes_nothing(tmp_path: Path, whole: bytes) -> None:
    empty = dataclasses.replace(members()[4], name="empty", index=9, role="client")
    outcome = run(tmp_path, TwinFleet([*members(), empty]))
    assert final(tmp_path) == whole and not outcome.of(BoardDropped)
    assert outcome.of(RoundDone)[0].boards == 5


def test_a_board_that_lies_is_dropped_with_what_it_said(tmp_path: Path) -> None:
    class Liar(TwinBoard):
        def collect(self, *arguments: Any, **named: Any) -> Delta:
            delta = super().collect(*arguments, **named)
            return Delta(delta.round, 9999, delta.deltas)

    class Fleet(TwinFleet):
        def open(self, member: Member, traffic: Traffic) -> Board:
            board = super().open(member, traffic)
            if member.name == "b1":
                board.__class__ = Liar
            return board

    outcome = run(tmp_path, Fleet(members()))
    assert {d.reason for d in outcome.of(BoardDropped)} == {"sent deltas of 9999 samples after training on 20"}
    assert [done.boards for done in outcome.of(RoundDone)] == [3, 3, 3]


@pytest.mark.parametrize("phase", ["train", "collect"])
def test_a_board_that_is_reset_comes_back_and_does_its_work_again(tmp_path: Path, whole: bytes, phase: str) -> None:
    """Each time it forgets all that it had: a twin that is opened again is a fresh one."""
    left = {1: 2, 2: 1, 3: 3}

    def reset(name: str, round: int) -> None:
        if name == phase and left.get(round, 0):
            left[round] -= 1
            raise LinkError("reset")

    fleet = TwinFleet(members(), {"b1": reset})
    outcome = run(tmp_path, fleet, patience=2.0)
    assert final(tmp_path) == whole and not outcome.of(BoardDropped) and set(left.values()) == {0}
    assert fleet.opened.count("b1") == 1 + 6


def test_a_board_that_is_reset_again_and_again_is_given_up(tmp_path: Path) -> None:
    fleet = TwinFleet(members(), {"b1": raising("train", 2)})
    outcome = run(tmp_path, fleet, settings(local_only=False), patience=2.0)
    assert [(d.round, d.board, d.phase) for d in outcome.of(BoardDropped)] == [(2, "b1", "train")]
    assert fleet.opened.count("b1") == 1 + RETURNS + 1  # the start, the tries, and round 3 again


def test_another_board_than_the_fleet_file_says_is_refused(tmp_path: Path) -> None:
    named = [dataclasses.replace(m, device="00" * 7 + "ff" if m.name == "b1" else "") for m in members()]
    outcome = run(tmp_path, TwinFleet(named), settings(local_only=False))
    assert {d.board for d in outcome.of(BoardDropped)} == {"b1"}
    assert "the fleet file says 00000000000000ff" in outcome.of(BoardDropped)[0].reason


def test_measuring_every_third_round_measures_the_last_too(tmp_path: Path) -> None:
    outcome = run(tmp_path, plan=settings(rounds=4, evaluate_every=3, local_only=False))
    assert [done.accuracy is not None for done in outcome.of(RoundDone)] == [False, False, True, True]


def test_without_rounds_only_the_start_is_measured(tmp_path: Path) -> None:
    outcome = run(tmp_path, plan=settings(rounds=0, local_only=False))
    assert outcome.done is not None and outcome.done.rounds == 0 and outcome.done.before == outcome.done.after

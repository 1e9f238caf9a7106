"""Error feedback over whole runs: nothing is ever lost, whatever is dropped, reset or killed in between."""

import dataclasses
import hashlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_rounds import TwinFleet, contents, final, head_format, members, raising, run, settings, twin

from tinyfl.errors import ConfigError, DeadlineError, LinkError, MismatchError
from tinyfl.federated.codecs import decode, fleet_shift, rounded
from tinyfl.reference import head
from tinyfl.reference.board import TwinBoard
from tinyfl.reference.codec import LEVELS, SELECTIONS, Codec, stream
from tinyfl.wire.messages import Feature, Trained, Welcome
from tinyfl_host import events
from tinyfl_host.events import BoardDropped, Event
from tinyfl_host.fleet import Board, Member
from tinyfl_host.ledger import Ledger
from tinyfl_host.plan import Plan
from tinyfl_host.recipe import UpdateSettings
from tinyfl_host.traffic import Traffic

SPARSE = UpdateSettings(codec="int4", select="top", share=0.2, entropy=True, feedback=True, dense_rounds=1)
PLAN = settings(rounds=5, local_only=False, update=SPARSE)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """An undisturbed run."""
    folder = tmp_path_factory.mktemp("whole")
    run(folder, plan=PLAN)
    return contents(folder)


CODECS = [
    Codec(level, selection, entropy, 13 * (selection != "all"), True)
    for level, selection, entropy in itertools.product(LEVELS, SELECTIONS, (False, True))
]


@pytest.mark.parametrize("codec", CODECS, ids=lambda c: f"{c.level}-{c.selection}-{c.entropy:d}")
def test_what_was_sent_and_the_residual_are_all_that_was_learned(codec: Codec) -> None:
    """Exactly, in every round, also where a round did not count, was asked for twice, or had another codec."""
    board, taken = twin(members()[0]), 0
    master = head.to_wire(head_format().initial).astype(np.int64) << 16
    sent = learned = np.zeros(len(master), np.int64)
    rate = head.rate(0.5, head_format().r2, head_format().fw)
    for round in range(1, 9):
        now = Codec(feedback=True) if round == 5 else codec
        board.load(round, head.broadcast(master), taken=taken)  # as if it was measured
        reply = board.train(round, 3, 1, 2, *rate, head.broadcast(master), taken=taken, feedback=True)
        np.testing.assert_array_equal(sent + board.residual, learned)
        assert reply.max_delta == np.abs(board.delta() + board.residual).max()
        shift = fleet_shift(now, [reply])
        for _ in range(2):
            q = decode(now, board.collect(round, shift, 9, codec=now).deltas, len(master), stream(3, round))
        if round not in (2, 3):
            sent, learned, taken = sent + (q << shift), learned + board.delta(), round
            master = head.aggregate(master, [q], [20], shift)
    board.load(9, head.broadcast(master), taken=taken)
    np.testing.assert_array_equal(sent + board.residual, learned)
    assert board.residual.any()


@pytest.mark.slow
def test_a_run_learns_with_few_bytes(tmp_path: Path) -> None:
    long = settings(rounds=12, epochs=5, local_only=False)
    dense = run(tmp_path / "dense", plan=long).done
    sparse = run(tmp_path / "sparse", plan=dataclasses.replace(long, update=SPARSE)).done
    assert dense is not None and sparse is not None
    assert sparse.bytes.payload_up < dense.bytes.payload_up / 2.5
    assert sparse.after.clients is not None and sparse.after.clients > dense.after.clients - 0.1  # type: ignore[operator]
    assert sparse.after.clients > sparse.before.clients + 0.1  # type: ignore[operator]


class Living(TwinFleet):
    """The same board each time that it is opened."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.boards: dict[str, Board] = {}

    def open(self, member: Member, traffic: Traffic) -> Board:
        if member.name not in self.boards:
            self.boards[member.name] = super().open(member, traffic)
        return self.boards[member.name]


@pytest.mark.parametrize("phase", ["train", "collect"])
def test_a_board_that_forgets_does_its_rounds_again(tmp_path: Path, whole: dict[str, Any], phase: str) -> None:
    """A twin that is opened again is a fresh one."""
    left = {2: 1, 4: 2}

    def reset(name: str, round: int) -> None:
        if name == phase and left.get(round, 0):
            left[round] -= 1
            raise LinkError("reset")

    outcome = run(tmp_path, TwinFleet(members(), {"b1": reset}), PLAN, patience=2.0)
    assert contents(tmp_path) == whole and not outcome.of(BoardDropped) and set(left.values()) == {0}


def test_a_board_that_is_late_with_its_old_rounds_goes_on_with_them_in_the_next(tmp_path: Path) -> None:
    asked: list[tuple[str, int]] = []

    def fail(name: str, round: int) -> None:
        asked.append((name, round))
        if asked.count(("train", 4)) == 1 and asked[-1] == ("train", 4):
            del fleet.boards["b1"]
            raise LinkError("reset")
        if asked.count(("collect", 2)) == 2 and asked[-1] == ("collect", 2):
            raise DeadlineError("b1: the round is over")

    fleet = Living(members(), {"b1": fail})
    outcome = run(tmp_path / "late", fleet, PLAN, patience=2.0)
    assert [(drop.round, drop.board) for drop in outcome.of(BoardDropped)] == [(4, "b1")]
    trained = [round for name, round in asked if name == "train"]
    assert trained == [1, 2, 3, *(4, 4, 1, 2), *(5, 2, 3, 5)]
    run(tmp_path / "absent", TwinFleet(members(), {"b1": raising("train", 4)}), PLAN)
    assert contents(tmp_path / "late") == contents(tmp_path / "absent")


def test_a_board_that_missed_rounds_goes_on_from_its_last_one(tmp_path: Path) -> None:
    """Dropped twice; whether it was reset by that makes no difference."""
    for name, fleet in (("fresh", TwinFleet), ("living", Living)):
        for phase in ("train", "collect"):
            outcome = run(tmp_path / name / phase, fleet(members(), {"b1": raising(phase, 3, 4)}), PLAN)
            assert [(d.round, d.board) for d in outcome.of(BoardDropped)] == [(3, "b1"), (4, "b1")]
    runs = [contents(tmp_path / name / phase) for name in ("fresh", "living") for phase in ("train", "collect")]
    assert all(other == runs[0] for other in runs[1:])


@pytest.mark.slow
@pytest.mark.parametrize("at", range(16))
def test_a_run_that_is_killed_anywhere_goes_on_with_the_same_residuals(
    tmp_path: Path, whole: dict[str, Any], at: int
) -> None:
    marks = [0]

    def kill(event: Event) -> None:
        if isinstance(event, events.RoundStart | events.RoundDone | events.Evaluated | events.BoardJoined):
            marks[0] += 1
            if marks[0] == at + 1:
                raise KeyboardInterrupt

    try:
        run(tmp_path, plan=PLAN, stop=kill)
    except KeyboardInterrupt:
        run(tmp_path, plan=PLAN, resume=True)
    assert contents(tmp_path) == whole


def test_two_runs_after_one_another_share_nothing(tmp_path: Path, whole: dict[str, Any]) -> None:
    """Boards that live on: the second run starts without a residual, though its rounds have the same numbers."""

    class Living(TwinFleet):
        def open(self, member: Member, traffic: Traffic) -> Board:
            return boards[member.name]

    boards = {member.name: twin(member) for member in members()}
    for name in ("first", "second"):
        run(tmp_path / name, Living(members()), PLAN)
    assert contents(tmp_path / "first") == contents(tmp_path / "second") == whole


@pytest.mark.slow
@pytest.mark.parametrize("codec", LEVELS)
@pytest.mark.parametrize("downlink", ["int16", "int8", "difference"])
def test_every_codec_and_downlink_runs_and_resumes(tmp_path: Path, codec: str, downlink: str) -> None:
    plan = dataclasses.replace(PLAN, rounds=2, update=UpdateSettings(codec=codec, feedback=True, downlink=downlink))
    done = run(tmp_path, plan=plan).done
    with Ledger(tmp_path / "0001", write=False) as ledger:
        last = ledger.rounds()[-1].masters[0].astype(np.int64)
    sent = head.broadcast(last)
    assert done is not None and done.head_sha256 == head_digest(rounded(sent) if downlink == "int8" else sent)


def head_digest(weights: np.ndarray) -> str:
    return hashlib.sha256(weights.astype("<i2").tobytes()).hexdigest()


def test_an_int8_head_is_what_boards_train_from(tmp_path: Path) -> None:
    """Another head than int16's, but the difference is none."""
    plans = {name: settings(local_only=False, update=UpdateSettings(downlink=name)) for name in ("int16", "int8")}
    for name, plan in plans.items():
        run(tmp_path / name, plan=plan)
    run(tmp_path / "difference", plan=settings(local_only=False, update=UpdateSettings(downlink="difference")))
    assert final(tmp_path / "int16") != final(tmp_path / "int8")
    assert final(tmp_path / "int16") == final(tmp_path / "difference")


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (UpdateSettings(select="top", count=0), "count = 0: the head has 65 weights"),
        (UpdateSettings(select="random", count=66), "count = 66: the head has 65 weights"),
        (UpdateSettings(count=5), "count = 5, but all weights are sent"),
    ],
)
def test_what_cannot_be_is_refused_before_the_first_round(update: UpdateSettings, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Plan(head_format(), settings(update=update)).codec(1)


@pytest.mark.parametrize(("share", "count"), [(1e-6, 1), (0.1, 7), (0.5, 33), (1.0, 65)])
def test_a_share_is_rounded_up(share: float, count: int) -> None:
    plan = Plan(head_format(), settings(update=UpdateSettings(select="top", share=share)))
    assert plan.codec(1).count == count


@pytest.mark.parametrize(
    ("features", "update", "message"),
    [
        (Feature.CODECS, UpdateSettings(feedback=True), "b2: the board has no memory for error feedback"),
        (Feature.FEEDBACK, UpdateSettings(codec="int4"), "b2: the board only knows int8 of all weights"),
        (Feature(0), UpdateSettings(downlink="difference"), "b2: the board only knows .* downlink difference"),
    ],
)
def test_what_a_board_does_not_offer_is_refused_with_its_name(
    tmp_path: Path, features: Feature, update: UpdateSettings, message: str
) -> None:
    class Old(TwinBoard):
        def hello(self, deadline: float | None = None) -> Welcome:
            return dataclasses.replace(super().hello(), features=int(features))

    class Fleet(TwinFleet):
        def open(self, member: Member, traffic: Traffic) -> Board:
            board = super().open(member, traffic)
            if member.name == "b2":
                board.__class__ = Old
            return board

    plan = settings(local_only=False, update=update)
    with pytest.raises(MismatchError, match=message):
        run(tmp_path / "a", Fleet(members()), plan)
    assert run(tmp_path / "b", Fleet(members()), settings(local_only=False)).done is not None


def test_the_sign_codec_takes_the_nearest_power_of_two() -> None:
    def shift(*means: int) -> int:
        return fleet_shift(Codec("sign"), [Trained(1, 2**31, mean, *[0] * 7, np.zeros(0, np.uint8)) for mean in means])

    assert [shift(mean) for mean in (0, 1, 2, 3, 5, 6, 11, 12, 2**31 - 1)] == [0, 0, 1, 2, 2, 3, 3, 4, 31]
    assert shift(0, 16) == 3 and shift() == 0


def test_signs_of_the_largest_have_a_longer_step_than_signs_of_all() -> None:
    """Between the mean and the largest of what boards learned, in the middle of their exponents."""
    loud, silent = (Trained(1, *both, *[0] * 7, np.zeros(0, np.uint8)) for both in ((2**14, 2**8), (0, 0)))
    steps = [fleet_shift(Codec("sign", selection, count=5), 3 * [loud]) for selection in ("random", "top")]
    assert steps == [8, 11]
    assert fleet_shift(Codec("sign", "top", count=5), [loud, *7 * [silent]]) == 8


@pytest.mark.parametrize(("level", "dense"), [("int4", "int4"), ("sign", "int8"), ("int2", "int8"), ("int8", "int8")])
def test_dense_rounds_send_all_weights_as_int4_if_that_is_the_codec(level: str, dense: str) -> None:
    update = UpdateSettings(codec=level, select="top", feedback=True, dense_rounds=2)
    plan = Plan(head_format(), settings(update=update))
    assert [plan.codec(round).selection for round in (1, 2, 3)] == ["all", "all", "top"]
    assert [plan.codec(round).level for round in (1, 2, 3)] == [dense, dense, level]

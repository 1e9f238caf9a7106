"""Heads of the boards' own: who keeps a tuned one, by which samples that is decided, and that a killed run goes on."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_rounds import MODEL, TwinFleet, X, Y, contents, head_format, members, raising, run, settings

from tinyfl.reference import head
from tinyfl.reference.board import TwinBoard
from tinyfl_host import events
from tinyfl_host.events import BoardDropped, Event, Personal
from tinyfl_host.fleet import Board, Member
from tinyfl_host.ledger import Ledger
from tinyfl_host.personal import mixed
from tinyfl_host.recipe import PersonalSettings
from tinyfl_host.report import read_summary
from tinyfl_host.traffic import Traffic

pytestmark = pytest.mark.slow

Data = tuple[Any, Any, Any, Any]


class Odd(TwinFleet):
    """Each board names the classes in its own way, so that one head for all is good for none; some hold little."""

    def __init__(self, change: Callable[[str, Data], Data] = lambda _, data: data, faults: Any = None) -> None:
        super().__init__(members(4, 1), faults)
        self.change, self.boards = change, {}

    def open(self, member: Member, traffic: Traffic) -> Board:
        opened: Any = super().open(member, traffic)
        own = np.random.default_rng(member.index).permutation(len(X))[:100]
        x, y = X[own], (Y[own] + member.index) % 5
        data = self.change(member.name, (x[:60], y[:60], x[60:], y[60:]))
        board = Recording(MODEL.graph, head_format(), *data, name=member.name)
        self.boards[member.name] = board
        if member.name not in self.faults:
            return board
        opened._board = board
        return opened  # type: ignore[no-any-return]

    boards: dict[str, "Recording"]


class Recording(TwinBoard):
    """A twin that remembers which head it was told to keep."""

    kept: np.ndarray | None = None

    def load(self, round: int, weights: np.ndarray, **named: Any) -> None:
        super().load(round, weights, **named)
        self.kept = weights if named.get("keep") else self.kept


PLAN = settings(rounds=6, epochs=3, personal=PersonalSettings(20))


def own(folder: Path) -> dict[str, tuple[np.ndarray, bool]]:
    with Ledger(folder / "0001", write=False) as ledger:
        return ledger.own_heads()


def test_boards_that_differ_keep_tuned_heads_and_answer_better(tmp_path: Path) -> None:
    fleet = Odd()
    outcome = run(tmp_path, fleet, PLAN)
    [event] = outcome.of(Personal)
    assert (event.tuned, event.boards) == (4, 4) and outcome.done is not None
    assert event.own > outcome.done.after.clients + 0.1
    summary = read_summary(tmp_path / "0001")
    assert summary.personal == event
    assert [board.tuned for board in summary.boards] == [True] * 4 + [None]
    assert summary.boards[0].own is not None and summary.boards[4].own is None
    for name, (weights, _) in own(tmp_path).items():
        np.testing.assert_array_equal(fleet.boards[name].kept, weights)  # what it would find after a reset


def test_a_kept_head_is_what_the_board_would_learn(tmp_path: Path) -> None:
    """Written down once more: an epoch, then the others, from the final head."""
    run(tmp_path, Odd(), PLAN)
    with Ledger(tmp_path / "0001", write=False) as ledger:
        final = head.broadcast(ledger.rounds()[-1].masters[0].astype(np.int64))
    board = Odd().open(members()[2], Traffic())
    rate = head.rate(0.25, head_format().r2, head_format().fw)
    board.train(7, 3, 2, 1, *rate, final)
    board.train(8, 3, 2, 19, *rate)
    np.testing.assert_array_equal(own(tmp_path)["b2"][0], board.pull())


def test_the_test_split_decides_nothing(tmp_path: Path) -> None:
    def scrambled(_: str, data: Data) -> Data:
        return data[0], data[1], data[2][::-1], (data[3] * 0)

    run(tmp_path / "a", Odd(), PLAN)
    run(tmp_path / "b", Odd(scrambled), PLAN)
    for name, (weights, tuned) in own(tmp_path / "a").items():
        assert own(tmp_path / "b")[name][1] == tuned
        np.testing.assert_array_equal(own(tmp_path / "b")[name][0], weights)


def test_who_learns_nothing_that_holds_keeps_the_common_head(tmp_path: Path) -> None:
    """No sample, one sample, and labels that are noise; but one class alone is soon known."""
    noise = np.random.default_rng(5).integers(0, 5, 60)

    def change(name: str, data: Data) -> Data:
        x, y, *test = data
        kept = {"b0": (x[:0], y[:0]), "b1": (x[:1], y[:1]), "b2": (x, noise), "b3": (x, y * 0 + 3)}
        return (*kept.get(name, (x, y)), *test)  # type: ignore[return-value]

    run(tmp_path, Odd(change), PLAN)
    assert {name: tuned for name, (_, tuned) in own(tmp_path).items()} | {"b2": None} == {
        "b0": False,
        "b1": False,
        "b2": None,
        "b3": True,
    }
    with Ledger(tmp_path / "0001", write=False) as ledger:
        final = head.broadcast(ledger.rounds()[-1].masters[0].astype(np.int64))
    np.testing.assert_array_equal(own(tmp_path)["b0"][0], final)


@pytest.mark.parametrize("mix", [0.25, 0.5, 1.0])
def test_a_mix_lies_between(mix: float) -> None:
    common, tuned = np.array([-16383, 0, 5, 16383], np.int16), np.array([16383, 7, 5, -16383], np.int16)
    got = mixed(common, tuned, mix)
    assert got.dtype == np.int16
    np.testing.assert_allclose(got, common + mix * (tuned.astype(float) - common), atol=0.5)


def test_a_killed_run_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    def kill(event: Event) -> None:
        if isinstance(event, events.LocalOnly):
            raise KeyboardInterrupt

    run(tmp_path / "whole", Odd(), PLAN)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", Odd(), PLAN, stop=kill)
    assert not own(tmp_path / "killed")
    run(tmp_path / "killed", Odd(), PLAN, resume=True)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_board_that_is_gone_then_is_dropped_and_named(tmp_path: Path) -> None:
    outcome = run(tmp_path, Odd(faults={"b1": raising("train", 7)}), dataclasses.replace(PLAN, local_only=False))
    assert [(d.board, d.phase) for d in outcome.of(BoardDropped)] == [("b1", "tune")]
    assert list(own(tmp_path)) == ["b0", "b2", "b3"]


def test_without_tuning_there_is_nothing_to_keep(tmp_path: Path) -> None:
    outcome = run(tmp_path, Odd(), settings())
    assert not outcome.of(Personal) and not own(tmp_path) and read_summary(tmp_path / "0001").personal is None

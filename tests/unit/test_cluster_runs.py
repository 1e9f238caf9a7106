"""Whole runs with clusters: planted concepts are found; kills, resets, lies and late boards change nothing."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_rounds import MODEL, TwinFleet, X, Y, contents, head_format, members, raising, run, settings

from tinyfl.errors import ConfigError, LinkError, MismatchError
from tinyfl.reference.board import TwinBoard
from tinyfl.wire.messages import Feature, Trained, Welcome
from tinyfl_host import events
from tinyfl_host.events import BoardDropped, Event, RoundDone
from tinyfl_host.fleet import Board, Member
from tinyfl_host.history import History, Past, Took
from tinyfl_host.ledger import Ledger
from tinyfl_host.plan import Plan
from tinyfl_host.recipe import ClusterSettings, ServerSettings, UpdateSettings
from tinyfl_host.report import read_summary
from tinyfl_host.serving import check
from tinyfl_host.traffic import Traffic

pytestmark = pytest.mark.slow

BOARDS, UNSEEN = 9, 3


class Concepts(TwinFleet):
    """Boards whose classes have other names in each concept; the never-seen ones are of all concepts too."""

    def __init__(self, concepts: int, seed: int, faults: dict[str, Any] | None = None) -> None:
        super().__init__(members(BOARDS, UNSEEN), faults)
        random = np.random.default_rng(seed)
        names = [np.roll(np.arange(5), shift) for shift in random.permutation(5)[:concepts]]
        clients = random.permutation(np.arange(BOARDS) % concepts).tolist()
        self.truth = dict(zip([m.name for m in self.members], [*clients, *range(UNSEEN)], strict=True))
        self.truth = {name: concept % concepts for name, concept in self.truth.items()}
        self.data = {}
        for name, concept in self.truth.items():
            own = random.permutation(len(X))[:100]
            x, y = X[own], names[concept][Y[own]]
            self.data[name] = x[:60], y[:60], x[60:], y[60:]

    def open(self, member: Member, traffic: Traffic) -> Board:
        opened = super().open(member, traffic)
        twin = TwinBoard(MODEL.graph, head_format(), *self.data[member.name], name=member.name)
        if member.name not in self.faults:
            return twin
        opened._board = twin  # type: ignore[attr-defined]
        return opened


def plan_of(count: int, **changes: Any) -> Any:
    return settings(**{"rounds": 8, "epochs": 4, "local_only": False, "clusters": ClusterSettings(count), **changes})


def found(folder: Path) -> dict[str, int]:
    """The last cluster of each board, never-seen ones too."""
    with Ledger(folder / "0001", write=False) as ledger:
        last = ledger.rounds()[-1].round
        return {row.board: row.cluster for row in ledger.metrics("federated") if row.round == last}


def same_parts(a: dict[str, int], b: dict[str, int]) -> bool:
    """But for the numbers."""
    pairs = {(a[name], b[name]) for name in b}
    return len(pairs) == len({x for x, _ in pairs}) == len({y for _, y in pairs})


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("concepts", [2, 3])
def test_planted_concepts_are_found_and_learned(tmp_path: Path, concepts: int, seed: int) -> None:
    """Also of the boards that never trained. One head for all is clearly worse."""
    clustered = run(tmp_path / "clusters", Concepts(concepts, seed), plan_of(concepts, rounds=16)).done
    common = run(tmp_path / "one", Concepts(concepts, seed), plan_of(1, rounds=16)).done
    assert same_parts(found(tmp_path / "clusters"), Concepts(concepts, seed).truth)
    assert clustered is not None and common is not None
    for role in ("clients", "unseen"):
        assert getattr(clustered.after, role) > getattr(common.after, role) + 0.1, role
    with Ledger(tmp_path / "clusters/0001", write=False) as ledger:
        masters = [row.masters for row in ledger.rounds()]
    assert [len(m) for m in masters] == [1] + [concepts] * 16
    assert len({m.tobytes() for m in masters[-1]}) == concepts


@pytest.mark.slow
def test_the_report_tells_each_boards_cluster(tmp_path: Path) -> None:
    run(tmp_path / "two", Concepts(2, 0), plan_of(2))
    run(tmp_path / "one", Concepts(2, 0), plan_of(1))
    assert {board.name: board.cluster for board in read_summary(tmp_path / "two/0001").boards} == found(
        tmp_path / "two"
    )
    assert {board.cluster for board in read_summary(tmp_path / "one/0001").boards} == {None}


@pytest.fixture(scope="module")
def sparse() -> Any:
    update = UpdateSettings(codec="int4", select="top", share=0.3, feedback=True, dense_rounds=1, downlink="difference")
    return plan_of(2, rounds=4, update=update)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, sparse: Any) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("whole")
    run(folder, Concepts(2, 1), sparse)
    return contents(folder)


@pytest.mark.slow
@pytest.mark.parametrize("at", range(1, 27, 3))
def test_a_run_that_is_killed_goes_on_with_its_clusters(
    tmp_path: Path, sparse: Any, whole: dict[str, Any], at: int
) -> None:
    """With the residual of each board, which depends on the heads that it trained from."""
    marks = [0]

    def kill(event: Event) -> None:
        if isinstance(event, events.RoundStart | events.RoundDone | events.Evaluated | events.BoardJoined):
            marks[0] += 1
            if marks[0] == at:
                raise KeyboardInterrupt

    try:
        run(tmp_path, Concepts(2, 1), sparse, stop=kill)
    except KeyboardInterrupt:
        run(tmp_path, Concepts(2, 1), sparse, resume=True)
    assert contents(tmp_path) == whole


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["offer", "train", "collect"])
def test_a_board_that_is_reset_chooses_again(tmp_path: Path, sparse: Any, whole: dict[str, Any], phase: str) -> None:
    left = {2: 1, 4: 2}

    def reset(name: str, round: int) -> None:
        if name == phase and left.get(round, 0):
            left[round] -= 1
            raise LinkError("reset")

    outcome = run(tmp_path, Concepts(2, 1, {"b1": reset}), sparse, patience=2.0)
    assert contents(tmp_path) == whole and not outcome.of(BoardDropped) and set(left.values()) == {0}


def test_a_board_that_misses_the_first_round_joins_the_cluster_that_fits(tmp_path: Path) -> None:
    outcome = run(tmp_path, Concepts(2, 2, {"b4": raising("train", 1)}), plan_of(2))
    assert [done.boards for done in outcome.of(RoundDone)][:2] == [BOARDS - 1, BOARDS]
    assert same_parts(found(tmp_path), Concepts(2, 2).truth)


def test_clusters_wait_until_enough_boards_learned(tmp_path: Path) -> None:
    """In round 1 one board is left: it is no two clusters."""
    faults = {f"b{i}": raising("train", 1) for i in range(1, BOARDS)}
    run(tmp_path, Concepts(2, 3, faults), plan_of(2, quorum=1))
    with Ledger(tmp_path / "0001", write=False) as ledger:
        assert [len(row.masters) for row in ledger.rounds()[:3]] == [1, 1, 2]
    assert same_parts(found(tmp_path), Concepts(2, 3).truth)


def test_a_run_that_never_finds_its_clusters_says_so(tmp_path: Path) -> None:
    faults = {f"b{i}": raising("train", 1, 2) for i in range(1, BOARDS)}
    outcome = run(tmp_path, Concepts(2, 3, faults), plan_of(2, quorum=1, rounds=2))
    assert any("never did 2 boards learn" in step.text for step in outcome.of(events.Step))
    outcome = run(tmp_path / "found", Concepts(2, 3), plan_of(2, rounds=2))
    assert not outcome.of(events.Step)


@pytest.mark.parametrize("chosen", [2, 255])
def test_a_board_that_chooses_what_was_not_offered_is_dropped(tmp_path: Path, chosen: int) -> None:
    class Liar(TwinBoard):
        def train(self, *arguments: Any, **named: Any) -> Trained:
            return dataclasses.replace(super().train(*arguments, **named), cluster=chosen)

    class Fleet(Concepts):
        def open(self, member: Member, traffic: Traffic) -> Board:
            board = super().open(member, traffic)
            if member.name == "b1":
                board.__class__ = Liar
            return board

    outcome = run(tmp_path, Fleet(2, 0), plan_of(2, rounds=2))
    [drop] = outcome.of(BoardDropped)  # in round 1 there is nothing to choose: what it says is not asked
    assert (drop.round, drop.board, drop.phase) == (2, "b1", "train")
    assert drop.reason == f"chose cluster {chosen}, 2 were offered (0 to 1)"


def test_a_board_that_does_not_know_clusters_is_refused_before_the_first_round(tmp_path: Path) -> None:
    class Old(TwinBoard):
        def hello(self, deadline: float | None = None) -> Welcome:
            return dataclasses.replace(super().hello(), features=int(Feature.CODECS))

    class Fleet(Concepts):
        def open(self, member: Member, traffic: Traffic) -> Board:
            board = super().open(member, traffic)
            board.__class__ = Old
            return board

    with pytest.raises(MismatchError, match="b0: the board does not know clusters"):
        run(tmp_path, Fleet(2, 0), plan_of(2))


def fleet_of(clients: int) -> Sequence[Member]:
    return members(clients, 1)


def test_what_cannot_be_is_refused_before_anything_starts() -> None:
    with pytest.raises(ConfigError, match="3 clusters of 2 boards, expected 1 to 2"):
        check(Plan(head_format(), plan_of(3, fraction=0.5)), fleet_of(4))
    with pytest.raises(ConfigError, match=r'aggregate = "median" does not go with \[clusters\] count = 2'):
        check(Plan(head_format(), plan_of(2, server=ServerSettings(aggregate="median"))), fleet_of(8))


def test_the_history_knows_the_head_that_each_board_trained_from() -> None:
    heads, history = [np.full(3, i, np.int16) for i in range(3)], History()
    history.add(Past(1, heads[:1], 4, {"a": Took(9, 0), "b": Took(9, 0)}))
    assert history.cluster("a") is None  # there was no other
    history.add(Past(2, heads[:1], 4, {"a": Took(9, 1), "b": Took(9, 0)}))
    history.add(Past(3, heads[1:], 4, {"a": Took(9, 1)}))
    assert [past.weights("a")[0] for past in history.of("a")] == [0, 0, 2]
    assert (history.cluster("a"), history.cluster("b"), history.cluster("c")) == (1, 0, None)
    assert (history.taken("a"), history.taken("b")) == (3, 2)

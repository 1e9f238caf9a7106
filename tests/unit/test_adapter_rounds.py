"""Rounds of an adapter and the head: what is shared, what stays on its board; whatever is dropped, reset or killed."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_rounds import (
    ADAPTED,
    TwinFleet,
    contents,
    head_format,
    members,
    raising,
    run,
    samples,
    settings,
    twin,
)

from tinyfl.errors import ConfigError, FrameError, LinkError, QuorumError
from tinyfl.federated.codecs import DIFFERENCE, INT16
from tinyfl.reference import adapter, embed, head
from tinyfl.reference.adapter import TwinAdapter
from tinyfl.reference.board import TwinBoard
from tinyfl.reference.fixed import mix
from tinyfl.reference.head import TwinHead
from tinyfl.reference.tensors import ADAPTER, HEAD, STREAMS, Adapting
from tinyfl.wire import messages as wire
from tinyfl_host import events
from tinyfl_host.events import BoardDropped, Event, LocalOnly, RoundDone
from tinyfl_host.fleet import Board, Member
from tinyfl_host.ledger import Ledger
from tinyfl_host.plan import Plan
from tinyfl_host.recipe import ClusterSettings, PersonalSettings, ServerSettings, UpdateSettings
from tinyfl_host.report import as_csv, as_html, read_summary
from tinyfl_host.requests import Requests
from tinyfl_host.serving import check, round_bytes
from tinyfl_host.settings import Settings
from tinyfl_host.traffic import Traffic

FORMAT = head_format(ADAPTED)
SIZES = {HEAD: 65, ADAPTER: 66}
PRIVATE = {"none": (HEAD, ADAPTER), "head": (ADAPTER,), "adapter": (HEAD,)}  # and what is shared then
FEW = UpdateSettings(codec="int4", select="top", share=0.3, entropy=True)


def adapted(private: str = "none", **changes: Any) -> Settings:
    """Three rounds, and no board alone."""
    return settings(**{"local_only": False, "personal": PersonalSettings(private=private), **changes})


def twins(faults: Any = None, clients: int = 4, unseen: int = 1) -> TwinFleet:
    return TwinFleet(members(clients, unseen), faults, ADAPTED)


class Living(TwinFleet):
    """Boards that keep what they have when they are opened again."""

    def __init__(self, faults: Any = None) -> None:
        super().__init__(members(), faults, ADAPTED)
        self.boards: dict[str, Board] = {}

    def open(self, member: Member, traffic: Traffic) -> Board:
        if member.name not in self.boards:
            self.boards[member.name] = super().open(member, traffic)
        return self.boards[member.name]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Undisturbed runs of five rounds, by what is private."""
    runs = {}
    for private in PRIVATE:
        folder = tmp_path_factory.mktemp(private)
        run(folder, twins(), adapted(private, rounds=5))
        runs[private] = contents(folder)
    return runs


@pytest.mark.parametrize("private", PRIVATE)
def test_a_plan_knows_what_is_shared(private: str) -> None:
    plan, shared = Plan(FORMAT, adapted(private, update=FEW)), PRIVATE[private]
    assert plan.tensors == shared and plan.initial.size == sum(SIZES[tensor] for tensor in shared)
    assert plan.whole.size == 131 and not plan.whole[65:].any()
    assert plan.adapting is not None and plan.local is not None
    assert (plan.adapting.shared, plan.local.shared) == (sum(1 << tensor for tensor in shared), 3)
    assert plan.local.rate == adapter.rate(0.125, FORMAT) and plan.adapting.rate == adapter.rate(0.25, FORMAT)
    assert [plan.codec(1, tensor).count for tensor in shared] == [20] * len(shared)
    assert round_bytes(plan, 1) > 2 * plan.initial.size


def by_hand(private: str, rounds: int) -> bytes:
    """The shared master weights after so many rounds of boards 0 to 3, written down once more (FedPer, LG-FedAvg)."""
    plan, layers = adapted(private), [(TwinHead(FORMAT), TwinAdapter(FORMAT)) for _ in range(4)]
    masters = {HEAD: head.to_wire(FORMAT.initial).astype(np.int64) << 16, ADAPTER: np.zeros(66, np.int64)}
    rates = head.rate(plan.rate, FORMAT.r2, FORMAT.fw), adapter.rate(plan.adapter_rate, FORMAT)
    data = [samples(board)[:2] for board in range(4)]
    for round in range(1, rounds + 1):
        for board, (x, y) in enumerate(data):
            for tensor, layer in enumerate(layers[board]):
                layer.load(head.broadcast(masters[tensor]) if tensor in PRIVATE[private] else layer.pull())
            own_head, own_adapter = layers[board]
            labels = [int(label) for label in y]
            own_adapter.train(own_head, embed(ADAPTED.graph, x), labels, (plan.seed, round, board), 2, *rates)
        for tensor in PRIVATE[private]:
            deltas = [layers[board][tensor].delta() for board in range(4)]
            shift = head.fleet_shift([int(np.abs(delta).max()) for delta in deltas])
            seeds = [mix(plan.seed, round, STREAMS[tensor], board) for board in range(4)]
            sent = [head.round_delta(delta, shift, seed) for delta, seed in zip(deltas, seeds, strict=True)]
            masters[tensor] = head.aggregate(masters[tensor], sent, [len(y) for _, y in data], shift)
    return np.concatenate([masters[tensor] for tensor in PRIVATE[private]]).astype(np.int32).tobytes()


@pytest.mark.parametrize("private", PRIVATE)
def test_rounds_are_the_published_algorithms(whole: dict[str, Any], private: str) -> None:
    assert whole[private]["masters"][3][3] == by_hand(private, 3)
    shifts = [row[1] for row in whole[private]["masters"]]
    assert shifts[0] == () and all(len(each) == len(PRIVATE[private]) for each in shifts[1:])


@pytest.mark.parametrize("private", PRIVATE)
@pytest.mark.parametrize("phase", ["train", "collect", "load"])
def test_a_board_that_forgets_does_its_rounds_again(
    tmp_path: Path, whole: dict[str, Any], private: str, phase: str
) -> None:
    """A twin that is opened again is a fresh one: before it trains, before it sends, before it is measured."""
    left = {2: 1, 4: 2}

    def reset(name: str, round: int) -> None:
        if name == phase and left.get(round, 0):
            left[round] -= 1
            raise LinkError("reset")

    outcome = run(tmp_path, twins({"b1": reset}), adapted(private, rounds=5), patience=2.0)
    assert contents(tmp_path) == whole[private] and not outcome.of(BoardDropped) and set(left.values()) == {0}


@pytest.mark.parametrize("private", ["head", "adapter"])
@pytest.mark.parametrize("phase", ["train", "collect"])
def test_a_round_that_did_not_count_moves_nothing_on(tmp_path: Path, private: str, phase: str) -> None:
    """Dropped twice; whether it was reset by that makes no difference."""
    for name, kind in (("fresh", twins), ("living", Living)):
        outcome = run(tmp_path / name, kind({"b1": raising(phase, 2, 3)}), adapted(private, rounds=5))
        assert [(d.round, d.board) for d in outcome.of(BoardDropped)] == [(2, "b1"), (3, "b1")]
    assert contents(tmp_path / "fresh") == contents(tmp_path / "living")


@pytest.mark.parametrize("private", ["head", "adapter"])
def test_two_runs_after_one_another_share_nothing(tmp_path: Path, whole: dict[str, Any], private: str) -> None:
    """Boards that live on: the second run starts from the compiled weights, also after one with another tensor."""
    fleet = Living()
    other = "adapter" if private == "head" else "head"
    for name, own in (("first", private), ("other", other), ("second", private)):
        run(tmp_path / name, fleet, adapted(own, rounds=5))
        assert contents(tmp_path / name) == whole[own]


@pytest.mark.parametrize("private", ["head", "adapter"])
def test_a_missed_quorum_is_made_up_for(tmp_path: Path, whole: dict[str, Any], private: str) -> None:
    plan, fleet = adapted(private, rounds=5, quorum=1.0), Living({"b2": raising("collect", 3)})
    with pytest.raises(QuorumError):
        run(tmp_path, fleet, plan)
    fleet.boards["b2"] = twin(members()[2], ADAPTED)
    run(tmp_path, fleet, plan, resume=True)
    assert contents(tmp_path) == whole[private]


@pytest.mark.parametrize("private", ["head", "adapter"])
@pytest.mark.parametrize("at", [1, *(pytest.param(at, marks=pytest.mark.slow) for at in (7, 9, 12))])
def test_a_run_that_is_killed_anywhere_goes_on_with_the_same_private_weights(
    tmp_path: Path, private: str, at: int
) -> None:
    """Before the rounds, while boards learn alone, and in the middle of them; all boards are new after that."""
    plan, marks = adapted(private, rounds=3, local_only=True), [0]
    run(tmp_path / "whole", twins(), plan)

    def kill(event: Event) -> None:
        marks[0] += not isinstance(event, events.Step)
        if marks[0] == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", twins(), plan, stop=kill)
    run(tmp_path / "killed", twins(), plan, resume=True)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_what_boards_learn_alone_does_not_depend_on_what_is_private(tmp_path: Path, whole: dict[str, Any]) -> None:
    """All tensors, before the rounds where one is private; and the rounds come to the same with and without it."""
    for private in PRIVATE:
        outcome = run(tmp_path / private, twins(), adapted(private, rounds=5, local_only=True))
        kinds = [type(event) for event in outcome.events if isinstance(event, LocalOnly | RoundDone)]
        assert kinds.index(LocalOnly) == (5 if private == "none" else 0)
        assert contents(tmp_path / private)["masters"] == whole[private]["masters"]
    alone = [contents(tmp_path / private)["alone"] for private in PRIVATE]
    assert alone[0] == alone[1] == alone[2] and {len(weights) for weights in alone[0].values()} == {2 * 131}


def test_never_seen_boards_have_the_compiled_private_tensor(tmp_path: Path, whole: dict[str, Any]) -> None:
    for private, run_of in whole.items():
        master = np.frombuffer(run_of["masters"][-1][3], np.int32).astype(np.int64)
        weights = dict(zip((HEAD, ADAPTER), (head.to_wire(FORMAT.initial), np.zeros(66)), strict=True))
        ends = np.cumsum([0, *(SIZES[tensor] for tensor in PRIVATE[private])])
        for tensor, start, end in zip(PRIVATE[private], ends, ends[1:], strict=False):
            weights[tensor] = head.broadcast(master[start:end])
        layers = TwinHead(FORMAT), TwinAdapter(FORMAT)
        for tensor, layer in enumerate(layers):
            layer.load(weights[tensor].astype(np.int16))
        _, _, x, y = samples(4)
        right, _ = layers[0].evaluate(
            layers[1].forward(embed(ADAPTED.graph, x), False), [int(label) for label in y], False
        )
        [row] = [row for row in run_of["metrics"] if row.round == 5 and row.board == "b4"]
        assert (row.samples, row.correct) == (12, right)


@pytest.mark.parametrize("private", PRIVATE)
@pytest.mark.parametrize("update", [FEW, UpdateSettings(codec="sign", downlink="difference")], ids=["top", "sign"])
def test_boards_with_one_sample_none_or_a_single_class_run(
    tmp_path: Path, private: str, update: UpdateSettings
) -> None:
    plan = adapted(private, update=update, server=ServerSettings("fedadam"))
    outcome = run(tmp_path, twins(clients=11, unseen=0), plan)
    assert not outcome.of(BoardDropped) and outcome.done is not None
    with Ledger(tmp_path / "0001", write=False) as ledger:
        counts = {update.board: update.samples for _, update in ledger.updates()}
        masters = [row.masters for row in ledger.rounds()]
    assert [counts[name] for name in ("b2", "b7", "b8", "b9")] == [7, 20, 1, 0]
    assert all(np.abs(master).max() < 2**30 for master in masters) and len({m.tobytes() for m in masters}) == 4


def test_an_adapter_goes_with_clusters_and_with_heads_of_their_own(tmp_path: Path) -> None:
    plan = adapted(clusters=ClusterSettings(2), personal=PersonalSettings(tune=3), local_only=True)
    outcome = run(tmp_path, twins(), plan)
    kept = contents(tmp_path)
    assert not outcome.of(BoardDropped) and {len(weights) for weights, _ in kept["own"].values()} == {2 * 131}
    assert {cluster for *_, cluster in kept["clusters"]} == {0, 1}


def test_a_report_says_what_is_private(tmp_path: Path) -> None:
    run(tmp_path, twins(), adapted("head"))
    summary = read_summary(tmp_path / "0001")
    assert (summary.private, summary.shared_weights) == ("head", 66)
    assert "66; the head is private" in as_html(summary)
    assert as_csv(summary).splitlines()[0].split(",")[5] == "shifts"
    run(tmp_path / "all", twins(), adapted())
    summary = read_summary(tmp_path / "all/0001")
    assert (summary.private, summary.shared_weights) == (None, 131)
    assert " ".join(map(str, summary.rounds[2].shifts)) == as_csv(summary).splitlines()[3].split(",")[5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"update": UpdateSettings(feedback=True)}, "feedback"),
        ({"update": UpdateSettings(downlink="int8")}, "downlink"),
        ({"update": UpdateSettings(select="top", count=7)}, "count"),
        ({"server": ServerSettings(aggregate="fltrust")}, "fltrust"),
        ({"personal": PersonalSettings(private="head", tune=2)}, "tune"),
        ({"personal": PersonalSettings(private="head"), "clusters": ClusterSettings(2)}, "clusters"),
    ],
)
def test_what_does_not_go_with_an_adapter_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(Plan(FORMAT, adapted(**changes)), members())


def test_private_tensors_need_an_adapter() -> None:
    with pytest.raises(ConfigError, match="private"):
        check(Plan(head_format(), adapted("head")), members())


class Wire(Requests):
    """A board that answers everything, and remembers what it was asked."""

    def __init__(self, weights: int = 131) -> None:
        self.name, self.welcome, self.manifest = "wire", twin(members()[0], ADAPTED).hello(), ADAPTED.manifest
        self.asked: list[Any] = []
        self._weights = weights

    def _ask(self, request: Any, expected: Any, deadline: float) -> Any:
        self.asked.append(request)
        trained = wire.Trained(1, 0, 0, 0, 0, 0, 0, 0, 0, 0, np.zeros(8, np.uint8))
        pulled = wire.Weights(1, np.zeros(self._weights, np.int16))
        return {wire.Trained: trained, wire.Weights: pulled}.get(expected, wire.Done())

    def _void(self) -> None:
        pass


def test_four_bytes_before_weights_say_what_they_are() -> None:
    board, plan = Wire(), Plan(FORMAT, adapted("adapter"))
    weights, factor, shift = plan.initial, *adapter.rate(0.25, FORMAT)
    board.load(1, weights, adapting=plan.adapting)
    board.train(1, 3, 0, 1, *plan.rate, weights, adapting=plan.adapting)
    board.train(2, 3, 0, 1, *plan.rate, adapting=plan.adapting)
    prefixes = [request.weights[:4].tolist() for request in board.asked]
    assert prefixes == [[1, 0, 0, 0], [1, factor & 255, factor >> 8, shift], [0, factor & 255, factor >> 8, shift]]
    assert [len(request.weights) for request in board.asked] == [4 + 130, 4 + 130, 4]


def test_a_difference_is_to_the_same_tensors() -> None:
    """Head and adapter may have equally many weights: what was sent of the one is no start for the other."""
    board, weights = Wire(), np.arange(66, dtype=np.int16)
    for shared in (1, 2, 2, 3, 2):
        board.load(1, weights, downlink="difference", adapting=Adapting(shared))
    assert [request.coding for request in board.asked] == [INT16, INT16, DIFFERENCE, INT16, INT16]


@pytest.mark.parametrize("weights", [0, 65, 130, 132])
def test_a_board_that_is_pulled_sends_all_weights(weights: int) -> None:
    assert Wire().pull().size == 131
    with pytest.raises(FrameError, match=f"WEIGHTS holds {weights} weights, there are 131"):
        Wire(weights).pull()


def test_a_board_of_another_kind_is_refused(tmp_path: Path) -> None:
    """A twin without an adapter, asked for one, says so, and is left out with the reason."""

    class Plain(TwinFleet):
        def open(self, member: Member, traffic: Traffic) -> Board:
            return twin(member) if member.name == "b1" else super().open(member, traffic)

    outcome = run(tmp_path, Plain(members(), None, ADAPTED), adapted())
    assert {drop.board for drop in outcome.of(BoardDropped)} == {"b1"}


def test_a_board_that_reports_too_much_of_the_adapter_is_dropped(tmp_path: Path) -> None:
    class Liar(TwinBoard):
        def train(self, *arguments: Any, **named: Any) -> Any:
            reply = super().train(*arguments, **named)
            return dataclasses.replace(reply, more=np.full(8, 255, np.uint8))

    class Fleet(TwinFleet):
        def open(self, member: Member, traffic: Traffic) -> Board:
            board = super().open(member, traffic)
            if member.name == "b2":
                board.__class__ = Liar
            return board

    outcome = run(tmp_path, Fleet(members(), None, ADAPTED), adapted("head"))
    assert {(drop.board, drop.phase) for drop in outcome.of(BoardDropped)} == {("b2", "train")}
    assert "reported a delta of 4294967295" in outcome.of(BoardDropped)[0].reason

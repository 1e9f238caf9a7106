"""The server's part of whole runs: optimisers and rules, whom it asks, and that a run which stops goes on the same."""

import dataclasses
import importlib.util
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_rounds import MODEL, TwinFleet, X, Y, contents, final, head_format, members, run, settings

from tinyfl.errors import ConfigError, QuorumError
from tinyfl.federated.optimisers import OPTIMISERS, Optimiser, advance, start
from tinyfl.federated.robust import RULES, Rule, combine
from tinyfl.federated.selection import UNHEARD, by_power
from tinyfl.federated.server import Lab, Server
from tinyfl.federated.update import Update
from tinyfl.reference import embed
from tinyfl.reference import head as twin
from tinyfl.wire.messages import Trained
from tinyfl_host.events import Event, RoundDone, RoundStart
from tinyfl_host.fleet import Board, Member
from tinyfl_host.history import History
from tinyfl_host.ledger import Ledger
from tinyfl_host.plan import Plan
from tinyfl_host.recipe import ClientSettings, ServerSettings, UpdateSettings
from tinyfl_host.serving import check, choose, rate, round_bytes, server
from tinyfl_host.traffic import Traffic

LAB = Lab(embed(MODEL.graph, X[::9]), tuple(Y[::9].tolist()))
SEVEN = members(7, 1)


def serving(**changes: Any) -> Any:
    return settings(rounds=4, local_only=False, server=ServerSettings(**changes))


class Stopped(Exception):  # noqa: N818 - no error: somebody stops the run
    pass


def stop_after(round: int) -> Any:
    def stop(event: Event) -> None:
        if isinstance(event, RoundDone) and event.round == round:
            raise Stopped

    return stop


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [*({"optimiser": name} for name in OPTIMISERS), *({"aggregate": name} for name in RULES if name != "mean")],
    ids=lambda changes: "-".join(changes.values()),
)
def test_a_run_that_stops_goes_on_to_the_same_weights(tmp_path: Path, changes: dict[str, str]) -> None:
    plan = serving(**changes)
    run(tmp_path / "whole", TwinFleet(SEVEN), plan, lab=LAB)
    for round in (1, 3):
        folder = tmp_path / str(round)
        with pytest.raises(Stopped):
            run(folder, TwinFleet(SEVEN), plan, stop=stop_after(round), lab=LAB)
        run(folder, TwinFleet(SEVEN), plan, resume=True, lab=LAB)
        assert contents(folder) == contents(tmp_path / "whole")


@pytest.mark.slow
def test_each_setting_makes_another_model(tmp_path: Path) -> None:
    """But for reptile, which is fedavg where all boards have as many samples; here board 2 has seven."""
    plans = [serving(optimiser=name) for name in OPTIMISERS] + [serving(aggregate=name) for name in RULES[1:]]
    plans += [serving(optimiser="fedavgm", rate=0.5), serving(optimiser="fedadam", decay=0.5, floor=0.01)]
    for number, plan in enumerate(plans):
        run(tmp_path / str(number), TwinFleet(SEVEN), plan, lab=LAB)
    assert len({final(tmp_path / str(number)) for number in range(len(plans))}) == len(plans)


def test_the_masters_in_the_ledger_are_those_of_the_rule(tmp_path: Path) -> None:
    """FedYogi over the median, computed beside it from the deltas that the ledger kept."""
    run(tmp_path, TwinFleet(SEVEN), serving(optimiser="fedyogi", aggregate="median"))
    rule, format = Optimiser("fedyogi"), head_format()
    state = start(rule, twin.to_wire(format.initial).astype(np.int64) << 16)
    with Ledger(tmp_path / "0001", write=False) as ledger:
        for row in ledger.rounds()[1:]:
            updates = [update for _, update in ledger.updates(row.round)]
            deltas = np.stack([update.deltas.astype(np.int64) for update in updates])
            samples = np.array([update.samples for update in updates])
            delta = combine(Rule("median"), deltas, samples, row.shifts[0])
            state = advance(rule, state, delta, 2.0 ** (format.fw + 16) / format.r2**0.5)
            assert np.array_equal(state.master, row.masters[0])


def test_fltrust_learns_as_a_board_with_the_servers_samples_would() -> None:
    weights, format = twin.to_wire(head_format().initial).astype(np.int16), head_format()
    factor = twin.rate(0.5, format.r2, format.fw)
    board = twin.TwinHead(format)
    board.load(weights)
    board.train(LAB.embeddings, LAB.labels, (3, 2, 0xFFFFFFFF), 4, factor)
    assert np.array_equal(LAB.learn(format, weights, (3, 2), 4, factor), board.delta())
    assert np.abs(board.delta()).max() > 0


def trained(*deltas: int) -> list[Trained]:
    return [Trained(5, delta, delta // 2, *[0] * 7, np.zeros(0, np.uint8)) for delta in deltas]


def test_a_board_that_shouts_does_not_round_all_others_to_nothing() -> None:
    replies = trained(7, 2**31, 9, 8, 5)
    for name, largest in (("mean", 2**31), ("median", 9), ("clip", 9), ("krum", 9)):
        believed = Server(Optimiser(), Rule(name), 1.0).believed(replies)
        assert max(reply.max_delta for reply in believed) == largest
    assert len(Server(Optimiser(), Rule("median"), 1.0).believed(trained(3))) == 1


def test_a_round_without_samples_leaves_all_as_it_is() -> None:
    rules = Server(Optimiser("fedadam"), Rule("median"), 1.0)
    state = advance(rules.optimiser, start(rules.optimiser, np.zeros(3, np.int64)), np.ones(3, np.int64), 1.0)
    empty = Update(0, np.zeros(3, np.int64), np.zeros(3, np.uint8))
    every = [slice(0, 3)]
    assert rules.step(state, [empty] * 5, (3,), every) is state and rules.step(state, [], (3,), every) is state


def liar(board: Board) -> Board:
    """As in tools/bench/liars.py: sends -4 times its update."""
    spec = importlib.util.spec_from_file_location("liars", "tools/bench/liars.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return typing.cast(Board, module.Liar(board))


class Lying(TwinFleet):
    def open(self, member: Member, traffic: Traffic) -> Board:
        board = super().open(member, traffic)
        return liar(board) if member.index in (1, 4) else board


@pytest.mark.slow
@pytest.mark.parametrize("name", RULES)
def test_liars_steer_the_mean_and_no_other_rule(tmp_path: Path, name: str) -> None:
    """Two of seven: the cosine of what is learned with what honest boards learn."""
    plan = settings(rounds=2, local_only=False, server=ServerSettings(aggregate=name, liars=0.3))
    learned = []
    for folder, fleet in ((tmp_path / "honest", TwinFleet(SEVEN)), (tmp_path / "attacked", Lying(SEVEN))):
        run(folder, fleet, plan, lab=LAB)
        with Ledger(folder / "0001", write=False) as ledger:
            first, *_, last = ledger.rounds()
            learned.append((last.masters[0] - first.masters[0]).astype(np.float64))
    honest, attacked = (row / np.linalg.norm(row) for row in learned)
    assert (honest @ attacked > 0.5) == (name != "mean"), honest @ attacked


def test_too_few_boards_left_for_the_rule_miss_the_quorum(tmp_path: Path) -> None:
    plan = settings(quorum=1, server=ServerSettings(aggregate="krum"))
    with pytest.raises(QuorumError, match="krum needs 3 updates with samples, there are 2"):
        run(tmp_path, TwinFleet(members(2, 0)), plan)


# -- whom it asks -----------------------------------------------------------------------------------------------------


def plan_of(**changes: Any) -> Plan:
    return Plan(head_format(), settings(**changes))


def asked(outcome: Any) -> list[list[str]]:
    return [event.boards for event in outcome.of(RoundStart)]


def test_power_of_choice_goes_by_the_losses_that_the_ledger_has(tmp_path: Path) -> None:
    plan = settings(rounds=8, local_only=False, fraction=0.4, clients=ClientSettings("power"))
    whole = run(tmp_path / "whole", TwinFleet(SEVEN), plan)
    losses = dict.fromkeys((member.name for member in SEVEN if member.trains), UNHEARD)
    with Ledger(tmp_path / "whole/0001", write=False) as ledger:
        for round, boards in enumerate(asked(whole), 1):
            places = by_power(list(losses.values()), 0.4, 0.8, plan.seed, round)
            assert boards == [f"b{place}" for place in places]
            losses |= {update.board: update.first_loss for _, update in ledger.updates(round)}
    assert all(0 < loss < UNHEARD for loss in losses.values())
    with pytest.raises(Stopped):
        run(tmp_path / "cut", TwinFleet(SEVEN), plan, stop=stop_after(4))
    rest = run(tmp_path / "cut", TwinFleet(SEVEN), plan, resume=True)
    assert asked(rest) == asked(whole)[4:] and final(tmp_path / "cut") == final(tmp_path / "whole")


def test_link_selection_leaves_out_who_cannot_move_the_bytes_in_time() -> None:
    plan = plan_of(clients=ClientSettings("link"), deadline=10.0)
    needed = round_bytes(plan, 1)
    rates = [needed / 5, needed / 5 * 0.99, 0.0, 1e6]
    boards = [dataclasses.replace(m, rate=r) for m, r in zip(members(4, 0), rates, strict=True)]
    check(plan, boards)
    assert [member.name for member in choose(plan, boards, History(), 1)] == ["b0", "b2", "b3"]
    small = plan_of(clients=ClientSettings("link"), deadline=10.0, update=UpdateSettings(codec="sign", downlink="int8"))
    assert len(choose(small, boards, History(), 1)) == 4
    slow = [dataclasses.replace(member, rate=1.0) for member in boards]
    with pytest.raises(ConfigError, match=rf"moves the {needed} bytes of a round in 5 s") as caught:
        check(plan, slow)
    assert "deadline" in caught.value.hint


def test_what_a_round_moves_is_not_more_than_was_said(tmp_path: Path) -> None:
    """On processes the bodies of all messages are known: tests/c/test_odd_boards.py; here the formula's parts."""
    weights = head_format().initial.size
    assert round_bytes(plan_of(), 1) == -(-101 * 3 * weights // 100) + 256
    half = plan_of(update=UpdateSettings(codec="int2", downlink="int8", dense_rounds=2))
    assert round_bytes(half, 3) < round_bytes(half, 2) < round_bytes(plan_of(), 1)


def test_a_link_s_rate_is_said_or_follows_from_the_baud_rate() -> None:
    board = members(1, 0)[0]
    for link, known, expected in (
        ("serial:/dev/ttyACM0,9600", 0.0, 960.0),
        ("serial:/dev/ttyACM0", 0.0, 11520.0),
        ("serial:/dev/ttyACM0", 500.0, 500.0),
        ("tcp:host:1", 0.0, None),
        ("ble:name=x", 4000.0, 4000.0),
    ):
        assert rate(dataclasses.replace(board, link=link, rate=known)) == expected


def test_settings_that_do_not_go_together_are_refused_before_anything_starts() -> None:
    with pytest.raises(ConfigError, match=r'\[server\] aggregate = "krum" does not go with \[run\] fraction = 0\.5'):
        check(plan_of(fraction=0.5, server=ServerSettings(aggregate="krum")), members(4, 0))
    with pytest.raises(ConfigError, match=r'"link" does not go with \[\[board\]\] rate = 0'):
        check(plan_of(clients=ClientSettings("link")), members())
    with pytest.raises(ConfigError, match="the optimiser's rate is 1e-05"):
        check(plan_of(server=ServerSettings(rate=1e-5)), members())
    assert server(plan_of(server=ServerSettings("fedadam"))).optimiser.rate == 1.0

"""OFFER and the proximal step on a board in C: equal to the twin's, whatever is broken off or refused; whole runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support_board import Conversation, build_board
from support_messages import collect, head, offer, train
from support_rounds import (
    MODEL,
    ProcessFleet,
    TwinFleet,
    X,
    Y,
    contents,
    head_format,
    image,
    members,
    raising,
    run,
    settings,
    twin,
)
from support_sim import SimFleet, library

from tinyfl.image import build_image
from tinyfl.reference.head import MAX_WEIGHT, rate, to_wire
from tinyfl.wire.messages import (
    Delta,
    Done,
    Evaluate,
    Evaluated,
    Feature,
    Offered,
    Pull,
    Status,
    Trained,
    Weights,
)
from tinyfl_host.events import BoardDropped
from tinyfl_host.recipe import ClusterSettings, PersonalSettings, ProxSettings, UpdateSettings

RATE = rate(0.5, head_format().r2, head_format().fw)
NONE = np.zeros(0, np.int16)


def weights(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(-3000, 3000, head_format().initial.size)
    return (to_wire(head_format().initial) + noise).astype(np.int16)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_board("gcc", MODEL, tmp_path_factory.mktemp("board") / "gcc")


@pytest.fixture
def board(program: Path, tmp_path: Path) -> Iterator[Conversation]:
    (tmp_path / "data").write_bytes(image(members()[0]))
    with Conversation(program, "--image", str(tmp_path / "data"), "--name", "b0") as board:
        features = board.welcome(1).features
        assert features & Feature.CLUSTERS and features & Feature.PROXIMAL
        yield board


def same(got: object, expected: object) -> None:
    names = ("samples", "loss", "correct", "weights", "deltas", "max_delta", "mean_delta", "first_loss", "cluster")
    for name in names:
        if hasattr(expected, name):
            np.testing.assert_array_equal(getattr(got, name), getattr(expected, name), name)


@pytest.mark.parametrize("feedback", [0, 1])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 7)])
def test_rounds_of_offers_equal_the_twins(board: Conversation, order: tuple[int, ...], feedback: int) -> None:
    reference = twin(members()[0])
    for round in (1, 2, 3):
        losses = {}
        for cluster in order:
            got = board.expect(offer(round, cluster, weights(10 * round + cluster), round - 1), Offered)
            expected = reference.offer(round, cluster, weights(10 * round + cluster), taken=round - 1)
            assert got == expected
            losses[cluster] = expected.loss
            assert board.refused(collect(round, 0, 9, 1)).status == Status.ERROR_STATE
            same(board.expect(Evaluate(1, 1), Evaluated), reference.evaluate(1, 1))  # the best until now
            same(board.expect(Evaluate(1, 0), Evaluated), reference.evaluate(1, 0))  # this one
        got = board.expect(train(round, 5, 0, 2, *RATE, NONE, round - 1, feedback, 9000), Trained)
        expected_reply = reference.train(round, 5, 0, 2, *RATE, taken=round - 1, feedback=bool(feedback), pull=9000)
        same(got, expected_reply)
        assert expected_reply.cluster == min(order, key=lambda c: losses[c])  # of equals the first
        same(board.expect(collect(round, 0, 12, 7), Delta), reference.collect(round, 12, 7))
        same(board.expect(Pull(), Weights), Weights(round, reference.pull()))
    board.expect(head(3, 0, weights(5), 3), Done)
    assert board.expect(train(4, 5, 0, 1, *RATE, NONE), Trained).cluster == 0  # type: ignore[union-attr]


def test_of_equal_heads_the_first_one_is_kept(board: Conversation) -> None:
    for cluster in (3, 1, 2):
        board.expect(offer(1, cluster, weights(1)), Offered)
    assert board.expect(train(1, 5, 0, 1, *RATE, NONE), Trained).cluster == 3  # type: ignore[union-attr]


def test_another_rounds_offers_are_forgotten(board: Conversation) -> None:
    """The head that fits best was offered in a round that came to nothing."""
    reference = twin(members()[0])
    for round, cluster, seed in ((1, 0, 0), (1, 1, 1), (2, 0, 2), (2, 1, 3)):
        reference.offer(round, cluster, weights(seed))
        board.expect(offer(round, cluster, weights(seed)), Offered)
    same(board.expect(train(2, 5, 0, 1, *RATE, NONE), Trained), reference.train(2, 5, 0, 1, *RATE))
    same(board.expect(collect(2, 0, 12, 7), Delta), reference.collect(2, 12, 7))


def test_an_offer_that_is_broken_off_leaves_the_best_before_it(program: Path, tmp_path: Path) -> None:
    """The board has so many samples that it is still measuring when HELLO comes."""
    x, y = np.tile(X, (400, 1, 1, 1)), np.tile(Y, 400)
    (tmp_path / "data").write_bytes(build_image(x, y, X, Y, "b0"))
    with Conversation(program, "--image", str(tmp_path / "data"), "--cache", "0") as board:
        board.hello()
        losses = []
        for seed in (0, 1):
            reply = board.expect(offer(9, seed, weights(seed)), Offered)
            assert isinstance(reply, Offered)
            losses.append(reply.loss)
        better, worse = sorted((0, 1), key=lambda seed: losses[seed])
        assert losses[better] < losses[worse]
        board.start(offer(1, 2, weights(better)))
        board.restart(2)
        board.hello()
        for message in (train(1, 1, 1, 1, *RATE, NONE), Evaluate(0, 1), Pull()):
            assert board.refused(message).status == Status.ERROR_STATE  # nothing of this round was measured yet
        board.expect(offer(1, 4, weights(worse)), Offered)
        board.start(offer(1, 2, weights(better)))
        board.restart(3)
        board.hello()
        same(board.expect(Pull(), Weights), Weights(1, weights(worse)))
        assert board.expect(train(1, 5, 0, 1, *RATE, NONE), Trained).cluster == 4  # type: ignore[union-attr]


def test_what_cannot_be_offered_changes_nothing(board: Conversation) -> None:
    reference = twin(members()[0])
    reference.offer(1, 1, weights(1))
    board.expect(offer(1, 1, weights(1)), Offered)
    wrong = weights(1)
    wrong[3] = MAX_WEIGHT + 1
    assert board.refused(offer(1, 0, weights(0)[:-1])).status == Status.ERROR_LENGTH
    assert board.refused(offer(1, 0, NONE)).status == Status.ERROR_LENGTH
    assert board.refused(offer(1, 0, wrong)).status == Status.ERROR_ARGUMENT
    same(board.expect(train(1, 5, 0, 1, *RATE, NONE), Trained), reference.train(1, 5, 0, 1, *RATE))


@pytest.mark.slow
@pytest.mark.parametrize("downlink", ["int8", "difference"])
def test_a_run_on_processes_and_in_this_one_is_the_twins_run(tmp_path: Path, program: Path, downlink: str) -> None:
    """Clusters, FedProx, error feedback and heads of the boards' own; one board is dropped, one is reset."""
    plan = settings(
        rounds=4,
        update=UpdateSettings(codec="int4", select="top", share=0.3, feedback=True, dense_rounds=1, downlink=downlink),
        prox=ProxSettings(0.05),
        clusters=ClusterSettings(2),
        personal=PersonalSettings(3, 0.75),
    )
    left, fault = {2, 4}, {"b1": raising("collect", 2)}
    with ProcessFleet("posix", program, members(5, 2)) as fleet:

        def reset(name: str, round: int) -> None:
            if name == "offer" and round in left:
                left.remove(round)
                fleet.emulators["b2"].reset()

        fleet.faults = {**fault, "b2": reset}
        outcome = run(tmp_path / "posix", fleet, plan, patience=2.0)
    run(tmp_path / "twin", TwinFleet(members(5, 2), fault), plan)
    assert {drop.board for drop in outcome.of(BoardDropped)} == {"b1"} and not left
    expected = contents(tmp_path / "twin")
    assert contents(tmp_path / "posix") == expected
    assert len({cluster for _, _, cluster in expected["clusters"]}) == 2 and len(expected["own"]) == 5
    undisturbed = [SimFleet(library(MODEL), members(5, 2)), TwinFleet(members(5, 2))]
    for name, each in zip("ab", undisturbed, strict=True):
        run(tmp_path / name, each, plan)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_boards_without_samples_and_with_few_choose_too(tmp_path: Path) -> None:
    """b9 holds none, b2 has seven."""
    plan = settings(local_only=False, clusters=ClusterSettings(3), personal=PersonalSettings(2))
    run(tmp_path / "sim", SimFleet(library(MODEL), members(11, 0)), plan)
    run(tmp_path / "twin", TwinFleet(members(11, 0)), plan)
    expected = contents(tmp_path / "twin")
    assert contents(tmp_path / "sim") == expected
    assert {cluster for _, name, cluster in expected["clusters"] if name == "b9"} == {0}
    assert not expected["own"]["b9"][1]


def test_differences_save_bytes_with_clusters_too(tmp_path: Path) -> None:
    """The host knows which head a board holds after its choice; the run is the same."""
    down = {}
    for downlink in ("int16", "difference"):
        plan = settings(
            rounds=6, local_only=False, clusters=ClusterSettings(2), update=UpdateSettings(downlink=downlink)
        )
        done = run(tmp_path / downlink, SimFleet(library(MODEL), members()), plan).done
        assert done is not None
        down[downlink] = done.bytes.body_down
    assert down["difference"] < 0.85 * down["int16"]
    assert contents(tmp_path / "int16") == contents(tmp_path / "difference")

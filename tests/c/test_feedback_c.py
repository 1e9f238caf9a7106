"""Error feedback on a board in C: equal to the twin's over rounds, resets at any moment, and torn stores."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from support_board import Conversation, build_board
from support_messages import collect, head, train
from support_rounds import (
    MODEL,
    ProcessFleet,
    TwinFleet,
    X,
    contents,
    head_format,
    image,
    members,
    raising,
    run,
    settings,
    twin,
)
from support_tflite import small_classifier

from tinyfl.compiler import compile_model
from tinyfl.federated.codecs import decode, fleet_shift
from tinyfl.reference.codec import LEVELS, SELECTIONS, Codec, stream
from tinyfl.reference.head import rate, to_wire
from tinyfl.wire.messages import Delta, Done, Error, Feature, Status, Trained
from tinyfl_host.events import BoardDropped
from tinyfl_host.recipe import UpdateSettings

pytestmark = pytest.mark.slow

RATE = rate(0.5, head_format().r2, head_format().fw)
CODECS = [
    Codec(level, selection, entropy, 13 * (selection != "all"), True)
    for level, selection, entropy in itertools.product(LEVELS, SELECTIONS, (False, True))
]
TAKEN = {1: 0, 2: 1, 3: 1, 4: 1, 5: 4, 6: 5}  # rounds 2 and 3 did not count
SPARSE = UpdateSettings(codec="int4", select="top", share=0.2, entropy=True, feedback=True, downlink="difference")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_board("gcc", MODEL, tmp_path_factory.mktemp("board") / "gcc")


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    path = tmp_path_factory.mktemp("image") / "data.bin"
    path.write_bytes(image(members()[0]))
    return ("--image", str(path), "--name", "b0")


def weights(round: int) -> np.ndarray:
    noise = np.random.default_rng(round).integers(-50, 50, head_format().initial.size)
    return (to_wire(head_format().initial) + noise).astype(np.int16)


class Pair:
    """A board and its twin, asked the same."""

    def __init__(self, start: Callable[[], Conversation]) -> None:
        self.start, self.twin = start, twin(members()[0])
        self.board = start()
        self.board.hello()

    def reset(self) -> None:
        """Of the board alone."""
        self.board.__exit__(None, None, None)
        self.board = self.start()
        self.board.hello()

    def train(self, round: int, taken: int) -> int:
        """The fleet's shift, were this all of it."""
        request = train(round, 3, 0, 1, *RATE, weights(round), taken, 1)
        reply = self.board.expect(request, Trained)
        assert isinstance(reply, Trained)
        expected = self.twin.train(round, 3, 0, 1, *RATE, weights(round), taken=taken, feedback=True)
        for name in ("samples", "max_delta", "mean_delta", "loss", "first_loss", "steps", "cluster"):
            assert getattr(reply, name) == getattr(expected, name), name
        return reply.max_delta

    def collect(self, round: int, codec: Codec, shift: int) -> None:
        got = self.board.expect(collect(round, 0, shift, 7, codec.code, codec.count), Delta)
        expected = self.twin.collect(round, shift, 7, codec=codec)
        assert isinstance(got, Delta) and got.round == round
        np.testing.assert_array_equal(got.deltas, expected.deltas)
        assert len(decode(codec, got.deltas, 65, stream(3, round))) == 65

    def measure(self, round: int, taken: int) -> None:
        self.board.expect(head(round, 0, weights(round + 1), taken), Done)
        self.twin.load(round, weights(round + 1), taken=taken)


def shift_of(codec: Codec, largest: int) -> int:
    reply = Trained(1, largest, largest // 4, *[0] * 7, np.zeros(0, np.uint8))
    return fleet_shift(codec, [reply])


@pytest.mark.parametrize("codec", CODECS, ids=lambda c: f"{c.level}-{c.selection}-{c.entropy:d}")
def test_rounds_equal_the_twins(program: Path, options: tuple[str, ...], codec: Codec) -> None:
    """Some count, some do not; a COLLECT comes twice, or first with another codec."""
    pair = Pair(lambda: Conversation(program, *options))
    for round, taken in TAKEN.items():
        shift = shift_of(codec, pair.train(round, taken))
        if round == 4:
            pair.collect(round, Codec("int2", feedback=True), shift)
        pair.collect(round, codec, shift)
        pair.collect(round, codec, shift)
        if round % 2:
            pair.measure(round, TAKEN.get(round + 1, round))
    pair.board.__exit__(None, None, None)


@pytest.mark.parametrize("when", ["train", "trained", "collected", "measured"])
def test_resets_change_nothing_where_there_is_a_store(
    program: Path, options: tuple[str, ...], tmp_path: Path, when: str
) -> None:
    codec, store = CODECS[9], str(tmp_path / "store")
    pair = Pair(lambda: Conversation(program, *options, "--store", store))
    for round, taken in TAKEN.items():
        if when == "train":
            pair.reset()
        largest = pair.train(round, taken)
        if when == "trained":
            pair.reset()
            pair.train(round, taken)
        pair.collect(round, codec, shift_of(codec, largest))
        if when == "collected":
            pair.reset()
            pair.train(round, taken)
            pair.collect(round, codec, shift_of(codec, largest))
        pair.measure(round, TAKEN.get(round + 1, round))
        if when == "measured":
            pair.reset()
    pair.board.__exit__(None, None, None)


@pytest.mark.slow
@pytest.mark.parametrize("operation", range(6, 120, 7))
def test_a_store_that_is_torn_loses_no_residual(
    program: Path, options: tuple[str, ...], tmp_path: Path, operation: int
) -> None:
    """The power goes in the middle of the operation-th write to flash, whichever round that is."""
    codec, store = CODECS[10], str(tmp_path / "store")
    cut: list[str] = ["--cut", str(operation)]
    pair = Pair(lambda: Conversation(program, *options, "--store", store, *cut))
    died = 0
    for round, taken in TAKEN.items():
        shift = shift_of(codec, pair.train(round, taken))
        try:
            pair.collect(round, codec, shift)
        except (AssertionError, BrokenPipeError, ConnectionResetError):
            assert pair.board.process.wait(10) != 0 and not died
            died, cut[:] = round, []
            pair.board = pair.start()
            pair.board.hello()
            pair.train(round, taken)
            pair.collect(round, codec, shift)
    assert died or operation > 60
    pair.board.__exit__(None, None, None)


def test_without_a_store_a_reset_board_says_what_it_lost(program: Path, options: tuple[str, ...]) -> None:
    pair = Pair(lambda: Conversation(program, *options))
    largest = pair.train(1, 0)
    pair.collect(1, Codec(feedback=True), shift_of(Codec(), largest))
    pair.reset()
    refused = pair.board.refused(train(2, 3, 0, 1, *RATE, weights(2), 1, 1))
    assert refused.status == Status.ERROR_RESIDUAL
    pair.board.expect(train(2, 3, 0, 1, *RATE, weights(2), 1, 0), Trained)  # without feedback it needs none
    pair.board.expect(
        train(2, 3, 0, 1, *RATE, weights(2), 0, 1), Trained
    )  # and a board of which nothing counted, zeros
    pair.board.__exit__(None, None, None)


def test_a_residual_of_another_model_is_none(options: tuple[str, ...], program: Path, tmp_path: Path) -> None:
    other = compile_model(small_classifier(), "other", X // 2)
    assert other.manifest["hash"] != MODEL.manifest["hash"]
    store = ("--store", str(tmp_path / "store"))
    pair = Pair(lambda: Conversation(program, *options, *store))
    pair.collect(1, Codec(feedback=True), shift_of(Codec(), pair.train(1, 0)))
    pair.board.__exit__(None, None, None)
    with Conversation(build_board("gcc", other, tmp_path / "gcc"), *options, *store) as board:
        board.hello()
        assert board.refused(train(2, 3, 0, 1, *RATE, weights(2), 1, 1)).status == Status.ERROR_RESIDUAL


def test_a_board_that_is_built_without_the_memory_says_so(options: tuple[str, ...], tmp_path: Path) -> None:
    with Conversation(build_board("gcc", MODEL, tmp_path / "gcc", ["-DTFL_FEEDBACK=0"]), *options) as board:
        assert not board.welcome(1).features & Feature.FEEDBACK
        assert board.refused(train(1, 3, 0, 1, *RATE, weights(1), 0, 1)).status == Status.ERROR_ARGUMENT
        board.expect(train(1, 3, 0, 1, *RATE, weights(1)), Trained)
        kind, _ = board.ask(collect(1, 0, 9, 1, Codec("sign").code))
        assert kind is Delta and kind is not Error


@pytest.fixture
def fleet(program: Path) -> Iterator[ProcessFleet]:
    with ProcessFleet("posix", program, members()) as fleet:
        yield fleet


@pytest.mark.slow
@pytest.mark.parametrize(
    "update", [SPARSE, UpdateSettings(codec="sign", feedback=True, dense_rounds=1, downlink="int8")]
)
def test_a_run_on_processes_is_the_twins_run(tmp_path: Path, fleet: ProcessFleet, update: UpdateSettings) -> None:
    """A board is dropped in two rounds, and another one reset in two: it has no store, and does its rounds again."""
    plan = settings(rounds=5, local_only=False, update=update)
    left = {2, 4}

    def reset(name: str, round: int) -> None:
        if name == "train" and round in left:
            left.remove(round)
            fleet.emulators["b2"].reset()

    fleet.faults = {"b1": raising("collect", 2, 3), "b2": reset}
    outcome = run(tmp_path / "posix", fleet, plan, patience=2.0)
    run(tmp_path / "twin", TwinFleet(members(), {"b1": raising("collect", 2, 3)}), plan)
    assert {d.board for d in outcome.of(BoardDropped)} == {"b1"} and not left
    assert contents(tmp_path / "posix") == contents(tmp_path / "twin")

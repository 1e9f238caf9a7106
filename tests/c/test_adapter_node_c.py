"""A board whose model has an adapter: head and adapter, shared or private, equal the twin's over rounds and resets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from support_board import Conversation, build_board
from support_messages import coded, head, train
from support_rounds import ADAPTED, DATA, MODEL, X, head_format, image, members, twin

from tinyfl.compiler import compile_model
from tinyfl.federated.codecs import encode_weights
from tinyfl.reference import adapter, tensors
from tinyfl.reference.codec import Codec
from tinyfl.reference.head import rate
from tinyfl.reference.tensors import ADAPTER, ALL, HEAD, Adapting
from tinyfl.wire import messages as wire
from tinyfl.wire.messages import Delta, Done, Error, Evaluate, Evaluated, Feature, Pull, Status, Trained, Weights

FORMAT = head_format(ADAPTED)
assert FORMAT.adapter is not None
RATE = rate(0.5, FORMAT.r2, FORMAT.fw)
ADAPTER_RATE = adapter.rate(1.0, FORMAT)
WHOLE = tensors.count(FORMAT)
SHARED = (1, 2)  # masks with a private tensor
TAKEN = {1: 0, 2: 1, 3: 1, 4: 1, 5: 4, 6: 5}  # rounds 2 and 3 did not count
CODECS = [Codec(), Codec("int4", "top", True, 9), Codec("sign", "random", False, 7), Codec("int2", entropy=True)]
NONE = np.zeros(0, np.int16)


@pytest.fixture(scope="module", params=["gcc", pytest.param("clang-14", marks=pytest.mark.slow)])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_board(request.param, ADAPTED, tmp_path_factory.mktemp("board") / request.param)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    path = tmp_path_factory.mktemp("image") / "data.bin"
    path.write_bytes(image(members()[0]))
    return ("--image", str(path), "--name", "b0")


def weights(round: int, shared: int) -> np.ndarray:
    """Those that the server sends in a round."""
    noise = np.random.default_rng(round).integers(-300, 300, tensors.count(FORMAT, shared))
    return (tensors.initial(FORMAT, shared) + noise).astype(np.int16)


def behind(adapting: Adapting, given: np.ndarray, trains: bool = False) -> np.ndarray:
    """Coded weights with what says which they are."""
    return np.concatenate([adapting.prefix(loads=given.size > 0, trains=trains), coded(given)])


class Pair:
    """A board and its twin, asked the same."""

    def __init__(self, start: Callable[[], Conversation], shared: int = ALL) -> None:
        self.start, self.twin = start, twin(members()[0], ADAPTED)
        self.adapting = Adapting(shared, ADAPTER_RATE)
        self.board = start()
        self.board.hello()

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *error: object) -> None:
        self.board.__exit__(*error)  # type: ignore[arg-type]

    def reset(self) -> None:
        """Of the board alone."""
        self.board.__exit__(None, None, None)
        self.board = self.start()
        self.board.hello()

    def request(self, round: int, taken: int, loads: bool = True) -> wire.Train:
        given = behind(self.adapting, weights(round, self.adapting.shared) if loads else NONE, True)
        return wire.Train(round, 3, 0, taken, 2, *RATE, 0, 0, 0, given)

    def train(self, round: int, taken: int, loads: bool = True) -> Trained:
        given = weights(round, self.adapting.shared) if loads else None
        expected = self.twin.train(round, 3, 0, 2, *RATE, given, taken=taken, adapting=self.adapting)
        reply = self.board.expect(self.request(round, taken, loads), Trained)
        assert isinstance(reply, Trained)
        for field in fields(Trained):
            if field.name not in ("embeddings", "embed_ticks", "step_ticks"):
                np.testing.assert_array_equal(getattr(reply, field.name), getattr(expected, field.name), field.name)
        return reply

    def collect(self, round: int, codec: Codec = CODECS[0]) -> None:
        """All that is shared; what is not is refused."""
        for tensor in (HEAD, ADAPTER):
            request = wire.Collect(round, tensor, 16, 7 + tensor, codec.code, codec.count)
            if not self.adapting.shared >> tensor & 1:
                assert self.board.refused(request).status == Status.ERROR_STATE
                continue
            got = self.board.expect(request, Delta)
            expected = self.twin.collect(round, 16, 7 + tensor, codec=codec, tensor=tensor)
            assert isinstance(got, Delta)
            np.testing.assert_array_equal(got.deltas, expected.deltas)

    def measure(self, round: int, taken: int, keep: int = 0) -> None:
        given, adapting = weights(round + 1, self.adapting.shared), Adapting(self.adapting.shared)
        self.twin.load(round, given, taken=taken, adapting=adapting)
        self.board.expect(wire.Head(round, keep, taken, 0, behind(adapting, given)), Done)
        self.evaluate()

    def evaluate(self) -> None:
        """Both splits with both copies of the weights: private ones too are seen by what they answer."""
        for split in (0, 1):
            for source in (0, 1):
                assert self.board.expect(Evaluate(split, source), Evaluated) == self.twin.evaluate(split, source)

    def pull(self, round: int) -> None:
        got = self.board.expect(Pull(), Weights)
        assert isinstance(got, Weights) and got.round == round
        np.testing.assert_array_equal(got.weights, self.twin.pull())


@pytest.mark.parametrize("codec", CODECS, ids=lambda c: f"{c.level}-{c.selection}-{c.entropy:d}")
def test_rounds_of_both_tensors_equal_the_twins(program: Path, options: tuple[str, ...], codec: Codec) -> None:
    with Pair(lambda: Conversation(program, *options)) as pair:
        pair.evaluate()  # as it was compiled
        for round in (1, 2):
            reply = pair.train(round, 0)
            assert reply.max_delta and reply.more.view("<u4")[0]
            pair.collect(round, codec)
            pair.evaluate()
            pair.pull(round)
            pair.train(round, 0, loads=False)  # on from where the last one ended
            pair.collect(round, codec)
            pair.pull(round)
            pair.measure(round, round)
            pair.pull(round)


def test_the_best_of_the_offered_weights_is_trained(program: Path, options: tuple[str, ...]) -> None:
    adapting = Adapting(ALL)
    with Pair(lambda: Conversation(program, *options)) as pair:
        for cluster in range(3):
            given = weights(40 + cluster, ALL)
            expected = pair.twin.offer(1, cluster, given, adapting=adapting)
            assert pair.board.expect(wire.Offer(1, 0, cluster, 0, behind(adapting, given)), wire.Offered) == expected
        assert pair.train(1, 0, loads=False).cluster < 3
        pair.collect(1)
        pair.pull(1)


@pytest.mark.parametrize("shared", SHARED)
def test_what_is_private_moves_on_with_the_rounds_that_count(
    program: Path, options: tuple[str, ...], shared: int
) -> None:
    with Pair(lambda: Conversation(program, *options), shared) as pair:
        for round, taken in TAKEN.items():
            for _ in range(2):  # the second time from the same weights again
                reply = pair.train(round, taken)
                assert (reply.max_delta == 0) == (shared == 2) and (reply.more.view("<u4")[0] == 0) == (shared == 1)
                pair.collect(round, CODECS[round % 4])
            pair.evaluate()
            if round % 2:
                pair.measure(round, TAKEN.get(round + 1, round))
            assert pair.board.refused(Pull()).status == Status.ERROR_STATE
        pair.train(7, 6)
        pair.train(8, 6, loads=False)
        pair.collect(8)
        pair.measure(8, 8)
        pair.train(9, 0)  # from the compiled weights again
        pair.evaluate()
        pair.adapting = Adapting(ALL, ADAPTER_RATE)
        pair.train(10, 0)  # the server's own weights: nothing is private
        pair.pull(10)
        pair.adapting = Adapting(shared, ADAPTER_RATE)
        assert pair.board.refused(pair.request(11, 10)).status == Status.ERROR_RESIDUAL


def test_another_tensor_becomes_private(program: Path, options: tuple[str, ...]) -> None:
    with Pair(lambda: Conversation(program, *options), 1) as pair:
        pair.train(1, 0)
        pair.collect(1)
        pair.adapting = Adapting(2, ADAPTER_RATE)
        assert pair.board.refused(pair.request(2, 1)).status == Status.ERROR_RESIDUAL
        assert pair.board.refused(Pull()).status == Status.ERROR_STATE
        pair.train(2, 0)
        pair.collect(2)
        pair.evaluate()


@pytest.mark.parametrize("shared", SHARED)
def test_a_server_cannot_try_private_weights(program: Path, options: tuple[str, ...], shared: int) -> None:
    """A difference says by its digest what it leads to: to weights that are private even the right one is refused."""
    with Pair(lambda: Conversation(program, *options), shared) as pair:
        pair.train(1, 0)
        pair.measure(1, 1)
        whole = np.concatenate([tensor.sent() for tensor in pair.twin._tensors]).astype(np.int16)
        coding, unchanged = encode_weights(whole, "difference", whole)
        given = np.concatenate([Adapting(ALL).prefix(), unchanged])
        assert pair.board.refused(wire.Head(2, 0, 1, coding, given)).status == Status.ERROR_DIGEST
        assert pair.board.refused(Pull()).status == Status.ERROR_STATE
        ours = weights(2, shared)  # as `measure` sent them
        coding, unchanged = encode_weights(ours, "difference", ours)
        given = np.concatenate([Adapting(shared).prefix(), unchanged])
        pair.board.expect(wire.Head(2, 0, 1, coding, given), Done)
        pair.evaluate()


@pytest.mark.parametrize("shared", SHARED)
@pytest.mark.parametrize("when", ["train", "trained", "collected", "measured"])
def test_resets_change_nothing_where_there_is_a_store(
    program: Path, options: tuple[str, ...], tmp_path: Path, when: str, shared: int
) -> None:
    """Once a round has counted, what is private of it is in the store."""
    with Pair(lambda: Conversation(program, *options, "--store", str(tmp_path / "store")), shared) as pair:
        for round, taken in TAKEN.items():
            if when == "train":
                pair.reset()
            pair.train(round, taken)
            if when == "trained":
                pair.reset()
                pair.train(round, taken)
            pair.collect(round)
            if when == "collected":
                pair.reset()
                assert pair.board.refused(Pull()).status == Status.ERROR_STATE
                pair.train(round, taken)
                pair.collect(round)
            if when == "measured":
                pair.measure(round, TAKEN.get(round + 1, round), 1)
                pair.reset()
                pair.evaluate()
            elif round % 2:
                pair.measure(round, TAKEN.get(round + 1, round))


@pytest.mark.slow
@pytest.mark.parametrize("shared", SHARED)
@pytest.mark.parametrize("operation", range(5, 90, 7))
def test_a_store_that_is_torn_loses_nothing_private(
    program: Path, options: tuple[str, ...], tmp_path: Path, operation: int, shared: int
) -> None:
    """The power goes in the middle of the operation-th write to flash, whichever round that is."""
    store, cut, died = str(tmp_path / "store"), ["--cut", str(operation)], 0
    pair = Pair(lambda: Conversation(program, *options, "--store", store, *cut), shared)
    for round, taken in TAKEN.items():
        pair.train(round, taken)
        try:
            pair.collect(round)
        except (AssertionError, BrokenPipeError, ConnectionResetError):
            assert pair.board.process.wait(10) != 0 and not died
            died, cut[:] = round, []
            pair.board = pair.start()
            pair.board.hello()
            pair.train(round, taken)
            pair.collect(round)
        pair.evaluate()
    assert died or operation > 40
    pair.__exit__(None, None, None)


def test_the_store_tells_nothing_of_what_is_private(program: Path, options: tuple[str, ...], tmp_path: Path) -> None:
    """Two boards with other private weights and the same shared ones say the same of what they keep."""
    digests = []
    for rounds in (1, 2):
        store = str(tmp_path / f"store{rounds}")
        with Pair(lambda store=store: Conversation(program, *options, "--store", store), 2) as pair:  # type: ignore[misc]
            for round in range(1, rounds + 1):
                pair.train(round, round - 1)
                pair.collect(round)
            pair.measure(7, rounds, 1)
            pair.reset()
            digests.append(pair.board.welcome(9).head_digest)
    assert digests[0] == digests[1] != 0


@pytest.mark.parametrize("shared", SHARED)
def test_without_a_store_a_reset_board_says_what_it_lost(program: Path, options: tuple[str, ...], shared: int) -> None:
    with Pair(lambda: Conversation(program, *options), shared) as pair:
        pair.train(1, 0)
        pair.collect(1)
        pair.reset()
        assert pair.board.refused(pair.request(2, 1)).status == Status.ERROR_RESIDUAL
        given = behind(Adapting(shared), weights(2, shared))
        assert pair.board.refused(wire.Head(2, 0, 1, 0, given)).status == Status.ERROR_RESIDUAL
        pair.train(1, 0)  # the round again
        pair.collect(1)
        pair.train(2, 1)
        pair.collect(2)


@pytest.mark.parametrize("shared", SHARED)
def test_a_training_that_is_broken_off_takes_nothing_private_with_it(
    program: Path, options: tuple[str, ...], shared: int
) -> None:
    """Weights of half an epoch are nobody's: not even where the last whole TRAIN counted."""
    with Pair(lambda: Conversation(program, *options), shared) as pair:
        pair.train(1, 0)
        pair.collect(1)
        pair.board.start(replace(pair.request(2, 0), epochs=65535))
        pair.board.restart(2)
        pair.board.hello()
        pair.train(1, 0)  # from the start of the round again
        pair.collect(1)
        pair.board.start(replace(pair.request(2, 1, loads=False), epochs=65535))
        pair.board.restart(3)
        pair.board.hello()
        assert pair.board.refused(Pull()).status == Status.ERROR_STATE
        assert pair.board.refused(pair.request(2, 1)).status == Status.ERROR_RESIDUAL


def test_a_store_without_room_for_private_weights_keeps_none(options: tuple[str, ...], tmp_path: Path) -> None:
    """It has room for both tensors' broadcast weights."""
    program = build_board("gcc", ADAPTED, tmp_path / "gcc", ["-DFLASH_PAGE_BYTES=400u", "-DFLASH_PAGES=3u"])
    store = ("--store", str(tmp_path / "store"))
    with Pair(lambda: Conversation(program, *options, *store)) as pair:
        pair.measure(1, 0, 1)
        pair.reset()
        kept = pair.board.welcome(2).head_digest
        pair.evaluate()
        pair.adapting = Adapting(2, ADAPTER_RATE)
        pair.train(2, 0)
        pair.collect(2)
        pair.measure(2, 2, 1)
        pair.reset()
        assert pair.board.welcome(2).head_digest == kept != 0
        assert pair.board.refused(pair.request(3, 2)).status == Status.ERROR_RESIDUAL


def test_private_weights_of_another_model_are_none(program: Path, options: tuple[str, ...], tmp_path: Path) -> None:
    other = compile_model(DATA, "other", X // 2, adapter=5)
    assert other.manifest["hash"] != ADAPTED.manifest["hash"]
    store = ("--store", str(tmp_path / "store"))
    with Pair(lambda: Conversation(program, *options, *store), 1) as pair:
        pair.train(1, 0)
        pair.collect(1)
        request = pair.request(2, 1)
    with Conversation(build_board("gcc", other, tmp_path / "gcc"), *options, *store) as board:
        assert board.welcome(1).head_digest == 0
        assert board.refused(request).status == Status.ERROR_RESIDUAL


def bare(mask: int, factor: int = 0, shift: int = 0, given: np.ndarray = NONE) -> np.ndarray:
    return np.concatenate([np.array([mask, factor & 255, factor >> 8, shift], np.uint8), coded(given)])


def test_what_is_out_of_range_is_refused(program: Path, options: tuple[str, ...]) -> None:
    whole, factor, shift = weights(1, ALL), *ADAPTER_RATE

    def training(given: np.ndarray, pull: int = 0, feedback: int = 0) -> wire.Train:
        return wire.Train(1, 3, 0, 0, 1, *RATE, pull, feedback, 0, given)

    argument = [
        wire.Head(1, 0, 0, 0, bare(0)),
        wire.Head(1, 0, 0, 0, bare(4, given=whole)),
        wire.Head(1, 0, 0, 0, bare(ALL, factor, given=whole)),
        wire.Head(1, 0, 0, 0, bare(ALL, 0, 1, whole)),
        wire.Head(1, 2, 0, 0, bare(ALL, given=whole)),
        wire.Offer(1, 0, 0, 0, bare(1, given=weights(1, 1))),
        wire.Offer(1, 0, 0, 0, bare(2, given=weights(1, 2))),
        wire.Offer(1, 0, 0, 0, bare(0)),
        training(bare(255, factor, shift, whole)),
        training(bare(ALL, (1 << 14) - 1, shift, whole)),
        training(bare(ALL, (1 << 15) + 1, shift, whole)),
        training(bare(ALL, factor, 0, whole)),
        training(bare(ALL, factor, 31, whole)),
        training(bare(0, factor, 31)),
        training(bare(ALL, factor, shift, whole), pull=1),
        training(bare(ALL, factor, shift, whole), feedback=1),
        training(bare(ALL, factor, shift, np.where(np.arange(WHOLE) == WHOLE - 1, 16384, whole))),
        wire.Collect(1, 2, 16, 1, 0, 0),
        wire.Collect(1, ADAPTER, 16, 1, Codec("int8", "top").code, tensors.size(FORMAT, ADAPTER) + 1),
        wire.Collect(1, HEAD, 16, 1, Codec("int8", "top").code, tensors.size(FORMAT, HEAD) + 1),
    ]
    length = [
        head(1, 0, NONE),
        train(1, 3, 0, 1, *RATE, NONE),
        training(bare(ALL, factor, shift)[:3]),
        training(bare(ALL, factor, shift, whole[:-1])),
        training(bare(1, factor, shift, whole)),
        training(bare(2, factor, shift, weights(1, 1))),
        training(bare(0, factor, shift, whole)),
        wire.Head(1, 0, 0, 0, bare(2)),
        wire.Offer(1, 0, 0, 0, bare(ALL, given=whole[1:])),
    ]
    with Pair(lambda: Conversation(program, *options)) as pair:
        assert not pair.board.welcome(2).features & Feature.FEEDBACK
        for messages, status in ((argument, Status.ERROR_ARGUMENT), (length, Status.ERROR_LENGTH)):
            for message in messages:
                assert pair.board.refused(message).status == status, message
        assert pair.board.refused(training(bare(2, factor, shift, whole))).detail == tensors.count(FORMAT, 2)
        assert pair.board.refused(wire.Collect(1, ADAPTER, 16, 1, 0, 0)).status == Status.ERROR_STATE
        pair.train(1, 0)
        pair.collect(1)
        pair.pull(1)


def test_a_board_without_an_adapter_knows_one_tensor(options: tuple[str, ...], tmp_path: Path) -> None:
    with Conversation(build_board("gcc", MODEL, tmp_path / "gcc"), *options) as board:
        board.hello()
        kind, _ = board.ask(train(1, 3, 0, 1, *RATE, tensors.initial(head_format())))
        assert kind is Trained and kind is not Error
        assert board.refused(wire.Collect(1, ADAPTER, 16, 1, 0, 0)).status == Status.ERROR_ARGUMENT
        given = behind(Adapting(1), weights(1, 1))
        assert board.refused(wire.Head(1, 0, 0, 0, given)).status == Status.ERROR_LENGTH

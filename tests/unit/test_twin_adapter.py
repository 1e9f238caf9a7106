"""TwinBoard of a model with an adapter: which tensors weights are of, and what is private through rounds that count."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from support_tflite import small_classifier

from tinyfl.compiler import compile_model
from tinyfl.errors import BoardError
from tinyfl.graph import HeadFormat
from tinyfl.reference import adapter, embed, tensors
from tinyfl.reference.board import TwinBoard
from tinyfl.reference.codec import Codec
from tinyfl.reference.head import TwinHead, broadcast
from tinyfl.reference.tensors import ADAPTER, ALL, HEAD, Adapting
from tinyfl.wire.messages import Feature, Status, Trained

RNG = np.random.default_rng(4)
X = RNG.integers(-128, 128, (60, 10, 1, 3)).astype(np.int8)
MODEL = compile_model(small_classifier(), "small", X, adapter=5)
Y = np.argsort(np.argsort(embed(MODEL.graph, X).sum(axis=1), kind="stable")) * 5 // 60  # a class is a range of norms
RATE = (20000, 16)


def format() -> HeadFormat:
    assert MODEL.head is not None
    return MODEL.head


RATES = adapter.rate(0.5, format())
private = pytest.mark.parametrize("private", [HEAD, ADAPTER], ids=["head", "adapter"])


def board(samples: int = 40) -> TwinBoard:
    return TwinBoard(MODEL.graph, format(), X[:samples], Y[:samples], X[40:], Y[40:])


def weights(shared: int = ALL, seed: int = 0) -> np.ndarray:
    """Some that are near the compiled ones."""
    first = tensors.initial(format(), shared)
    return (first + np.random.default_rng(seed).integers(-50, 50, first.shape)).astype(np.int16)


def train(twin: TwinBoard, round: int, taken: int, shared: int, given: np.ndarray | None = None) -> Trained:
    given = weights(shared, round) if given is None else given
    return twin.train(round, 7, 3, 2, *RATE, given, taken=taken, adapting=Adapting(shared, RATES))


def own(twin: TwinBoard, number: int) -> tuple[np.ndarray, np.ndarray]:
    """A tensor's broadcast weights, and what it learned since."""
    return twin._tensors[number].sent(), twin.delta(number)


def refused(call: Callable[[], object]) -> int:
    with pytest.raises(BoardError) as error:
        call()
    assert error.value.status is not None
    return error.value.status


def test_both_tensors_are_trained_as_the_layers_alone_are() -> None:
    twin, given = board(), weights()
    reply = train(twin, 1, 0, ALL, given)
    head, layer = TwinHead(format()), adapter.TwinAdapter(format())
    first, second = tensors.slices(format())
    head.load(given[first])
    layer.load(given[second])
    loss = layer.train(head, embed(MODEL.graph, X[:40]), Y[:40].tolist(), (7, 1, 3), 2, RATE, RATES)
    assert reply.loss == loss and reply.first_loss == head.first_loss
    np.testing.assert_array_equal(twin.pull(), np.concatenate([head.pull(), layer.pull()]))
    told = [(reply.max_delta, reply.mean_delta), tuple(reply.more.view("<u4").tolist())]
    for delta, (most, mean) in zip((head.delta(), layer.delta()), told, strict=True):
        assert (most, mean) == (np.abs(delta).max(), np.abs(delta).sum() // len(delta))


def test_an_untrained_adapter_changes_no_answer() -> None:
    plain = compile_model(small_classifier(), "small", X)
    assert plain.head is not None
    before = TwinBoard(plain.graph, plain.head, X[:40], Y[:40], X[40:], Y[40:])
    assert [board().evaluate(split, 0) for split in (0, 1)] == [before.evaluate(split, 0) for split in (0, 1)]


def test_each_tensor_is_collected_with_a_shift_and_a_selection_of_its_own() -> None:
    twin = board()
    train(twin, 1, 0, ALL)
    size = tensors.size(format(), ADAPTER)
    delta = twin.collect(1, 20, 5, tensor=ADAPTER)
    assert len(delta.deltas) == size and len(twin.collect(1, 20, 5).deltas) == format().size
    some = Codec("int8", "random", False, 9)
    picked = [twin.collect(1, 20, 5, codec=some, tensor=number).deltas for number in (HEAD, ADAPTER)]
    assert [len(deltas) for deltas in picked] == [9, 9] and picked[0].tolist() != picked[1].tolist()


def test_what_the_firmware_refuses() -> None:
    twin, all_weights, adapting = board(), weights(), Adapting(ALL, RATES)
    rest = {"weights": all_weights, "adapting": adapting}
    cases: list[tuple[Callable[[], object], Status]] = [
        (lambda: twin.load(1, all_weights), Status.ERROR_LENGTH),
        (lambda: twin.load(1, all_weights[1:], adapting=adapting), Status.ERROR_LENGTH),
        (lambda: twin.load(1, all_weights, adapting=Adapting(HEAD + 1)), Status.ERROR_LENGTH),
        (lambda: twin.load(1, all_weights, adapting=Adapting(0)), Status.ERROR_ARGUMENT),
        (lambda: twin.load(1, all_weights, adapting=Adapting(4)), Status.ERROR_ARGUMENT),
        (lambda: twin.offer(1, 0, weights(1), adapting=Adapting(1)), Status.ERROR_ARGUMENT),
        (lambda: twin.train(1, 1, 1, 1, *RATE, feedback=True, **rest), Status.ERROR_ARGUMENT),
        (lambda: twin.train(1, 1, 1, 1, *RATE, pull=5, **rest), Status.ERROR_ARGUMENT),
        (lambda: twin.train(1, 1, 1, 1, *RATE, all_weights, adapting=Adapting(ALL)), Status.ERROR_ARGUMENT),
        (
            lambda: twin.train(1, 1, 1, 1, *RATE, all_weights, adapting=Adapting(ALL, (20000, 31))),
            Status.ERROR_ARGUMENT,
        ),
        (lambda: twin.collect(1, 3, 1, tensor=2), Status.ERROR_ARGUMENT),
        (lambda: twin.collect(1, 3, 1, tensor=ADAPTER), Status.ERROR_STATE),
    ]
    assert [refused(call) for call, _ in cases] == [status for _, status in cases]
    assert Feature.FEEDBACK not in Feature(twin.hello().features)


@private
def test_nothing_of_a_private_tensor_is_told(private: int) -> None:
    twin, shared = board(), ALL & ~(1 << private)
    reply = train(twin, 1, 0, shared)
    most = [reply.max_delta, int(reply.more.view("<u4")[0])]
    assert most[private] == 0 < most[1 - private] and twin.delta(private).any()
    assert refused(lambda: twin.collect(1, 20, 5, tensor=private)) == Status.ERROR_STATE
    assert refused(twin.pull) == Status.ERROR_STATE
    assert len(twin.collect(1, 20, 5, tensor=1 - private).deltas) == tensors.size(format(), 1 - private)


@private
def test_a_round_that_counted_moves_what_is_private_on(private: int) -> None:
    twin, shared = board(), ALL & ~(1 << private)
    train(twin, 1, 0, shared)
    assert own(twin, private)[0].tolist() == tensors.initial(format(), 1 << private).tolist()
    master = twin.delta(private) + (own(twin, private)[0].astype(np.int64) << 16)
    twin.load(1, weights(shared, 9), taken=1, adapting=Adapting(shared))
    after, learned = own(twin, private)
    assert after.tolist() == broadcast(master).tolist() and not learned.any()
    train(twin, 2, 1, shared)
    assert own(twin, private)[0].tolist() == after.tolist() and twin.delta(private).any()


@private
def test_a_round_that_did_not_count_is_forgotten(private: int) -> None:
    twin, other, shared = board(), board(), ALL & ~(1 << private)
    for one in (twin, other):
        train(one, 1, 0, shared)
    train(twin, 2, 1, shared)  # late: the server went on without it
    train(twin, 2, 1, shared)  # asked twice
    for one in (twin, other):
        train(one, 3, 1, shared)
        train(one, 4, 3, shared)
    for number in (HEAD, ADAPTER):
        assert [part.tolist() for part in own(twin, number)] == [part.tolist() for part in own(other, number)]


@private
def test_a_board_that_lost_it_says_so_and_gets_it_back_by_its_rounds(private: int) -> None:
    twin, shared = board(), ALL & ~(1 << private)
    for round, taken in ((1, 0), (2, 1), (4, 2)):
        train(twin, round, taken, shared)
    fresh = board()
    assert refused(lambda: train(fresh, 5, 4, shared)) == Status.ERROR_RESIDUAL
    assert refused(lambda: fresh.load(4, weights(shared), taken=4, adapting=Adapting(shared))) == Status.ERROR_RESIDUAL
    for round, taken in ((1, 0), (2, 1), (4, 2)):
        train(fresh, round, taken, shared)
    for one in (twin, fresh):
        train(one, 5, 4, shared)
    assert own(twin, private)[1].tolist() == own(fresh, private)[1].tolist()


@private
def test_weights_of_other_tensors_in_between_void_it(private: int) -> None:
    shared, other = ALL & ~(1 << private), 1 << private
    for between in (ALL, other):
        twin = board()
        train(twin, 1, 0, shared)
        twin.load(1, weights(between), taken=0, adapting=Adapting(between))
        assert refused(lambda one=twin: train(one, 2, 1, shared)) == Status.ERROR_RESIDUAL  # type: ignore[misc]
        train(twin, 1, 0, shared)
        train(twin, 2, 1, shared)
    twin = board()
    train(twin, 1, 0, shared)
    assert refused(lambda: train(twin, 2, 1, other)) == Status.ERROR_RESIDUAL
    assert refused(lambda: train(twin, 2, 1, shared)) == Status.ERROR_RESIDUAL


@private
def test_a_new_run_starts_from_the_compiled_weights(private: int) -> None:
    twin, shared = board(), ALL & ~(1 << private)
    train(twin, 1, 0, shared)
    first = own(twin, private)[1].tolist()
    train(twin, 2, 1, shared)
    train(twin, 1, 0, shared)
    assert own(twin, private)[1].tolist() == first


def test_training_without_weights_goes_on_with_all_tensors() -> None:
    twin = board()
    twin.load(0, weights(), adapting=Adapting(ALL))
    for round in (1, 2):
        twin.train(round, 7, 3, 2, *RATE, adapting=Adapting(ALL, RATES))
    pulled = twin.pull()
    assert len(pulled) == tensors.count(format()) and twin.delta(ADAPTER).any()
    twin.load(0, weights(), adapting=Adapting(ALL))
    twin.train(1, 7, 3, 2, *RATE, adapting=Adapting(ALL, RATES))
    assert pulled.tolist() != twin.pull().tolist()


def test_the_better_of_the_offered_weights_is_trained_with_its_own_adapter() -> None:
    twin, good = board(), board()
    train(good, 1, 0, ALL)
    best = good.pull()
    for cluster, offered in enumerate((weights(), best, weights(seed=5))):
        twin.offer(3, cluster, offered, adapting=Adapting(ALL))
    reply = twin.train(3, 7, 3, 2, *RATE, adapting=Adapting(ALL, RATES))
    good.load(3, best, adapting=Adapting(ALL))
    good.train(3, 7, 3, 2, *RATE, adapting=Adapting(ALL, RATES))
    assert reply.cluster == 1 and twin.pull().tolist() == good.pull().tolist()


def test_no_samples_no_change() -> None:
    twin = board(0)
    reply = train(twin, 1, 0, 1)
    assert (reply.samples, reply.max_delta, reply.loss) == (0, 0, 0) and not reply.more.any()
    train(twin, 2, 1, 1)
    assert not own(twin, ADAPTER)[0].any()

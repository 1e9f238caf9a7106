"""TwinBoard: the Board interface on numpy, with the states and refusals of the firmware."""

import numpy as np
import pytest
from support_tflite import small_classifier

from tinyfl.compiler import compile_model
from tinyfl.errors import BoardError, DataError
from tinyfl.reference import embed
from tinyfl.reference.board import TwinBoard
from tinyfl.reference.head import aggregate, broadcast, fleet_shift, to_wire
from tinyfl.wire.messages import Feature, Status

RNG = np.random.default_rng(4)
X = RNG.integers(-128, 128, (60, 10, 1, 3)).astype(np.int8)
MODEL = compile_model(small_classifier(), "small", X)
Y = np.argsort(np.argsort(embed(MODEL.graph, X).sum(axis=1), kind="stable")) * 5 // 60  # a class is a range of norms
RATE = (20000, 16)


def twin(samples: int = 40) -> TwinBoard:
    assert MODEL.head is not None
    return TwinBoard(MODEL.graph, MODEL.head, X[:samples], Y[:samples], X[40:], Y[40:], "t", bytes(range(16)))


def initial() -> np.ndarray:
    assert MODEL.head is not None
    return to_wire(MODEL.head.initial)


def test_welcome_says_who_it_is() -> None:
    welcome = twin().hello()
    features = Feature.FEEDBACK | Feature.CODECS | Feature.PROXIMAL | Feature.CLUSTERS
    assert (welcome.name, welcome.model, welcome.input_bytes, welcome.output_bytes) == ("t", bytes(range(16)), 30, 5)
    assert (welcome.head_features, welcome.head_classes, welcome.train_samples, welcome.test_samples) == (12, 5, 40, 20)
    assert (welcome.features, len(welcome.device), len(welcome.pack())) == (features, 8, 128)
    assert welcome.device == twin().hello().device


def test_training_learns_and_delta_is_what_it_learnt() -> None:
    board = twin()
    before = board.evaluate(0, 1)
    trained = board.train(1, 7, 3, 20, *RATE)
    after = board.evaluate(0, 1)
    assert after.correct > before.correct and after.loss < before.loss
    assert board.evaluate(0, 0) == before  # the broadcast head is untouched
    assert (trained.samples, trained.steps, trained.embeddings) == (40, 800, 40)
    shift = fleet_shift([trained.max_delta])
    delta = board.collect(1, shift, 5)
    deltas = delta.deltas.view(np.int8)
    assert 63 < np.abs(deltas.astype(int)).max() <= 127  # the shift leaves no bit unused
    master = aggregate(initial().astype(np.int64) << 16, [deltas], [delta.samples], shift)
    assert np.abs(broadcast(master).astype(int) - board.pull()).max() <= (1 << shift >> 16) + 1


def test_the_same_call_gives_the_same_bytes_and_board_round_seed_matter() -> None:
    def pulled(*stream: int) -> bytes:
        board = twin()
        board.train(*stream, 3, *RATE)
        return board.pull().tobytes()

    assert pulled(1, 7, 3) == pulled(1, 7, 3)
    assert len({pulled(1, 7, 3), pulled(2, 7, 3), pulled(1, 8, 3), pulled(1, 7, 4)}) == 4


def test_a_second_train_goes_on_and_a_head_starts_anew() -> None:
    board = twin()
    board.train(1, 1, 1, 1, *RATE)
    once = board.pull()
    board.train(2, 1, 1, 1, *RATE)
    assert not np.array_equal(board.pull(), once)
    board.load(1, initial())
    board.train(1, 1, 1, 1, *RATE)
    np.testing.assert_array_equal(board.pull(), once)


def test_a_train_with_weights_starts_from_them() -> None:
    """As a HEAD and a TRAIN without any; an empty array is what goes over the wire for none."""
    head = (initial() // 2).astype(np.int16)
    one, two = twin(), twin()
    one.train(1, 1, 1, 2, *RATE)
    one.train(2, 7, 3, 2, *RATE, head)
    two.load(2, head, keep=True)
    two.train(2, 7, 3, 2, *RATE, np.zeros(0, np.int16))
    np.testing.assert_array_equal(one.pull(), two.pull())
    np.testing.assert_array_equal(one.collect(2, 8, 5).deltas, two.collect(2, 8, 5).deltas)


def test_no_samples() -> None:
    board = twin(0)
    trained = board.train(1, 1, 1, 5, *RATE)
    assert (trained.samples, trained.max_delta, trained.loss, trained.steps) == (0, 0, 0, 0)
    assert not board.collect(1, 0, 1).deltas.any()
    assert board.evaluate(0, 1).samples == 0


def test_refusals_are_the_firmwares() -> None:
    board = twin()
    cases = [
        (lambda: board.collect(1, 3, 1), Status.ERROR_STATE),
        (lambda: board.train(1, 1, 1, 0, *RATE), Status.ERROR_ARGUMENT),
        (lambda: board.train(1, 1, 1, 1, 20000, 12), Status.ERROR_ARGUMENT),
        (lambda: board.train(1, 1, 1, 1, 2**14 - 1, 16), Status.ERROR_ARGUMENT),
        (lambda: board.evaluate(2, 0), Status.ERROR_ARGUMENT),
        (lambda: board.collect(1, 26, 1), Status.ERROR_ARGUMENT),
        (lambda: board.collect(1, 3, 0), Status.ERROR_ARGUMENT),
        (lambda: board.load(1, initial()[1:]), Status.ERROR_LENGTH),
        (lambda: board.load(1, np.full_like(initial(), -16384)), Status.ERROR_ARGUMENT),
        (lambda: board.train(1, 1, 1, 1, *RATE, initial()[1:]), Status.ERROR_LENGTH),
        (lambda: board.train(1, 1, 1, 1, *RATE, np.full_like(initial(), 16384)), Status.ERROR_ARGUMENT),
        (lambda: board.infer(X[0][1:]), Status.ERROR_LENGTH),
    ]
    for call, status in cases:
        with pytest.raises(BoardError) as error:
            call()
        assert error.value.status == status
    board.train(4, 1, 1, 1, *RATE)
    board.load(5, initial())
    with pytest.raises(BoardError):
        board.collect(4, 3, 1)


@pytest.mark.parametrize("labels", [Y[:39], Y[:40] + 3, Y[:40] - 1])
def test_labels_that_do_not_fit_are_named(labels: np.ndarray) -> None:
    assert MODEL.head is not None
    with pytest.raises(DataError):
        TwinBoard(MODEL.graph, MODEL.head, X[:40], labels, X[40:], Y[40:])

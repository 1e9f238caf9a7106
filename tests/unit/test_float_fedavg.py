"""The float baseline: its step is the cross-entropy's gradient, its average is weighted, and it learns."""

import numpy as np
import pytest

from tinyfl.graph import HeadFormat
from tinyfl.reference.float_fedavg import Client, accuracy, centre, fedavg, initial


def head(features: int, classes: int, offset: int = -5) -> HeadFormat:
    rng = np.random.default_rng(1)
    w0 = rng.integers(-900, 900, (features + 1, classes)).astype(np.int16)
    return HeadFormat(features, classes, np.full(features, offset, np.int8), 16, 16.0**2 * (features + 1), 14, w0)


def client(n: int, board: int, features: int = 3, classes: int = 4) -> Client:
    rng = np.random.default_rng(board)
    labels = rng.integers(0, classes, n).astype(np.uint8)
    x = rng.integers(-20, 20, (n, features)) + 30 * (labels[:, None] == np.arange(features))
    return Client(x.astype(np.int8), labels, board)


def test_one_step_is_the_gradient_of_the_cross_entropy() -> None:
    form, one = head(3, 4), client(1, 0)
    x, start, eta = centre(form, one.embeddings), initial(form), 0.3

    def loss(w: np.ndarray) -> float:
        z = x[0] @ w
        return float(np.log(np.exp(z).sum()) - z[one.labels[0]])

    gradient = np.zeros_like(start)
    for at in np.ndindex(start.shape):
        nudge = np.zeros_like(start)
        nudge[at] = 1e-6
        gradient[at] = (loss(start + nudge) - loss(start - nudge)) / 2e-6
    assert np.allclose(fedavg(form, [one], 1, 1, eta, seed=1), start - eta / form.r2 * gradient, rtol=1e-5, atol=1e-8)


def test_the_average_is_weighted_by_samples_and_blind_to_the_order_of_boards() -> None:
    form, boards = head(3, 4), [client(30, 0), client(10, 1), client(0, 2)]
    alone = [fedavg(form, [board], 1, 2, 0.5, seed=3) for board in boards]
    together = fedavg(form, boards, 1, 2, 0.5, seed=3)
    assert np.allclose(together, 0.75 * alone[0] + 0.25 * alone[1])
    assert np.array_equal(alone[2], initial(form))
    assert np.allclose(together, fedavg(form, boards[::-1], 1, 2, 0.5, seed=3))


@pytest.mark.parametrize("rounds", [0, 3])
def test_nothing_to_learn_from(rounds: int) -> None:
    form = head(3, 4)
    assert np.array_equal(fedavg(form, [client(0, 0)], rounds, 2, 0.5, seed=3), initial(form))


def test_it_learns() -> None:
    form, boards = head(3, 4), [client(80, 0), client(60, 1)]
    test = client(200, 7)
    before = accuracy(form, initial(form), test.embeddings, test.labels)
    after = accuracy(form, fedavg(form, boards, 10, 2, 0.5, seed=1), test.embeddings, test.labels)
    assert before < 0.5 < 0.7 < after

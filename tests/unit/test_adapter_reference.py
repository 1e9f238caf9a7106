"""The adapter against its definitions in real numbers, and rounds that share it, the head with it or not."""

from __future__ import annotations

import numpy as np
import pytest

from tinyfl.errors import ConfigError
from tinyfl.federated import personal
from tinyfl.federated.personal import ADAPTER, HEAD, Learner, Schedule, initial, personal_round
from tinyfl.graph import HeadFormat
from tinyfl.reference import head as h
from tinyfl.reference.adapter import AdapterFormat, TwinAdapter, fold_adapter, rate
from tinyfl.reference.head import TwinHead

N, C = 12, 4


def make(group: int = 4, relu: bool = True, seed: int = 1) -> tuple[AdapterFormat, np.ndarray, list[int]]:
    """A format, embeddings (200, N) behind a ReLU of zero point -40, and labels: which of four features is largest."""
    rng = np.random.default_rng(seed)
    x = np.clip(np.abs(rng.normal(0, 60, (200, N))), 0, 167).astype(int)
    x[rng.random(x.shape) < 0.3] = 0
    r2 = float((x**2).sum(axis=1).mean()) + 32**2
    weights = np.clip(rng.normal(0, 300, (N + 1, C)), -2000, 2000).astype(np.int16)
    head = HeadFormat(N, C, np.full(N, -40, np.int8), 32, r2, 9 + int(np.log2(np.sqrt(r2))), weights)
    embeddings = (x - 40).astype(np.int8)
    return fold_adapter(head, embeddings, group, relu), embeddings, x[:, :C].argmax(axis=1).tolist()


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("group", [1, 4, 5, N])
def test_weights_of_zero_change_no_feature(group: int, relu: bool) -> None:
    format, x, _ = make(group, relu)
    seen = TwinAdapter(format).forward(x).astype(int) - format.head.offset
    np.testing.assert_array_equal(seen, x.astype(int) - format.offset)


def test_behind_a_relu_the_head_has_more_room_above() -> None:
    format = make()[0]
    assert (format.head.offset == -128).all() and (format.offset == -40).all()
    assert (make(relu=False)[0].head.offset == -40).all()


def test_wire_order_is_feature_by_feature_with_the_bias_last() -> None:
    format = make(5)[0]
    outputs, inputs = format.positions()
    assert inputs[:6].tolist() == [0, 1, 2, 3, 4, N] and set(outputs[:6]) == {0}
    assert inputs[-3:].tolist() == [10, 11, N] and set(outputs[-3:]) == {11}, "the last group has what is left"
    assert format.size == 10 * 6 + 2 * 3


def test_a_feature_gets_nothing_from_another_group() -> None:
    format, x, y = make(4)
    head, adapter = TwinHead(format.head), TwinAdapter(format)
    adapter.train(head, x, y, (1, 2, 3), 2, h.rate(0.5, format.head.r2, format.head.fw), rate(1.0, format))
    outside = np.ones((N, N + 1), bool)
    outside[format.positions()] = False
    assert adapter.delta().any() and not adapter.master[outside].any()


@pytest.mark.parametrize(("group", "text"), [(0, "groups of 0"), (N + 1, f"expected 1..{N}")])
def test_groups_out_of_range_are_refused(group: int, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        make(group)


def test_weights_that_do_not_fit_are_refused() -> None:
    format = make()[0]
    adapter = TwinAdapter(format)
    for weights in (np.zeros(format.size - 1, np.int16), np.full(format.size, h.MAX_WEIGHT + 1, np.int16)):
        with pytest.raises(ConfigError, match="adapter weights"):
            adapter.load(weights)


def test_a_rate_that_does_not_fit_names_those_that_do() -> None:
    format = make()[0]
    for eta in (1e-12, 1e12):
        with pytest.raises(ConfigError, match="does not fit") as error:
            rate(eta, format)
        assert "rates from" in error.value.hint
    factor, shift = rate(1.0, format)
    real = 2.0 ** (28 - format.head.fw) / format.curvature
    assert factor / 2**shift == pytest.approx(real, rel=2**-14)


def test_a_step_is_the_gradient_of_the_loss() -> None:
    """One step against the gradient of -log p in float; the table of exponentials is good for 3 %."""
    format, x, y = make(N)
    head, adapter = TwinHead(format.head), TwinAdapter(format)
    for j in range(20):
        adapter.load(np.zeros(format.size, np.int16))
        head.load(h.to_wire(format.head.initial))
        before = features(format, x[j])
        adapter.train(head, x[j : j + 1], y[j : j + 1], (1, 1, 1), 1, (1 << 14, 30), rate(0.1, format))
        step = adapter.master / 2.0**29
        expected = -0.1 * gradient(format, before, y[j]) / format.curvature
        assert np.abs(step - expected).max() <= 0.03 * np.abs(expected).max() + 1e-6


def features(format: AdapterFormat, x: np.ndarray) -> np.ndarray:
    return np.append(x.astype(float) - format.offset, format.head.bias_value)


def gradient(format: AdapterFormat, x: np.ndarray, label: int) -> np.ndarray:
    """d(-log p[label]) / dA (N, N + 1) at A = 0, in features of the embedding."""
    weights = format.head.initial / 2.0**format.head.fw
    z = x @ weights
    error = np.exp(z - z.max())
    error /= error.sum()
    error[label] -= 1
    back = np.where(x[:-1] > 0, weights[:-1] @ error, 0.0)
    return np.multiply.outer(back, x)


def learners(private: tuple[int, ...], rounds: int) -> tuple[list[Learner], dict[int, np.ndarray]]:
    format = make()[0]
    schedule = Schedule(2, h.rate(0.5, format.head.r2, format.head.fw), rate(1.0, format), 7)
    boards = [Learner(format, *make(seed=seed)[1:], board=seed) for seed in range(3)]
    masters = initial(format, private)
    for round in range(1, rounds + 1):
        masters = personal_round(boards, masters, round, schedule)
    return boards, masters


def test_both_layers_shared_learn() -> None:
    boards, masters = learners((), 6)
    assert set(masters) == {HEAD, ADAPTER}
    start = Learner(boards[0].format, boards[0].embeddings, boards[0].labels, 0)
    assert boards[0].accuracy(boards[0].embeddings, boards[0].labels) > 0.3 + start.accuracy(
        boards[0].embeddings, boards[0].labels
    )


@pytest.mark.parametrize("private", [HEAD, ADAPTER])
def test_a_private_tensor_is_each_boards_own(private: int) -> None:
    boards, masters = learners((private,), 3)
    assert set(masters) == {HEAD, ADAPTER} - {private}
    shared, own = [[board.tensor(n).broadcast.tolist() for board in boards] for n in (1 - private, private)]
    assert shared[0] == shared[1] == shared[2]
    assert own[0] != own[1] != own[2] != own[0]
    for board in boards:
        assert board.tensor(private).delta().any()


@pytest.mark.parametrize("private", [HEAD, ADAPTER])
def test_nothing_private_reaches_the_server(private: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pattern in each board's private weights: no delta that is rounded for the server, and no master, holds it."""
    format = make()[0]
    schedule = Schedule(1, h.rate(0.5, format.head.r2, format.head.fw), rate(1.0, format), 7)
    boards = [Learner(format, *make(seed=seed)[1:], board=seed) for seed in range(3)]
    pattern = np.tile(np.array([1357, -2468], np.int16), 1 + format.size)
    sent: list[np.ndarray] = []

    def record(delta: np.ndarray, shift: int, seed: int) -> np.ndarray:
        sent.append(delta)
        return h.round_delta(delta, shift, seed)

    monkeypatch.setattr(personal, "round_delta", record)
    for board in boards:
        tensor = board.tensor(private)
        tensor.load(pattern[: tensor.delta().size])
    masters = personal_round(boards, initial(format, (private,)), 1, schedule)
    private_deltas = [board.tensor(private).delta().tolist() for board in boards]
    assert len(sent) == len(boards) and all(len(delta) == len(masters[1 - private]) for delta in sent)
    assert not any(delta.tolist() in private_deltas for delta in sent)

"""The adapter against its definitions in real numbers."""

from __future__ import annotations

import numpy as np
import pytest

from tinyfl.errors import ConfigError
from tinyfl.graph import HeadFormat
from tinyfl.reference import head as h
from tinyfl.reference.adapter import TwinAdapter, adapter_of, fold_adapter, positions, rate
from tinyfl.reference.head import TwinHead

N, C = 12, 4


def make(group: int = 4, relu: bool = True, seed: int = 1) -> tuple[HeadFormat, np.ndarray, list[int]]:
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
    seen = TwinAdapter(format).forward(x).astype(int) - format.offset
    np.testing.assert_array_equal(seen, x.astype(int) - adapter_of(format).offset)


def test_behind_a_relu_the_head_has_more_room_above() -> None:
    format = make()[0]
    assert (format.offset == -128).all() and (adapter_of(format).offset == -40).all()
    assert (make(relu=False)[0].offset == -40).all()


def test_wire_order_is_feature_by_feature_with_the_bias_last() -> None:
    format = adapter_of(make(5)[0])
    outputs, inputs = positions(format)
    assert inputs[:6].tolist() == [0, 1, 2, 3, 4, N] and set(outputs[:6]) == {0}
    assert inputs[-3:].tolist() == [10, 11, N] and set(outputs[-3:]) == {11}, "the last group has what is left"
    assert format.size == len(outputs) == 10 * 6 + 2 * 3


def test_a_feature_gets_nothing_from_another_group() -> None:
    format, x, y = make(4)
    head, adapter = TwinHead(format), TwinAdapter(format)
    adapter.train(head, x, y, (1, 2, 3), 2, h.rate(0.5, format.r2, format.fw), rate(1.0, format))
    outside = np.ones((N, N + 1), bool)
    outside[positions(adapter_of(format))] = False
    assert adapter.delta().any() and not adapter.master[outside].any()


@pytest.mark.parametrize(("group", "text"), [(0, "groups of 0"), (N + 1, f"the embedding has {N}")])
def test_groups_out_of_range_are_refused(group: int, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        make(group)


def test_weights_that_do_not_fit_are_refused() -> None:
    format = make()[0]
    adapter, size = TwinAdapter(format), adapter_of(format).size
    for weights in (np.zeros(size - 1, np.int16), np.full(size, h.MAX_WEIGHT + 1, np.int16)):
        with pytest.raises(ConfigError, match="adapter weights"):
            adapter.load(weights)


def test_a_rate_that_does_not_fit_names_those_that_do() -> None:
    format = make()[0]
    for eta in (1e-12, 1e12):
        with pytest.raises(ConfigError, match="does not fit") as error:
            rate(eta, format)
        assert "rates from" in error.value.hint
    factor, shift = rate(1.0, format)
    real = 2.0 ** (28 - format.fw) / adapter_of(format).curvature
    assert factor / 2**shift == pytest.approx(real, rel=2**-14)


def test_a_step_is_the_gradient_of_the_loss() -> None:
    """One step against the gradient of -log p in float; the table of exponentials is good for 3 %."""
    format, x, y = make(N)
    head, adapter = TwinHead(format), TwinAdapter(format)
    for j in range(20):
        adapter.load(np.zeros(adapter_of(format).size, np.int16))
        head.load(h.to_wire(format.initial))
        before = features(format, x[j])
        adapter.train(head, x[j : j + 1], y[j : j + 1], (1, 1, 1), 1, (1 << 14, 30), rate(0.1, format))
        step = adapter.master / 2.0**29
        expected = -0.1 * gradient(format, before, y[j]) / adapter_of(format).curvature
        assert np.abs(step - expected).max() <= 0.03 * np.abs(expected).max() + 1e-6


def features(format: HeadFormat, x: np.ndarray) -> np.ndarray:
    return np.append(x.astype(float) - adapter_of(format).offset, format.bias_value)


def gradient(format: HeadFormat, x: np.ndarray, label: int) -> np.ndarray:
    """d(-log p[label]) / dA (N, N + 1) at A = 0, in features of the embedding."""
    weights = format.initial / 2.0**format.fw
    z = x @ weights
    error = np.exp(z - z.max())
    error /= error.sum()
    error[label] -= 1
    back = np.where(x[:-1] > 0, weights[:-1] @ error, 0.0)
    return np.multiply.outer(back, x)

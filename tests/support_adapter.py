"""Cases of training an adapter with its head, as tests/c/adapter_case.h reads them, and what the twin makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyfl.graph import AdapterFormat, HeadFormat
from tinyfl.reference.adapter import TwinAdapter, adapter_of
from tinyfl.reference.head import MAX_WEIGHT, TwinHead, to_wire

HEADER = 8  # bytes of an answer before its weights: ticks, sum of losses


@dataclass
class Case:
    format: HeadFormat
    weights: np.ndarray  # of the adapter, int16 in wire order
    x: np.ndarray
    y: np.ndarray
    epochs: int
    rate: tuple[int, int]
    adapter_rate: tuple[int, int]
    stream: tuple[int, int, int]

    def pack(self) -> bytes:
        head, adapter = self.format, adapter_of(self.format)
        words = [head.features, head.classes, head.fw, head.bias_value, adapter.group, len(self.x), self.epochs]
        words += [*self.rate, *self.adapter_rate, *self.stream]
        parts = [np.array(words, "<u4"), adapter.offset, head.offset, to_wire(head.initial).astype("<i2")]
        return b"".join(part.tobytes() for part in [*parts, self.weights.astype("<i2"), self.x, self.y])


def random_case(rng: np.random.Generator, shape: tuple[int, int, int], samples: int, epochs: int) -> Case:
    """Of (features, classes, group)."""
    features, classes, group = shape
    offset = rng.integers(-128, 128, features).astype(np.int8)
    adapter = AdapterFormat(offset, group, 1.0)
    format = HeadFormat(
        features,
        classes,
        np.full_like(offset, -128) if rng.random() < 0.5 else offset,
        int(2 ** rng.integers(0, 8)),
        1.0,
        int(rng.integers(5, 21)),
        np.clip(rng.normal(0, 2000, (features + 1, classes)), -MAX_WEIGHT, MAX_WEIGHT).astype(np.int16),
        adapter=adapter,
    )
    weights = np.clip(rng.normal(0, 1000, adapter.size), -MAX_WEIGHT, MAX_WEIGHT).astype(np.int16)
    x = rng.integers(-128, 128, (samples, features)).astype(np.int8)
    x = np.where(rng.random(x.shape) < 0.5, offset, x).astype(np.int8)  # half the features are zero
    rates = [(int(rng.integers(1 << 14, (1 << 15) + 1)), int(rng.integers(low, 31))) for low in (13, 1)]
    y = rng.integers(0, classes, samples).astype(np.uint8)
    stream = tuple(int(v) for v in rng.integers(0, 2**32, 3))
    return Case(format, weights, x, y, epochs, rates[0], rates[1], stream)  # type: ignore[arg-type]


def compare(answers: bytes, cases: Sequence[Case]) -> list[tuple[TwinHead, TwinAdapter, int]]:
    """Asserts that the answers are the twin's; returns what it came to, and the ticks of each case."""
    position, results = 0, []

    def take(dtype: str, count: int) -> np.ndarray:
        nonlocal position
        values = np.frombuffer(answers, dtype, count, position)
        position += values.nbytes
        return values

    for case in cases:
        head, adapter, n = TwinHead(case.format), TwinAdapter(case.format), len(case.x)
        adapter.load(case.weights)
        loss = adapter.train(head, case.x, case.y.tolist(), case.stream, case.epochs, case.rate, case.adapter_rate)
        ticks, total = (int(v) for v in take("<u4", 2))
        assert (total // n if n else 0) == loss
        np.testing.assert_array_equal(take("<i4", head.master.size), to_wire(head.master))
        master = adapter.delta() + (case.weights.astype(int) << 16)
        np.testing.assert_array_equal(take("<i4", len(master)), master)
        after_reset = TwinAdapter(case.format).forward(case.x)
        for seen in (adapter.forward(case.x, False), adapter.forward(case.x, True), after_reset):
            np.testing.assert_array_equal(take("i1", seen.size).reshape(seen.shape), seen)
        results.append((head, adapter, ticks))
    assert position == len(answers)
    return results

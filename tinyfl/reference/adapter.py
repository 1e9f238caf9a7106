"""A trainable layer between the embedding and the head, in integers: the numpy twin of ``firmware/core/adapter.c``.

It is a residual adapter (Houlsby et al., Parameter-Efficient Transfer Learning for NLP, 2019, section 2.1) of one
layer: feature j gets what the features of its group and the bias say. Weights of zero change nothing. docs/DESIGN.md,
"Adapter", proves the ranges: nothing here exceeds what an int32 holds on the board.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tinyfl.errors import ConfigError
from tinyfl.graph import AdapterFormat, HeadFormat
from tinyfl.reference.fixed import Int64, mix
from tinyfl.reference.head import (
    CLAMP_STEPS,
    MASTER_MAX,
    MASTER_MIN,
    MAX_WEIGHT,
    ONE,
    TwinHead,
    broadcast,
    order,
    probabilities,
)

Int8 = npt.NDArray[np.int8]
Int16 = npt.NDArray[np.int16]

UNIT_SHIFT = 13  # broadcast weights have unit 2^-13, master weights 2^-29
BACK_SHIFT = 14
MAX_BACK = 32767
MAX_STEP = 131071
RATE_SHIFTS = (1, 30)


def positions(format: AdapterFormat) -> tuple[Int64, Int64]:
    """(outputs, inputs) of the weights in wire order: feature by feature, its group's inputs, then the bias (N)."""
    n, pairs = len(format.offset), []
    for j in range(n):
        first = j - j % format.group
        pairs += [(j, i) for i in [*range(first, min(first + format.group, n)), n]]
    outputs, inputs = np.array(pairs, np.int64).T
    return outputs, inputs


def fold_adapter(head: HeadFormat, embeddings: Int8, group: int, relu: bool) -> HeadFormat:
    """The head with an adapter in groups of ``group`` features before it, from calibration embeddings (n, N).

    ``relu``: no feature is below its zero point. The adapter keeps that, and the head sees features of 0..255, which is
    more room above than the embedding has. Raises ConfigError for a group that is empty or larger than the embedding.
    """
    if not 1 <= group <= head.features:
        raise ConfigError(
            f"an adapter in groups of {group} features, the embedding has {head.features}",
            f"set [compile] adapter to 1..{head.features}, or to 0 for none",
        )
    x = embeddings.reshape(-1, head.features).astype(np.float64) - head.offset
    groups = [float((x[:, i : i + group] ** 2).sum(axis=1).mean()) for i in range(0, head.features, group)]
    weights = head.initial[:-1].astype(np.float64) / 2.0**head.fw
    curvature = (float(np.mean(groups)) + head.bias_value**2) * float((weights**2).sum(axis=0).mean())
    seen = np.full_like(head.offset, -128) if relu else head.offset
    return replace(head, offset=seen, adapter=AdapterFormat(head.offset, group, curvature))


def rate(eta: float, format: HeadFormat) -> tuple[int, int]:
    """The learning rate ``eta`` (relative to 1 / curvature) as the board takes it: (rate L, rate shift S).

    Raises ConfigError naming the largest (or smallest) legal rate.
    """
    low, high = RATE_SHIFTS
    scale = 2.0 ** (UNIT_SHIFT + 1 + BACK_SHIFT - format.fw) / adapter_of(format).curvature
    if not 2.0 ** (14 - high) <= eta * scale < 2.0 ** (15 - low):
        least, most = 2.0 ** (14 - high) / scale, 2.0 ** (15 - low) / scale
        raise ConfigError(
            f"a learning rate of {eta:g} does not fit this adapter", f"rates from {least:.3g} to {most:.3g} do"
        )
    shift = 14 - math.floor(math.log2(eta * scale))
    return round(eta * scale * 2.0**shift), shift


def adapter_of(format: HeadFormat) -> AdapterFormat:
    """The adapter of a head that has one."""
    assert format.adapter is not None
    return format.adapter


class TwinAdapter:
    """The adapter of a board's head: master weights (N, N + 1), outputs by inputs, and the broadcast ones before them.

    What is outside of a feature's group stays zero.
    """

    def __init__(self, format: HeadFormat) -> None:
        self.format = format
        self._offset = adapter_of(format).offset
        self._at = positions(adapter_of(format))
        shape = format.features, format.features + 1
        self.broadcast: Int64 = np.zeros(shape, np.int64)
        self.master: Int64 = np.zeros(shape, np.int64)
        self._learns: Int64 = np.zeros(shape, np.int64)
        self._learns[self._at] = 1

    def load(self, weights: Int16) -> None:
        """Takes broadcast weights (size,) in wire order. Raises ConfigError where length or value do not fit."""
        if weights.shape != self._at[0].shape or np.any(np.abs(weights.astype(np.int64)) > MAX_WEIGHT):
            raise ConfigError(f"adapter weights {weights.shape}, expected {self._at[0].shape} within +-{MAX_WEIGHT}")
        self.broadcast[self._at] = weights
        self.master = self.broadcast << 16

    def choose(self) -> None:
        """The broadcast weights from master weights that nothing has trained since they were broadcast ones."""
        self.broadcast = self.master >> 16

    def forward(self, embeddings: Int8, trained: bool = True) -> Int8:
        """What the head sees of embeddings (n, N), with the master or the broadcast weights."""
        return self._adapted(self._centre(embeddings), trained).astype(np.int8)

    def _centre(self, embeddings: Int8) -> Int64:
        x = np.full((len(embeddings), self.format.features + 1), self.format.bias_value, np.int64)
        x[:, :-1] = embeddings.astype(np.int64) - self._offset
        return x

    def _adapted(self, x: Int64, trained: bool = True) -> Int64:
        """(..., N) of features and bias (..., N + 1)."""
        sums = x @ (self.master >> 16 if trained else self.broadcast).T
        added = (sums + (1 << (UNIT_SHIFT - 1))) >> UNIT_SHIFT
        return np.asarray(np.clip(x[..., :-1] + self.format.offset + added, -128, 127), np.int64)

    def train(
        self,
        head: TwinHead,
        embeddings: Int8,
        labels: Sequence[int],
        stream: tuple[int, int, int],
        epochs: int,
        rate: tuple[int, int],
        adapter_rate: tuple[int, int],
    ) -> int:
        """``epochs`` epochs of adapter and head over (n, N) embeddings; ``stream`` = (seed, round, board).

        Returns the last epoch's mean of 1 - p[label], Q15, rounded down; 0 without samples.
        """
        head.first_loss = 0
        if len(embeddings) == 0:
            return 0
        (seed, round, board), loss = stream, 0
        for epoch in range(epochs):
            samples = order(len(embeddings), mix(seed, round, epoch, board))
            loss = self._epoch(head, embeddings, labels, samples, rate, adapter_rate)
            head.first_loss = loss // len(embeddings) >> 7 if epoch == 0 else head.first_loss
        return loss // len(embeddings)

    def _epoch(
        self,
        head: TwinHead,
        embeddings: Int8,
        labels: Sequence[int],
        samples: Iterator[int],
        rate: tuple[int, int],
        adapter_rate: tuple[int, int],
    ) -> int:
        """One epoch; the sum of 1 - p[label]."""
        x, loss = self._centre(embeddings), 0
        for step, j in enumerate(samples, 1):
            loss += self._step(head, x[j], labels[j], rate, adapter_rate)
            if step % CLAMP_STEPS == 0:
                self._clamp(head)
        self._clamp(head)
        return loss

    def _step(self, head: TwinHead, x: Int64, label: int, rate: tuple[int, int], adapter_rate: tuple[int, int]) -> int:
        seen = self._adapted(x)
        features = np.append(seen - head.format.offset, head.format.bias_value)
        weights = head.master >> 16
        errors = np.array(probabilities((features @ weights).tolist(), head.format.fw))
        errors[label] -= ONE
        back = (weights[:-1] @ errors + (1 << (BACK_SHIFT - 1))) >> BACK_SHIFT
        g = np.clip(_scaled(np.clip(back, -MAX_BACK, MAX_BACK), adapter_rate), -MAX_STEP, MAX_STEP)
        g[seen == -128] = 0
        self.master -= g[:, None] * x * self._learns
        head.master -= features[:, None] * _scaled(errors, rate)
        head.hold()
        return -int(errors[label])

    def _clamp(self, head: TwinHead) -> None:
        for master in (self.master, head.master):
            np.clip(master, MASTER_MIN, MASTER_MAX, out=master)

    def delta(self) -> Int64:
        """master - broadcast * 2^16, (size,) in wire order."""
        return np.asarray((self.master - (self.broadcast << 16))[self._at], np.int64)

    def sent(self) -> Int16:
        """The broadcast weights (size,), in wire order."""
        return self.broadcast[self._at].astype(np.int16)

    def pull(self) -> Int16:
        """The master weights (size,), rounded as the server would, in wire order."""
        return broadcast(self.master[self._at])


def _scaled(values: Int64, rate: tuple[int, int]) -> Int64:
    factor, shift = rate
    return np.asarray((values * factor + (1 << (shift - 1))) >> shift, np.int64)

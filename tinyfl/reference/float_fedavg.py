"""Federated averaging in float64 on the frozen backbone's embeddings: what the integer rounds are measured against.

McMahan et al. 2017 (arXiv:1602.05629, algorithm 1) with batches of one. Start, order of samples, rate and schedule are
those of the integer head, so only the arithmetic differs: no rounding of weights, deltas, exponentials or broadcasts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
import numpy.typing as npt

from tinyfl.graph import HeadFormat
from tinyfl.reference.fixed import mix
from tinyfl.reference.head import order

Float64 = npt.NDArray[np.float64]
Int8 = npt.NDArray[np.int8]
UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Client:
    """One board's training data: embeddings (n, N) with labels (n,); ``board`` is its number in the seeds."""

    embeddings: Int8
    labels: UInt8
    board: int


def fedavg(head: HeadFormat, clients: Sequence[Client], rounds: int, epochs: int, eta: float, seed: int) -> Float64:
    """Weights (N + 1, C) after ``rounds`` rounds of ``epochs`` local epochs each, averaged by numbers of samples.

    One client and one round is plain SGD: the local-only and the centralised comparison.
    """
    return next(islice(trajectory(head, clients, epochs, eta, seed), rounds, None))


def trajectory(head: HeadFormat, clients: Sequence[Client], epochs: int, eta: float, seed: int) -> Iterator[Float64]:
    """The weights (N + 1, C) at the start and after each round, without end."""
    weights = initial(head)
    features = [centre(head, client.embeddings) for client in clients]
    counts = [len(client.labels) for client in clients]
    for number in count(1):
        yield weights
        trained = []
        for x, client in zip(features, clients, strict=True):
            own = weights.copy()
            for epoch in range(epochs if len(x) else 0):
                _epoch(own, x, client.labels, mix(seed, number, epoch, client.board), eta / head.r2)
            trained.append(own)
        if sum(counts):
            weights = np.average(trained, axis=0, weights=counts)


def accuracy(head: HeadFormat, weights: Float64, embeddings: Int8, labels: UInt8) -> float:
    """Share of right answers: the largest logit, the first of equal ones; embeddings (n, N), n >= 1."""
    return float(np.mean(np.argmax(centre(head, embeddings) @ weights, axis=1) == labels))


def initial(head: HeadFormat) -> Float64:
    """The compiled weights (N + 1, C) as real numbers."""
    return head.initial / 2.0**head.fw


def centre(head: HeadFormat, embeddings: Int8) -> Float64:
    """(n, N) embeddings as features (n, N + 1): offsets subtracted, the bias feature behind them."""
    bias = np.full((len(embeddings), 1), float(head.bias_value))
    return np.hstack([embeddings.astype(np.float64) - head.offset, bias])


def _epoch(weights: Float64, x: Float64, labels: UInt8, random: int, step_size: float) -> None:
    """One pass of SGD over x (n, N + 1) in the board's order, weights in place."""
    for j in order(len(x), random):
        z = x[j] @ weights
        error = np.exp(z - z.max())
        error /= error.sum()
        error[labels[j]] -= 1.0
        weights -= np.multiply.outer(x[j], step_size * error)

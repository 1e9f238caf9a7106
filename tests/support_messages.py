"""Messages with what most tests want: weights as int16, no feedback, the plain codec."""

from __future__ import annotations

import numpy as np

from tinyfl.wire import messages as wire


def coded(weights: np.ndarray) -> np.ndarray:
    """Weights as coding 0 has them."""
    return np.frombuffer(np.asarray(weights).astype("<i2").tobytes(), np.uint8)


def plain(weights: np.ndarray) -> np.ndarray:
    """And back."""
    return np.frombuffer(weights.tobytes(), "<i2").astype(np.int16)


def head(round: int, keep: int, weights: np.ndarray, taken: int = 0) -> wire.Head:
    """HEAD."""
    return wire.Head(round, keep, taken, 0, coded(weights))


def train(
    round: int,
    seed: int,
    board: int,
    epochs: int,
    rate: int,
    shift: int,
    weights: np.ndarray,
    taken: int = 0,
    feedback: int = 0,
    pull: int = 0,
) -> wire.Train:
    """TRAIN."""
    return wire.Train(round, seed, board, taken, epochs, rate, shift, pull, feedback, 0, coded(weights))


def offer(round: int, cluster: int, weights: np.ndarray, taken: int = 0) -> wire.Offer:
    """OFFER."""
    return wire.Offer(round, taken, cluster, 0, coded(weights))


def collect(round: int, tensor: int, shift: int, seed: int, codec: int = 0, count: int = 0) -> wire.Collect:
    """COLLECT."""
    return wire.Collect(round, tensor, shift, seed, codec, count)

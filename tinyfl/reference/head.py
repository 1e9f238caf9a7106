"""The trainable head in integers: the numpy twin of ``firmware/core/head.c``, and the server's side of its arithmetic.

``docs/DESIGN.md``, "Training in integers", proves the ranges: nothing here exceeds what an int32 holds on the board.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tinyfl.errors import ConfigError
from tinyfl.graph import HeadFormat
from tinyfl.reference.fixed import Int64, mix, xorshift32

Int8 = npt.NDArray[np.int8]
Int16 = npt.NDArray[np.int16]
Held = npt.NDArray[np.bool_]
Learns = npt.NDArray[np.bool_]
Scalar = TypeVar("Scalar", bound=np.generic)

ONE = 32767  # Q15
MAX_WEIGHT = 16383  # of a broadcast weight, either sign
MASTER_MIN, MASTER_MAX = -(2**30), 2**30 - 1
CLAMP_STEPS = 32
MAX_DELTA_SHIFT = 25  # 127 * 2^25 is above every |delta|
RATE_SHIFTS = (13, 30)
RETURN_STREAM = 0xFFFC  # the "epoch" of the proximal step's rounding in mix()
EXP = [round(32767 * math.exp(-k / 16)) for k in range(128)]


def to_wire(weights: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    """(N + 1, C) as a vector in wire order: blocks of four classes, each block row by row."""
    return np.concatenate([weights[:, c : c + 4].ravel() for c in range(0, weights.shape[1], 4)])


def from_wire(vector: npt.NDArray[Scalar], features: int, classes: int) -> npt.NDArray[Scalar]:
    """(features + 1, classes) from a vector in wire order. Raises ConfigError where the length is another."""
    rows = features + 1
    if vector.shape != (rows * classes,):
        raise ConfigError(f"a head of shape {vector.shape}, expected ({rows * classes},): {rows} x {classes} weights")
    blocks = [vector[c * rows : min(c + 4, classes) * rows].reshape(rows, -1) for c in range(0, classes, 4)]
    return np.concatenate(blocks, axis=1)


def rate(eta: float, r2: float, fw: int) -> tuple[int, int]:
    """The learning rate ``eta`` (relative to 1 / R2) as the board takes it: (rate L, rate shift S).

    Raises ConfigError naming the largest (or smallest) legal rate.
    """
    low, high = RATE_SHIFTS
    real = eta * 2.0 ** (fw + 1) / r2  # eta * 2^Fm / R2 / 2^15
    if not 2.0 ** (14 - high) <= real < 2.0 ** (15 - low):
        least, most = 2.0 ** (13 - high - fw) * r2, 2.0 ** (14 - low - fw) * r2
        raise ConfigError(f"a learning rate of {eta:g} does not fit this head", _rate_hint(least, most, eta))
    shift = 14 - math.floor(math.log2(real))
    return round(real * 2.0**shift), shift


def _rate_hint(least: float, most: float, eta: float) -> str:
    """Three digits, rounded to the legal side."""
    if eta >= most:
        digits = 2 - math.floor(math.log10(most))
        return f"the largest legal rate is {(math.ceil(most * 10.0**digits) - 1) / 10.0**digits:.6g}"
    digits = 2 - math.floor(math.log10(least))
    return f"the smallest legal rate is {math.ceil(least * 10.0**digits) / 10.0**digits:.6g}"


def order(count: int, random: int) -> Iterator[int]:
    """The order of an epoch's samples, from ``random`` = mix(seed, round, epoch, board); count >= 1."""
    at = random % count
    step = 1 + xorshift32(random) % count
    while math.gcd(step, count) != 1:
        step = step % count + 1
    return ((at + i * step) % count for i in range(count))


def broadcast(master: Int64) -> Int16:
    """What the server sends of its master weights, and a board of its own when it is pulled: rounded and clipped."""
    return np.asarray(np.clip((master + 0x8000) >> 16, -MAX_WEIGHT, MAX_WEIGHT), np.int16)


def fleet_shift(max_deltas: Sequence[int], limit: int = 127) -> int:
    """The smallest shift s with max |delta| <= limit * 2^s over the boards."""
    largest = max(max_deltas, default=0)
    shift = 0
    while largest > limit << shift:
        shift += 1
    return shift


def aggregate(master: Int64, deltas: Sequence[Int8] | Sequence[Int64], samples: Sequence[int], shift: int) -> Int64:
    """The server's master weights after a round: the mean of the boards' deltas, weighted by their samples.

    ``deltas[k]`` (P,) are board k's in units of 2^shift. Exact integers and one division at the end (rounded half up):
    the order of the boards cannot matter.
    """
    total = sum(samples)
    if total == 0:
        return master.copy()
    weighted = np.zeros(master.shape, np.int64)
    for delta, count in zip(deltas, samples, strict=True):
        weighted += np.asarray(delta, np.int64) * count
    return np.asarray(master + ((weighted << (shift + 1)) + total) // (2 * total), np.int64)


def held_bits(held: Held) -> bytes:
    """Which weights (N + 1, C) are held, a bit for each in wire order, from bit 0 of byte 0 on."""
    return np.packbits(to_wire(held), bitorder="little").tobytes()


def read_held(bits: bytes, count: int) -> Held:
    """``held_bits`` back as a vector (P,) in wire order."""
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=count, bitorder="little").astype(bool)


def learning(format: HeadFormat) -> Learns:
    """Which weights learn (P,) in wire order: of a head that was not pruned all of them."""
    return np.ones(format.initial.size, np.bool_) if format.held is None else ~to_wire(format.held)


def spread(numbers: Int64, learns: Learns) -> Int64:
    """Numbers of the weights that learn as numbers of all weights (P,), in wire order: those of the others are zero."""
    whole = np.zeros(learns.shape, np.int64)
    whole[learns] = numbers
    return whole


def round_delta(delta: Int64, shift: int, seed: int) -> Int8:
    """floor((delta + dither) / 2^shift) within +-127 (P,), the dither from xorshift32 of ``seed`` (never 0)."""
    return np.asarray(np.clip(dithered(delta, shift, seed), -127, 127), np.int8)


def dithered(delta: Int64, shift: int, seed: int) -> Int64:
    """floor((delta + dither) / 2^shift) (P,), a draw of xorshift32 for each weight."""
    random, mask = draws(len(delta), seed), (1 << shift) - 1
    return np.asarray((delta >> shift) + (((delta & mask) + (random & mask)) >> shift), np.int64)


def draws(count: int, seed: int) -> Int64:
    """(count,) numbers of xorshift32, those behind ``seed``."""
    random = np.empty(count, np.int64)
    for i in range(count):
        random[i] = seed = xorshift32(seed)
    return random


def pull(eta: float, mu: float) -> int:
    """The share of the way back to the broadcast head, Q16, that boards take after every CLAMP_STEPS steps.

    FedProx (Li et al., Federated Optimization in Heterogeneous Networks, MLSys 2020, algorithm 2) adds
    mu / 2 \\|w - w0\\|^2 to each board's loss, so that a step of the rate eta also multiplies w - w0 by 1 - eta mu; 32
    steps at once by (1 - eta mu)^32. Both are relative as ``rate`` has them: of features with mean square 1, so that mu
    means the same for each model. An epoch's last steps, fewer than 32, count as 32. Raises ConfigError where no share
    says it: eta mu of 1 and more would leap over the broadcast head, too little vanishes.
    """
    share = round((1.0 - max(0.0, 1.0 - eta * mu) ** CLAMP_STEPS) * 2**16)
    if mu and not 0 < share < 2**16:
        low, high = ((1.0 - (1.0 - end * 2.0**-16) ** (1.0 / CLAMP_STEPS)) / eta for end in (1, 2**16 - 1))
        raise ConfigError(f"mu = {mu:g} is out of range at a rate of {eta:g}", f"give 0, or {low:.1g} to {high:.1g}")
    return share


class TwinHead:
    """The board's head: master weights (N + 1, C) and the broadcast weights they started from."""

    def __init__(self, format: HeadFormat) -> None:
        self.format = format
        self.broadcast: Int64 = format.initial.astype(np.int64)
        self.master: Int64 = self.broadcast << 16
        self.learns = learning(format)
        self._pull, self._random = 0, 1
        self.first_loss = 0  # of the last training's first epoch: mean of 1 - p[label], Q8, rounded down

    def load(self, weights: Int16) -> None:
        """Takes broadcast weights (P,) in wire order. Raises ConfigError where the length or a value does not fit."""
        if np.any(np.abs(weights.astype(np.int64)) > MAX_WEIGHT):
            raise ConfigError(f"a head weight is beyond +-{MAX_WEIGHT}")
        self.broadcast = from_wire(weights, self.format.features, self.format.classes).astype(np.int64)
        self.master = self.broadcast << 16

    def centre(self, embeddings: Int8) -> Int64:
        """(n, N) as features (n, N + 1): centred, the bias feature behind them."""
        x = np.full((len(embeddings), self.format.features + 1), self.format.bias_value, np.int64)
        x[:, :-1] = embeddings.astype(np.int64) - self.format.offset
        return x

    def choose(self) -> None:
        """The broadcast weights from master weights that nothing has trained since they were broadcast ones."""
        self.broadcast = self.master >> 16

    def train(
        self,
        embeddings: Int8,
        labels: Sequence[int],
        stream: tuple[int, int, int],
        epochs: int,
        rate: tuple[int, int],
        pull: int = 0,
    ) -> int:
        """``epochs`` epochs over (n, N) embeddings; ``stream`` = (seed, round, board); ``pull``: of FedProx, Q16.

        Returns the last epoch's mean of 1 - p[label], Q15, rounded down; 0 without samples.
        """
        self.first_loss = 0
        if len(embeddings) == 0:
            return 0
        seed, round, board = stream
        x, loss = self.centre(embeddings), 0
        self._pull, self._random = pull, mix(seed, round, RETURN_STREAM, board)
        for epoch in range(epochs):
            loss = self._epoch(x, labels, order(len(x), mix(seed, round, epoch, board)), rate)
            self.first_loss = loss // len(x) >> 7 if epoch == 0 else self.first_loss
        return loss // len(x)

    def _epoch(self, x: Int64, labels: Sequence[int], samples: Iterator[int], rate: tuple[int, int]) -> int:
        """One epoch over features (n, N + 1); the sum of 1 - p[label]. On so few classes lists beat numpy."""
        master, (factor, rate_shift), fw = self.master, rate, self.format.fw
        half, held, start = 1 << (rate_shift - 1), self.format.held, self.broadcast << 16
        forward, product = np.empty_like(master), np.empty_like(master)
        loss = 0
        for step, j in enumerate(samples, 1):
            row, label = x[j], labels[j]
            np.right_shift(master, 16, out=forward)
            errors = probabilities(row.dot(forward).tolist(), fw)
            errors[label] -= ONE
            loss -= errors[label]
            g = [(e * factor + half) >> rate_shift for e in errors]
            np.multiply(row[:, None], g, out=product)
            np.subtract(master, product, out=master)
            if held is not None:
                np.copyto(master, start, where=held)
            if step == len(x) or step % CLAMP_STEPS == 0:
                np.clip(master, MASTER_MIN, MASTER_MAX, out=master)
                self._return()
        return loss

    def hold(self) -> None:
        """What a pruned head holds goes back to where it started."""
        if self.format.held is not None:
            np.copyto(self.master, self.broadcast << 16, where=self.format.held)

    def _return(self) -> None:
        """Each weight goes back by the share ``pull`` of its way from the broadcast one, rounded at random."""
        if self._pull:
            random = draws(self.master.size, self._random)
            self._random = int(random[-1])
            back = (self.delta() * self._pull + (random & 0xFFFF)) >> 16
            self.master -= from_wire(back, self.format.features, self.format.classes)

    def evaluate(self, embeddings: Int8, labels: Sequence[int], trained: bool) -> tuple[int, int]:
        """(right answers, mean of 1 - p[label] in Q15, rounded down) of the master or the broadcast weights."""
        if len(embeddings) == 0:
            return 0, 0
        z = self.centre(embeddings) @ (self.master >> 16 if trained else self.broadcast)
        right = int(np.count_nonzero(z.argmax(axis=1) == np.asarray(labels)))
        loss = sum(
            ONE - probabilities(row, self.format.fw)[label] for row, label in zip(z.tolist(), labels, strict=True)
        )
        return right, loss // len(z)

    def delta(self) -> Int64:
        """master - broadcast * 2^16, (P,) in wire order."""
        return to_wire(self.master - (self.broadcast << 16))

    def max_delta(self) -> int:
        """max |delta|."""
        return int(np.abs(self.delta()).max())

    def sent(self) -> Int16:
        """The broadcast weights (P,), in wire order."""
        return to_wire(self.broadcast).astype(np.int16)

    def pull(self) -> Int16:
        """The master weights (P,), rounded as the server would, in wire order."""
        return broadcast(to_wire(self.master))


def probabilities(z: list[int], fw: int) -> list[int]:
    """softmax of logits of unit 2^-fw, Q15."""
    top, half, shift = max(z), 1 << (fw - 5), fw - 4
    u = [EXP[k] if k < 128 else 0 for k in [(top - v + half) >> shift for v in z]]
    inverse = 0x7FFFFFFF // sum(u)
    return [v * inverse >> 16 for v in u]

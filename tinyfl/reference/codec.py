"""Updates as a board makes them of its weights: the numpy twin of ``firmware/core/codec.c`` (docs/WIRE.md, "Updates").

v is the delta of the head or, with feedback, delta + residual; of what is sent, q is v in units of 2^shift.
What was not sent of v is the residual from then on: all that was ever sent plus the residual is the sum of all deltas,
exactly (error feedback: Seide et al. 2014; Karimireddy et al. 2019, algorithm 2).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tinyfl.reference import entropy
from tinyfl.reference.fixed import Int64, mix, xorshift32
from tinyfl.reference.head import dithered

LEVELS: Final = ("int8", "int4", "int2", "sign")
SELECTIONS: Final = ("all", "top", "random")
LIMITS: Final = {"int8": 127, "int4": 7, "int2": 1, "sign": 1}  # of |q|
WIDTHS: Final = {"int8": 8, "int4": 4, "int2": 2, "sign": 1}  # bits of q where it is plain
MAX_SHIFTS: Final = {"int8": 25, "int4": 29, "int2": 31, "sign": 31}  # limit * 2^shift is above every |v|
MAX_VALUE = 2**31 - 1  # of |v|, where delta + residual saturates
GAP_PARAMETERS = range(15)  # of Rice coding
PLAIN = 15  # in the header byte: of values; of positions, a bitmap instead of a parameter
STREAM = 0xFFFD  # the "epoch" of the random selection in mix()


@dataclass(frozen=True)
class Codec:
    """How an update is coded: ``count`` of the weights are sent (0: all), with or without error feedback."""

    level: str = "int8"
    selection: str = "all"
    entropy: bool = False
    count: int = 0
    feedback: bool = False

    @property
    def code(self) -> int:
        """COLLECT's field ``codec``."""
        return LEVELS.index(self.level) | SELECTIONS.index(self.selection) << 3 | self.entropy << 5

    @property
    def positions(self) -> bool:
        """Whether it is said which weights are sent, behind a byte of parameters: entropy coding has zeros instead."""
        return self.selection == "top" and not self.entropy

    @property
    def width(self) -> int:
        """Bits of a value that is plain: a sign may be 0 as well with entropy coding."""
        return WIDTHS[self.level] + (self.level == "sign" and self.entropy)

    def values(self, weights: int) -> int:
        """How many there are in an update of so many weights; entropy coding has zeros where nothing is sent."""
        return self.count if self.selection == "random" or self.positions else weights

    def most_bytes(self, weights: int) -> int:
        """Of such an update."""
        bits = self.values(weights) * self.width + self.positions * (8 + weights)
        return -(-bits // 8)


DENSE: Final = Codec()  # int8 of all weights


def from_code(code: int, count: int, weights: int, feedback: bool) -> Codec | None:
    """The codec of a COLLECT; None where there is none like that."""
    level, selection = code & 7, code >> 3 & 3
    if level >= len(LEVELS) or selection >= len(SELECTIONS) or code >> 5 > 1:
        return None
    if not (1 <= count <= weights if selection else count == 0):
        return None
    return Codec(LEVELS[level], SELECTIONS[selection], bool(code >> 5), count, feedback)


def values(delta: Int64, residual: Int64) -> Int64:
    """v (P,): the board's int32 saturate."""
    return np.clip(delta + residual, -MAX_VALUE, MAX_VALUE)


def mean_magnitude(v: Int64) -> int:
    """Mean of \\|v\\|, rounded down."""
    return int(np.abs(v).sum()) // len(v)


def stream(seed: int, round: int, tensor: int = 0) -> int:
    """Where a round's random selection of a tensor's weights starts: the same on every board."""
    return mix(seed, round, STREAM, tensor)


def chosen(codec: Codec, v: Int64, random: int) -> npt.NDArray[np.bool_]:
    """Which weights are sent (P,); of equally large ones the first."""
    if codec.selection == "all":
        return np.ones(len(v), np.bool_)
    if codec.selection == "random":
        return draw(len(v), codec.count, random)
    picked = np.zeros(len(v), np.bool_)
    picked[np.argsort(-np.abs(v), kind="stable")[: codec.count]] = True
    return picked


def draw(weights: int, count: int, random: int) -> npt.NDArray[np.bool_]:
    """``count`` of them, each as likely (Knuth, The Art of Computer Programming, vol. 2, 3.4.2, algorithm S)."""
    picked = np.zeros(weights, np.bool_)
    for i in range(weights):
        random = xorshift32(random)
        picked[i] = random % (weights - i) < count
        count -= int(picked[i])
    return picked


def quantise(codec: Codec, v: Int64, shift: int, seed: int) -> Int64:
    """q (P,): nearest with feedback, else stochastic: floor((v + dither) / 2^shift), the dither from ``seed``."""
    if codec.level == "sign":
        return np.where(v >= 0, 1, -1)
    q = nearest(v, shift) if codec.feedback else dithered(v, shift, seed)
    return np.clip(q, -LIMITS[codec.level], LIMITS[codec.level])


def nearest(v: Int64, shift: int) -> Int64:
    """floor(v / 2^shift + 1/2) (P,)."""
    return (v >> shift) + (v >> (shift - 1) & 1) if shift else v


@dataclass(frozen=True)
class Sent:
    """An update: ``payload`` of DELTA, and what was not sent of v (P,)."""

    payload: npt.NDArray[np.uint8]
    rest: Int64


def encode(codec: Codec, v: Int64, shift: int, seed: int, random: int) -> Sent:
    """The update of v (P,), quantised to units of 2^``shift``; ``random`` from :func:`stream`."""
    picked = chosen(codec, v, random)
    q = np.where(picked, quantise(codec, v, shift, seed), 0)
    return Sent(pack(codec, picked, q), v - (q << shift))


def pack(codec: Codec, picked: npt.NDArray[np.bool_], q: Int64) -> npt.NDArray[np.uint8]:
    """The payload that says q (P,) of the picked weights."""
    bits = Bits()
    if codec.positions:
        gaps = [int(b - a - 1) for a, b in zip([-1, *np.flatnonzero(picked)], np.flatnonzero(picked), strict=False)]
        places = cheapest(gaps, len(picked))
        bits.put(PLAIN | places << 4, 8)
        if places == PLAIN:
            bits.put_all(picked.tolist(), 1)
        else:
            bits.put_rice(gaps, places)
    numbers = (q[picked] if codec.values(len(q)) < len(q) else q).tolist()
    bits.put_all([x < 0 if codec.width == 1 else x & (1 << codec.width) - 1 for x in numbers], codec.width)
    plain = bits.packed()
    if not codec.entropy:
        return plain
    coded = entropy.encode(numbers, LIMITS[codec.level], *likely(codec, len(q)))
    return np.frombuffer(coded, np.uint8) if len(coded) < len(plain) else plain


def likely(codec: Codec, weights: int) -> tuple[int, int]:
    """How many values, of how many, are not 0, for all that is known before they are."""
    return (codec.count, weights) if codec.selection == "top" else (1, 1)


def rice_bits(symbols: Iterable[int], parameter: int) -> int:
    """Bits that Rice coding takes."""
    return sum((symbol >> parameter) + 1 + parameter for symbol in symbols)


def cheapest(gaps: Sequence[int], plain: int) -> int:
    """The first of the cheapest parameters, or PLAIN where that takes no more bits."""
    costs = [rice_bits(gaps, parameter) for parameter in GAP_PARAMETERS]
    return PLAIN if plain <= min(costs) else GAP_PARAMETERS[costs.index(min(costs))]


class Bits:
    """Bits in the order of the wire: the lowest one of each number, and of each byte, first."""

    def __init__(self) -> None:
        self._bits: list[int] = []

    def put(self, number: int, width: int) -> None:
        """The ``width`` lowest bits of a number."""
        self._bits += [number >> i & 1 for i in range(width)]

    def put_all(self, numbers: Iterable[int], width: int) -> None:
        """Numbers of the same width."""
        for number in numbers:
            self.put(number, width)

    def put_rice(self, symbols: Iterable[int], parameter: int) -> None:
        """Rice codes: symbol / 2^parameter as ones, a zero, the rest."""
        for symbol in symbols:
            self._bits += [1] * (symbol >> parameter) + [0]
            self.put(symbol, parameter)

    def packed(self) -> npt.NDArray[np.uint8]:
        """Whole bytes, zeros behind the last bit."""
        return np.packbits(np.array(self._bits, np.uint8), bitorder="little")

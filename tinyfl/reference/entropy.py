"""Numbers in as few bytes as they are likely: the twin of ``firmware/core/codec_entropy.c`` (docs/WIRE.md).

An adaptive binary range coder without carry (Mahoney, Adaptive Weighing of Context Models for Lossless Data
Compression, 2005): the interval of a message is cut in two at each decision, as likely as each half is,
and its leading bytes leave as soon as they stand. What is decided of a number: how many bits its magnitude has, those
below the first one, its sign.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

SIZES: Final = 7  # bits of a magnitude: |q| <= 127
EVEN, FIRST = 0x8000, 0x5000  # Q16; FIRST: of further bits; EVEN: of the largest numbers
STARTS: Final = (0x4000, 0x8000, 0xA000)  # Q16: not 0, after two zeros, after small numbers, after larger ones
RATES: Final = (2, 3, 3, 3, 3, *8 * (4,), 5)  # by what a chance has seen: how much of the error it learns, 2^-rate
WORD: Final = 2**32 - 1


class Decisions(Protocol):
    """Who writes them down, or reads them."""

    def decide(self, one: int, bit: int) -> int:
        """A decision that is 1 with the chance ``one`` (Q16): of the writer ``bit``, of the reader what it finds."""


class Numbers:
    """Numbers of at most ``limit``, which is 2^n - 1, of which ``sent`` of ``of`` may be other than 0.

    Writing and reading are the same code: it is the decisions that are written or read.
    """

    def __init__(self, limit: int, sent: int, of: int) -> None:
        first, other = (3 * (max(1, 4096 * sent // of) << 4,), EVEN) if sent < of else (STARTS, FIRST)
        self._most = limit.bit_length()
        self._larger = [[one, *(SIZES - 1) * [other]] for one in first]
        self._larger_seen = [SIZES * [0] for _ in first]
        self._second, self._second_seen = SIZES * [FIRST], SIZES * [0]
        self._last = self._before = 1  # bits of the last two magnitudes

    def code(self, decisions: Decisions, q: int = 0) -> int:
        """The next number: written, it is ``q``."""
        size, around = abs(q).bit_length(), self._last + self._before
        context = 0 if around == 0 else 1 if around < 3 else 2
        larger, seen, bits = self._larger[context], self._larger_seen[context], 0
        while bits < self._most and _learn(decisions, larger, seen, bits, size > bits):
            bits += 1
        magnitude = int(bits > 0)
        for place in range(bits - 2, -1, -1):
            bit = abs(q) >> place & 1
            if place == bits - 2:
                bit = _learn(decisions, self._second, self._second_seen, bits - 1, bit)
            else:
                bit = decisions.decide(EVEN, bit)
            magnitude = 2 * magnitude + bit
        self._last, self._before = bits, self._last
        return -magnitude if bits and decisions.decide(EVEN, q < 0) else magnitude


def _learn(decisions: Decisions, chances: list[int], seen: list[int], i: int, bit: int) -> int:
    one, rate = chances[i], RATES[seen[i]]
    bit = decisions.decide(one, bit)
    chances[i] = one + (0x10000 - one >> rate) if bit else one - (one >> rate)
    seen[i] = min(seen[i] + 1, len(RATES) - 1)
    return bit


class Writer:
    """Decisions as bytes."""

    def __init__(self) -> None:
        self._low, self._high = 0, WORD
        self._out = bytearray()

    def decide(self, one: int, bit: int) -> int:
        """Writes ``bit``."""
        low, high = self._low, self._high
        middle = low + (high - low >> 12) * (one >> 4)
        if bit:
            high = middle
        else:
            low = middle + 1
        while (low ^ high) < 1 << 24:
            self._out.append(high >> 24)
            low, high = low << 8 & WORD, high << 8 & WORD | 255
        self._low, self._high = low, high
        return bit

    def end(self) -> bytes:
        """All of it: one more byte, with zeros from there on, is within the interval."""
        return bytes([*self._out, (self._low >> 24) + 1])


class Reader:
    """Decisions out of bytes from somebody who may lie: any bytes are decisions, some are what a writer wrote."""

    def __init__(self, data: bytes) -> None:
        self._data, self._taken = data, 0
        self._low, self._high = 0, WORD
        self._code = int.from_bytes(data[:4].ljust(4, b"\0"), "big")

    def decide(self, one: int, bit: int) -> int:
        """What was decided; ``bit`` is nothing to it."""
        low, high = self._low, self._high
        middle = low + (high - low >> 12) * (one >> 4)
        if self._code <= middle:
            bit, high = 1, middle
        else:
            bit, low = 0, middle + 1
        while (low ^ high) < 1 << 24:
            ahead = self._taken + 4
            self._taken += 1
            low, high = low << 8 & WORD, high << 8 & WORD | 255
            self._code = self._code << 8 & WORD | (self._data[ahead] if ahead < len(self._data) else 0)
        self._low, self._high = low, high
        return bit

    @property
    def whole(self) -> bool:
        """Whether the bytes are those that a writer of the same decisions leaves, no more and no fewer."""
        return self._data[self._taken :] == bytes([(self._low >> 24) + 1])


def encode(numbers: Iterable[int], limit: int, sent: int, of: int) -> bytes:
    """The bytes of numbers, in their order."""
    model, writer = Numbers(limit, sent, of), Writer()
    for q in numbers:
        model.code(writer, q)
    return writer.end()


def decode(data: bytes, count: int, limit: int, sent: int, of: int) -> list[int] | None:
    """The ``count`` numbers, each within -limit..limit; None where no writer wrote ``data``."""
    model, reader = Numbers(limit, sent, of), Reader(data)
    numbers = [model.code(reader) for _ in range(count)]
    return numbers if reader.whole else None

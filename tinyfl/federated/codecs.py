"""What the server knows of codecs: what it asks for, and how it reads what a board sent (docs/WIRE.md, "Updates").

Boards are not believed: whatever the payload holds, it becomes an update of the right size and range, or a BoardError.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tinyfl.errors import BoardError
from tinyfl.reference import entropy, head
from tinyfl.reference.codec import (
    LIMITS,
    MAX_SHIFTS,
    PLAIN,
    Bits,
    Codec,
    draw,
    likely,
    rice_bits,
)
from tinyfl.reference.fixed import Int64
from tinyfl.wire.messages import Trained

Int16 = npt.NDArray[np.int16]
UInt8 = npt.NDArray[np.uint8]

INT16, INT8, DIFFERENCE = range(3)  # codings of weights
DOWNLINKS = ("int16", "int8", "difference")
DIFFERENCE_PARAMETERS = range(16)


def trained_of(reply: Trained, tensor: int = 0) -> tuple[int, int]:
    """(max, mean) of a tensor's \\|v\\|, in master units, of a reply that ``update.check_trained`` let pass."""
    if tensor == 0:
        return reply.max_delta, reply.mean_delta
    most, mean = np.frombuffer(reply.more.tobytes(), "<u4").reshape(-1, 2)[tensor - 1].tolist()
    return most, mean


def fleet_shift(codec: Codec, replies: Sequence[Trained], tensor: int = 0) -> int:
    """One shift of a tensor for all boards: the smallest with every \\|v\\| <= limit * 2^shift.

    Of signs the power of two that is nearest, in ratio, to the mean over boards of how large is what they send: the
    mean \\|v\\|; where they send the largest alone, the geometric mean of that and of the largest.
    """
    told = [trained_of(reply, tensor) for reply in replies]
    if codec.level == "sign":
        sent = [math.isqrt(mean * most) if codec.selection == "top" else mean for most, mean in told]
        mean = sum(sent) // max(1, len(sent))
        shift = max(0, mean.bit_length() - 1)
        return min(shift + (mean * mean > 2 << 2 * shift), MAX_SHIFTS["sign"])
    return head.fleet_shift([most for most, _ in told], LIMITS[codec.level])


def decode(codec: Codec, payload: UInt8, weights: int, random: int) -> Int64:
    """q (P,) of an update of ``weights`` weights, zeros where nothing was sent; BoardError where no board can be right.

    ``random`` as in ``reference.codec.stream``.
    """
    q = np.zeros(weights, np.int64)
    if codec.entropy:
        picked = draw(weights, codec.count, random) if codec.selection == "random" else np.ones(weights, np.bool_)
        q[picked] = _numbers(codec, payload, weights)
        sent, asked = int(np.count_nonzero(q)), codec.count or weights
        if sent > asked or (codec.level == "sign" and sent != asked):
            raise BoardError(f"sent {sent} weights, asked for {asked}")
        return q
    reader = Reader(payload)
    picked = _picked(codec, reader, weights, random)
    q[picked] = _values(codec, reader, int(np.count_nonzero(picked)))
    reader.end()
    return q


def _numbers(codec: Codec, payload: UInt8, weights: int) -> Int64:
    """q of the values with entropy coding, or plain where that is not shorter."""
    count = codec.values(weights)
    if len(payload) >= codec.most_bytes(weights):
        reader = Reader(payload)
        values = _values(codec, reader, count)
        reader.end()
        return values
    numbers = entropy.decode(payload.tobytes(), count, LIMITS[codec.level], *likely(codec, weights))
    if numbers is None:
        raise BoardError(f"sent {len(payload)} bytes of coded deltas, which are too few, too many or end in rubbish")
    return np.array(numbers, np.int64)


def _picked(codec: Codec, reader: Reader, weights: int, random: int) -> npt.NDArray[np.bool_]:
    if codec.selection == "random":
        return draw(weights, codec.count, random)
    picked = np.ones(weights, np.bool_)
    if codec.positions:
        parameter, values = divmod(int(reader.take(1, 8)[0]), 16)
        if values != PLAIN:
            raise BoardError(f"sent parameter {values} of values, which does not exist here")
        if parameter == PLAIN:
            picked = reader.take(weights, 1).astype(np.bool_)
        else:
            places = np.cumsum(reader.rice(codec.count, parameter, weights - 1) + 1) - 1
            if places[-1] >= weights:
                raise BoardError(f"sent weight {places[-1]}, there are {weights}")
            picked = np.isin(np.arange(weights), places)
        if np.count_nonzero(picked) != codec.count:
            raise BoardError(f"sent {np.count_nonzero(picked)} weights, asked for {codec.count}")
    return picked


def _values(codec: Codec, reader: Reader, count: int) -> Int64:
    """q (count,) within the level's limit."""
    limit, width = LIMITS[codec.level], codec.width
    raw = reader.take(count, width)
    q = 1 - 2 * raw if width == 1 else raw - ((raw >> (width - 1)) << width)
    if len(q) and int(q.min()) < -limit:
        raise BoardError(f"sent a delta of {q.min()}, the range is -{limit}..{limit}")
    return q


class Reader:
    """Bits of a payload from somebody who may lie."""

    def __init__(self, payload: UInt8) -> None:
        self._bits = np.unpackbits(payload, bitorder="little").astype(np.int64)
        self._at = 0

    def take(self, count: int, width: int) -> Int64:
        """(count,) numbers of ``width`` bits."""
        size = count * width
        if size > len(self._bits) - self._at:
            raise BoardError(f"sent {len(self._bits) // 8} bytes of deltas, too few")
        bits = self._bits[self._at : self._at + size].reshape(count, width)
        self._at += size
        return np.asarray(bits @ (1 << np.arange(width, dtype=np.int64)), np.int64)

    def rice(self, count: int, parameter: int, most: int) -> Int64:
        """(count,) Rice-coded symbols of at most ``most``."""
        symbols = np.zeros(count, np.int64)
        bits, zeros, at = self._bits, np.flatnonzero(self._bits == 0).tolist(), self._at
        ends = iter(zeros)
        for i in range(count):
            end = next((place for place in ends if place >= at), None)
            if end is None or end + parameter >= len(bits):
                raise BoardError(f"sent {len(bits) // 8} bytes of deltas, too few")
            symbol = end - at << parameter
            for bit in range(parameter):
                symbol |= int(bits[end + 1 + bit]) << bit
            if symbol > most:
                raise BoardError(f"sent the symbol {symbol}, at most {most} is possible")
            symbols[i], at = symbol, end + 1 + parameter
        self._at = at
        return symbols

    def end(self) -> None:
        """Nothing but the zero bits of a last byte may be left."""
        rest = self._bits[self._at :]
        if len(rest) >= 8 or rest.any():
            raise BoardError(f"sent {len(self._bits) // 8} bytes of deltas, which are too many or end in rubbish")


def broadcast(master: Int64, downlink: str) -> Int16:
    """The weights (P,) that the server sends of its master weights: what all boards then hold."""
    weights = head.broadcast(master)
    return rounded(weights) if downlink == "int8" else weights


def rounded(weights: Int16) -> Int16:
    """The nearest head (P,) that int8 with one power of two can say."""
    power = _power(weights)
    return np.asarray(np.clip((weights.astype(np.int64) + (1 << power >> 1)) >> power, -127, 127) << power, np.int16)


def _power(weights: Int16) -> int:
    largest, power = int(np.abs(weights.astype(np.int64)).max(initial=0)), 0
    while largest > 127 << power:
        power += 1
    return min(power, 7)  # 127 * 2^7 is nearly head.MAX_WEIGHT: what is beyond is clipped


def encode_weights(weights: Int16, downlink: str, held: Int16 | None) -> tuple[int, UInt8]:
    """(coding, bytes) of a head (P,) for a board that holds the head ``held`` (None: nobody knows).

    Always exactly these weights: what the coding asked for cannot say, or not in fewer bytes, goes as int16.
    """
    plain = weights.astype("<i2").view(np.uint8)
    if downlink == "int8":
        power = _power(weights)
        small = weights.astype(np.int64) >> power
        if np.array_equal(small << power, weights):
            return INT8, np.concatenate([[power], small.astype(np.int8).view(np.uint8)]).astype(np.uint8)
    if downlink == "difference" and held is not None and held.shape == weights.shape:
        coded = _difference(weights, held)
        if len(coded) < len(plain):
            return DIFFERENCE, coded
    return INT16, plain


def _difference(weights: Int16, held: Int16) -> UInt8:
    """CRC-32 of the new weights, Rice coding's parameter, the differences to the old ones."""
    difference = weights.astype(np.int64) - held
    symbols = np.where(difference < 0, -2 * difference - 1, 2 * difference).tolist()
    parameter = min(DIFFERENCE_PARAMETERS, key=lambda p: rice_bits(symbols, p))
    bits = Bits()
    bits.put(zlib.crc32(weights.astype("<i2").tobytes()), 32)
    bits.put(parameter, 8)
    bits.put_rice(symbols, parameter)
    return bits.packed()

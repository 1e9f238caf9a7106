"""What a request and its reply cost on a line that loses nothing: the bytes of all frames, to the last one.

For boards that have no line. What ``session.Session`` and ``firmware/core/session.c`` write to each other is the same,
but for the questions that a host asks while a job takes long, and without MACs.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from tinyfl.wire.frame import BLOCK, CRC_BYTES, kind_byte
from tinyfl.wire.messages import HEADER_FORMAT, UNIT, FrameKind
from tinyfl.wire.session import FRAMES, LEAST_UNITS, OPEN_BYTES

ACK_BYTES = 12  # of the frame that says which unit is missing, or that none is: header, unit, CRC, COBS, zero


@dataclass(frozen=True)
class Line:
    """A session: its number, and what the board's WELCOME says of frames."""

    number: int
    chunk: int
    window: int

    def down(self, counter: int, type: int, body: bytes) -> int:
        """Bytes to the board of the session's request number ``counter`` (0: HELLO, which is always in one frame)."""
        return self._bytes(counter, type, body, self._down_units, to_host=False)

    def up(self, counter: int, request: int, type: int, body: bytes) -> int:
        """Bytes from the board for a request of ``request`` bytes: its reply, an ACK for each frame of a long one."""
        acks = 0 if counter == 0 or request <= self.chunk else 1 + -(-request // (self._down_units * UNIT))
        return acks * ACK_BYTES + self._bytes(counter, type, body, self.chunk // UNIT, to_host=True)

    @property
    def _down_units(self) -> int:
        """As ``Session._units``: several frames fit the board's window."""
        return min(self.chunk // UNIT, max(LEAST_UNITS, (self.window // FRAMES - OPEN_BYTES) // UNIT))

    def _bytes(self, counter: int, type: int, body: bytes, units: int, *, to_host: bool) -> int:
        """First contact has a zero before it."""
        frames = self._frames(counter, type, body, units)
        header = [
            struct.pack(HEADER_FORMAT, kind_byte(kind, to_host), counter % 256, self.number) for kind, _ in frames
        ]
        return (counter == 0) + sum(map(encoded_bytes, header, (payload for _, payload in frames)))

    def _frames(self, counter: int, type: int, body: bytes, units: int) -> list[tuple[FrameKind, bytes]]:
        if counter == 0 or len(body) <= self.chunk:
            return [(FrameKind.WHOLE, bytes([type]) + body)]
        return [
            (FrameKind.OPEN, struct.pack("<BII", type, len(body), zlib.crc32(body))),
            *((FrameKind.DATA, unit.to_bytes(2, "little") + data) for unit, data in _pieces(body, units)),
        ]


def _pieces(body: bytes, units: int) -> Iterator[tuple[int, bytes]]:
    for start in range(0, len(body), units * UNIT):
        yield start // UNIT, body[start : start + units * UNIT]


def encoded_bytes(header: bytes, payload: bytes) -> int:
    """Length of the frame (``frame.encode_frame``): COBS adds a byte, and one for each 254 without a zero."""
    raw = header + payload + bytes(CRC_BYTES)
    if len(raw) <= BLOCK:
        return len(raw) + 2
    raw = header + payload + struct.pack("<I", zlib.crc32(header + payload))
    *closed, last = raw.split(b"\0")
    if max(map(len, closed), default=0) < BLOCK > len(last):
        return len(raw) + 2
    return len(raw) + 2 + sum(len(run) // BLOCK for run in closed) + max(0, len(last) - 1) // BLOCK

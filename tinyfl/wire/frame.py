"""Frames: COBS(header | payload | CRC-32) 0x00, as ``firmware/core/frame.c`` writes and reads them."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from tinyfl.errors import FrameError
from tinyfl.wire.messages import HEADER_FORMAT

HEADER_BYTES = struct.calcsize(HEADER_FORMAT)
CRC_BYTES = 4
MAX_PAYLOAD = 4096  # of a frame that this side takes
BLOCK = 254  # bytes of COBS behind one code byte
PURPOSE, TO_HOST, UNITS_SHIFT = 0x07, 0x08, 4  # the parts of the byte ``kind``


@dataclass(frozen=True)
class Frame:
    """One frame; ``kind`` is the whole byte: what the frame is for, its direction, a wish for the answers."""

    kind: int
    message: int
    session: int
    payload: bytes = b""

    @property
    def purpose(self) -> int:
        """A ``FrameKind`` where it is known."""
        return self.kind & PURPOSE

    @property
    def to_host(self) -> bool:
        """True for all that a board sends."""
        return bool(self.kind & TO_HOST)

    @property
    def units(self) -> int:
        """How long the other side's frames shall be from now on, in units of a body; 0: as they are."""
        return self.kind >> UNITS_SHIFT


def kind_byte(purpose: int, to_host: bool = False, units: int = 0) -> int:
    """The byte ``kind`` of its three parts."""
    return purpose | (TO_HOST if to_host else 0) | units << UNITS_SHIFT


def frame_bytes(payload: int) -> int:
    """Bytes that a frame with this many of payload takes at most, the zero behind it included."""
    raw = HEADER_BYTES + payload + CRC_BYTES
    return raw + -(-raw // BLOCK) + 1


def cobs_encode(data: bytes) -> bytes:
    """Consistent overhead byte stuffing (Cheshire and Baker 1999): no zero in the result."""
    out, code = bytearray(b"\1"), 0
    for byte in data:
        if out[code] == 0xFF:
            code = len(out)
            out.append(1)
        if byte == 0:
            code = len(out)
            out.append(1)
        else:
            out.append(byte)
            out[code] += 1
    return bytes(out)


def cobs_decode(data: bytes) -> bytes:
    """The inverse; raises FrameError where a block is cut or holds a zero."""
    out, at, zero = bytearray(), 0, False
    while at < len(data):
        code = data[at]
        block = data[at + 1 : at + code]
        if code == 0 or len(block) != code - 1 or 0 in block:
            raise FrameError(f"byte {at}: a block of {code} bytes is cut or holds a zero")
        out += (b"\0" if zero else b"") + block
        zero = code != 0xFF
        at += code
    return bytes(out)


def encode_frame(frame: Frame, zero: bool = False) -> bytes:
    """The bytes on the wire; a ``zero`` before them ends whatever may stand there: printed text, half a frame."""
    raw = struct.pack(HEADER_FORMAT, frame.kind, frame.message, frame.session) + frame.payload
    return (b"\0" if zero else b"") + cobs_encode(raw + struct.pack("<I", zlib.crc32(raw))) + b"\0"


def decode_frame(data: bytes) -> Frame:
    """The frame in the bytes between two zeros; raises FrameError where they are none."""
    raw = cobs_decode(data)
    if len(raw) < HEADER_BYTES + CRC_BYTES:
        raise FrameError(f"{len(raw)} bytes are too few for a frame")
    body, crc = raw[:-CRC_BYTES], int.from_bytes(raw[-CRC_BYTES:], "little")
    if zlib.crc32(body) != crc:
        raise FrameError(f"CRC-32 {zlib.crc32(body):08x}, the frame says {crc:08x}")
    kind, message, session = struct.unpack_from(HEADER_FORMAT, body)
    return Frame(kind, message, session, body[HEADER_BYTES:])


class FrameDecoder:
    """Finds the frames in a stream of bytes; ``skipped`` counts the pieces between two zeros that were none."""

    def __init__(self, max_payload: int = MAX_PAYLOAD) -> None:
        self._limit = frame_bytes(max_payload) - 1
        self._pending = bytearray()
        self._overlong = False
        self.skipped = 0
        self.skipped_bytes = 0  # of those pieces that were no longer than a frame

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes close."""
        frames = []
        *closed, rest = data.split(b"\0")
        for part in closed:
            self._append(part)
            if self._pending:
                try:
                    frames.append(decode_frame(bytes(self._pending)))
                except FrameError:
                    self.skipped += 1
                    self.skipped_bytes += len(self._pending) + 1
            elif self._overlong:
                self.skipped += 1
            self._pending.clear()
            self._overlong = False
        self._append(rest)
        return frames

    def _append(self, part: bytes) -> None:
        """Drops what is longer than any frame, so that a stream without zeros takes no memory."""
        if self._overlong or len(self._pending) + len(part) > self._limit:
            self._overlong = True
            self._pending.clear()
        else:
            self._pending += part

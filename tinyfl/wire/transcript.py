"""Frames as text, one readable line each: for ``tinyfl device monitor``, its replay of traces, and bug reports."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from tinyfl.errors import FrameError
from tinyfl.wire.frame import Frame, FrameDecoder
from tinyfl.wire.messages import MAC_BYTES, MESSAGES, UNIT, Enrol, Feature, FrameKind, Hello, Status, Welcome
from tinyfl.wire.packing import Message
from tinyfl.wire.session import ALL, MAX_BODY, NOTHING, OPEN_BYTES, units_of

SHOWN_VALUES = 6  # of an array
KINDS = {kind.value: kind.name for kind in FrameKind}


def describe_frame(frame: Frame, authentic: bool = False) -> str:
    """One line for a frame alone; the fields of a message that it holds whole. ``authentic``: messages carry MACs."""
    if frame.purpose == FrameKind.LOG:
        return f"log {_printable(frame.payload)}"
    start = f"{KINDS.get(frame.purpose, f'kind {frame.purpose}'):6} {frame.session:5}.{frame.message:<3}"
    wish = f" [frames of {frame.units * UNIT}]" if frame.units else ""
    return f"{start} {_content(frame, authentic)}{wish}".rstrip()


def describe_message(type: int, body: bytes) -> str:
    """A message by name with its fields; arrays by their size and first values, keys not at all. Never raises."""
    message = MESSAGES.get(type)
    if message is None:
        return f"type 0x{type:02X}, {len(body)} bytes"
    try:
        unpacked = message.unpack(body)
    except FrameError as error:
        return f"{message.NAME} (broken: {error.message})"
    fields = " ".join(f"{name}={_value(unpacked, name)}" for name in message.FIELDS)
    return f"{message.NAME} {fields}".rstrip()


def _printable(text: bytes) -> str:
    """Log text without what could move a terminal's cursor."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text.decode(errors="replace"))


def _value(message: Message, name: str) -> str:
    value = getattr(message, name)
    if isinstance(message, Enrol) and name == "key":
        return "..."
    if message.NAME == "ERROR" and name == "status" and value in set(Status):
        return f"{value} ({Status(value).name})"
    if isinstance(value, np.ndarray):
        more = " ..." if len(value) > SHOWN_VALUES else ""
        return f"{len(value)}:[{' '.join(map(str, value[:SHOWN_VALUES].tolist()))}{more}]"
    if isinstance(value, bytes):
        return value.hex()
    return repr(value) if isinstance(value, str) else str(value)


def _content(frame: Frame, authentic: bool) -> str:
    payload = frame.payload
    if frame.purpose == FrameKind.WHOLE and payload:
        type, mac, body = _whole(payload, authentic)
        return describe_message(type, body) + (" mac" if mac else "")
    if frame.purpose == FrameKind.OPEN and len(payload) in (OPEN_BYTES, OPEN_BYTES + MAC_BYTES):
        name = MESSAGES[payload[0]].NAME if payload[0] in MESSAGES else f"type 0x{payload[0]:02X}"
        length = int.from_bytes(payload[1:5], "little")
        return f"{name}, {length} bytes follow" + (" mac" if len(payload) > OPEN_BYTES else "")
    if frame.purpose == FrameKind.DATA and len(payload) > 2:
        first, count = int.from_bytes(payload[:2], "little"), units_of(len(payload) - 2)
        return f"unit {first}" if count == 1 else f"units {first}..{first + count - 1}"
    if frame.purpose == FrameKind.ACK and len(payload) >= 2:
        return _progress(int.from_bytes(payload[:2], "little"), payload[2:])
    return f"{len(payload)} bytes" if payload else ""


def _whole(payload: bytes, authentic: bool) -> tuple[int, bytes, bytes]:
    """Type, MAC (of HELLO and WELCOME: none) and body of a WHOLE."""
    head = 1 + (MAC_BYTES if authentic and payload[0] not in (Hello.TYPE, Welcome.TYPE) else 0)
    return payload[0], payload[1:head], payload[head:]


def _progress(unit: int, bitmap: bytes) -> str:
    if unit in (ALL, NOTHING):
        return "all" if unit == ALL else "nothing"
    bits = f"{int.from_bytes(bitmap, 'little'):b}"[::-1] if bitmap else ""
    return f"up to unit {unit}" + (f", behind it {bits}" if bits else "")


@dataclass
class _Body:
    key: tuple[int, int]  # session, message
    head: bytes  # the payload of its OPEN
    body: bytearray
    missing: set[int]  # units


class Transcript:
    """Both directions of one link as lines; a message of several frames is shown where its last one arrives."""

    def __init__(self) -> None:
        self._decoders = {True: FrameDecoder(), False: FrameDecoder()}
        self._bodies: dict[bool, _Body | None] = {True: None, False: None}
        self._skipped = {True: 0, False: 0}
        self._authentic: int | None = None  # the session whose messages carry MACs

    def feed(self, sent: bool, data: bytes) -> list[str]:
        """The lines for bytes that the host sent (or received): ``>`` to the board, ``<`` to the host."""
        arrow, decoder, lines = ">" if sent else "<", self._decoders[sent], []
        for frame in decoder.feed(data):
            self._learn(frame)
            lines.append(f"{arrow} {describe_frame(frame, frame.session == self._authentic)}")
            whole = self._completed(sent, frame)
            if whole is not None:
                lines.append(f"{arrow}        {frame.session:5}.{frame.message:<3} {whole}")
        if decoder.skipped > self._skipped[sent]:
            lines.append(f"{arrow} {decoder.skipped - self._skipped[sent]} pieces that are no frames")
            self._skipped[sent] = decoder.skipped
        return lines

    def _learn(self, frame: Frame) -> None:
        """A WELCOME tells whether the session's messages carry MACs."""
        if frame.purpose != FrameKind.WHOLE or frame.payload[:1] != bytes([Welcome.TYPE]):
            return
        if len(frame.payload) == 1 + Welcome.BYTES:
            self._authentic = frame.session if Welcome.unpack(frame.payload[1:]).features & Feature.AUTH else None

    def _completed(self, sent: bool, frame: Frame) -> str | None:
        """The message that this frame completes, if it took several."""
        key = (frame.session, frame.message)
        if frame.purpose == FrameKind.OPEN and len(frame.payload) >= OPEN_BYTES:
            self._open(sent, key, frame.payload)
        body = self._bodies[sent]
        if frame.purpose != FrameKind.DATA or body is None or body.key != key or len(frame.payload) <= 2:
            return None
        first, data = int.from_bytes(frame.payload[:2], "little"), frame.payload[2:]
        units = range(first, first + units_of(len(data)))
        if body.missing.isdisjoint(units) or first * UNIT + len(data) > len(body.body):
            return None
        body.missing.difference_update(units)
        body.body[first * UNIT : first * UNIT + len(data)] = data
        if body.missing:
            return None
        whole = bytes(body.body)
        if zlib.crc32(whole) != int.from_bytes(body.head[5:OPEN_BYTES], "little"):
            return f"{len(whole)} bytes that do not match their digest"
        return describe_message(body.head[0], whole)

    def _open(self, sent: bool, key: tuple[int, int], head: bytes) -> None:
        length, known = int.from_bytes(head[1:5], "little"), self._bodies[sent]
        if length <= MAX_BODY and (known is None or (known.key, known.head) != (key, head)):
            self._bodies[sent] = _Body(key, head, bytearray(length), set(range(units_of(length))))

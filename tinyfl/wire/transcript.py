"""Frames as text, one readable line each: for ``tinyfl device monitor``, its replay of traces, and bug reports."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from tinyfl.errors import FrameError
from tinyfl.wire.frame import Frame, FrameDecoder
from tinyfl.wire.messages import DEFAULT_CHUNK, MESSAGES, FrameKind, Status, Welcome
from tinyfl.wire.packing import Message
from tinyfl.wire.session import MAX_BODY, OPEN_BYTES

SHOWN_VALUES = 6  # of an array


def describe_frame(frame: Frame) -> str:
    """One line for a frame alone; the fields of a message that it holds whole."""
    names = {kind.value: kind.name for kind in FrameKind}
    start = f"{names.get(frame.kind, f'kind {frame.kind}'):5} {frame.session:5}.{frame.message:<3}"
    return f"{start} {_content(frame)}".rstrip()


def describe_message(type: int, body: bytes) -> str:
    """A message by name with its fields; arrays by their size and first values. Never raises."""
    message = MESSAGES.get(type)
    if message is None:
        return f"type 0x{type:02X}, {len(body)} bytes"
    try:
        unpacked = message.unpack(body)
    except FrameError as error:
        return f"{message.NAME} (broken: {error.message})"
    fields = " ".join(f"{name}={_value(unpacked, name)}" for name in message.FIELDS)
    return f"{message.NAME} {fields}".rstrip()


def _value(message: Message, name: str) -> str:
    value = getattr(message, name)
    if message.NAME == "ERROR" and name == "status" and value in set(Status):
        return f"{value} ({Status(value).name})"
    if isinstance(value, np.ndarray):
        more = " ..." if len(value) > SHOWN_VALUES else ""
        return f"{len(value)}:[{' '.join(map(str, value[:SHOWN_VALUES].tolist()))}{more}]"
    if isinstance(value, bytes):
        return value.hex()
    return repr(value) if isinstance(value, str) else str(value)


def _content(frame: Frame) -> str:
    payload = frame.payload
    if frame.kind == FrameKind.OPEN and len(payload) >= OPEN_BYTES:
        if len(payload) == OPEN_BYTES + frame.offset:
            return describe_message(payload[0], payload[OPEN_BYTES:])
        name = MESSAGES[payload[0]].NAME if payload[0] in MESSAGES else f"type 0x{payload[0]:02X}"
        return f"{name}, {frame.offset} bytes follow"
    if frame.kind == FrameKind.DATA:
        return f"bytes {frame.offset}..{frame.offset + len(payload)}"
    if frame.kind == FrameKind.ACK and payload:
        bits = int.from_bytes(payload[1:], "little")
        behind = f", chunks behind: {bits:b}" if bits else ""
        return f"has {frame.offset} bytes, credits {payload[0]}{behind}"
    if frame.kind == FrameKind.LOG:
        return repr(payload.decode(errors="replace"))
    return f"{len(payload)} bytes" if payload else ""


@dataclass
class _Body:
    key: tuple[int, int]  # session, message
    type: int
    digest: int
    body: bytearray
    missing: set[int]  # offsets


class Transcript:
    """Both directions of one link as lines; a message of several frames is shown where its last one arrives."""

    def __init__(self) -> None:
        self._decoders = {True: FrameDecoder(), False: FrameDecoder()}
        self._bodies: dict[bool, _Body | None] = {True: None, False: None}
        self._chunk = DEFAULT_CHUNK
        self._skipped = {True: 0, False: 0}

    def feed(self, sent: bool, data: bytes) -> list[str]:
        """The lines for bytes that the host sent (or received): ``>`` to the board, ``<`` to the host."""
        arrow, decoder, lines = ">" if sent else "<", self._decoders[sent], []
        for frame in decoder.feed(data):
            lines.append(f"{arrow} {describe_frame(frame)}")
            whole = self._whole(sent, frame)
            if whole is not None:
                lines.append(f"{arrow}       {frame.session:5}.{frame.message:<3} {whole}")
        if decoder.skipped > self._skipped[sent]:
            lines.append(f"{arrow} {decoder.skipped - self._skipped[sent]} pieces that are no frames")
            self._skipped[sent] = decoder.skipped
        return lines

    def _whole(self, sent: bool, frame: Frame) -> str | None:
        """The message that this frame completes, if it took several."""
        key = (frame.session, frame.message)
        if frame.kind == FrameKind.OPEN and len(frame.payload) >= OPEN_BYTES:
            self._open(sent, key, frame)
        body = self._bodies[sent]
        if frame.kind != FrameKind.DATA or body is None or body.key != key or frame.offset not in body.missing:
            return None
        body.missing.remove(frame.offset)
        body.body[frame.offset : frame.offset + len(frame.payload)] = frame.payload
        if body.missing:
            return None
        whole = bytes(body.body)
        if zlib.crc32(whole) != body.digest:
            return f"{len(whole)} bytes that do not match their digest"
        return describe_message(body.type, whole)

    def _open(self, sent: bool, key: tuple[int, int], frame: Frame) -> None:
        inline = frame.payload[OPEN_BYTES:]
        if frame.payload[0] == Welcome.TYPE and len(inline) == Welcome.BYTES:
            self._chunk = Welcome.unpack(inline).chunk or DEFAULT_CHUNK
        known = self._bodies[sent]
        if len(inline) == frame.offset or frame.offset > MAX_BODY or (known is not None and known.key == key):
            return
        digest = int.from_bytes(frame.payload[1:OPEN_BYTES], "little")
        offsets = set(range(0, frame.offset, self._chunk))
        self._bodies[sent] = _Body(key, frame.payload[0], digest, bytearray(frame.offset), offsets)

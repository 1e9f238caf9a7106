"""What is plugged in, without opening anything; what a board says of itself; the frames that cross its line."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tinyfl.wire.transcript import Transcript
from tinyfl_host.links import open_link
from tinyfl_host.links.trace import read_trace
from tinyfl_host.node import Node


@dataclass(frozen=True)
class Port:
    """A serial port and the USB device behind it."""

    link: str
    usb: str  # vendor:product in hex
    product: str
    serial_number: str


def list_ports() -> list[Port]:
    """Serial ports with a USB device; none is opened, so no board is reset."""
    from serial.tools.list_ports import comports

    return [
        Port(f"serial:{p.device},115200", f"{p.vid:04x}:{p.pid:04x}", p.product or p.description, p.serial_number or "")
        for p in sorted(comports(), key=lambda p: p.device)
        if p.vid is not None
    ]


def board_info(link: str, deadline: float = 3.0) -> dict[str, Any]:
    """The board's WELCOME by field, texts and hex for bytes, as the board says it: its proof is not asked for.

    Raises LinkError where no board answers.
    """
    node = Node(open_link(link), None, link)
    try:
        welcome = node.identify(deadline)
    finally:
        node.close()
    fields = {key: value for key, value in asdict(welcome).items() if key not in ("nonce", "proof")}
    return {key: value.hex() if isinstance(value, bytes) else value for key, value in fields.items()}


def watch(link: str) -> Iterator[str]:
    """The frames that a board sends, as lines, until the link closes (LinkError). Nothing is sent to it."""
    transcript, line = Transcript(), open_link(link)
    start = time.monotonic()
    try:
        while True:
            for text in transcript.feed(False, line.read(1.0)):
                yield f"{time.monotonic() - start:9.3f} {text}"
    finally:
        line.close()


def replay(path: Path) -> Iterator[str]:
    """A trace's frames as lines, each with its time and, where several links were recorded, its link."""
    transcripts: dict[str, Transcript] = {}
    chunks = list(read_trace(path))
    several = len({chunk.link for chunk in chunks}) > 1
    for chunk in chunks:
        transcript = transcripts.setdefault(chunk.link, Transcript())
        for text in transcript.feed(chunk.sent, chunk.data):
            yield f"{chunk.seconds:9.3f} {chunk.link + ' ' if several else ''}{text}"

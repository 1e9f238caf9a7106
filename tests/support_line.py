"""A serial line as a pty: the host opens ``line.path``; a thread paces the bytes like a UART behind a USB converter."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import socket
import threading
import time
import tty
from collections import deque
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Self

import pytest
from serial.tools import list_ports

from tinyfl_host.links import Link, usb

PACKET = 62  # bytes of data in a full-speed USB packet of an FTDI converter
PIECE = 4096


def read_all(link: Link, count: int, seconds: float = 2.0) -> bytes:
    """``count`` bytes of a link, each piece within ``seconds``."""
    data = b""
    while len(data) < count:
        piece = link.read(seconds)
        assert piece, f"only {len(data)} of {count} bytes came"
        data += piece
    return data


class Wire:
    """One direction: bytes leave one after the other, each taking ten bits of the baud rate."""

    def __init__(self, byte_time: float) -> None:
        self._byte_time = byte_time
        self._queue: deque[int] = deque()
        self._next = 0.0  # when the first byte of the queue has left

    def put(self, data: bytes, now: float) -> None:
        """Bytes to send."""
        if data and not self._queue:
            self._next = now + self._byte_time
        self._queue += data

    def get(self, now: float) -> bytes:
        """What has left until now."""
        if not self._queue or now < self._next:
            return b""
        count = min(len(self._queue), int((now - self._next) / self._byte_time) + 1)
        self._next += count * self._byte_time
        return bytes(self._queue.popleft() for _ in range(count))

    def due(self, count: int) -> float:
        """When ``count`` bytes, or all there are, have left."""
        ahead = min(count, len(self._queue))
        return self._next + (ahead - 1) * self._byte_time if ahead else float("inf")


class Line:
    """The board's end is ``board``, a socket. ``unplug`` takes the host's port away; ``plug`` makes a new one."""

    def __init__(self, path: Path, baud: int = 115200, latency: float = 0.016) -> None:
        self.path = path
        self.board, self._board = socket.socketpair()
        self._board.setblocking(False)
        self._down, self._up = Wire(10 / baud), Wire(10 / baud)
        self._latency, self._flushed = latency, time.monotonic()
        self._held = bytearray()  # by the converter, until a packet is full or the timer ends
        self._host, self._end = -1, -1
        self._turn = threading.Lock()
        self._wake, self._woken = os.pipe()
        self._stop = False
        self.plug(path)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def plug(self, path: Path | None = None) -> None:
        """The port appears, under another name if one is given."""
        host, end = pty.openpty()
        os.set_blocking(host, False)
        tty.setraw(end)
        self.path = path or self.path
        self.path.symlink_to(os.ttyname(end))
        with self._turn:
            self._host, self._end = host, end  # an end that is open keeps the host's from being hung up
        os.write(self._woken, b"x")

    def unplug(self) -> None:
        """The port is gone, with all that is under way; the board notices nothing but silence."""
        with self._turn:
            os.close(self._host)
            os.close(self._end)
            self._host = -1
            self._held.clear()
        self.path.unlink()

    def close(self) -> None:
        """Ends the thread and both ends."""
        self._stop = True
        os.write(self._woken, b"x")
        self._thread.join(5)
        if self._host >= 0:
            self.unplug()
        for descriptor in (self._wake, self._woken):
            os.close(descriptor)
        self.board.close()
        self._board.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _run(self) -> None:
        while not self._stop:
            with self._turn:
                self._step()
                wait = self._wait(time.monotonic())
                sources = [self._wake, self._board] + [self._host] * (self._host >= 0)
            with contextlib.suppress(OSError, ValueError):  # unplugged while waiting
                ready, _, _ = select.select(sources, [], [], wait)
                if self._wake in ready:
                    os.read(self._wake, PIECE)

    def _step(self) -> None:
        down, up = self._host_sent(), self._board_sent()
        now = time.monotonic()  # after reading: no byte is early
        self._down.put(down, now)
        self._up.put(up, now)
        with contextlib.suppress(OSError):
            self._board.sendall(self._down.get(now))
        arrived = self._up.get(now)
        if self._host >= 0:
            self._held += arrived
            self._flush(now)

    def _flush(self, now: float) -> None:
        timer = now - self._flushed >= self._latency
        count = len(self._held) if timer else len(self._held) // PACKET * PACKET
        if count:
            os.write(self._host, self._held[:count])
            del self._held[:count]
        if count or timer:
            self._flushed = now

    def _host_sent(self) -> bytes:
        try:
            return os.read(self._host, PIECE) if self._host >= 0 else b""
        except OSError:  # nothing there, or nobody has the port open
            return b""

    def _board_sent(self) -> bytes:
        try:
            return self._board.recv(PIECE)
        except OSError:
            return b""

    def _wait(self, now: float) -> float:
        packet = self._up.due(PACKET - len(self._held))
        timer = self._flushed + self._latency if self._held else float("inf")
        return max(0.0002, min(self._down.due(8), packet, timer, now + 0.05) - now)


def pretend_usb(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Ports with USB devices behind them: the test fills in serial numbers by path."""
    numbers: dict[str, str] = {}

    def comports() -> list[SimpleNamespace]:
        common = {"vid": 0x0D28, "pid": 0x0204, "location": "1-2:1.1"}
        return [SimpleNamespace(device=os.path.realpath(p), serial_number=n, **common) for p, n in numbers.items()]

    monkeypatch.setattr(list_ports, "comports", comports)
    monkeypatch.setattr(usb, "_seen", {})
    return numbers

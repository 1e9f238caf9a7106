"""What every link is: bytes in, bytes out, no messages. All schemes but memory rest on one file descriptor."""

from __future__ import annotations

import errno
import os
import select
import time
from collections.abc import Callable
from typing import Protocol

from tinyfl.errors import LinkError

PIECE = 65536
WRITE_PATIENCE = 10.0  # seconds without a byte taken: the other side is stuck


class Link(Protocol):
    """A line to one board."""

    def read(self, timeout: float) -> bytes:
        """What has arrived, waiting up to ``timeout`` seconds for it; empty: nothing came. LinkError when closed."""

    def write(self, data: bytes) -> None:
        """Sends all of ``data``; LinkError when closed."""

    def close(self) -> None:
        """Gives the line back; once is enough, twice does no harm."""


class DescriptorLink:
    """A link over a file descriptor that does not block: a socket, a serial port or a pty."""

    def __init__(
        self,
        name: str,
        descriptor: int,
        close: Callable[[], None],
        gone: str = "the other side closed the link",
        hint: str = "is the board or its emulator still there?",
    ) -> None:
        """``gone`` and ``hint`` are what a LinkError says when there is nothing at the other side any more."""
        self.name = name
        self._gone, self._hint = gone, hint
        self._descriptor = descriptor
        self._close: Callable[[], None] | None = close
        self._received = bytearray()  # read while a write had to wait

    def read(self, timeout: float) -> bytes:
        """See Link. What came before the other side closed is still handed out."""
        if not self._received and self._wait(select.POLLIN, timeout):
            self._receive()
        data = bytes(self._received)
        self._received.clear()
        return data

    def write(self, data: bytes) -> None:
        """See Link. Reads what comes in meanwhile: a board that waits to send takes nothing."""
        rest = memoryview(data)
        patience = time.monotonic() + WRITE_PATIENCE
        while rest:
            ready = self._wait(select.POLLIN | select.POLLOUT, max(0.0, patience - time.monotonic()))
            if ready & ~select.POLLOUT:
                self._receive()
            if ready & select.POLLOUT:
                rest = rest[self._send(rest) :]
                patience = time.monotonic() + WRITE_PATIENCE
            elif time.monotonic() >= patience:
                raise LinkError(f"{self.name}: takes no bytes for {WRITE_PATIENCE:.0f} s", "reset the board")

    def close(self) -> None:
        """See Link."""
        close, self._close = self._close, None
        if close is not None:
            close()

    def _wait(self, events: int, timeout: float) -> int:
        """The events that are there after at most ``timeout`` seconds, 0 for none."""
        if self._close is None:
            raise LinkError(f"{self.name}: closed")
        poll = select.poll()
        try:
            poll.register(self._descriptor, events)
            ready = poll.poll(timeout * 1000)
        except (OSError, ValueError) as error:
            raise self._lost(error) from error
        return ready[0][1] if ready else 0

    def _receive(self) -> None:
        try:
            data = os.read(self._descriptor, PIECE)
        except BlockingIOError:
            return
        except OSError as error:
            raise self._lost(error) from error
        if not data:
            raise LinkError(f"{self.name}: {self._gone}", self._hint)
        self._received += data

    def _send(self, data: memoryview) -> int:
        try:
            return os.write(self._descriptor, data[:PIECE])
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._lost(error) from error

    def _lost(self, error: OSError | ValueError) -> LinkError:
        """Terminals, serial ports among them, give EIO, ENXIO or ENODEV where the device is gone."""
        if getattr(error, "errno", None) in (errno.EIO, errno.ENXIO, errno.ENODEV):
            return LinkError(f"{self.name}: {self._gone}", self._hint)
        return LinkError(f"{self.name}: {getattr(error, 'strerror', None) or error}", self._hint)

"""``serial:rfc2217://HOST:PORT``: a serial port behind a server that can also set baud rate and lines (RFC 2217)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tinyfl.errors import LinkError

if TYPE_CHECKING:
    from serial import Serial

HINT = "is a server for the port (RFC 2217) listening there?"
PAUSE = 0.1  # seconds that the thread waits for a byte before it looks whether the link was closed


class Rfc2217Link:
    """pyserial's port has no descriptor to poll and negotiates anew when its timeout is changed: a thread reads it.

    As that thread always reads, a write waits for no board that waits to send.
    """

    def __init__(self, name: str, port: Serial) -> None:
        """``port``: open, with the timeout PAUSE."""
        self.name = name
        self._port = port
        self._turn = threading.Condition()
        self._received = bytearray()
        self._error = ""
        self._closed = False
        self._thread = threading.Thread(target=self._pump, daemon=True)
        self._thread.start()

    def read(self, timeout: float) -> bytes:
        """See Link."""
        with self._turn:
            self._turn.wait_for(lambda: self._received or self._error or self._closed, timeout)
            if not self._received:
                self._check()
            data = bytes(self._received)
            self._received.clear()
            return data

    def write(self, data: bytes) -> None:
        """See Link."""
        with self._turn:
            self._check()
        try:
            self._port.write(data)
        except OSError as error:  # SerialException is one
            raise LinkError(f"{self.name}: {error}", HINT) from error

    def close(self) -> None:
        """See Link."""
        if not self._closed:
            self._closed = True
            self._thread.join()
            self._port.close()

    def _check(self) -> None:
        if self._closed:
            raise LinkError(f"{self.name}: closed")
        if self._error:
            raise LinkError(f"{self.name}: the server closed the link: {self._error}", HINT)

    def _pump(self) -> None:
        try:
            while not self._closed:
                data = self._port.read(max(1, self._port.in_waiting))
                with self._turn:
                    self._received += data
                    self._turn.notify_all()
        except OSError as error:
            with self._turn:
                self._error = str(error)
                self._turn.notify_all()


def open_rfc2217(url: str, baud: int, dtr: bool, rts: bool) -> Rfc2217Link:
    """Connects and sets the port; raises LinkError."""
    from serial import serial_for_url

    port = serial_for_url(url, baud, timeout=PAUSE, do_not_open=True)
    port.dtr, port.rts = dtr, rts
    try:
        port.open()
    except (OSError, ValueError) as error:
        raise LinkError(f"serial:{url}: {error}", HINT) from error
    return Rfc2217Link(f"serial:{url}", port)

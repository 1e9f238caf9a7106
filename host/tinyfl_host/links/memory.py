"""Two ends of a line inside this process: the twin as a board, and tests."""

from __future__ import annotations

import threading

from tinyfl.errors import LinkError


class MemoryLink:
    """One end; ``pair`` makes both."""

    def __init__(self, turn: threading.Condition) -> None:
        self._turn = turn
        self._received = bytearray()
        self._closed = False
        self._other = self

    def read(self, timeout: float) -> bytes:
        """See Link."""
        with self._turn:
            self._turn.wait_for(lambda: self._received or self._gone, timeout)
            if not self._received and self._gone:
                raise LinkError("memory: closed")
            data = bytes(self._received)
            self._received.clear()
            return data

    def write(self, data: bytes) -> None:
        """See Link."""
        with self._turn:
            if self._gone:
                raise LinkError("memory: closed")
            self._other._received += data
            self._turn.notify_all()

    def close(self) -> None:
        """See Link."""
        with self._turn:
            self._closed = True
            self._turn.notify_all()

    @property
    def _gone(self) -> bool:
        return self._closed or self._other._closed


def pair() -> tuple[MemoryLink, MemoryLink]:
    """Two links; what one writes the other reads."""
    turn = threading.Condition()
    a, b = MemoryLink(turn), MemoryLink(turn)
    a._other, b._other = b, a
    return a, b

"""How long a direction's frames shall be: long ones cost less, short ones lose less to a bad line (docs/WIRE.md)."""

from __future__ import annotations

from tinyfl.wire.frame import frame_bytes
from tinyfl.wire.messages import UNIT

DATA_BYTES = 2  # of a DATA frame's payload before the units
TRUST = 4096  # bytes without an error that a line is credited with at first
MEMORY = 32768  # bytes over which what was seen fades


class Chunks:
    """``units`` a frame, at most ``most``, for the greatest goodput at the error rate seen: errors hit bytes alike."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes, self._errors = float(TRUST), 0.0
        self.units = most

    @property
    def error_rate(self) -> float:
        """Errors a byte."""
        return min(self._errors / self._bytes, 1.0)

    def limit(self, most: int) -> None:
        """No more than ``most`` units from now on."""
        self._most = most
        self._choose()

    def arrived(self, size: int) -> None:
        """A frame of ``size`` bytes came through."""
        self._fade(size)
        self._bytes += size
        if self.units < self._most:
            self._choose()

    def lost(self, size: int) -> None:
        """A frame of ``size`` bytes did not: its first error stands, on average, in its middle."""
        self._fade(size)
        self._bytes += size / 2
        self._errors += 1
        self._choose()

    def _fade(self, size: int) -> None:
        left = max(0.0, 1 - size / MEMORY)
        self._bytes, self._errors = max(self._bytes * left, 1.0), self._errors * left

    def _choose(self) -> None:
        self.units = max(range(1, self._most + 1), key=lambda units: goodput(units, self.error_rate))


def goodput(units: int, error_rate: float) -> float:
    """The share of the line's bytes that arrive as bytes of a body, in frames of this many units."""
    size = frame_bytes(DATA_BYTES + units * UNIT)
    return float(units * UNIT / size * (1 - error_rate) ** size)

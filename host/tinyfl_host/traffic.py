"""What crossed one board's link, counted by its Node."""

from __future__ import annotations

from dataclasses import astuple, dataclass


@dataclass
class Traffic:
    """Bytes in both directions (up: board to host): with framing and repeats, and of that the bodies of messages."""

    up: int = 0
    down: int = 0
    body_up: int = 0
    body_down: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: Traffic) -> Traffic:
        return Traffic(*(a - b for a, b in zip(astuple(self), astuple(other), strict=True)))

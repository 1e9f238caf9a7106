"""A link that does one thing wrong at one byte of its traffic, and a round over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from support_rounds import head_format, twin

from tinyfl.errors import LinkError
from tinyfl.reference import head
from tinyfl.reference.fixed import mix
from tinyfl_host.fleet import Member
from tinyfl_host.links import Link
from tinyfl_host.node import Node

FAULTS = ("flip", "drop", "double", "cut")
MEMBER = Member("b1", 1, "posix")
RATE = head.rate(0.5, head_format().r2, head_format().fw)
START = head.broadcast(head.to_wire(head_format().initial).astype(np.int64) << 16)


@dataclass
class Fault:
    """``kind`` at byte ``position`` of one direction, once; ``passed`` counts that direction's bytes."""

    kind: str = ""
    up: bool = False
    position: int = -1
    passed: int = 0
    done: bool = False

    def apply(self, data: bytes) -> tuple[bytes, bool]:
        """What becomes of bytes, and whether the link is cut behind them."""
        at = self.position - self.passed
        self.passed += len(data)
        if self.done or not 0 <= at < len(data):
            return data, False
        self.done = True
        before, byte, after = data[:at], data[at : at + 1], data[at + 1 :]
        if self.kind == "cut":
            return before, True
        changed = {"flip": bytes([byte[0] ^ 0x20]), "drop": b"", "double": byte + byte}[self.kind]
        return before + changed + after, False


class FaultedLink:
    """The link with a fault; one that was cut is opened again without."""

    def __init__(self, link: Link, fault: Fault) -> None:
        self._link, self._fault = link, fault
        self._cut = False
        self.up = self.down = 0

    def read(self, timeout: float) -> bytes:
        """See Link."""
        self._check()
        data = self._link.read(timeout)
        self.up += len(data)
        if self._fault.up:
            data, self._cut = self._fault.apply(data)
        return data

    def write(self, data: bytes) -> None:
        """See Link."""
        self._check()
        self.down += len(data)
        if not self._fault.up:
            data, self._cut = self._fault.apply(data)
        self._link.write(data)

    def close(self) -> None:
        """See Link."""
        self._link.close()

    def _check(self) -> None:
        if self._cut:
            self._link.close()
            raise LinkError("faulted: cut")


def round_over(
    connect: Callable[[], Link], key: bytes | None, fault: Fault, seconds: float = 10.0
) -> tuple[bytes, FaultedLink]:
    """One round of the twin's member 1, authenticated where there is a key: all that the board said of it."""
    first = FaultedLink(connect(), fault)
    keys = None if key is None else lambda device: key
    node = Node(first, name="b1", reopen=connect, keys=keys, require_auth=key is not None)
    try:
        node.hello(seconds)
        trained = node.train(7, 3, 1, 2, *RATE, START, deadline=seconds)
        shift = head.fleet_shift([trained.max_delta])
        delta = node.collect(7, shift, mix(3, 7, 0xFFFF, 1), deadline=seconds)
    finally:
        node.close()
    return bytes([shift]) + trained.samples.to_bytes(4, "little") + delta.deltas.tobytes(), first


def twins_round() -> bytes:
    """The same round by the twin."""
    board = twin(MEMBER)
    board.hello()
    trained = board.train(7, 3, 1, 2, *RATE, START)
    shift = head.fleet_shift([trained.max_delta])
    delta = board.collect(7, shift, mix(3, 7, 0xFFFF, 1))
    return bytes([shift]) + trained.samples.to_bytes(4, "little") + delta.deltas.tobytes()

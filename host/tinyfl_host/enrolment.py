"""A board gets its key: drawn here, given over a line that is trusted for this once, proved by a new session.

The key file is written before the board is told and confirmed after the board has proved the key, so that a cut at any
moment loses no key that a board holds: the next ``enrol`` goes on from what the board proves.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from tinyfl.errors import AuthError, BoardError, UsageError
from tinyfl.wire.auth import KEY_BYTES
from tinyfl.wire.messages import Feature, Welcome
from tinyfl_host.keys import Entry, Keys, load_keys
from tinyfl_host.links import Link, open_link
from tinyfl_host.node import Node


@dataclass(frozen=True)
class Enrolled:
    """A board whose key this host knows now."""

    device: str
    name: str
    keys: str  # the file


def enrol(link: str, replace: bool = False) -> Enrolled:
    """Gives the board at ``link`` a key; ``replace``: in place of the one that it, or this host, has.

    Raises UsageError where that is not asked for, AuthError where the board holds a key that this host cannot prove.
    """
    if link.partition(":")[0].strip().lower() == "ble":
        raise UsageError(f"{link}: a key is not sent through the air", "enrol the board over its cable, then use BLE")
    keys = load_keys()  # a file that cannot be used is seen before a board has a key
    return enrol_over(open_link(link), link, keys, replace)


def enrol_over(link: Link, name: str, keys: Keys, replace: bool = False) -> Enrolled:
    """``enrol`` over a link that is open; closes it."""
    board = _Board(link, name)
    try:
        welcome = board.identify()
        device = welcome.device
        if not _finished(board, welcome, keys, replace):
            key = secrets.token_bytes(KEY_BYTES)
            keys = keys.add(device, key, welcome.name)
            _give(board, device, key, keys)
    finally:
        board.close()
    return Enrolled(device.hex(), welcome.name, str(keys.path))


class _Board:
    """The board under different keys: what it proves tells which of them it holds."""

    def __init__(self, link: Link, name: str) -> None:
        self.name = name
        self._device, self._key = b"", b""
        self._node = Node(link, None, name, keys=lambda device: self._key or None if device == self._device else None)
        self.close = self._node.close
        self.enrol = self._node.enrol

    def identify(self) -> Welcome:
        welcome = self._node.identify()
        if not any(welcome.device):
            raise BoardError(f"{self.name}: the board has no device id, so no key of its own", "its port must give one")
        self._device = welcome.device
        return welcome

    def greet(self, key: bytes) -> None:
        """A session by this key, or by none (empty); raises AuthError where the board does not agree."""
        self._key = key
        self._node.hello()

    def proves(self, key: bytes | None) -> bool:
        """True where the board holds this key: then there is a session by it."""
        if key is None:
            return False
        try:
            self.greet(key)
        except AuthError:
            return False
        return True


def _finished(board: _Board, welcome: Welcome, keys: Keys, replace: bool) -> bool:
    """True where an enrolment that was cut off is done now; False: a session is open in which the board takes a key."""
    device = welcome.device
    entry = keys.entries.get(device, Entry())
    if welcome.features & Feature.AUTH:
        if board.proves(entry.pending):
            keys.confirm(device)
            return True
        if not board.proves(entry.key):
            raise AuthError(
                f"{board.name}: device {device.hex()} holds a key that is not in {keys.path}",
                "use the host that enrolled it; without its key only erasing the board's flash helps",
            )
        if not replace:
            raise UsageError(
                f"{board.name}: device {device.hex()} is enrolled by this host already", "--replace gives it a new key"
            )
        return False
    if entry.key and not replace:
        raise AuthError(
            f"{board.name}: this host has a key for device {device.hex()}, but this board holds none",
            "if it is that board and its flash was erased: --replace gives it a new key",
        )
    board.greet(b"")
    return False


def _give(board: _Board, device: bytes, key: bytes, keys: Keys) -> None:
    """The key to the board, which then proves it."""
    try:
        board.enrol(key)
    except BoardError:
        if board.proves(key):
            keys.confirm(device)
        else:
            keys.withdraw(device)
        raise
    if not board.proves(key):
        raise AuthError(f"{board.name}: the board took the key but does not prove it", "reset it and enrol it again")
    keys.confirm(device)

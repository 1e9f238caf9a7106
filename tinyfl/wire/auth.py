"""Keyed BLAKE2b over messages (docs/WIRE.md, "Authentication"; RFC 7693): the twin of firmware/core/auth.c."""

from __future__ import annotations

import hashlib
import hmac
import struct

from tinyfl.wire.messages import Welcome

KEY_BYTES = 32
MAC_BYTES = 16
PROOF_BYTES = 16  # the last field of WELCOME


def base(hello: bytes, welcome: bytes) -> bytes:
    """What both sides of a session prove that they have seen: the two bodies, WELCOME's without its proof."""
    if len(welcome) != Welcome.BYTES:
        raise ValueError(f"a WELCOME of {len(welcome)} bytes, not {Welcome.BYTES}")
    return hello + welcome[:-PROOF_BYTES]


def proof(key: bytes, base: bytes) -> bytes:
    """The board's answer to the host's nonce."""
    return _blake2b(key, PROOF_BYTES, b"tinyfl proof" + base)


def session_key(key: bytes, base: bytes) -> bytes:
    """The key of one session's MACs."""
    return _blake2b(key, KEY_BYTES, b"tinyfl session" + base)


class Channel:
    """The MACs of one session; ``to_host``: of a message from the board."""

    def __init__(self, session_key: bytes) -> None:
        if len(session_key) != KEY_BYTES:
            raise ValueError(f"a key of {len(session_key)} bytes, not {KEY_BYTES}")
        self._key = session_key

    def mac(self, to_host: bool, counter: int, type: int, body: bytes) -> bytes:
        """The MAC of a message."""
        return _blake2b(self._key, MAC_BYTES, struct.pack("<BIBI", to_host, counter, type, len(body)) + body)

    def holds(self, to_host: bool, counter: int, type: int, body: bytes, mac: bytes) -> bool:
        """True where ``mac`` is that of the message; takes the same time wherever they differ."""
        return hmac.compare_digest(self.mac(to_host, counter, type, body), mac)


def _blake2b(key: bytes, size: int, data: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key of {len(key)} bytes, not {KEY_BYTES}")
    return hashlib.blake2b(data, key=key, digest_size=size).digest()

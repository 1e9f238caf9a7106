"""The host's MACs: what they cover, and what not (tests/c/test_auth_c.py compares the C side)."""

from __future__ import annotations

import hashlib

import pytest

from tinyfl.wire import auth
from tinyfl.wire.messages import Hello, Welcome

KEY = bytes(range(32))
HELLO, WELCOME = bytes(Hello.BYTES), bytes(Welcome.BYTES)


def test_the_specification_by_hand() -> None:
    """docs/WIRE.md, "Authentication", written out."""
    base = HELLO + WELCOME[:-16]
    assert auth.base(HELLO, WELCOME) == base
    assert auth.proof(KEY, base) == hashlib.blake2b(b"tinyfl proof" + base, key=KEY, digest_size=16).digest()
    session = auth.session_key(KEY, base)
    assert session == hashlib.blake2b(b"tinyfl session" + base, key=KEY, digest_size=32).digest()
    mac = auth.Channel(session).mac(True, 0x01020304, 0x84, b"delta")
    covered = bytes.fromhex("01 04030201 84 05000000") + b"delta"
    assert mac == hashlib.blake2b(covered, key=session, digest_size=16).digest()


def test_the_proof_itself_is_not_part_of_what_is_proved() -> None:
    proved = WELCOME[:-16] + bytes(range(16))
    assert auth.base(HELLO, proved) == auth.base(HELLO, WELCOME)


def test_a_mac_holds_in_one_place_only() -> None:
    channel = auth.Channel(KEY)
    mac = channel.mac(False, 7, 2, b"weights")
    assert channel.holds(False, 7, 2, b"weights", mac)
    assert not channel.holds(True, 7, 2, b"weights", mac)
    assert not channel.holds(False, 7 + 256, 2, b"weights", mac)
    assert not channel.holds(False, 7, 3, b"weights", mac)
    assert not channel.holds(False, 7, 2, b"weight", mac)
    assert not channel.holds(False, 7, 2, b"weights", mac[:15])
    assert not channel.holds(False, 7, 2, b"weights", b"")
    assert not auth.Channel(KEY[::-1]).holds(False, 7, 2, b"weights", mac)


@pytest.mark.parametrize("key", [b"", KEY[:31], KEY + b"\0"])
def test_a_key_of_another_length_is_never_used(key: bytes) -> None:
    with pytest.raises(ValueError, match="32"):
        auth.proof(key, b"")
    with pytest.raises(ValueError, match="32"):
        auth.Channel(key)


def test_a_welcome_of_another_length_has_no_base() -> None:
    with pytest.raises(ValueError, match=str(Welcome.BYTES)):
        auth.base(HELLO, WELCOME[:-1])

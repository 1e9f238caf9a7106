"""auth.c with Monocypher against tinyfl/wire/auth.py with hashlib, byte for byte."""

from __future__ import annotations

import hmac
import random
import subprocess
from pathlib import Path

import pytest
from support_monocypher import monocypher
from support_runner import FLAGS, QUICK_COMPILERS, ROOT, build_probe

from tinyfl.wire import auth
from tinyfl.wire.messages import Hello, Welcome

CORE = ROOT / "firmware/core"
KEY = bytes(range(32))
# Around Monocypher's words of 8 and blocks of 128 bytes; head and body of a MAC together are 10 bytes longer.
LENGTHS = (0, 1, 7, 8, 9, 117, 118, 119, 127, 128, 129, 245, 246, 247, 256, 470, 5000)


@pytest.fixture(scope="module", params=QUICK_COMPILERS)
def probe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_probe(request.param, tmp_path_factory.mktemp("auth"), "auth", ("auth",), *monocypher(request.param))


def ask(probe: Path, *lines: str) -> list[str]:
    text = "".join(line + "\n" for line in lines)
    done = subprocess.run([str(probe)], input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def welcomed(probe: Path, key: bytes, hello: bytes, welcome: bytes) -> tuple[bytes, bytes, str]:
    """WELCOME with its proof, the session key, whether the session is active."""
    answer = ask(probe, f"K {key.hex()}", f"W {hello.hex()} {welcome.hex()}")[1].split()
    return bytes.fromhex(answer[0]), bytes.fromhex(answer[1]), answer[2]


def test_proof_and_session_key_are_the_host_s(probe: Path) -> None:
    rng = random.Random(1)
    for _ in range(20):
        key, hello, welcome = rng.randbytes(32), rng.randbytes(Hello.BYTES), rng.randbytes(Welcome.BYTES)
        answered, session, active = welcomed(probe, key, hello, welcome)
        base = auth.base(hello, answered)
        assert answered == welcome[:-16] + auth.proof(key, base)
        assert (session, active) == (auth.session_key(key, base), "1")


def test_a_changed_bit_anywhere_gives_another_proof_and_session(probe: Path) -> None:
    hello, welcome = bytes(Hello.BYTES), bytes(Welcome.BYTES)
    lines = [f"K {KEY.hex()}", f"W {hello.hex()} {welcome.hex()}"]
    for i in range(Hello.BYTES):
        lines.append(f"W {(hello[:i] + b'4' + hello[i + 1 :]).hex()} {welcome.hex()}")
    for i in range(Welcome.BYTES - 16):
        lines.append(f"W {hello.hex()} {(welcome[:i] + b'4' + welcome[i + 1 :]).hex()}")
    answers = [line.split() for line in ask(probe, *lines)[1:]]
    for values in ([text[0][-32:] for text in answers], [text[1] for text in answers]):
        assert len(set(values)) == len(values) == 1 + Hello.BYTES + Welcome.BYTES - 16


def test_macs_are_the_host_s(probe: Path) -> None:
    rng = random.Random(2)
    hello, welcome = rng.randbytes(Hello.BYTES), rng.randbytes(Welcome.BYTES)
    channel = auth.Channel(auth.session_key(KEY, auth.base(hello, welcome)))
    lines, expected = [f"K {KEY.hex()}", f"W {hello.hex()} {welcome.hex()}"], []
    for length in (*LENGTHS, *(rng.randrange(3000) for _ in range(60))):
        to_host, counter, type = rng.randrange(2), rng.randrange(1 << 32), rng.randrange(256)
        body = rng.randbytes(length)
        lines.append(f"M {to_host} {counter} {type} {body.hex() or '-'}")
        expected.append(channel.mac(bool(to_host), counter, type, body).hex())
    assert ask(probe, *lines)[2:] == expected


def test_only_the_right_mac_of_the_right_place_holds(probe: Path) -> None:
    hello, welcome, body = bytes(Hello.BYTES), bytes(Welcome.BYTES), b"weights" * 30
    channel = auth.Channel(auth.session_key(KEY, auth.base(hello, welcome)))
    mac = channel.mac(False, 7, 2, body)
    flips = [bytes(b ^ (1 << bit if i == at else 0) for i, b in enumerate(mac)) for at in range(16) for bit in range(8)]
    wrong = [
        (8, 2, body, mac),
        (7 + 256, 2, body, mac),  # the frame's message number is the same
        (7, 3, body, mac),
        (7, 2, body[:-1], mac),
        (7, 2, body + b"\0", mac),
        (7, 2, b"W" + body[1:], mac),
        (7, 2, body, channel.mac(True, 7, 2, body)),  # one of the board's own, sent back
        *((7, 2, body, flipped) for flipped in flips),
    ]
    lines = [f"H {c} {t} {b.hex()} {m.hex()}" for c, t, b, m in [(7, 2, body, mac), *wrong, (7, 2, body, mac)]]
    answers = ask(probe, f"K {KEY.hex()}", f"W {hello.hex()} {welcome.hex()}", *lines)[2:]
    assert answers == ["1", *["0"] * len(wrong), "1"]


def test_a_board_without_a_key(probe: Path) -> None:
    assert ask(probe, "K -", f"K {KEY.hex()}") == ["0 0", "1 0"]


@pytest.mark.parametrize("key", ["-", KEY.hex()])
def test_a_nonce_never_repeats(probe: Path, key: str) -> None:
    """Not even where the board's random source gives the same each time."""
    places = [(boot, hello) for boot in (0, 1, 256, 1 << 31, (1 << 32) - 1) for hello in (0, 1, 256, (1 << 32) - 1)]
    nonces = ask(probe, f"K {key}", *(f"N {boot} {hello} 0" for boot, hello in places))[1:]
    assert len(set(nonces)) == len(places) and {len(nonce) for nonce in nonces} == {32}
    assert len({nonce[:16] for nonce in nonces}) == len(places)  # by counting, not by luck


def test_a_nonce_cannot_be_foretold(probe: Path) -> None:
    """It depends on the key and on the random source beside the counters, which anyone can read."""
    nonces = ask(probe, f"K {KEY.hex()}", "N 1 2 3", "N 1 2 4", f"K {KEY[::-1].hex()}", "N 1 2 3")
    assert len({nonces[1][16:], nonces[2][16:], nonces[4][16:]}) == 3


def test_macs_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By Monocypher on the board and hmac on the host: a comparison that ends early would tell how much was right."""
    command = ["gcc", *FLAGS, f"-I{ROOT}/firmware/include", monocypher("gcc")[0], "-c", str(CORE / "auth.c")]
    subprocess.run([*command, "-o", str(tmp_path / "auth.o")], check=True, timeout=60)
    called = subprocess.run(["nm", "-u", str(tmp_path / "auth.o")], capture_output=True, text=True, check=True).stdout
    assert "crypto_verify16" in called and "memcmp" not in called

    compared: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)))
    auth.Channel(KEY).holds(False, 0, 1, b"", bytes(16))
    assert compared == [(auth.Channel(KEY).mac(False, 0, 1, b""), bytes(16))]

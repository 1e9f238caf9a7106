"""frame.c and wire.c against the vectors, and against the Python side on streams of frames and garbage."""

from __future__ import annotations

import random
import subprocess
import zlib
from pathlib import Path

import pytest
from support_runner import QUICK_COMPILERS, ROOT, build_probe
from support_vectors import unhex, vectors

from tinyfl.wire import messages as wire
from tinyfl.wire.frame import Frame, FrameDecoder, encode_frame

CORE = ROOT / "firmware/core"


@pytest.fixture(scope="module", params=QUICK_COMPILERS)
def probe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_probe(request.param, tmp_path_factory.mktemp("frame"), "frame", ("frame", "wire"))


def ask(probe: Path, *lines: str) -> list[str]:
    text = "".join(line + "\n" for line in lines)
    done = subprocess.run([str(probe)], input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_frames_equal_the_vectors(probe: Path) -> None:
    rows = vectors("frames")
    assert ask(probe, *(f"E {' '.join(row[:4])}" for row in rows)) == [row[4] for row in rows]
    decoded = ask(probe, *(f"D {row[4]}" for row in rows))
    assert decoded == [line for row in rows for line in (" ".join(row[:4]), "skipped 0")]


def test_messages_equal_the_vectors(probe: Path) -> None:
    """A body decoded and encoded again is the same, but for the array, which the encoder leaves to its caller."""
    lines, expected = [], []
    for name, text, *_ in vectors("messages"):
        message = next(m for m in wire.MESSAGES.values() if name == m.NAME)
        if not message.FIELDS:
            continue
        body, refused = unhex(text), str(wire.Status.ERROR_LENGTH.value)
        lines.append(f"M {name} {text}")
        expected.append(body[: message.BYTES].hex() or "-")
        if message.BYTES:
            lines.append(f"M {name} {body[: message.BYTES - 1].hex() or '-'}")
            expected.append(refused)
        if message.ARRAY in ("", "<i2"):
            lines.append(f"M {name} {text.strip('-')}00")
            expected.append(refused)
    assert ask(probe, *lines) == expected


def test_crc(probe: Path) -> None:
    data = [b"", b"123456789", bytes(range(256)), bytes(1000)]
    got = ask(probe, *(f"C {d.hex() or '-'}" for d in data))
    assert got == [f"{zlib.crc32(d):08x}" for d in data]
    assert got[1] == "cbf43926"  # the check value of CRC-32 in every catalogue


def test_streams_are_decoded_as_by_the_host(probe: Path) -> None:
    """Frames, cut and changed frames, garbage with and without zeros: the same frames and the same count of skips."""
    rng = random.Random(5)
    frames = [unhex(row[-1]) for row in vectors("frames")]
    streams, expected = [], []
    for _ in range(400):
        stream = b"".join(damaged(rng, rng.choice(frames)) for _ in range(rng.randrange(1, 8))) + b"\0"
        decoder = FrameDecoder(1 + wire.MAC_BYTES + 512)
        for f in decoder.feed(stream):
            expected.append(f"{f.kind} {f.message} {f.session} {f.payload.hex() or '-'}")
        expected.append(f"skipped {decoder.skipped}")
        streams.append(f"D {stream.hex()}")
    assert ask(probe, *streams) == expected


def damaged(rng: random.Random, frame: bytes) -> bytes:
    """Mostly the frame itself, or cut, changed, or noise in its place."""
    match rng.randrange(5):
        case 0:
            return frame[: rng.randrange(len(frame))]
        case 1:
            i = rng.randrange(len(frame))
            return frame[:i] + bytes([frame[i] ^ 1 << rng.randrange(8)]) + frame[i + 1 :]
        case 2:
            return rng.randbytes(rng.randrange(1, 900))
    return frame


def test_frames_of_every_length_pass_the_encoders_buffer(probe: Path) -> None:
    """Full blocks, blocks between zeros, and both: the buffer of 256 bytes is emptied at any place of a block."""
    rng = random.Random(9)
    payloads = [b"\xff" * n for n in range(530)]
    payloads += [bytes(rng.choice((0, 1)) if rng.random() < 0.02 else 7 for _ in range(n)) for n in range(0, 530, 3)]
    lines = [f"E 9 {n % 256} {n} {payload.hex() or '-'}" for n, payload in enumerate(payloads)]
    expected = [encode_frame(Frame(9, n % 256, n, payload), True).hex() for n, payload in enumerate(payloads)]
    assert ask(probe, *lines) == expected

"""Frames as lines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_messages import head

from tinyfl.wire import messages as wire
from tinyfl.wire.frame import Frame, encode_frame, kind_byte
from tinyfl.wire.messages import FrameKind
from tinyfl.wire.session import Session
from tinyfl.wire.transcript import Transcript, describe_frame, describe_message

KEY = b"0123456789abcdef" * 2


def sent(purpose: int, payload: bytes, units: int = 0) -> Frame:
    return Frame(kind_byte(purpose, units=units), 3, 77, payload)


@pytest.mark.parametrize(
    ("frame", "line"),
    [
        (sent(FrameKind.ACK, b"\x05\0\x05"), "ACK       77.3   up to unit 5, behind it 101"),
        (sent(FrameKind.ACK, b"\x05\0", 2), "ACK       77.3   up to unit 5 [frames of 128]"),
        (sent(FrameKind.ACK, b"\xff\xff"), "ACK       77.3   all"),
        (sent(FrameKind.ACK, b"\xfe\xff"), "ACK       77.3   nothing"),
        (sent(FrameKind.DATA, b"\x04\0" + bytes(65)), "DATA      77.3   units 4..5"),
        (sent(FrameKind.DATA, b"\x04\0abc"), "DATA      77.3   unit 4"),
        (Frame(FrameKind.LOG | 8, 0, 0, b"hi \xff \x1b[2J"), "log hi \ufffd \ufffd[2J"),
        (Frame(FrameKind.RESET | 8, 3, 77), "RESET     77.3"),
        (sent(FrameKind.OPEN, b"\x02\x90\x01\0\0abcd"), "OPEN      77.3   HEAD, 400 bytes follow"),
        (sent(FrameKind.OPEN, b"\x02\x90\x01\0\0abcd" + bytes(16)), "OPEN      77.3   HEAD, 400 bytes follow mac"),
        (sent(FrameKind.WHOLE, b"\x05\x01\x00"), "WHOLE     77.3   EVALUATE split=1 source=0"),
        (sent(FrameKind.WHOLE, b"\x09" + KEY), "WHOLE     77.3   ENROL key=..."),
        (sent(7, b"x"), "kind 7    77.3   1 bytes"),
    ],
)
def test_frames(frame: Frame, line: str) -> None:
    assert describe_frame(frame) == line


def test_messages() -> None:
    error = wire.Error(-5, 2)
    assert describe_message(error.TYPE, error.pack()) == "ERROR status=-5 (ERROR_STATE) detail=2"
    delta = wire.Delta(1, 2, np.arange(9).astype(np.int8))
    assert describe_message(delta.TYPE, delta.pack()) == "DELTA round=1 samples=2 deltas=9:[0 1 2 3 4 5 ...]"
    assert describe_message(0x55, b"ab") == "type 0x55, 2 bytes"
    assert describe_message(wire.Evaluate.TYPE, b"a").startswith("EVALUATE (broken: ")


def test_keys_are_never_shown() -> None:
    """Neither whole, nor with a MAC that nobody announced, nor cut."""
    for payload in (KEY, bytes(16) + KEY, KEY[:-1], KEY + b"x"):
        for authentic in (False, True):
            line = describe_frame(sent(FrameKind.WHOLE, b"\x09" + payload), authentic)
            assert "ENROL" in line and KEY[:4].hex() not in line and str(KEY[:4])[2:-1] not in line


def test_a_message_of_several_frames_is_shown_whole() -> None:
    session = Session(7, window=9999)
    session.request(wire.Head.TYPE, head(5, 1, np.arange(200).astype(np.int16)).pack(), 0.0)
    lines = Transcript().feed(True, session.send(0.0) + b"noise\0")
    assert [line.split()[1] for line in lines[:3]] == ["OPEN", "DATA", "DATA"]
    assert lines[3].endswith("HEAD round=5 keep=1 taken=0 coding=0 weights=400:[0 0 1 0 2 0 ...]")
    assert lines[4] == "> 1 pieces that are no frames"


def test_after_a_welcome_with_a_key_messages_have_macs() -> None:
    fields: dict[str, object] = dict.fromkeys(wire.Welcome.FIELDS, 0)
    fields |= {"device": bytes(8), "model": bytes(16), "nonce": bytes(16), "proof": bytes(16)}
    fields |= {"name": "ada", "features": wire.Feature.AUTH}
    welcome = encode_frame(Frame(FrameKind.WHOLE | 8, 0, 7, b"\x81" + wire.Welcome(**fields).pack()))  # type: ignore[arg-type]
    transcript = Transcript()
    (line,) = transcript.feed(False, welcome)
    assert "WELCOME" in line and "name='ada'" in line and not line.endswith("mac")
    request = Frame(FrameKind.WHOLE, 1, 7, b"\x05" + b"m" * 16 + b"\x01\0")
    assert transcript.feed(True, encode_frame(request)) == ["> WHOLE      7.1   EVALUATE split=1 source=0 mac"]
    request = Frame(FrameKind.WHOLE, 1, 8, b"\x05\x01\0")  # another session
    assert transcript.feed(True, encode_frame(request)) == ["> WHOLE      8.1   EVALUATE split=1 source=0"]


@given(st.integers(0, 255), st.binary(max_size=200), st.booleans())
def test_any_frame_has_a_line(kind: int, payload: bytes, sent: bool) -> None:
    lines = Transcript().feed(sent, encode_frame(Frame(kind, 1, 2, payload)))
    assert 1 <= len(lines) <= 2 and all(line[:2] in ("< ", "> ") and line.isprintable() for line in lines)


@given(st.lists(st.tuples(st.sampled_from([2, 3]), st.binary(max_size=80)), max_size=8))
def test_messages_in_pieces_never_break_it(frames: list[tuple[int, bytes]]) -> None:
    start = b"\x02\x80\0\0\0abcd"  # an OPEN of 128 bytes
    transcript = Transcript()
    for kind, payload in [(2, start), *frames]:
        assert transcript.feed(True, encode_frame(Frame(kind, 1, 2, payload)))

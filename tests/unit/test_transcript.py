"""Frames as lines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyfl.wire import messages as wire
from tinyfl.wire.frame import Frame, encode_frame
from tinyfl.wire.messages import FrameKind
from tinyfl.wire.session import Session
from tinyfl.wire.transcript import Transcript, describe_frame, describe_message


@pytest.mark.parametrize(
    ("frame", "line"),
    [
        (Frame(FrameKind.ACK, 3, 77, 240, b"\x02\x05"), "ACK      77.3   has 240 bytes, credits 2, chunks behind: 101"),
        (Frame(FrameKind.DATA, 3, 77, 240, b"abc"), "DATA     77.3   bytes 240..243"),
        (Frame(FrameKind.LOG, 0, 0, 0, b"hi \xff"), "LOG       0.0   'hi \ufffd'"),
        (Frame(FrameKind.RESET, 3, 77, 0), "RESET    77.3"),
        (Frame(FrameKind.OPEN, 3, 77, 400, b"\x02abcd"), "OPEN     77.3   HEAD, 400 bytes follow"),
        (Frame(FrameKind.OPEN, 3, 77, 2, b"\x05abcd\x01\x00"), "OPEN     77.3   EVALUATE split=1 source=0"),
        (Frame(9, 3, 77, 0, b"x"), "kind 9    77.3   1 bytes"),
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


def test_a_message_of_several_frames_is_shown_whole() -> None:
    session = Session(7, credits=9)
    session.request(wire.Head.TYPE, wire.Head(5, np.arange(200).astype(np.int16)).pack(), 0.0)
    lines = Transcript().feed(True, session.send(0.0) + b"noise\0")
    assert [line.split()[1] for line in lines[:3]] == ["OPEN", "DATA", "DATA"]
    assert lines[3].endswith("HEAD round=5 weights=200:[0 1 2 3 4 5 ...]")
    assert lines[4] == "> 1 pieces that are no frames"


@given(st.integers(0, 9), st.integers(0, 2**32 - 1), st.binary(max_size=100))
def test_any_frame_has_a_line(kind: int, offset: int, payload: bytes) -> None:
    (line, *_) = Transcript().feed(False, encode_frame(Frame(kind, 1, 2, offset, payload)))
    assert line.startswith("< ") and "\n" not in line

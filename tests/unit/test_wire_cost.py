"""What frames cost: as long as the frames are. Whole exchanges are compared with a board's in tests/c/test_sim.py."""

import random
import struct

import pytest

from tinyfl.wire.cost import ACK_BYTES, Line, encoded_bytes
from tinyfl.wire.frame import Frame, encode_frame
from tinyfl.wire.messages import HEADER_FORMAT, FrameKind


@pytest.mark.parametrize("zeros", [0, 0.001, 0.01, 0.3])
def test_a_frame_is_as_long_as_it_is_written(zeros: float) -> None:
    dice = random.Random(str(zeros))
    for length in (0, 1, 100, *range(240, 260), *range(495, 525)):
        for _ in range(20):
            payload = bytes(0 if dice.random() < zeros else dice.randrange(1, 256) for _ in range(length))
            frame = Frame(dice.randrange(1, 8), dice.randrange(1, 256), dice.randrange(1, 1 << 16), payload)
            header = struct.pack(HEADER_FORMAT, frame.kind, frame.message, frame.session)
            assert encoded_bytes(header, payload) == len(encode_frame(frame))


def test_an_acknowledgement() -> None:
    assert len(encode_frame(Frame(FrameKind.ACK, 1, 1, b"\xff\xff"))) == ACK_BYTES


def test_first_contact_has_a_zero_before_it_and_no_acknowledgement() -> None:
    line = Line(1, 512, 65535)
    assert line.down(0, 1, bytes(26)) == line.down(1, 1, bytes(26)) + 1
    assert line.up(0, 26, 0x81, bytes(128)) == line.up(1, 26, 0x81, bytes(128)) + 1
    assert line.up(1, 513, 0x81, bytes(9)) == line.up(1, 512, 0x81, bytes(9)) + 3 * ACK_BYTES


def test_a_small_window_makes_shorter_frames() -> None:
    wide, narrow = Line(1, 512, 65535), Line(1, 512, 1024)
    assert narrow.down(1, 1, bytes(2000)) > wide.down(1, 1, bytes(2000))

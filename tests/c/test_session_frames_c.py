"""The board's session (C) asked by frames made by hand: what it answers to right, repeated, hostile and forged ones."""

from __future__ import annotations

import ctypes
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from support_messages import head as put
from support_session import CHUNK, DELTAS, KEY, WEIGHTS, WELCOME, Answers, CBoard, build_session

from tinyfl.wire import messages as wire
from tinyfl.wire.auth import Channel, base, session_key
from tinyfl.wire.frame import Frame, FrameDecoder, encode_frame, kind_byte
from tinyfl.wire.messages import UNIT, FrameKind

ALL, NOTHING = 0xFFFF, 0xFFFE  # what an ACK says instead of a unit


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build_session(tmp_path_factory.mktemp("session"), f"-DTFL_CHUNK={CHUNK}u")


def talk(board: CBoard, *frames: Frame) -> list[Frame]:
    """What the board answers to raw frames; it sends nothing but frames for the host."""
    for frame in frames:
        board.receive(encode_frame(frame))
    decoder = FrameDecoder()
    answers = decoder.feed(board.run(0.0))
    assert decoder.skipped == 0 and all(frame.to_host and frame.units == 0 for frame in answers)
    return answers


def whole(type: int, body: bytes, message: int, session: int = 9, mac: bytes = b"", units: int = 0) -> Frame:
    return Frame(kind_byte(FrameKind.WHOLE, units=units), message, session, bytes([type]) + mac + body)


def opened(
    type: int, body: bytes, message: int, session: int = 9, digest: int | None = None, mac: bytes = b""
) -> Frame:
    numbers = len(body).to_bytes(4, "little") + (zlib.crc32(body) if digest is None else digest).to_bytes(4, "little")
    return Frame(FrameKind.OPEN, message, session, bytes([type]) + numbers + mac)


def data(unit: int, part: bytes, message: int, session: int = 9) -> Frame:
    return Frame(FrameKind.DATA, message, session, unit.to_bytes(2, "little") + part)


def ack(unit: int, message: int, bitmap: bytes = b"", session: int = 9, units: int = 0) -> Frame:
    return Frame(kind_byte(FrameKind.ACK, units=units), message, session, unit.to_bytes(2, "little") + bitmap)


def says(frame: Frame) -> tuple[int, int, bytes]:
    """An ACK of the board: message, unit, bitmap."""
    assert frame.purpose == FrameKind.ACK
    return frame.message, int.from_bytes(frame.payload[:2], "little"), frame.payload[2:]


HELLO_BODY = wire.Hello(wire.PROTOCOL, wire.SCHEMA, 0, bytes(16)).pack()
HELLO = whole(wire.Hello.TYPE, HELLO_BODY, 0)
LONG = put(1, 0, WEIGHTS).pack()
EVALUATE = whole(wire.Evaluate.TYPE, bytes([0, 0]), 1)


def parts(body: bytes, message: int, session: int = 9) -> list[Frame]:
    """A body in DATA frames of two units."""
    return [data(at // UNIT, body[at : at + CHUNK], message, session) for at in range(0, len(body), CHUNK)]


@pytest.fixture
def board(library: ctypes.CDLL) -> CBoard:
    """A board in session 9, that has answered HELLO."""
    board = CBoard(library, Answers())
    (reply,) = talk(board, HELLO)
    assert (reply.purpose, reply.message, reply.payload) == (FrameKind.WHOLE, 0, b"\x81" + WELCOME.pack())
    return board


def test_frames_of_an_unknown_session_are_answered_by_reset(library: ctypes.CDLL) -> None:
    board = CBoard(library, Answers())
    for kind in (FrameKind.WHOLE, FrameKind.OPEN, FrameKind.DATA, FrameKind.ACK):
        (reset,) = talk(board, Frame(kind, 4, 77, b"12345"))
        assert (reset.purpose, reset.message, reset.session, reset.payload) == (FrameKind.RESET, 4, 77, b"")
        assert talk(board, Frame(kind | 8, 4, 77, b"12345")) == []  # a board's: an echo
    assert talk(board, *(Frame(kind, 4, 77) for kind in (0, 5, 6, 7))) == []
    for frame in (whole(1, HELLO_BODY, 0, session=0), whole(1, HELLO_BODY, 1), opened(1, HELLO_BODY, 0)):
        assert talk(board, frame)[0].purpose == FrameKind.RESET
    assert board.requests == []


def test_a_repeated_request_is_answered_but_not_carried_out(board: CBoard) -> None:
    (reply,) = talk(board, EVALUATE)
    assert reply.payload == bytes([wire.Evaluated.TYPE]) + wire.Evaluated(10, 9, 8).pack()
    assert talk(board, EVALUATE) == [reply]
    assert talk(board, opened(wire.Evaluate.TYPE, bytes(2), 1)) == [reply]
    assert talk(board, data(0, bytes(2), 1)) == [reply]
    assert talk(board, HELLO) == []  # of an older message
    assert talk(board, ack(NOTHING, 1)) == [reply]
    assert talk(board, ack(NOTHING, 0), Frame(FrameKind.ACK, 1, 9, b"\xff")) == []  # older; too short
    assert board.requests == [wire.Hello.TYPE, wire.Evaluate.TYPE]


def test_a_late_hello_does_not_void_the_session_after_it(board: CBoard) -> None:
    talk(board, whole(wire.Hello.TYPE, HELLO_BODY, 0, session=10))
    assert talk(board, HELLO)[0].purpose == FrameKind.RESET
    assert talk(board, whole(wire.Evaluate.TYPE, bytes(2), 1, session=10))[0].payload[0] == wire.Evaluated.TYPE


def test_a_long_request_is_acknowledged_unit_by_unit(board: CBoard) -> None:
    """Out of order, twice, and with frames of several lengths."""
    assert says(*talk(board, opened(wire.Head.TYPE, LONG, 1))) == (1, 0, b"")
    assert says(*talk(board, data(4, LONG[256:], 1))) == (1, 0, b"\x08")
    assert says(*talk(board, data(1, LONG[64:192], 1))) == (1, 0, b"\x0b")
    assert says(*talk(board, data(1, bytes(64), 1))) == (1, 0, b"\x0b")  # it keeps what came first
    assert says(*talk(board, ack(NOTHING, 1))) == (1, 0, b"\x0b")
    assert says(*talk(board, opened(wire.Head.TYPE, LONG, 1))) == (1, 0, b"\x0b")
    assert says(*talk(board, data(0, LONG[:64], 1))) == (1, 3, b"\x01")
    acknowledged, done = talk(board, data(3, LONG[192:], 1))
    assert says(acknowledged) == (1, ALL, b"") and done.payload == bytes([wire.Done.TYPE])
    np.testing.assert_array_equal(board._answer.weights, WEIGHTS)  # type: ignore[attr-defined]


def test_an_empty_body_may_come_by_open(board: CBoard) -> None:
    acknowledged, reply = talk(board, opened(wire.Pull.TYPE, b"", 1))
    assert says(acknowledged) == (1, ALL, b"") and reply.payload[0] == wire.Weights.TYPE


def test_a_reply_goes_out_as_the_host_wishes(board: CBoard) -> None:
    """In the units that its frames ask for, and only what an ACK shows to be missing."""
    talk(board, opened(wire.Head.TYPE, LONG, 1), *parts(LONG, 1))
    body = wire.Weights(3, WEIGHTS).pack()
    begin = opened(wire.Weights.TYPE, body, 2).payload

    def units(frames: list[Frame]) -> list[int]:
        for frame in frames:
            at = 64 * int.from_bytes(frame.payload[:2], "little")
            assert frame.purpose == FrameKind.DATA and body[at:].startswith(frame.payload[2:])
        return [frame.payload[0] for frame in frames]

    head, *rest = talk(board, whole(wire.Pull.TYPE, b"", 2))
    assert (head.purpose, head.payload, units(rest)) == (FrameKind.OPEN, begin, [0, 2, 4])
    assert units(talk(board, ack(1, 2, b"\x02"))) == [1, 4]
    assert units(talk(board, ack(1, 2, b"\x01\xff\xff\xff"))) == [1, 3]
    assert units(talk(board, ack(4, 2))) == [4]
    assert units(talk(board, ack(5, 2))) == [] == units(talk(board, ack(ALL, 2)))
    assert units(talk(board, ack(0, 2, units=1))) == [0, 1, 2, 3, 4]
    head, *rest = talk(board, ack(NOTHING, 2, units=15))  # no more than the chunk
    assert (head.payload, units(rest)) == (begin, [0, 2, 4])


def test_what_has_not_come_is_said(board: CBoard) -> None:
    """A question or DATA whose request got lost: 0xFFFE with its number; then the request goes through."""
    assert says(*talk(board, ack(NOTHING, 1))) == (1, NOTHING, b"")
    assert says(*talk(board, data(0, bytes(64), 3))) == (3, NOTHING, b"")
    assert talk(board, ack(NOTHING, 200)) == []  # behind
    assert talk(board, EVALUATE)[0].payload[0] == wire.Evaluated.TYPE


def test_the_bitmap_of_an_ack_is_cut(library: ctypes.CDLL) -> None:
    board = CBoard(library, Answers(), body_bytes=40000)
    body = bytes(64 * 400)
    talk(board, HELLO, opened(wire.Head.TYPE, body, 1))
    assert says(*talk(board, data(257, bytes(64), 1))) == (1, 0, b"")
    assert says(*talk(board, data(256, bytes(64), 1))) == (1, 0, bytes(31) + b"\x80")
    assert says(*talk(board, data(0, bytes(64), 1))) == (1, 1, bytes(31) + b"\xc0")


def error(frame: Frame) -> wire.Error:
    assert frame.payload[0] == wire.Error.TYPE
    return wire.Error.unpack(frame.payload[1:])


def test_a_wrong_digest_is_refused(board: CBoard) -> None:
    acknowledged, refusal = talk(board, opened(wire.Evaluate.TYPE, bytes(2), 1, digest=5), data(0, bytes(2), 1))
    assert says(acknowledged) == (1, 0, b"")
    assert error(refusal) == wire.Error(wire.Status.ERROR_DIGEST, 5)
    assert board.requests == [wire.Hello.TYPE] and board.units == 0


def test_a_resumed_body_with_a_wrong_digest_is_dropped_and_sent_anew(board: CBoard) -> None:
    """The units that stayed are those of another body that looks the same: then it begins from nothing."""
    talk(board, opened(wire.Head.TYPE, LONG, 1), data(0, bytes(128), 1))
    again = whole(wire.Hello.TYPE, HELLO_BODY, 0, session=10)
    talk(board, again)
    assert says(*talk(board, opened(wire.Head.TYPE, LONG, 1, session=10))) == (1, 2, b"")
    (dropped,) = talk(board, data(2, LONG[128:256], 1, 10), data(4, LONG[256:], 1, 10))[1:]
    assert says(dropped) == (1, NOTHING, b"") and board.units == 0
    assert says(*talk(board, ack(NOTHING, 1, session=10))) == (1, NOTHING, b"")
    assert talk(board, opened(wire.Head.TYPE, LONG, 1, 10), *parts(LONG, 1, 10))[-1].payload == bytes([wire.Done.TYPE])
    assert board.requests == [wire.Hello.TYPE, wire.Hello.TYPE, wire.Head.TYPE]


def test_nothing_is_resumed_of_a_request_that_was_given_up_or_done(board: CBoard) -> None:
    """A reply has overwritten the body meanwhile."""
    talk(board, opened(wire.Head.TYPE, LONG, 1), *parts(LONG, 1)[:2])
    assert board.units == 4
    talk(board, whole(wire.Pull.TYPE, b"", 2))
    assert says(*talk(board, opened(wire.Head.TYPE, LONG, 3))) == (3, 0, b"")
    talk(board, *parts(LONG, 3))
    board.reset()
    assert board.units == 0


def test_zeros_stand_where_the_line_may_hold_rubbish(library: ctypes.CDLL) -> None:
    """Before a WELCOME, RESET, LOG, and all that is sent again or asked for; other frames do without."""
    board = CBoard(library, Answers())

    def zero(*frames: Frame) -> bool:
        board.receive(b"".join(map(encode_frame, frames)))
        return board.run(0.0).startswith(b"\0")

    assert zero(ack(NOTHING, 0)) and zero(HELLO) and zero(HELLO)
    assert not zero(EVALUATE) and zero(EVALUATE) and zero(ack(NOTHING, 1)) and zero(ack(NOTHING, 2))
    assert not zero(opened(wire.Head.TYPE, LONG, 2)) and zero(opened(wire.Head.TYPE, LONG, 2))
    assert not zero(data(0, LONG[:64], 2)) and zero(ack(NOTHING, 2))
    board.log("text")
    assert zero()


def test_hostile_frames_change_nothing(board: CBoard) -> None:
    """Lengths that do not agree, replies' types, type 0; units beyond the end, parts of a wrong size."""
    for payload in (b"", b"\x05", b"\x05" + bytes(7), b"\x05" + bytes(9), b"\x85" + bytes(8)):
        assert talk(board, Frame(FrameKind.OPEN, 1, 9, payload)) == []
    assert talk(board, Frame(FrameKind.WHOLE, 1, 9), whole(0x85, b"", 1)) == []
    assert error(*talk(board, opened(0, b"", 2))).status == wire.Status.ERROR_TYPE
    assert error(*talk(board, whole(0, b"", 3))).status == wire.Status.ERROR_TYPE
    assert error(*talk(board, opened(4, bytes(4097), 4))) == wire.Error(wire.Status.ERROR_SPACE, 4096)
    talk(board, opened(wire.Head.TYPE, LONG, 5))
    for unit, size in ((0, 0), (0, 63), (0, 65), (3, 72), (4, 8), (4, 10), (4, 64), (5, 1), (5, 64), (0xFFFF, 64)):
        assert talk(board, data(unit, bytes(size), 5)) == [], (unit, size)
    assert talk(board, Frame(FrameKind.DATA, 5, 9, b"\0")) == []
    assert says(*talk(board, ack(NOTHING, 5))) == (5, 0, b"")
    assert talk(board, *parts(LONG, 5))[-1].payload == bytes([wire.Done.TYPE])


def test_a_link_that_fails_after_any_byte_is_reported(library: ctypes.CDLL) -> None:
    """Reading or writing fails for good after n bytes: poll and reply say so, whatever n is."""
    stream = b"".join(map(encode_frame, [HELLO, whole(wire.Pull.TYPE, b"", 1), ack(NOTHING, 1)]))
    reply = bytes(600)
    outcomes = []
    for budget in range(2600):
        board = ctypes.c_void_p(library.board_new(700, 16, None))
        library.board_budget(board, budget)
        library.board_receive(board, stream, len(stream))
        status = 1
        while status > 0:
            status = library.board_poll(board)
            if status > 0:
                status = library.board_reply(board, wire.Weights.TYPE, reply, len(reply)) or 1
        assert status in (0, wire.Status.ERROR_LINK)
        outcomes.append(status)
        library.board_free(board)
    needed = outcomes.index(0)
    assert needed > 1200 and set(outcomes[needed:]) == {0}


# Authentication


class Secured:
    """Raw frames with the MACs of a session, or without."""

    def __init__(self, library: ctypes.CDLL, answers: Callable[[int, bytes], tuple[int, bytes, float]]) -> None:
        self.board = CBoard(library, answers, key=KEY)
        self.channel = self.hello(9)

    def hello(self, session: int) -> Channel:
        (reply,) = talk(self.board, whole(wire.Hello.TYPE, HELLO_BODY, 0, session))
        self.welcome = reply.payload[1:]
        return Channel(session_key(KEY, base(HELLO_BODY, self.welcome)))

    def whole(self, type: int, body: bytes, counter: int, session: int = 9) -> Frame:
        return whole(type, body, counter % 256, session, self.channel.mac(False, counter, type, body))

    def opened(self, type: int, body: bytes, counter: int, session: int = 9) -> Frame:
        return opened(type, body, counter % 256, session, mac=self.channel.mac(False, counter, type, body))


@pytest.fixture
def secured(library: ctypes.CDLL) -> Secured:
    return Secured(library, Answers())


def test_replies_carry_their_mac(secured: Secured) -> None:
    (reply,) = talk(secured.board, secured.whole(wire.Evaluate.TYPE, bytes(2), 1))
    body = wire.Evaluated(10, 9, 8).pack()
    assert reply.payload[17:] == body
    assert secured.channel.holds(True, 1, wire.Evaluated.TYPE, body, reply.payload[1:17])
    head, *_ = talk(secured.board, secured.whole(wire.Collect.TYPE, bytes(wire.Collect.BYTES), 2))
    body = wire.Delta(0, 7, DELTAS).pack()
    assert head.purpose == FrameKind.OPEN and len(head.payload) == 9 + 16
    assert secured.channel.holds(True, 2, wire.Delta.TYPE, body, head.payload[9:])


def test_a_whole_without_its_mac_is_as_if_it_had_never_come(secured: Secured) -> None:
    """Without, changed in any bit of type, MAC and body, cut, of another counter, a reply's: no answer, no request."""
    right = secured.whole(wire.Evaluate.TYPE, bytes([0, 1]), 1)
    wrong = [EVALUATE, Frame(right.kind, 2, 9, right.payload), Frame(right.kind, 1, 9, right.payload[:-1])]
    for bit in range(8 * len(right.payload)):
        payload = bytearray(right.payload)
        payload[bit // 8] ^= 1 << bit % 8
        wrong.append(Frame(right.kind, 1, 9, bytes(payload)))
    reply = secured.channel.mac(True, 1, wire.Evaluate.TYPE, bytes([0, 1]))
    wrong.append(whole(wire.Evaluate.TYPE, bytes([0, 1]), 1, mac=reply))
    assert talk(secured.board, *wrong) == []
    assert says(*talk(secured.board, ack(NOTHING, 1))) == (1, NOTHING, b"")
    assert talk(secured.board, right)[0].payload[0] == wire.Evaluated.TYPE
    assert secured.board.requests == [wire.Hello.TYPE, wire.Evaluate.TYPE]


def test_a_long_message_whose_mac_fails_is_dropped(secured: Secured) -> None:
    """Its body changed under a right CRC-32, or its MAC did; the real one then goes through under the same number."""
    changed = LONG[:100] + b"!" + LONG[101:]
    right = secured.opened(wire.Head.TYPE, LONG, 1)
    forged = Frame(right.kind, 1, 9, opened(wire.Head.TYPE, changed, 1).payload + right.payload[9:])
    other = Frame(right.kind, 1, 9, right.payload[:-1] + bytes([right.payload[-1] ^ 1]))
    for head, body in ((forged, changed), (other, LONG)):
        assert says(talk(secured.board, head, *parts(body, 1))[-1]) == (1, NOTHING, b"")
        assert secured.board.units == 0
    assert talk(secured.board, opened(wire.Head.TYPE, LONG, 1)) == []  # without
    large = opened(wire.Head.TYPE, bytes(5000), 1, mac=bytes(16))
    assert talk(secured.board, large, opened(0, b"", 1, mac=bytes(16))) == []  # no ERROR: it would carry a MAC
    assert talk(secured.board, right, *parts(LONG, 1))[-1].payload[0] == wire.Done.TYPE
    assert secured.board.requests == [wire.Hello.TYPE, wire.Head.TYPE]


def test_nothing_recorded_fits_again(secured: Secured) -> None:
    """In the same session, in the next one, and 256 messages later, when the byte on the wire is the same."""
    record = [secured.whole(wire.Evaluate.TYPE, bytes(2), n) for n in range(1, 4)]
    talk(secured.board, *record)
    done = list(secured.board.requests)
    assert talk(secured.board, record[0], record[1]) == []  # late
    for n in range(4, 256):
        talk(secured.board, secured.whole(wire.Evaluate.TYPE, bytes(2), n))
    done += [wire.Evaluate.TYPE] * 252
    assert talk(secured.board, *record) == []  # 257 to 259 are due
    assert secured.board.requests == done
    assert talk(secured.board, secured.whole(wire.Evaluate.TYPE, bytes(2), 257))[0].purpose == FrameKind.WHOLE
    secured.hello(10)
    assert talk(secured.board, *(Frame(f.kind, f.message, 10, f.payload) for f in record)) == []


def test_a_session_whose_hello_was_refused_takes_nothing(library: ctypes.CDLL) -> None:
    """No way around the MACs: the board has a key, but this session none, and an older session's does not count."""
    answers = Answers()
    secured = Secured(library, answers)
    old = secured.channel
    answers.welcome = wire.Error(wire.Status.ERROR_PROTOCOL, 2)  # type: ignore[assignment]
    (refusal,) = talk(secured.board, whole(wire.Hello.TYPE, HELLO_BODY, 0, 10))
    assert error(refusal).status == wire.Status.ERROR_PROTOCOL  # without MAC
    secured.channel = old
    frames = [secured.whole(wire.Evaluate.TYPE, bytes(2), 1, 10), whole(wire.Evaluate.TYPE, bytes(2), 1, 10)]
    frames += [secured.opened(wire.Pull.TYPE, b"", 1, 10), opened(wire.Pull.TYPE, b"", 1, 10), opened(0, b"", 1, 10)]
    frames += [opened(wire.Pull.TYPE, bytes(5000), 1, 10)]
    assert talk(secured.board, *frames) == []
    assert secured.board.requests == [wire.Hello.TYPE, wire.Hello.TYPE]

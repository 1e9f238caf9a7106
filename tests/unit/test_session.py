"""The host's session alone: what it sends when, and what it believes. With the C side: tests/c/test_session_c.py."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyfl.errors import FrameError
from tinyfl.wire.frame import Frame, FrameDecoder, encode_frame
from tinyfl.wire.messages import DEFAULT_CHUNK, FrameKind
from tinyfl.wire.session import MAX_BODY, MOST_TIMEOUT, Session

BODY = bytes(range(256)) * 4  # five chunks


def sent(session: Session, now: float) -> list[tuple[FrameKind, int]]:
    """Kind and offset of what the session sends now."""
    return [(FrameKind(f.kind), f.offset) for f in FrameDecoder().feed(session.send(now))]


def frame(kind: FrameKind, offset: int, payload: bytes, message: int = 0, session: int = 7) -> bytes:
    return encode_frame(Frame(kind, message, session, offset, payload))


def reply(body: bytes, digest: int | None = None, message: int = 0, session: int = 7) -> bytes:
    """The OPEN of a reply, with the body if it fits."""
    head = b"\x80" + (zlib.crc32(body) if digest is None else digest).to_bytes(4, "little")
    inline = body if len(body) <= DEFAULT_CHUNK - 5 else b""
    return frame(FrameKind.OPEN, len(body), head + inline, message, session)


def started(body: bytes = BODY, credits: int = 2) -> Session:
    session = Session(7, credits=credits)
    session.request(2, body, 0.0)
    return session


def test_no_more_is_under_way_than_the_credits_allow() -> None:
    session = started()
    assert sent(session, 0.0) == [(FrameKind.OPEN, 1024), (FrameKind.DATA, 0)]
    assert sent(session, 0.01) == []
    session.receive(frame(FrameKind.ACK, 0, b"\x02"), 0.02)
    assert sent(session, 0.02) == [(FrameKind.DATA, 240)]
    session.receive(frame(FrameKind.ACK, 240, b"\x04"), 0.03)  # the board grants more
    assert sent(session, 0.03) == [(FrameKind.DATA, 480), (FrameKind.DATA, 720), (FrameKind.DATA, 960)]


def test_what_was_overtaken_is_sent_again_at_once() -> None:
    """Selective repeat: the bitmap shows that chunk 0 got lost; nothing else is repeated."""
    session = started(credits=4)
    assert [o for _, o in sent(session, 0.0)] == [1024, 0, 240, 480]
    session.receive(frame(FrameKind.ACK, 0, b"\x04\x06"), 0.01)
    assert sent(session, 0.01) == [(FrameKind.DATA, 0), (FrameKind.DATA, 720), (FrameKind.DATA, 960)]
    assert session.repeats == 1


def test_silence_repeats_ever_more_slowly() -> None:
    session, times, now = started(b"x"), [], 0.0
    while now < 6:
        if session.send(now):
            times.append(round(now, 3))
        now += session.wakeup(now)
    assert times == [0.0, 0.25, 0.75, 1.75, 2.75, 3.75, 4.75, 5.75]


def test_a_measured_round_trip_shortens_the_timeout() -> None:
    session = started(credits=1)
    session.send(0.0)
    session.receive(frame(FrameKind.ACK, 0, b"\x01"), 0.02)
    session.send(0.02)
    assert session.wakeup(0.02) == pytest.approx(0.06)


def test_after_the_request_is_there_it_asks_twice_a_second() -> None:
    session = started(b"x")
    session.send(0.0)
    session.receive(frame(FrameKind.ACK, 1, b"\x02"), 0.1)
    assert session.wakeup(0.1) == pytest.approx(0.5)
    assert sent(session, 0.59) == []
    assert sent(session, 0.61) == [(FrameKind.ACK, 0)]
    session.receive(frame(FrameKind.ACK, 1, b"\x02"), 0.62)
    assert session.heard == 0.62
    assert session.wakeup(0.62) == pytest.approx(0.5)


def test_a_reply_with_a_gap_is_asked_for_by_bitmap() -> None:
    session = started(b"x")
    session.send(0.0)
    session.receive(reply(BODY), 0.1)
    for offset in (0, 480):
        session.receive(frame(FrameKind.DATA, offset, BODY[offset : offset + 240]), 0.1)
    (ask,) = FrameDecoder().feed(session.send(0.5))
    assert (ask.kind, ask.offset, ask.payload) == (FrameKind.ACK, 240, b"\xff\x02")
    for offset in (960, 720, 240, 240):
        session.receive(frame(FrameKind.DATA, offset, BODY[offset : offset + 240]), 0.6)
    assert session.reply == (0x80, BODY)
    assert session.send(99.0) == b""


def test_what_is_not_for_this_message_is_ignored() -> None:
    """Other sessions, older messages, echoes of what the host itself sent, unknown kinds."""
    session = started(b"x")
    session.receive(reply(b"right"), 0.1)
    session.request(2, b"y", 1.0)
    own = session.send(1.0)
    for late in (
        reply(b"late"),
        reply(b"other", message=1, session=8),
        frame(FrameKind.RESET, 0, b"", 1, session=8),
        frame(FrameKind.ACK, 0, b"\xff", 1),
        frame(FrameKind.DATA, 0, b"z", 1),
        encode_frame(Frame(77, 1, 7, 0)),
        own,
    ):
        session.receive(late, 2.0)
    assert (session.reply, session.lost, session.heard) == (None, False, 1.0)
    session.receive(reply(b"right", message=1), 2.0)
    assert session.reply == (0x80, b"right")


def test_a_reset_of_this_session_is_seen() -> None:
    session = started()
    session.receive(frame(FrameKind.RESET, 0, b"", 0), 0.1)
    assert session.lost


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (reply(b"abc", digest=1), "3 bytes does not match its digest"),
        (frame(FrameKind.OPEN, MAX_BODY + 1, b"\x80" + bytes(4)), "is announced, the limit is"),
        (frame(FrameKind.OPEN, 9, b"\x80" + bytes(4) + b"abc"), "a reply of 9 bytes came with 3"),
    ],
)
def test_a_reply_that_contradicts_itself_is_an_error(answer: bytes, complaint: str) -> None:
    with pytest.raises(FrameError, match=complaint):
        started().receive(answer, 0.1)


def test_messages_are_counted_modulo_256() -> None:
    session = Session(7)
    for i in range(300):
        session.request(2, b"x", float(i))
        (open,) = FrameDecoder().feed(session.send(float(i)))
        assert open.message == i % 256
        session.receive(reply(b"", message=i % 256), float(i))
        assert session.reply == (0x80, b"")


@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 2, 3, 4, 5, 9]),
            st.integers(0, 2),
            st.sampled_from([0, 1, 239, 240, 480, 1024, 2**32 - 1]) | st.integers(0, 2000),
            st.binary(max_size=20) | st.integers(0, 240).map(bytes),
        ),
        max_size=20,
    )
)
def test_a_lying_board_cannot_break_the_session(frames: list[tuple[int, int, int, bytes]]) -> None:
    """Whatever comes: FrameError or nothing, no reply but one that matches its digest, and always a time to go on."""
    session, now = started(), 0.0
    for kind, message, offset, payload in frames:
        now += max(0.01, session.wakeup(now))
        assert len(session.send(now)) <= 260 * 256
        try:
            session.receive(encode_frame(Frame(kind, message, 7, offset, payload)), now)
        except FrameError:
            return
        assert 0 <= session.wakeup(now) <= MOST_TIMEOUT + 1e-6
    if session.reply is not None:
        assert len(session.reply[1]) <= MAX_BODY

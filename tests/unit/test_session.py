"""The host's session alone: what it sends when, and what it believes. With the C side: tests/c/test_session_c.py."""

from __future__ import annotations

import itertools
import random
import struct
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyfl.errors import FrameError
from tinyfl.wire import messages as wire
from tinyfl.wire.auth import Channel
from tinyfl.wire.frame import Frame, FrameDecoder, encode_frame, frame_bytes, kind_byte
from tinyfl.wire.messages import FrameKind
from tinyfl.wire.session import ALL, MAX_BODY, MOST_COPIES, MOST_INTERVAL, NOTHING, Session, runs

BODY = bytes(range(256)) * 5  # 20 units, five frames of the chunk before WELCOME
OPEN, DATA, ACK, WHOLE = FrameKind.OPEN, FrameKind.DATA, FrameKind.ACK, FrameKind.WHOLE
KEY = bytes(range(32))


def sent(session: Session, now: float) -> list[tuple[FrameKind, int]]:
    """What the session sends now: each unit of DATA, ACK with its unit, the others with their length."""
    out = []
    for f in FrameDecoder().feed(session.send(now)):
        unit, count = int.from_bytes(f.payload[:2], "little"), -(-(len(f.payload) - 2) // 64)
        if f.purpose == DATA:
            out += units(unit, unit + count)
        else:
            out.append((FrameKind(f.purpose), unit if f.purpose == ACK else len(f.payload)))
    return out


def units(start: int, stop: int) -> list[tuple[FrameKind, int]]:
    """As ``sent`` tells them: however many go into one frame."""
    return [(DATA, unit) for unit in range(start, stop)]


def frame(kind: int, payload: bytes, message: int = 0, session: int = 7, units: int = 0) -> bytes:
    """From the board."""
    return encode_frame(Frame(kind_byte(kind, True, units), message, session, payload), zero=True)


def ack(unit: int, bits: bytes = b"", message: int = 0) -> bytes:
    return frame(ACK, unit.to_bytes(2, "little") + bits, message)


def data(unit: int, units: int = 4, message: int = 0) -> bytes:
    return frame(DATA, unit.to_bytes(2, "little") + BODY[unit * 64 : (unit + units) * 64], message)


def whole(body: bytes, message: int = 0, session: int = 7) -> bytes:
    return frame(WHOLE, b"\x80" + body, message, session)


def opened(body: bytes, digest: int | None = None, mac: bytes = b"") -> bytes:
    digest = zlib.crc32(body) if digest is None else digest
    return frame(OPEN, struct.pack("<BII", 0x80, len(body), digest) + mac)


def started(body: bytes = BODY, window: int = 600) -> Session:
    session = Session(7, window=window)
    session.request(2, body, 0.0)
    return session


# To the board


def test_a_body_that_fits_goes_whole_and_a_longer_one_in_units() -> None:
    assert sent(started(BODY[:256]), 0.0) == [(WHOLE, 257)]
    assert sent(started(BODY[:257], window=9999), 0.0) == [(OPEN, 9), *units(0, 5)]
    assert sent(started(b""), 0.0) == [(WHOLE, 1)]
    frames = FrameDecoder().feed(started(window=9999).send(0.0))
    assert [len(f.payload) for f in frames] == [9, *[2 + 256] * 5]


def test_no_more_bytes_are_under_way_than_the_window_allows() -> None:
    session = started(window=600)  # the OPEN of 19 and two frames of 269
    assert sent(session, 0.0) == [(OPEN, 9), *units(0, 8)]
    assert sent(session, 0.01) == []
    session.receive(ack(0), 0.02)
    assert sent(session, 0.02) == []  # the OPEN leaves too little room
    session.receive(ack(4), 0.03)
    assert sent(session, 0.03) == units(8, 12)
    session.receive(ack(12), 0.04)
    assert sent(session, 0.04) == units(12, 20)


@given(st.integers(0, 3000))
def test_one_frame_may_always_go(window: int) -> None:
    session, got, now = started(window=window), 0, 0.0
    while got < 20:
        frames = FrameDecoder().feed(session.send(now))
        sizes = [frame_bytes(len(f.payload)) for f in frames]
        assert len(sizes) == 1 or 0 < sum(sizes) <= window
        got += sum((len(f.payload) - 2) // 64 for f in frames if f.purpose == DATA)
        now += 0.01
        session.receive(ack(got), now)


def test_what_was_overtaken_is_sent_again_at_once() -> None:
    """Selective repeat: the bitmap shows that the first four units got lost; nothing else is repeated."""
    session = started(window=2000)
    first = sent(session, 0.0)
    assert first[:9] == [(OPEN, 9), *units(0, 8)]
    session.receive(ack(0, bytes([0b01111000])), 0.01)  # units 4 to 7
    again = sent(session, 0.01)
    assert again[:4] == units(0, 4) and not {unit for _, unit in again[4:]} & {unit for _, unit in first}


def test_a_late_ack_takes_nothing_back() -> None:
    session = started(window=9999)
    sent(session, 0.0)
    session.receive(ack(16), 0.01)
    session.receive(ack(4), 0.02)
    session.receive(ack(ALL), 0.03)
    assert sent(session, 0.03) == []


def test_units_that_the_board_has_from_an_earlier_life_are_not_sent() -> None:
    session = started(window=0)
    assert sent(session, 0.0) == [(OPEN, 9)]
    session.receive(ack(3, bytes([0b11101110])), 0.01)  # it misses 3, 4, 8 and 12 to 19
    assert sent(session, 0.01) == units(3, 5)
    session.receive(ack(8, bytes([0b111])), 0.02)
    assert sent(session, 0.02) == units(8, 9)
    session.receive(ack(12), 0.03)
    assert sent(session, 0.03)[0] == (DATA, 12)
    assert session.repeats == 0


def test_the_first_request_after_hello_waits_for_what_the_board_has() -> None:
    session, _ = secured(BODY)
    assert sent(session, 0.0) == [(OPEN, 25)]
    session.receive(ack(17, message=1), 0.1)
    assert sent(session, 0.1) == units(17, 20)
    session.receive(frame(WHOLE, b"\x80" + Channel(KEY).mac(True, 1, 0x80, b""), 1), 0.2)
    session.request(2, BODY, 0.2)
    assert sent(session, 0.2) == [(OPEN, 25), *units(0, 8)]


def test_silence_is_asked_into_ever_more_slowly() -> None:
    session, times, now = started(b"x"), [], 0.0
    while now < 6:
        for kind, _ in sent(session, now):
            times.append((kind.name, round(now, 3)))
        now += session.wakeup(now)
    assert times[0] == ("WHOLE", 0.0)
    assert times[1:] == [("ACK", t) for t in (0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)][:-1]


def test_first_contact_says_it_whole_again_at_its_own_pace() -> None:
    session, times, now = Session(7), [], 0.0
    session.request(1, bytes(26), now, 0.1)
    while now < 0.45:
        times += [(kind, round(now, 3)) for kind, _ in sent(session, now)]
        now += session.wakeup(now)
    assert times == [(WHOLE, t) for t in (0.0, 0.1, 0.2, 0.3, 0.4)]
    session.reconnected(now)
    assert sent(session, now) == [(WHOLE, 27)]


def test_nothing_large_is_sent_again_before_the_board_was_asked() -> None:
    session = started(window=9999)
    assert len(sent(session, 0.0)) == 21
    assert sent(session, 0.26) == [(ACK, NOTHING)]
    session.receive(ack(8, bytes([0b1111000])), 0.27)  # 12 to 15 have come, 8 to 11 and 16 to 19 have not
    assert sent(session, 0.27) == units(8, 12)  # overtaken; the tail may still be under way
    assert sent(session, 0.6) == [(ACK, NOTHING)]
    session.receive(ack(8, bytes([0b1111000])), 0.61)  # the same again: all that was sent before got lost
    assert sent(session, 0.61) == [*units(8, 12), *units(16, 20)]


def test_a_request_that_never_came_is_sent_again_after_the_answer_to_a_question_only() -> None:
    session = started(b"x")
    session.send(0.0)
    session.receive(ack(NOTHING), 0.1)  # nobody asked
    assert sent(session, 0.1) == []
    assert sent(session, 0.26) == [(ACK, NOTHING)]
    session.receive(ack(NOTHING) * 2, 0.27)
    assert sent(session, 0.27) == [(WHOLE, 2)]
    session.receive(ack(NOTHING), 0.28)  # a late answer is of the copy before
    assert sent(session, 0.28) == []


def test_data_whose_open_got_lost_begins_again_once() -> None:
    session = started(window=600)
    session.send(0.0)
    session.receive(ack(NOTHING), 0.01)
    assert sent(session, 0.01)[:5] == [(OPEN, 9), *units(0, 4)]
    session.receive(ack(NOTHING), 0.02)  # the second DATA of the first copy
    assert sent(session, 0.02) == []


def test_a_board_that_takes_no_copy_ends_the_call() -> None:
    session, now = started(b"x"), 0.0
    with pytest.raises(FrameError, match=f"none of {MOST_COPIES} copies"):
        while now < 600:
            session.send(now)
            now += session.wakeup(now)
            if session.send(now):
                session.receive(ack(NOTHING), now)


def test_a_measured_round_trip_shortens_the_timeout() -> None:
    session = started(window=0)
    session.send(0.0)
    session.receive(ack(0), 0.02)
    session.send(0.02)
    assert session.wakeup(0.02) == pytest.approx(0.06)


def test_a_round_trip_of_something_repeated_is_not_believed() -> None:
    session = started(window=9999)
    session.send(0.0)
    session.receive(ack(0, bytes([0b01111000])), 0.02)  # timeout: 0.06
    session.send(0.02)
    session.receive(ack(8), 0.021)  # of the first copy or of the second?
    assert session.wakeup(0.021) >= 0.05  # the least, not three times a millisecond


def test_while_the_board_works_it_asks_ever_more_rarely() -> None:
    session, times, now = started(b"x"), [], 0.0
    while now < 9:
        if sent(session, now) == [(ACK, NOTHING)]:
            times.append(now)
            session.receive(ack(ALL), now + 0.001)
            assert session.heard == now + 0.001
        now += max(0.001, session.wakeup(now))
    pauses = [round(b - a, 2) for a, b in itertools.pairwise([0.0, *times])]
    assert pauses == [0.25, 0.5, 1.0, 2.0, 2.0, 2.0]


def test_a_job_that_was_long_the_last_time_is_not_disturbed_early() -> None:
    session = started(b"x")
    session.send(0.0)
    session.receive(whole(b""), 0.8)
    session.request(2, b"y", 1.0)
    session.send(1.0)
    assert session.wakeup(1.0) == pytest.approx(1.6)
    session.receive(whole(b"", 1), 11.0)
    session.request(2, b"y", 12.0)
    session.send(12.0)
    assert session.wakeup(12.0) == MOST_INTERVAL
    session.receive(whole(b"", 2), 12.1)
    session.request(4, b"y", 13.0)
    session.send(13.0)
    assert session.wakeup(13.0) == pytest.approx(0.25)


def test_a_lost_link_goes_on_with_a_question() -> None:
    session = started(window=9999)
    session.send(0.0)
    session.receive(data(0)[:-5], 0.01)  # cut in the middle
    session.reconnected(5.0)
    raw = session.send(5.0)
    assert raw[0] == 0 and [f.purpose for f in FrameDecoder().feed(raw)] == [ACK]
    session.receive(ack(4), 5.01)
    session.receive(ack(4), 5.01)
    assert sent(session, 5.02) == units(4, 20)
    assert session.heard == 5.01


def test_a_request_of_a_lost_link_begins_with_a_zero() -> None:
    session = started(b"x")
    session.reconnected(1.0)
    raw = session.send(1.0)
    assert raw[0] == 0 and [f.purpose for f in FrameDecoder().feed(raw)] == [WHOLE]


# To the host


def test_a_reply_in_any_order_however_often() -> None:
    session = started(b"x")
    session.send(0.0)
    session.receive(data(0) + opened(BODY), 0.1)  # what comes before the OPEN is kept
    for unit, units in ((16, 4), (0, 1), (1, 1), (4, 8), (2, 2), (4, 8), (12, 4)):
        assert session.reply is None
        session.receive(data(unit, units), 0.1)
    assert session.reply == (0x80, BODY)
    assert session.send(99.0) == b""


def test_a_reply_with_a_gap_is_asked_for_by_bitmap() -> None:
    session = started(b"x")
    session.send(0.0)
    session.receive(opened(BODY) + data(0) + data(8), 0.1)
    (ask,) = FrameDecoder().feed(session.send(0.5))
    assert (ask.purpose, ask.payload) == (ACK, b"\x04\0" + bytes([0b1111000]))
    session.receive(data(16), 0.6)  # the last that it asked for, and the first is missing: at once again
    (ask,) = FrameDecoder().feed(session.send(0.6))
    assert ask.payload == b"\x04\0" + bytes([0b01111000, 0b01111000])[:2]
    session.receive(data(4) + data(12), 0.7)
    assert session.reply == (0x80, BODY)


def test_when_the_end_of_a_reply_has_come_its_gaps_are_asked_for_at_once() -> None:
    session = started(b"x")
    session.send(0.0)
    session.receive(opened(BODY) + data(0) + data(8), 0.1)
    assert sent(session, 0.1) == []
    session.receive(data(12) + data(16), 0.1)
    assert session.wakeup(0.1) == 0.0
    assert sent(session, 0.1) == [(ACK, 4)]
    session.receive(data(16), 0.1)  # a late double
    assert sent(session, 0.1) == []
    session.receive(data(5, 3), 0.1)  # all that it asked for but one
    assert sent(session, 0.1) == [(ACK, 4)]


def test_units_that_do_not_fit_the_body_are_ignored() -> None:
    session = started(b"x")
    session.send(0.0)
    session.receive(opened(BODY[:100]), 0.1)
    for payload in (b"", b"\0", b"\0\0", b"\0\0" + bytes(63), b"\0\0" + bytes(101), b"\1\0" + bytes(64), b"\2\0x"):
        session.receive(frame(DATA, payload), 0.1)
    session.receive(frame(DATA, b"\1\0" + BODY[64:100]) + frame(DATA, b"\0\0" + BODY[:64]), 0.1)
    assert session.reply == (0x80, BODY[:100])


def test_what_is_not_for_this_message_is_ignored() -> None:
    """Other sessions, older messages, echoes of what the host itself sent, unknown kinds."""
    session = started(b"x")
    session.receive(whole(b"right"), 0.1)
    session.request(2, b"y", 1.0)
    own = session.send(1.0)
    for late in (
        whole(b"late"),
        whole(b"other", message=1, session=8),
        frame(FrameKind.RESET, b"", 1, session=8),
        frame(7, b"", 1),
        encode_frame(Frame(WHOLE, 1, 7, b"\x80echo")),
        encode_frame(Frame(ACK, 1, 7, b"\xff\xff")),
        frame(WHOLE, b"\x02a request", 1),
        own,
    ):
        session.receive(late, 2.0)
    assert (session.reply, session.lost, session.heard) == (None, False, 1.0)
    session.receive(whole(b"right", message=1), 2.0)
    assert session.reply == (0x80, b"right")


def test_a_reset_of_this_session_is_seen() -> None:
    session = started()
    session.receive(frame(FrameKind.RESET, b""), 0.1)
    assert session.lost


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (opened(BODY[:64], digest=1) + data(0, 1), "64 bytes does not match its digest"),
        (frame(OPEN, struct.pack("<BII", 0x80, MAX_BODY + 1, 0)), "is announced, the limit is"),
    ],
)
def test_a_reply_that_contradicts_itself_is_an_error(answer: bytes, complaint: str) -> None:
    with pytest.raises(FrameError, match=complaint):
        started().receive(answer, 0.1)


def test_messages_are_counted_modulo_256() -> None:
    session = Session(7)
    for i in range(300):
        session.request(2, b"x", float(i))
        (request,) = FrameDecoder().feed(session.send(float(i)))
        assert request.message == i % 256
        session.receive(whole(b"", message=i % 256), float(i))
        assert session.reply == (0x80, b"")
    assert session.counter == 299


# Authenticated


def secured(body: bytes = b"x") -> tuple[Session, Channel]:
    """After HELLO; the message under way is number 1."""
    session, channel = Session(7), Channel(KEY)
    session.request(1, b"hello", 0.0, 0.1)
    (hello,) = FrameDecoder().feed(session.send(0.0))
    assert hello.payload == b"\x01hello"
    session.receive(whole(b"welcome"), 0.0)
    session.agree(256, 600, channel)
    session.request(2, body, 0.0)
    return session, channel


def test_all_but_the_first_message_carries_a_mac() -> None:
    session, channel = secured()
    (request,) = FrameDecoder().feed(session.send(0.0))
    assert request.payload == b"\x02" + channel.mac(False, 1, 2, b"x") + b"x"
    session, _ = secured(BODY)
    request, *_ = FrameDecoder().feed(session.send(0.0))
    assert request.payload[9:] == channel.mac(False, 1, 2, BODY)


def test_only_a_reply_with_its_mac_has_come() -> None:
    session, channel = secured()
    session.send(0.0)
    good = channel.mac(True, 1, 0x80, b"done")
    wrong = (
        b"done",
        bytes(16) + b"done",
        good + b"dome",
        channel.mac(False, 1, 0x80, b"done") + b"done",  # a reflection
        channel.mac(True, 0, 0x80, b"done") + b"done",  # of an older message
    )
    for payload in wrong:
        session.receive(frame(WHOLE, b"\x80" + payload, 1), 0.1)
    assert (session.reply, session.heard, session.forged) == (None, 0.0, 4)  # one is no message at all
    session.receive(frame(WHOLE, b"\x80" + good + b"done", 1), 0.1)
    assert session.reply == (0x80, b"done")


def test_a_long_reply_is_checked_when_it_is_whole_and_asked_for_again() -> None:
    session, channel = secured()
    session.send(0.0)
    head = struct.pack("<BII", 0x80, len(BODY), zlib.crc32(BODY))
    units = b"".join(data(unit, message=1) for unit in range(0, 20, 4))
    session.receive(frame(OPEN, head + bytes(16), 1) + units, 0.1)
    session.receive(frame(OPEN, struct.pack("<BII", 0x80, MAX_BODY + 1, 0) + bytes(16), 1), 0.1)
    assert (session.reply, session.forged) == (None, 2)
    assert sent(session, 0.5) == [(ACK, NOTHING)]
    session.receive(frame(OPEN, head + channel.mac(True, 1, 0x80, BODY), 1) + units, 0.6)
    assert session.reply == (0x80, BODY)


# Against boards


class PerfectBoard:
    """The board of docs/WIRE.md over a line without faults, but for what ``damage`` does to each frame."""

    def __init__(self, replies: list[bytes], chunk: int = 512, damage: Callable[[bytes], bytes] = bytes) -> None:
        self.replies, self.chunk, self.damage = replies, chunk, damage
        self.decoder, self.message, self.taken = FrameDecoder(), -1, list[bytes]()
        self.body, self.missing, self.reply, self.wish = bytearray(), set[int](), b"", 0

    def answer(self, data: bytes) -> bytes:
        frames = [f for f in self.decoder.feed(self.damage(data)) if not f.to_host]
        return b"".join(self.damage(out) for f in frames for out in self._take(f))

    def _take(self, f: Frame) -> list[bytes]:
        self.wish = f.units or self.wish
        new = f.message == (self.message + 1) % 256
        if new and f.purpose in (WHOLE, OPEN):
            self.message = f.message
            length = int.from_bytes(f.payload[1:5], "little") if f.purpose == OPEN else 0
            self.body, self.reply = bytearray(f.payload[1:] if f.purpose == WHOLE else bytes(length)), b""
            self.missing = set(range(-(-length // 64)))
            return self._state() if f.purpose == OPEN else self._work()
        if new:
            return [ack(NOTHING, message=f.message)]
        if f.purpose == DATA and self.missing:
            unit = int.from_bytes(f.payload[:2], "little")
            self.body[unit * 64 : unit * 64 + len(f.payload) - 2] = f.payload[2:]
            self.missing.difference_update(range(unit, unit + -(-(len(f.payload) - 2) // 64)))
            return self._state() + ([] if self.missing else self._work())
        if f.purpose == ACK and self.reply:
            unit, bits = int.from_bytes(f.payload[:2], "little"), int.from_bytes(f.payload[2:], "little")
            return self._send(0, 0) if unit == NOTHING else self._send(unit, bits << 1)[1:]
        return self._state()

    def _work(self) -> list[bytes]:
        self.taken.append(bytes(self.body))
        self.reply = self.replies[len(self.taken) - 1]
        return self._send(0, 0)

    def _state(self) -> list[bytes]:
        first = min(self.missing, default=ALL)
        bits = sum(1 << u - first - 1 for u in range(first + 1, len(self.body) // 64) if u not in self.missing)
        return [self._frame(ACK, first.to_bytes(2, "little") + bits.to_bytes(-(-bits.bit_length() // 8), "little"))]

    def _send(self, first: int, has: int) -> list[bytes]:
        chunk, body = self.wish * 64 or self.chunk, self.reply
        if len(body) <= chunk:
            return [self._frame(WHOLE, b"\x80" + body)] * 2 if first else [self._frame(WHOLE, b"\x80" + body)]
        out = [self._frame(OPEN, struct.pack("<BII", 0x80, len(body), zlib.crc32(body)))]
        units = {u for u in range(first, -(-len(body) // 64)) if not has >> (u - first) & 1}
        for r in runs(units, chunk // 64):
            out.append(self._frame(DATA, r.start.to_bytes(2, "little") + body[r.start * 64 : r.stop * 64]))
        return out

    def _frame(self, purpose: FrameKind, payload: bytes) -> bytes:
        return encode_frame(Frame(kind_byte(purpose, True), max(self.message, 0), 7, payload))


def converse(session: Session, board: PerfectBoard, bodies: list[bytes], limit: float = 60.0) -> tuple[int, float]:
    """Bytes on the wire in both directions and seconds, answers after 10 ms; each reply is checked."""
    now, count = 0.0, 0
    for body, reply in zip(bodies, board.replies, strict=True):
        session.request(3, body, now)
        while session.reply is None:
            assert now < limit
            out = session.send(now)
            back = board.answer(out)
            count += len(out) + len(back)
            now += 0.01 if back else max(0.001, session.wakeup(now))
            session.receive(back, now)
        assert session.reply == (0x80, reply)
    assert board.taken == bodies
    return count, now


def test_a_clean_har_round_costs_six_percent() -> None:
    """TRAIN with the head, TRAINED, COLLECT, DELTA of one board: 771 bytes of bodies."""
    rng = random.Random(1)
    sizes = [
        (wire.Train.BYTES + 2 * 231, wire.Trained.BYTES),
        (wire.Collect.BYTES, wire.Delta.BYTES + 231),
    ]
    bodies, replies = ([rng.randbytes(pair[i]) for pair in sizes] for i in (0, 1))
    assert sum(map(sum, sizes)) == 771
    session, board = Session(7, 512, 541), PerfectBoard([b"welcome"])
    converse(session, board, [b"hello"])
    board.replies, board.taken = replies, []
    count, _ = converse(session, board, bodies)
    assert 771 < count <= 816


def noisy(seed: int, error_rate: float) -> Callable[[bytes], bytes]:
    """Each byte is another one with this probability."""
    rng = random.Random(seed)
    return lambda data: bytes(rng.randrange(256) if rng.random() < error_rate else byte for byte in data)


@pytest.mark.parametrize("seed", range(4))
def test_long_bodies_over_a_bad_line_are_right_and_not_much_larger(seed: int) -> None:
    """One byte in 1,250 is wrong, in both directions; without shorter frames half of those of 512 would be lost."""
    rng = random.Random(seed)
    bodies, replies = [rng.randbytes(20000)], [rng.randbytes(20000)]
    session = Session(7, 512, 2200)
    count, _ = converse(session, PerfectBoard(replies, 512, noisy(seed, 8e-4)), bodies)
    assert session.down.units < 6 and session.up.units < 6
    assert 40000 / count > 0.65


@pytest.mark.parametrize("seed", range(8))
def test_short_messages_over_a_very_bad_line_are_right(seed: int) -> None:
    rng = random.Random(seed)
    bodies, replies = ([rng.randbytes(rng.randrange(400)) for _ in range(20)] for _ in range(2))
    converse(Session(7, 512, 600), PerfectBoard(replies, 512, noisy(seed, 2e-3)), bodies)


# Against anything


@given(
    st.lists(
        st.tuples(
            st.integers(0, 255),
            st.integers(0, 2),
            st.sampled_from([b"\xff\xff", b"\xfe\xff", b"\0\0", b"\4\0\1", b"\x80" + bytes(8), b"\x80\0\5\0\0\0\0\0\0"])
            | st.binary(max_size=40)
            | st.builds(lambda u, n: u.to_bytes(2, "little") + bytes(n), st.integers(0, 21), st.integers(0, 256)),
        ),
        max_size=30,
    ),
    st.booleans(),
    st.integers(0, 2000),
)
def test_a_lying_board_cannot_break_the_session(frames: list[tuple[int, int, bytes]], mac: bool, window: int) -> None:
    """Whatever comes: FrameError or nothing, no forged reply, and always a time to go on."""
    session, now = Session(7, window=window), 0.0
    session.request(1, b"hello", 0.0)
    session.receive(whole(b"welcome"), 0.0)
    session.agree(256, window, Channel(KEY) if mac else None)
    session.request(2, BODY, 0.0)
    for kind, message, payload in frames:
        now += max(0.01, session.wakeup(now))
        assert len(session.send(now)) <= max(window, 300) + 40
        try:
            session.receive(encode_frame(Frame(kind | 8, message, 7, payload)), now)
        except FrameError:
            return
        assert 0 <= session.wakeup(now) <= MOST_INTERVAL
    assert session.reply is None or (not mac and len(session.reply[1]) <= MAX_BODY)


@given(st.sets(st.integers(0, 60)), st.integers(1, 15))
def test_runs_hold_every_unit_once(units: set[int], most: int) -> None:
    parts = list(runs(units, most))
    assert [u for part in parts for u in part] == sorted(units)
    assert all(1 <= len(part) <= most for part in parts)
    assert all(a.stop < b.start or len(a) == most for a, b in itertools.pairwise(parts))

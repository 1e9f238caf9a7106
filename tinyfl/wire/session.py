"""The host's side of a session (docs/WIRE.md), without input, output or clock: bytes in, bytes out, times as arguments.

One request is under way at a time::

    session.request(Train.TYPE, body, now)
    while session.reply is None:
        write(session.send(now))
        session.receive(read(session.wakeup(now)), now)
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from tinyfl.errors import FrameError
from tinyfl.wire.auth import Channel
from tinyfl.wire.chunks import Chunks
from tinyfl.wire.frame import Frame, FrameDecoder, encode_frame, frame_bytes, kind_byte
from tinyfl.wire.messages import DEFAULT_CHUNK, MAC_BYTES, UNIT, FrameKind

OPEN_BYTES = 9  # type, length and digest, before the MAC of an OPEN
ALL, NOTHING = 0xFFFF, 0xFFFE  # what an ACK says instead of a unit
REPLY = 0x80  # set in the types of replies
MAX_BODY = 1 << 20  # of a reply: no board holds more
FIRST_TIMEOUT = 0.25  # seconds until the host asks, before a round trip was measured
LEAST_TIMEOUT, MOST_TIMEOUT = 0.05, 1.0
MOST_INTERVAL = 2.0  # between questions while the board works
FRAMES, LEAST_UNITS = 5, 2  # that should fit the window at once; a DATA frame is not made shorter for it
MOST_COPIES = 30  # of a request of which the board says each time that nothing has come


@dataclass(eq=False)
class _Flight:
    """A frame under way to the board: WHOLE or OPEN without units, DATA with some."""

    sent: float
    size: int
    units: range
    fresh: bool  # nothing of it was sent before: it tells a round trip


@dataclass
class _Request:
    type: int
    body: bytes
    began: float
    whole: bool = True  # in one frame
    opened: bool = False  # the board has its OPEN
    done: bool = False  # the board has all of it
    missing: set[int] = field(default_factory=set)  # units that the board has not acknowledged
    sent: set[int] = field(default_factory=set)  # units that were sent at least once
    flights: list[_Flight] = field(default_factory=list)  # oldest first
    copies: int = 0  # how often it was begun again

    def begin(self, chunk: int) -> None:
        """From its start, whole if it fits."""
        self.whole = len(self.body) <= chunk
        self.missing = set() if self.whole else set(range(units_of(len(self.body))))
        self.opened = self.done = False
        self.flights = []


@dataclass
class _Reply:
    head: bytes  # the payload of its OPEN
    body: bytearray
    missing: set[int]  # units
    last: int  # the unit behind which the board sends nothing more of its own accord
    next: int = 0  # the unit that the frame now on the line begins with, if nothing is lost
    span: int = 1  # units of its frames


def units_of(length: int) -> int:
    """How many units a body is divided into."""
    return -(-length // UNIT)


class Session:
    """``number`` is the session's (1..65535). A session begins with HELLO; ``agree`` takes over what WELCOME says."""

    def __init__(self, number: int, chunk: int = DEFAULT_CHUNK, window: int = 0) -> None:
        self.number = number
        self.reply: tuple[int, bytes] | None = None  # type and body, once it is whole
        self.lost = False  # the board does not know this session: it was reset
        self.heard = 0.0  # when the board's last frame came, or the request was made
        self.repeats = 0  # frames sent again, questions included
        self.forged = 0  # replies whose MAC does not hold
        self.logs: list[str] = []
        self.counter = -1  # of the current message
        self.agree(chunk, window)
        self._decoder = FrameDecoder()
        self._request: _Request | None = None
        self._reply: _Reply | None = None
        self._timeout = FIRST_TIMEOUT
        self._interval = FIRST_TIMEOUT  # until the next question while the board works
        self._repeat_every: float | None = None
        self._round_trip: float | None = None
        self._took: dict[int, float] = {}  # request type -> seconds until its reply the last time
        self._since = 0.0  # the last event: waiting counts from here
        self._early: dict[int, bytes] = {}  # DATA of a reply whose OPEN has not come, by their first unit
        self._gap: float | None = None  # between the board's frames while they flow
        self._asked = 0.0  # the last question
        self._questions = 0  # asked and not answered
        self._wishing = self._zero = False

    def agree(self, chunk: int, window: int, channel: Channel | None = None) -> None:
        """What holds after WELCOME: bytes of a body a frame, bytes under way, the MACs of all further messages."""
        self.chunk, self.window, self.channel = chunk, window, channel
        self.down, self.up = Chunks(chunk // UNIT), Chunks(chunk // UNIT)

    @property
    def skipped(self) -> int:
        """Pieces of the stream that were no frames."""
        return self._decoder.skipped

    def request(self, type: int, body: bytes, now: float, repeat_every: float | None = None) -> None:
        """Starts a request; ``repeat_every`` (first contact) repeats it whole at this interval, instead of asking."""
        self.counter += 1
        self._request = _Request(type, body, now)
        self._request.begin(len(body) if repeat_every else self.down.units * UNIT)
        self._reply = self.reply = None
        self._repeat_every = repeat_every
        self._interval = self._first_interval(type)
        self._questions = 0
        self._gap = None
        self._early = {}
        self.heard = self._since = now

    def send(self, now: float) -> bytes:
        """What to write now, often nothing."""
        if self._request is None or self.reply is not None:
            return b""
        out = self._send_request(self._request, now)
        if out:
            self._since = now
        elif now >= self._since + self._wait(self._request):
            out = self._ask(self._request, now)
        return out

    def wakeup(self, now: float) -> float:
        """Seconds until ``send`` has something to do, if nothing is received before."""
        if self._request is None or self.reply is not None:
            return MOST_INTERVAL
        return min(max(0.0, self._since + self._wait(self._request) - now), MOST_INTERVAL)

    def receive(self, data: bytes, now: float) -> None:
        """Takes received bytes; raises FrameError where a reply contradicts itself."""
        pieces, size = self._decoder.skipped, self._decoder.skipped_bytes
        if data and self._reply is not None and now - self.heard < MOST_TIMEOUT:
            self._since = max(self._since, now)  # spoilt frames too say that the board has not ended
        for frame in self._decoder.feed(data):
            self._take(frame, now)
        pieces, size = self._decoder.skipped - pieces, self._decoder.skipped_bytes - size
        for _ in range(pieces):
            self.up.lost(size // pieces)
        if self._reply is not None and pieces:
            self._skip(self._reply, pieces, now)

    def reconnected(self, now: float) -> None:
        """The link was opened again: all that was under way is in doubt, so the next that is sent is a question."""
        self._zero = True
        self.receive(b"\0", now)
        self._questions = 0
        self.heard, self._since = now, now - MOST_INTERVAL

    def _take(self, frame: Frame, now: float) -> None:
        if not frame.to_host:
            return  # an echo
        if frame.purpose == FrameKind.LOG:
            self.logs.append(frame.payload.decode(errors="replace"))
        elif frame.session != self.number:
            return
        elif frame.purpose == FrameKind.RESET:
            self.lost = True
        elif self._request is not None and self.reply is None and frame.message == self.counter % 256:
            self.up.arrived(frame_bytes(len(frame.payload)))
            if frame.units:
                self.down.limit(min(frame.units, self.chunk // UNIT))
            self._take_current(self._request, frame, now)

    def _take_current(self, request: _Request, frame: Frame, now: float) -> None:
        match frame.purpose:
            case FrameKind.ACK:
                self._take_ack(request, frame.payload, now)
            case FrameKind.WHOLE:
                self._take_whole(request, frame.payload, now)
            case FrameKind.OPEN:
                self._take_open(request, frame.payload, now)
            case FrameKind.DATA:
                self._take_data(request, frame.payload, now)

    # Time

    def _wait(self, request: _Request) -> float:
        """Seconds without an event after which it asks."""
        if self._repeat_every is not None:
            return self._repeat_every
        working = (request.whole or request.done) and self._reply is None and not self._early
        if working and not self._questions:
            return self._interval
        if self._gap is None or self._questions or not (request.opened or self._reply or self._early):
            return self._timeout
        return min(self._timeout, max(3 * self._gap, LEAST_TIMEOUT))

    def _first_interval(self, type: int) -> float:
        """Until the first question: a job that was long the last time is not disturbed earlier."""
        return max(self._timeout, min(2 * self._took.get(type, 0.0), MOST_INTERVAL))

    def _event(self, now: float) -> None:
        """The board said something about this message."""
        self._flow(now)
        self._questions = 0

    def _flow(self, now: float) -> None:
        """A frame of the board: how long they are apart tells silence from a pause."""
        gap = now - self.heard
        self._gap = gap if self._gap is None else max(gap, 0.8 * self._gap + 0.2 * gap)
        self.heard = self._since = now

    def _measure(self, seconds: float) -> None:
        """A round trip; the timeout follows the mean with room for twice as much."""
        mean = seconds if self._round_trip is None else 0.8 * self._round_trip + 0.2 * seconds
        self._round_trip = mean
        self._timeout = min(max(3 * mean, 3 * seconds, LEAST_TIMEOUT), MOST_TIMEOUT)

    def _measure_question(self, now: float) -> None:
        """The answer to a question that was asked once."""
        if self._questions == 1:
            self._measure(now - self._asked)

    def _ask(self, request: _Request, now: float) -> bytes:
        """An ACK: what has come of the reply, and so of the request? First contact says HELLO again instead."""
        if self._repeat_every is not None:
            request.flights.clear()
            self._since = now
            return self._send_request(request, now)
        if self._questions:
            self._timeout = min(2 * self._timeout, MOST_TIMEOUT)
        else:
            self._interval = min(2 * self._interval, MOST_INTERVAL)
        self._questions += 1
        self._asked = self._since = now
        self.repeats += 1
        return self._frame(FrameKind.ACK, self._received(), True)

    def _frame(self, purpose: FrameKind, payload: bytes, again: bool) -> bytes:
        """A frame of the current message; once replies shall be shorter than the chunk, all frames say how long."""
        self._wishing = self._wishing or self.up.units != self.chunk // UNIT
        kind = kind_byte(purpose, units=self.up.units if self._wishing else 0)
        zero, self._zero = again or self._zero, False
        return encode_frame(Frame(kind, self.counter % 256, self.number, payload), zero)

    # The request's way to the board

    def _send_request(self, request: _Request, now: float) -> bytes:
        """What is missing and not under way, as far as the window allows; one frame may always go."""
        out = b""
        for purpose, payload, units in self._missing(request):
            size = frame_bytes(len(payload))
            if request.flights and sum(flight.size for flight in request.flights) + size > self.window:
                break
            fresh = request.sent.isdisjoint(units) if units else request.copies == 0
            out += self._frame(purpose, payload, not fresh or self.counter == 0)
            self.repeats += not fresh
            request.flights.append(_Flight(now, size, units, fresh))
            request.sent.update(units)
            if not units:
                request.copies += 1
        return out

    def _missing(self, request: _Request) -> Iterator[tuple[FrameKind, bytes, range]]:
        """Purpose, payload and units of the frames that could go now."""
        headed = request.opened or any(not flight.units for flight in request.flights)
        if request.done or (request.whole and headed):
            return
        if not headed:
            mac, body = self._mac(request), request.body
            if request.whole:
                yield FrameKind.WHOLE, bytes([request.type]) + mac + body, range(0)
                return
            yield FrameKind.OPEN, struct.pack("<BII", request.type, len(body), zlib.crc32(body)) + mac, range(0)
        if self.counter == 1 and not request.opened:
            return  # the board may have units of it from before HELLO: its ACK tells
        for units in runs(request.missing.difference(*(flight.units for flight in request.flights)), self._units()):
            data = request.body[units.start * UNIT : units.stop * UNIT]
            yield FrameKind.DATA, units.start.to_bytes(2, "little") + data, units

    def _units(self) -> int:
        """Of a DATA frame to the board: several frames must fit the window, or the line waits for each ACK."""
        return min(self.down.units, max(LEAST_UNITS, (self.window // FRAMES - OPEN_BYTES) // UNIT))

    def _mac(self, request: _Request) -> bytes:
        if self.channel is None or self.counter == 0:
            return b""
        return self.channel.mac(False, self.counter, request.type, request.body)

    def _take_ack(self, request: _Request, payload: bytes, now: float) -> None:
        if len(payload) < 2:
            return
        unit, bitmap = int.from_bytes(payload[:2], "little"), int.from_bytes(payload[2:], "little")
        if unit == NOTHING:
            self._begin_again(request, now)
        elif unit == ALL:
            self._arrived(request, now)
        elif not request.done:
            if request.whole:  # an OPEN sent before it became WHOLE came late
                request.begin(0)
            request.opened = True
            answer = self._questions and not request.flights  # the whole truth; else it may be late, and only adds
            of = range(units_of(len(request.body))) if answer else request.missing
            self._landed(request, {u for u in of if u == unit or behind(u, unit, bitmap)}, now)

    def _landed(self, request: _Request, missing: set[int], now: float) -> None:
        """The board misses these units. What was sent before a frame that it has, and has not come, got lost."""
        request.missing = missing
        flown = [flight for flight in request.flights if missing.isdisjoint(flight.units)]
        rest = [flight for flight in request.flights if not missing.isdisjoint(flight.units)]
        if flown:
            lost = [f for f in rest if request.flights.index(f) < request.flights.index(flown[-1])]
            self._questions = 0 if flown[-1].sent > self._asked else self._questions
            if flown[-1].fresh and not self._questions:
                self._measure(now - flown[-1].sent)
            self._flow(now)
        else:  # the answer to a question: no frame is older than that and still under way
            lost = [flight for flight in rest if self._questions and flight.sent <= self._asked]
            self._measure_question(now)
            self._event(now)
        request.flights = [flight for flight in rest if flight not in lost]
        for flight in flown:
            self.down.arrived(flight.size)
        for flight in lost:
            self.down.lost(flight.size)

    def _arrived(self, request: _Request, now: float) -> None:
        """The board has the request whole."""
        if not request.done:
            fresh = request.flights[-1] if request.flights and request.flights[-1].fresh else None
            if fresh is not None and not request.whole and not self._questions:
                self._measure(now - fresh.sent)
            for flight in request.flights:
                self.down.arrived(flight.size)
            request.done = True
            request.missing, request.flights = set(), []
        self._measure_question(now)
        self._event(now)

    def _begin_again(self, request: _Request, now: float) -> None:
        """The board has nothing of the request. It counts once a question: a late answer is of the copy before."""
        overtaken = request.copies == 1 and not request.opened and len(request.flights) > 1
        if not self._questions and not overtaken:
            return
        if request.copies >= MOST_COPIES:
            raise FrameError(f"the board has taken none of {request.copies} copies of the request")
        if request.flights and not request.flights[0].units:
            self.down.lost(request.flights[0].size)
        self._measure_question(now)
        self._event(now)
        self._interval = self._first_interval(request.type)
        request.begin(self.down.units * UNIT)

    # The reply's way back

    def _received(self) -> bytes:
        """The payload of an ACK that asks for the rest of the reply; a bitmap that the board's frames can hold."""
        if self._reply is None:
            return NOTHING.to_bytes(2, "little") + self._early_bitmap()
        missing = self._reply.missing
        first, self._reply.last = min(missing), max(missing)
        self._reply.next, self._reply.span = first, self.up.units
        count = min(units_of(len(self._reply.body)) - first - 1, 8 * (self.chunk - 2))
        bits = sum(1 << i for i in range(count) if first + 1 + i not in missing)
        return first.to_bytes(2, "little") + bits.to_bytes((bits.bit_length() + 7) // 8, "little")

    def _early_bitmap(self) -> bytes:
        units = {u + i for u, payload in self._early.items() for i in range(units_of(len(payload) - 2))}
        bits = sum(1 << u for u in units if u < 8 * (self.chunk - 2))
        return bits.to_bytes((bits.bit_length() + 7) // 8, "little")

    def _mac_bytes(self) -> int:
        return 0 if self.channel is None or self.counter == 0 else MAC_BYTES

    def _take_whole(self, request: _Request, payload: bytes, now: float) -> None:
        head = 1 + self._mac_bytes()
        if len(payload) < head or not payload[0] & REPLY:
            return
        if self._holds(payload[0], payload[head:], payload[1:head]):
            self._arrived(request, now)
            self._finish(request, payload[0], payload[head:], now)

    def _take_open(self, request: _Request, payload: bytes, now: float) -> None:
        if len(payload) != OPEN_BYTES + self._mac_bytes() or not payload[0] & REPLY:
            return
        length = int.from_bytes(payload[1:5], "little")
        if length > MAX_BODY:
            self._refuse(f"a reply of {length} bytes is announced, the limit is {MAX_BODY}")
            return
        self._arrived(request, now)
        if self._reply is None or self._reply.head != payload:
            count = units_of(length)
            self._reply = _Reply(payload, bytearray(length), set(range(count)), count - 1)
            early, self._early = self._early, {}
            for data in early.values():
                self._take_data(request, data, now)
            if self._reply is not None:
                self._complete(request, self._reply, now)
            if early and self._reply is not None:  # the board goes on with those that are missing
                self._reply.next, self._reply.last = min(self._reply.missing), max(self._reply.missing)
                self._since = now

    def _take_data(self, request: _Request, payload: bytes, now: float) -> None:
        start, size = UNIT * int.from_bytes(payload[:2], "little"), len(payload) - 2
        reply = self._reply
        if reply is None:  # its OPEN got lost
            self._early[start // UNIT] = payload
            self._arrived(request, now)
            return
        end = start + size
        if size <= 0 or end > len(reply.body) or (size % UNIT and end != len(reply.body)):
            return
        self._arrived(request, now)
        units = range(start // UNIT, units_of(end))
        reply.next, reply.span = units.stop, len(units)
        if reply.missing.isdisjoint(units):
            return
        reply.body[start:end] = payload[2:]
        reply.missing.difference_update(units)
        self._complete(request, reply, now)
        if reply.missing and units[-1] >= reply.last:
            self._run_ended(now)

    def _skip(self, reply: _Reply, pieces: int, now: float) -> None:
        """Spoilt frames: where they held the last units that the board sends, there is nothing to wait for."""
        ahead = sorted(unit for unit in reply.missing if reply.next <= unit <= reply.last)
        if len(ahead) <= pieces * reply.span:
            self._run_ended(now)
        else:
            reply.next = ahead[pieces * reply.span]

    def _run_ended(self, now: float) -> None:
        """All that the board sends has come: ask for the rest at once."""
        self._since = now - MOST_TIMEOUT

    def _complete(self, request: _Request, reply: _Reply, now: float) -> None:
        if reply.missing:
            return
        self._reply = None
        type, body, digest = reply.head[0], bytes(reply.body), int.from_bytes(reply.head[5:OPEN_BYTES], "little")
        if zlib.crc32(body) != digest:
            self._refuse(f"a reply of {len(body)} bytes does not match its digest")
        elif self._holds(type, body, reply.head[OPEN_BYTES:]):
            self._finish(request, type, body, now)

    def _holds(self, type: int, body: bytes, mac: bytes) -> bool:
        """False where the MAC is wrong: the reply has not come."""
        if self.channel is None or self.counter == 0 or self.channel.holds(True, self.counter, type, body, mac):
            return True
        self.forged += 1
        return False

    def _refuse(self, message: str) -> None:
        """A reply that contradicts itself: the board's fault, or that of somebody on an authenticated line."""
        if self.channel is None:
            raise FrameError(message)
        self.forged += 1

    def _finish(self, request: _Request, type: int, body: bytes, now: float) -> None:
        if request.copies <= 1:
            self._took[request.type] = now - request.began
        self.reply = (type, body)


def behind(unit: int, first: int, bitmap: int) -> bool:
    """True where an ACK shows ``unit`` as missing behind the ``first`` that is."""
    return unit > first and not bitmap >> (unit - first - 1) & 1


def runs(units: set[int], most: int) -> Iterator[range]:
    """The units in order, as ranges of at most ``most``."""
    start = stop = -1
    for unit in sorted(units):
        if unit != stop or stop - start >= most:
            if start >= 0:
                yield range(start, stop)
            start = unit
        stop = unit + 1
    if start >= 0:
        yield range(start, stop)

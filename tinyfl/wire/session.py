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
from dataclasses import dataclass, field

from tinyfl.errors import FrameError
from tinyfl.wire.frame import Frame, FrameDecoder, encode_frame
from tinyfl.wire.messages import DEFAULT_CHUNK, FrameKind

HOST_CREDITS = 0xFF  # in every ACK of a host; a board's are fewer
OPEN_BYTES = 5  # type and digest, before the body of an OPEN
TO_HOST = 0x80  # set in the types of replies
MAX_BODY = 1 << 20  # of a reply: no board holds more
FIRST_TIMEOUT = 0.25  # seconds until a frame is repeated, before a round trip was measured
LEAST_TIMEOUT, MOST_TIMEOUT = 0.05, 1.0
QUERY_INTERVAL = 0.5  # while the board works: received bytes disturb its instruction count
OPEN = -1  # stands for the OPEN among the numbers of chunks


@dataclass
class _Request:
    type: int
    body: bytes
    missing: set[int]  # chunks, and OPEN, that the board has not acknowledged
    flights: dict[int, float] = field(default_factory=dict)  # under way: chunk -> when it was sent, oldest first
    sent: set[int] = field(default_factory=set)
    repeated: set[int] = field(default_factory=set)  # sent more than once: tell no round trip


@dataclass
class _Reply:
    type: int
    digest: int
    body: bytearray
    missing: set[int]


class Session:
    """``number`` is the session's (1..65535); ``chunk`` and ``credits`` are what the board's WELCOME says."""

    def __init__(self, number: int, chunk: int = DEFAULT_CHUNK, credits: int = 1) -> None:
        self.number = number
        self.chunk = chunk
        self.credits = credits
        self.reply: tuple[int, bytes] | None = None  # type and body, once it is whole
        self.lost = False  # the board does not know this session: it was reset
        self.heard = 0.0  # when the board's last frame came, or the request was made
        self.repeats = 0  # frames sent again, queries included
        self.logs: list[str] = []
        self._decoder = FrameDecoder()
        self._message = -1
        self._request: _Request | None = None
        self._reply: _Reply | None = None
        self._timeout = FIRST_TIMEOUT
        self._interval = QUERY_INTERVAL
        self._fixed_timeout: float | None = None
        self._round_trip: float | None = None
        self._asked = 0.0

    @property
    def skipped(self) -> int:
        """Pieces of the stream that were no frames."""
        return self._decoder.skipped

    def request(self, type: int, body: bytes, now: float, repeat_every: float | None = None) -> None:
        """Starts a request; ``repeat_every`` (first contact) repeats at this interval, whatever the round trip."""
        whole = len(body) <= self.chunk - OPEN_BYTES
        chunks = set() if whole else set(range(-(-len(body) // self.chunk)))
        self._message = (self._message + 1) % 256
        self._request = _Request(type, body, {OPEN, *chunks})
        self._reply = self.reply = None
        self._fixed_timeout = repeat_every
        self._interval = repeat_every or QUERY_INTERVAL
        self.heard = self._asked = now

    def send(self, now: float) -> bytes:
        """What to write now, often nothing."""
        if self._request is None or self.reply is not None:
            return b""
        if self._request.missing:
            return self._send_missing(self._request, now)
        if now < self._next_query():
            return b""
        self._asked = now
        self._interval = min(2 * self._interval, QUERY_INTERVAL) if self._fixed_timeout is None else self._interval
        self.repeats += 1
        return self._frame(FrameKind.ACK, *self._received())

    def wakeup(self, now: float) -> float:
        """Seconds until ``send`` has something to do, if nothing is received before."""
        if self._request is None or self.reply is not None:
            return QUERY_INTERVAL
        if not self._request.missing:
            return max(0.0, self._next_query() - now)
        if not self._request.flights:
            return 0.0
        return max(0.0, min(self._request.flights.values()) + self._repeat_after() - now)

    def receive(self, data: bytes, now: float) -> None:
        """Takes received bytes; raises FrameError where a reply contradicts itself."""
        for frame in self._decoder.feed(data):
            if frame.kind == FrameKind.LOG:
                self.logs.append(frame.payload.decode(errors="replace"))
            elif frame.session == self.number:
                self._take(frame, now)

    def _take(self, frame: Frame, now: float) -> None:
        if frame.kind == FrameKind.RESET:
            self.lost = True
        elif self._request is None or self.reply is not None or frame.message != self._message:
            return  # late: a repeat of what is done
        elif frame.kind == FrameKind.ACK:
            self._take_ack(self._request, frame, now)
        elif frame.kind == FrameKind.OPEN:
            self._take_open(self._request, frame, now)
        elif frame.kind == FrameKind.DATA:
            self._take_data(frame, now)

    # The request's way to the board

    def _send_missing(self, request: _Request, now: float) -> bytes:
        if request.flights and now >= min(request.flights.values()) + self._repeat_after():
            request.flights.clear()
            self._timeout = min(2 * self._timeout, MOST_TIMEOUT)
        out = b""
        for chunk in sorted(request.missing - request.flights.keys()):
            if len(request.flights) >= self.credits:
                break
            out += self._request_frame(request, chunk)
            if chunk in request.sent:
                request.repeated.add(chunk)
                self.repeats += 1
            request.sent.add(chunk)
            request.flights[chunk] = now
        return out

    def _repeat_after(self) -> float:
        return self._timeout if self._fixed_timeout is None else self._fixed_timeout

    def _request_frame(self, request: _Request, chunk: int) -> bytes:
        if chunk != OPEN:
            offset = chunk * self.chunk
            return self._frame(FrameKind.DATA, offset, request.body[offset : offset + self.chunk])
        inline = request.body if len(request.body) <= self.chunk - OPEN_BYTES else b""
        head = struct.pack("<BI", request.type, zlib.crc32(request.body))
        return self._frame(FrameKind.OPEN, len(request.body), head + inline)

    def _frame(self, kind: FrameKind, offset: int, payload: bytes) -> bytes:
        return encode_frame(Frame(kind, self._message, self.number, offset, payload))

    def _take_ack(self, request: _Request, frame: Frame, now: float) -> None:
        if not frame.payload or frame.payload[0] == HOST_CREDITS:
            return
        self.heard = now
        self.credits = max(1, frame.payload[0])
        first = -(-frame.offset // self.chunk)
        bitmap = int.from_bytes(frame.payload[1:], "little")
        arrived = {c for c in request.missing if c < first or (bitmap >> (c - first) & 1)}
        self._landed(request, arrived, now)

    def _landed(self, request: _Request, arrived: set[int], now: float) -> None:
        """Chunks that the board has; what was sent before the last of them and is not among them got lost."""
        request.missing -= arrived
        times = [request.flights[c] for c in arrived if c in request.flights and c not in request.repeated]
        if times:
            self._measure(now - max(times))
        flown = [c for c in request.flights if c in arrived]
        order = list(request.flights)
        lost = order[: order.index(flown[-1])] if flown else []
        for chunk in {*flown, *lost}:
            del request.flights[chunk]
        if not request.missing:
            self._asked = now

    def _measure(self, seconds: float) -> None:
        """A round trip; the timeout follows the mean with room for twice as much."""
        mean = seconds if self._round_trip is None else 0.8 * self._round_trip + 0.2 * seconds
        self._round_trip = mean
        self._timeout = min(max(3 * mean, 3 * seconds, LEAST_TIMEOUT), MOST_TIMEOUT)

    # The reply's way back

    def _next_query(self) -> float:
        return max(self.heard, self._asked) + self._interval

    def _received(self) -> tuple[int, bytes]:
        """Offset and payload of an ACK that asks for the rest of the reply."""
        if self._reply is None:
            return 0, bytes([HOST_CREDITS])
        first, chunks = min(self._reply.missing), -(-len(self._reply.body) // self.chunk)
        bits = sum(1 << (c - first) for c in range(first, chunks) if c not in self._reply.missing)
        return first * self.chunk, bytes([HOST_CREDITS]) + bits.to_bytes((bits.bit_length() + 7) // 8, "little")

    def _take_open(self, request: _Request, frame: Frame, now: float) -> None:
        if len(frame.payload) < OPEN_BYTES or not frame.payload[0] & TO_HOST:
            return
        self.heard = now
        request.missing.clear()
        if self._reply is not None:
            return
        if frame.offset > MAX_BODY:
            raise FrameError(f"a reply of {frame.offset} bytes is announced, the limit is {MAX_BODY}")
        type, digest = struct.unpack_from("<BI", frame.payload)
        inline = frame.payload[OPEN_BYTES:]
        if len(inline) not in (0, frame.offset):
            raise FrameError(f"a reply of {frame.offset} bytes came with {len(inline)}")
        whole = len(inline) == frame.offset
        chunks = set() if whole else set(range(-(-frame.offset // self.chunk)))
        self._reply = _Reply(type, digest, bytearray(inline.ljust(frame.offset, b"\0")), chunks)
        if self._fixed_timeout is None:
            self._interval = self._timeout
        self._finish(self._reply)

    def _take_data(self, frame: Frame, now: float) -> None:
        reply = self._reply
        if reply is None:
            return  # its OPEN was lost: the board repeats both when asked
        chunk, rest = frame.offset // self.chunk, len(reply.body) - frame.offset
        if frame.offset % self.chunk or len(frame.payload) != min(self.chunk, max(rest, 0)):
            return
        self.heard = now
        if chunk in reply.missing:
            reply.body[frame.offset : frame.offset + len(frame.payload)] = frame.payload
            reply.missing.remove(chunk)
            self._finish(reply)

    def _finish(self, reply: _Reply) -> None:
        if reply.missing:
            return
        body = bytes(reply.body)
        if zlib.crc32(body) != reply.digest:
            raise FrameError(f"a reply of {len(body)} bytes does not match its digest")
        self.reply = (reply.type, body)

"""A serial line in virtual time, for tools/bench/link.py: a UART behind a USB converter, with bit errors.

Costs, all in seconds of virtual time (docs/LINKS.md gives them in prose):

- A byte takes ten bits (8N1) of the baud rate, in each direction on its own.
- To the board: the host's bytes stand in the converter HOST_WRITE after it wrote them and leave one behind the other.
- To the host: the converter hands bytes over when PACKET of them are there, or when its latency timer, which runs from
  one packet to the next, ends. The host's program has them HOST_READ later.
- The board takes BOARD_BYTE for each byte that it reads or sends and BOARD_FRAME for each frame that it reads. It
  encodes BLOCK bytes, then gives them to the port, which blocks until all but ``transmit`` of them have left. While the
  board is busy its receive buffer of ``window`` bytes fills; what does not fit is lost and counted (``overrun``).
- Each bit is wrong with probability ``bit_error_rate``: a data bit flips, a start or stop bit costs the byte.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

HOST_READ, HOST_WRITE = 0.0005, 0.0005  # half a USB frame of 1 ms and the system's part, each
PACKET = 62  # data bytes in a full-speed packet of an FTDI converter
BOARD_BYTE, BOARD_FRAME = 1e-6, 5e-5  # COBS and CRC-32 take about 50 instructions a byte, here 64 cycles at 64 MHz
BLOCK = 255
BITS = 10
READ = 32  # bytes that a session reads at once: TFL_SESSION_INPUT_BYTES


@dataclass(frozen=True)
class Costs:
    """What a line is like."""

    baud: int
    latency: float
    bit_error_rate: float
    window: int
    transmit: int

    @property
    def byte_time(self) -> float:
        """Seconds a byte."""
        return BITS / self.baud


class Host(Protocol):
    """The host's session, as a Node pumps it."""

    def send(self, now: float) -> bytes:
        """What to write now."""

    def wakeup(self, now: float) -> float:
        """Seconds until ``send`` has something to do, if nothing is received before."""

    def receive(self, data: bytes, now: float) -> None:
        """Takes received bytes."""


Board = Callable[[bytes], bytes]  # bytes that the board reads -> bytes that it sends then


class Noise:
    """Bit errors of one direction."""

    def __init__(self, rate: float, seed: int) -> None:
        self._random = random.Random(seed)
        self._byte_rate = 1 - (1 - rate) ** BITS

    def byte(self, value: int) -> int | None:
        """What becomes of a byte; None: it does not arrive."""
        if self._byte_rate == 0 or self._random.random() >= self._byte_rate:
            return value
        bit = self._random.randrange(BITS)
        return value ^ 1 << bit if bit < 8 else None


class Line:
    """Both directions, the host's pump and the board's loop. ``run`` ends when ``done()``; times are seconds from 0."""

    def __init__(self, costs: Costs, host: Host, board: Board, seed: int = 0) -> None:
        self._costs, self._host, self._board = costs, host, board
        self._down_noise = Noise(costs.bit_error_rate, 2 * seed)
        self._up_noise = Noise(costs.bit_error_rate, 2 * seed + 1)
        self.now = 0.0
        self.overrun = self.sent_down = self.sent_up = 0
        self.last_byte = 0.0  # when the last byte of the last packet stood in the converter
        self._down_free = self._up_free = 0.0  # when the last byte has left
        self._down: deque[tuple[float, bytes]] = deque()  # arrivals in the board's receive buffer
        self._buffer: deque[bytes] = deque()
        self._board_free = 0.0
        self._gathered: deque[tuple[float, int]] = deque()  # in the converter
        self._packet = random.Random(seed).random() * costs.latency - costs.latency  # the timer's phase
        self._packets: deque[tuple[float, float, bytes]] = deque()  # for the host: when, last byte's time, bytes
        self._wake = 0.0

    def run(self, done: Callable[[], bool], limit: float) -> None:
        """Raises RuntimeError where it takes longer than ``limit``."""
        self._pump()
        while not done():
            self._step()
            if self.now > limit:
                raise RuntimeError(f"not done after {limit} s of virtual time: {self._costs}")

    def _step(self) -> None:
        """The next event."""
        packet = self._next_packet()
        events = [(self._wake, self._pump), (packet, self._hand_over)]
        if self._down:
            events.append((self._down[0][0], self._arrive))
        if self._buffer:
            events.append((self._board_free, self._poll))
        if self._packets:
            events.append((self._packets[0][0], self._read))
        when, event = min(events, key=lambda e: e[0])
        self.now = max(self.now, when)
        event()

    # The host

    def _read(self) -> None:
        _, self.last_byte, data = self._packets.popleft()
        self._host.receive(data, self.now)
        self._pump()

    def _pump(self) -> None:
        data = self._host.send(self.now)
        self.sent_down += len(data)
        start = max(self._down_free, self.now + HOST_WRITE)
        self._down_free = start + len(data) * self._costs.byte_time
        piece = bytearray()
        for i, value in enumerate(data, 1):
            arrived = self._down_noise.byte(value)
            piece += b"" if arrived is None else bytes([arrived])
            if piece and (arrived == 0 or len(piece) == READ or i == len(data)):
                self._down.append((start + i * self._costs.byte_time, bytes(piece)))
                piece.clear()
        self._wake = self.now + max(self._host.wakeup(self.now), 1e-6)

    # The board

    def _arrive(self) -> None:
        _, data = self._down.popleft()
        fits = data[: max(0, self._costs.window - sum(map(len, self._buffer)))]
        self.overrun += len(data) - len(fits)
        if fits:
            self._buffer.append(fits)

    def _poll(self) -> None:
        data = self._buffer.popleft()
        out = self._board(data)
        self._board_free = self.now + BOARD_FRAME * (0 in data) + BOARD_BYTE * len(data)
        for block in _blocks(out):
            self._board_free = self._send_up(self._board_free + BOARD_BYTE * len(block), block)

    def _send_up(self, ready: float, data: bytes) -> float:
        """When the port comes back."""
        self.sent_up += len(data)
        start = max(self._up_free, ready)
        for i, value in enumerate(data, 1):
            arrived = self._up_noise.byte(value)
            if arrived is not None:
                self._gathered.append((start + i * self._costs.byte_time, arrived))
        self._up_free = start + len(data) * self._costs.byte_time
        return max(ready, self._up_free - self._costs.transmit * self._costs.byte_time)

    # The converter

    def _next_packet(self) -> float:
        if not self._gathered:
            return float("inf")
        first, latency = self._gathered[0][0], self._costs.latency
        timer = self._packet + latency * max(1.0, -((self._packet - first) // latency))
        return min(timer, self._gathered[PACKET - 1][0]) if len(self._gathered) >= PACKET else timer

    def _hand_over(self) -> None:
        self._packet = self.now
        data, last = bytearray(), self.now
        while self._gathered and self._gathered[0][0] <= self.now and len(data) < PACKET:
            last, value = self._gathered.popleft()
            data.append(value)
        self._packets.append((self.now + HOST_READ, last, bytes(data)))


def _blocks(data: bytes) -> Iterator[bytes]:
    """What the encoder gives to the port at once: a frame, or BLOCK bytes of one."""
    start = 0
    while start < len(data):
        zero = data.find(0, start, start + BLOCK)
        end = zero + 1 if zero >= 0 else min(start + BLOCK, len(data))
        yield data[start:end]
        start = end

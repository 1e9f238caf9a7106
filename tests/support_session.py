"""The C session in this process (ctypes), what its board answers, and a line with faults and virtual time."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from support_messages import plain
from support_monocypher import monocypher
from support_runner import FLAGS, ROOT

from tinyfl.errors import LinkError
from tinyfl.wire import messages as wire
from tinyfl.wire.messages import PROTOCOL, SCHEMA, Welcome

CORE = ROOT / "firmware/core"
TRAP = ("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
LATENCY = 0.002
Fault = Callable[[bytes], Iterable[tuple[float, bytes]]]  # what becomes of bytes: pieces with their delays


def build_session(folder: Path, *defines: str) -> ctypes.CDLL:
    """session.c and what it needs as a shared library that traps on undefined behaviour."""
    library = folder / "session.so"
    names = ("session", "retained", "frame", "auth", "wire")
    sources = [ROOT / "tests/c/session_board.c", *(CORE / f"{name}.c" for name in names)]
    command = ["gcc", *FLAGS, *TRAP, *defines, "-shared", "-fPIC", f"-I{ROOT}/firmware/include", f"-I{CORE}"]
    command += [*map(str, sources), *monocypher("gcc"), "-o", str(library)]
    subprocess.run(command, check=True, timeout=60)
    loaded = ctypes.CDLL(str(library))
    loaded.board_new.restype = ctypes.c_void_p
    loaded.board_content.restype = ctypes.c_void_p
    for name in ("length", "skipped", "sent", "writes", "units"):
        getattr(loaded, f"board_{name}").restype = ctypes.c_uint32
    return loaded


class CBoard:
    """A board whose link is session.c and whose answers come from ``answer(type, body) -> (type, body, seconds)``.

    With a ``key`` it is enrolled: its WELCOME gets a nonce and the proof.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        answer: Callable[[int, bytes], tuple[int, bytes, float]],
        body_bytes: int = 4096,
        burst: int = 512,
        key: bytes | None = None,
    ) -> None:
        self.library, self._answer = library, answer
        self._out = ctypes.create_string_buffer(65536)
        self.requests: list[int] = []  # types, in the order in which they were carried out
        self.board = ctypes.c_void_p(library.board_new(body_bytes, burst, key))
        self._job: tuple[float, int, bytes] | None = None

    def reset(self, *flipped: int) -> None:
        """Off and on: only body and record of an unfinished request stay, but for bits flipped in these bytes."""
        for byte in flipped:
            self.library.board_flip(self.board, byte)
        self.library.board_boot(self.board)
        self._job = None

    def close(self) -> None:
        self.library.board_free(self.board)

    def receive(self, data: bytes) -> None:
        """Bytes arrive."""
        self.library.board_receive(self.board, data, len(data))

    def run(self, now: float) -> bytes:
        """Polls until nothing is left to do now; the bytes that were sent."""
        while True:
            type = self.library.board_poll(self.board)
            assert type >= 0
            if type > 0:
                content = ctypes.c_void_p(self.library.board_content(self.board))
                body = ctypes.string_at(content, self.library.board_length(self.board))
                self.requests.append(type)
                kind, reply, seconds = self._answer(type, body)
                self._job = (now + seconds, kind, reply)
            if self._job is None or not self.library.board_busy(self.board):
                self._job = None
            elif now >= self._job[0]:
                _, kind, reply = self._job
                self._job = None
                assert self.library.board_reply(self.board, kind, reply, len(reply)) == 0
            if type == 0:
                break
        return bytes(self._out[: self.library.board_sent(self.board, self._out)])

    def log(self, text: str) -> None:
        """Says something outside all messages."""
        assert self.library.board_log(self.board, text.encode(), len(text.encode())) == 0

    @property
    def skipped(self) -> int:
        """Pieces of the stream that were no frames."""
        return int(self.library.board_skipped(self.board))

    @property
    def units(self) -> int:
        """How many units of an unfinished request there are."""
        return int(self.library.board_units(self.board))


def clean(data: bytes) -> Iterator[tuple[float, bytes]]:
    """No fault."""
    yield 0.0, data


class FaultyLink:
    """A Link to a board; ``now`` is its clock, which reading moves on."""

    def __init__(self, board: CBoard, down: Fault = clean, up: Fault = clean) -> None:
        self.board, self.now = board, 100.0
        self._down, self._up = down, up
        self._arrivals: list[tuple[float, bool, bytes]] = []  # when, to the host?, what
        self.closed = False
        self.written = 0

    def write(self, data: bytes) -> None:
        if self.closed:
            raise LinkError("faulty: closed")
        self.written += len(data)
        self._send(False, self._down(data))

    def read(self, timeout: float) -> bytes:
        """Moves the clock to the next arrival, or on by the timeout."""
        if self.closed:
            raise LinkError("faulty: closed")
        end = self.now + max(timeout, 1e-6)
        while True:
            self._send(True, self._up(self.board.run(self.now)))
            self._arrivals.sort(key=lambda arrival: arrival[0])
            if not self._arrivals or self._arrivals[0][0] > end:
                self.now = end
                self._send(True, self._up(self.board.run(self.now)))
                return b""
            when, to_host, data = self._arrivals.pop(0)
            self.now = max(self.now, when)
            if to_host:
                return data
            self.board.receive(data)

    def close(self) -> None:
        self.closed = True

    def _send(self, to_host: bool, pieces: Iterable[tuple[float, bytes]]) -> None:
        for delay, piece in pieces:
            if piece:
                self._arrivals.append((self.now + LATENCY + delay, to_host, piece))


def welcome(**changes: object) -> Welcome:
    """What a board with a head of 25 features and 5 classes says."""
    values: dict[str, object] = dict.fromkeys(Welcome.FIELDS, 0)
    values |= {"protocol": PROTOCOL, "schema": SCHEMA, "model": bytes(range(16)), "name": "ada", "chunk": 512}
    values |= {"window": 1100, "device": b"ada-0001", "nonce": bytes(16), "proof": bytes(16)}
    values |= {"head_features": 25, "head_classes": 5, "input_bytes": 300, "output_bytes": 5}
    return Welcome(**{**values, **changes})  # type: ignore[arg-type]


CHUNK = 128  # the least: a body of few units takes several frames
WELCOME = welcome(chunk=CHUNK, window=320)
WEIGHTS = (np.arange(130) * 517 % 32001 - 16000).astype(np.int16)  # HEAD has 265 bytes: three DATA frames
DELTAS = (np.arange(130) * 37 % 255 - 127).astype(np.int8).view(np.uint8)
KEY = bytes(range(100, 132))


class Answers:
    """A board's answers; it keeps the last HEAD, so that a wrong body would be seen."""

    def __init__(self, seconds: float = 0.0, welcome: wire.Welcome = WELCOME) -> None:
        self.seconds, self.welcome = seconds, welcome
        self.weights = np.zeros(0, np.int16)

    def __call__(self, type: int, body: bytes) -> tuple[int, bytes, float]:
        reply = self._reply(wire.MESSAGES[type].unpack(body))
        return reply.TYPE, reply.pack(), 0.0 if type == wire.Hello.TYPE else self.seconds

    def _reply(self, request: object) -> wire.Message:
        match request:
            case wire.Hello():
                return self.welcome
            case wire.Head():
                self.weights = plain(request.weights)
                return wire.Done()
            case wire.Collect():
                return wire.Delta(request.round, 7, DELTAS)
            case wire.Pull():
                return wire.Weights(3, self.weights)
            case wire.Evaluate():
                return wire.Evaluated(10, 9, 8)
            case wire.Infer():
                return wire.Inferred(len(request.input), request.input[:5])
            case _:
                return wire.Error(wire.Status.ERROR_TYPE, 1)

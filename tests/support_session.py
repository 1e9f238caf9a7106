"""The C session in this process (ctypes), and a line with faults and virtual time between it and the host."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from support_runner import FLAGS, ROOT

from tinyfl.errors import LinkError
from tinyfl.wire.messages import PROTOCOL, SCHEMA, Welcome

CORE = ROOT / "firmware/core"
TRAP = ("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
LATENCY = 0.002
Fault = Callable[[bytes], Iterable[tuple[float, bytes]]]  # what becomes of bytes: pieces with their delays


def build_session(folder: Path, *defines: str) -> ctypes.CDLL:
    """session.c, frame.c and wire.c as a shared library that traps on undefined behaviour."""
    library = folder / "session.so"
    sources = [ROOT / "tests/c/session_board.c", *(CORE / f"{name}.c" for name in ("session", "frame", "wire"))]
    command = ["gcc", *FLAGS, *TRAP, *defines, "-shared", "-fPIC", f"-I{ROOT}/firmware/include", f"-I{CORE}"]
    subprocess.run([*command, *map(str, sources), "-o", str(library)], check=True, timeout=60)
    loaded = ctypes.CDLL(str(library))
    loaded.board_new.restype = ctypes.c_void_p
    loaded.board_body.restype = ctypes.c_void_p
    for name in ("length", "skipped", "sent"):
        getattr(loaded, f"board_{name}").restype = ctypes.c_uint32
    return loaded


class CBoard:
    """A board whose link is session.c and whose answers come from ``answer(type, body) -> (type, body, seconds)``."""

    def __init__(
        self,
        library: ctypes.CDLL,
        answer: Callable[[int, bytes], tuple[int, bytes, float]],
        body_bytes: int = 4096,
        burst: int = 512,
    ) -> None:
        self._library, self._answer = library, answer
        self._out = ctypes.create_string_buffer(65536)
        self._size, self._burst = body_bytes, burst
        self.requests: list[int] = []  # types, in the order in which they were carried out
        self._board: ctypes.c_void_p | None = None
        self.reset()

    def reset(self) -> None:
        """Power off and on."""
        if self._board is not None:
            self._library.board_free(self._board)
        self._board = ctypes.c_void_p(self._library.board_new(self._size, self._burst))
        self._job: tuple[float, int, bytes] | None = None

    def receive(self, data: bytes) -> None:
        """Bytes arrive."""
        self._library.board_receive(self._board, data, len(data))

    def run(self, now: float) -> bytes:
        """Polls until nothing is left to do now; the bytes that were sent."""
        while True:
            type = self._library.board_poll(self._board)
            assert type >= 0
            if type > 0:
                body = ctypes.string_at(self._library.board_body(self._board), self._library.board_length(self._board))
                self.requests.append(type)
                kind, reply, seconds = self._answer(type, body)
                self._job = (now + seconds, kind, reply)
            elif self._job is None or not self._library.board_busy(self._board):
                self._job = None
                break
            elif now >= self._job[0]:
                _, kind, reply = self._job
                self._job = None
                assert self._library.board_reply(self._board, kind, reply, len(reply)) == 0
            else:
                break
        return bytes(self._out[: self._library.board_sent(self._board, self._out)])

    def log(self, text: str) -> None:
        """Says something outside all messages."""
        assert self._library.board_log(self._board, text.encode(), len(text.encode())) == 0

    @property
    def skipped(self) -> int:
        """Pieces of the stream that were no frames."""
        skipped: int = self._library.board_skipped(self._board)
        return skipped


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
    values |= {"protocol": PROTOCOL, "schema": SCHEMA, "model": bytes(range(16)), "name": "ada", "chunk": 240}
    values |= {"credits": 2, "head_features": 25, "head_classes": 5, "input_bytes": 300, "output_bytes": 5}
    return Welcome(**{**values, **changes})  # type: ignore[arg-type]

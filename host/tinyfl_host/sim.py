"""Boards inside this process: the firmware core as a shared library (``firmware/ports/sim``), one message a call.

A board is a block of a few kilobytes; what it needs only while it answers is each thread's own. C runs without Python's
lock, so a thread a core is what drives them (``crew``). All memory of the boards goes with the ``Simulation``.
"""

from __future__ import annotations

import ctypes
import mmap
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tinyfl.errors import BoardError, ConfigError, DataError, DeadlineError, LinkError, ToolError
from tinyfl.image import HEADER
from tinyfl.wire import messages as wire
from tinyfl.wire.cost import Line
from tinyfl.wire.messages import STATUS_TEXT, Status
from tinyfl.wire.packing import Message
from tinyfl_host.events import Simulated
from tinyfl_host.requests import Reply, Requests, check_model
from tinyfl_host.traffic import Traffic

SLICE = 0.05  # seconds of C without a look at the deadline and at Ctrl-C, beside one sample
CACHE_BYTES = 1 << 30  # of all boards together; embeddings that do not fit are computed again
SESSION = 1  # the number that its frames would carry
Images = Mapping[str, bytes | memoryview]


class _Answer(ctypes.Structure):
    """``struct sim_reply``."""

    _fields_ = (("body", ctypes.c_void_p), ("length", ctypes.c_uint32), ("type", ctypes.c_uint32))
    body: int
    length: int
    type: int


class _Workspace(threading.local):
    """What boards need only while they answer, one a thread."""

    def __init__(self, size: int) -> None:
        self.memory = np.zeros(size, np.uint8)
        self.at = self.memory.ctypes.data
        self.answer = _Answer()
        self.answer_at = ctypes.byref(self.answer)


class Simulation:
    """All boards of a run, started with their data images, by name; ``manifest`` (model.json) is what they must hold.

    Raises DataError for an image that a board refuses, ToolError where the library cannot be loaded.
    """

    def __init__(self, library: Path, manifest: Mapping[str, Any], images: Images) -> None:
        self.manifest = manifest
        self.core = _load(library)
        self.workspace = _Workspace(self.core.sim_workspace_bytes())
        self.board_bytes: int = self.core.sim_board_bytes()
        slot = int(manifest["head"]["features"]) + 1
        caches = [min(_cache_bytes(image, slot), CACHE_BYTES // len(images)) & ~3 for image in images.values()]
        self.cache_bytes = sum(caches)
        self._boards = np.zeros(len(images) * self.board_bytes, np.uint8)
        self._caches = np.zeros(self.cache_bytes + 4, np.uint8)
        self._images = [np.frombuffer(image, np.uint8) for image in images.values()]
        self._places: dict[str, tuple[int, threading.Lock]] = {}
        self._start(list(images), caches)

    def open(self, name: str, traffic: Traffic) -> SimBoard:
        """A connection to the board of this name, not greeted yet; the board goes on as it is."""
        return SimBoard(self, name, *self._places[name], traffic)

    def memory(self) -> Simulated:
        """What the boards take of this process."""
        samples = sum(len(image) for image in self._images)
        return Simulated(len(self._images), self.board_bytes, self.cache_bytes, samples)

    def _start(self, names: list[str], caches: list[int]) -> None:
        board, cache = self._boards.ctypes.data, self._caches.ctypes.data
        for name, image, size in zip(names, self._images, caches, strict=True):
            status = self.core.sim_start(board, self.workspace.at, image.ctypes.data, len(image), cache, size)
            if status == Status.ERROR_SAMPLE:
                raise DataError(
                    f"{name}: no data image, or a damaged one", "tinyfl run makes images of a recipe's data"
                )
            if status < 0:
                raise BoardError(f"{name}: the board does not start: {STATUS_TEXT[Status(status)]}", status=status)
            self._places[name] = (board, threading.Lock())
            board, cache = board + self.board_bytes, cache + size


def _load(library: Path) -> ctypes.CDLL:
    try:
        core = ctypes.CDLL(str(library.resolve()))
    except OSError as error:
        raise ToolError(f"{library}: {error}", "remove it, it is built again") from error
    u32, pointer, answer = ctypes.c_uint32, ctypes.c_void_p, ctypes.POINTER(_Answer)
    core.sim_board_bytes.restype = core.sim_workspace_bytes.restype = u32
    core.sim_start.argtypes = (pointer, pointer, pointer, u32, pointer, u32)
    core.sim_ask.argtypes = (pointer, pointer, ctypes.c_uint8, ctypes.c_char_p, u32, u32, answer)
    core.sim_work.argtypes = (pointer, pointer, u32, answer)
    return core


def _cache_bytes(image: bytes | memoryview, slot: int) -> int:
    """What holds all embeddings of the image, slots and a bit each; 0 where its header cannot be right."""
    if len(image) < HEADER.size:
        return 0
    train, test = HEADER.unpack_from(image)[4:6]
    samples = train + test if train + test <= len(image) else 0
    return int(samples * slot + (samples + 7) // 8 + 3)


def map_images(images: Iterable[tuple[str, bytes]], folder: Path) -> dict[str, memoryview]:
    """The images in a file without a name, mapped: the system may take its pages out of memory. Raises ConfigError."""
    places: dict[str, slice] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            for name, image in images:
                start = file.tell()
                places[name] = slice(start, start + len(image))
                file.write(image + bytes(-len(image) % 4))
            file.flush()
            view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}", "make room or permit writing there") from error
    return {name: view[place] for name, place in places.items()}


class SimBoard(Requests):
    """One board; of a thread at a time, as a Node."""

    def __init__(self, sim: Simulation, name: str, at: int, lock: threading.Lock, traffic: Traffic) -> None:
        self.name = name
        self.welcome: wire.Welcome | None = None
        self.traffic = traffic
        self.manifest = sim.manifest
        self._sim, self._at, self._lock = sim, at, lock
        self._line: Line | None = None
        self._counter = 0
        self._closed = False

    def hello(self, *, deadline: float = 60.0) -> wire.Welcome:
        """Opens a new session; MismatchError where the board is not the one that it must be."""
        self._line, self._counter = None, 0
        request = wire.Hello(wire.PROTOCOL, wire.SCHEMA, 0, bytes(16)).pack()
        reply = self._exchange(wire.Hello, request, deadline)
        welcome = self._read(wire.Hello, wire.Welcome, reply)
        check_model(welcome, self._sim.manifest, self.name)
        self._line = Line(SESSION, welcome.chunk, welcome.window)
        self._count(self._line, wire.Hello.TYPE, request, reply)
        self.welcome = welcome
        return welcome

    def close(self) -> None:
        """A call that is under way ends within a slice."""
        self._closed = True

    def _void(self) -> None:
        self._line = None

    def _ask(self, request: Message, expected: type[Reply], deadline: float) -> Reply:
        if self._line is None:
            self.hello(deadline=deadline)
        line, body = self._line, request.pack()
        assert line is not None
        reply = self._exchange(type(request), body, deadline)
        self._count(line, request.TYPE, body, reply)
        return self._read(type(request), expected, reply)

    def _exchange(self, request: type[Message], body: bytes, deadline: float) -> tuple[int, bytes]:
        """Type and body of the reply. DeadlineError where it is not there in time: the board has given the job up."""
        core, workspace, end = self._sim.core, self._sim.workspace, time.monotonic() + deadline
        answer = workspace.answer
        work = partial(core.sim_ask, self._at, workspace.at, request.TYPE, body, len(body))
        if not self._lock.acquire(timeout=max(0.0, deadline)):
            raise self._late(request, deadline)
        try:
            while not self._closed:
                left = end - time.monotonic()
                status = work(max(0, int(1000 * min(SLICE, left))), workspace.answer_at)
                if status:
                    break
                if left <= SLICE:
                    raise self._late(request, deadline)
                work = partial(core.sim_work, self._at, workspace.at)
            else:
                raise LinkError(f"{self.name}: {request.NAME}: the connection was closed")
            if status < 0:
                raise BoardError(f"{self.name}: {request.NAME}: {STATUS_TEXT[Status(status)]}", status=status)
            return answer.type, ctypes.string_at(answer.body, answer.length)
        finally:
            self._lock.release()

    def _late(self, request: type[Message], deadline: float) -> DeadlineError:
        self._void()
        return DeadlineError(f"{self.name}: {request.NAME} not done after {deadline:.3g} s", "give it a later deadline")

    def _count(self, line: Line, type: int, body: bytes, reply: tuple[int, bytes]) -> None:
        """What would have crossed a line."""
        self.traffic.down += line.down(self._counter, type, body)
        self.traffic.up += line.up(self._counter, len(body), *reply)
        self.traffic.body_down += len(body)
        self.traffic.body_up += len(reply[1])
        self._counter += 1

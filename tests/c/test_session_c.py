"""The board's session (C) and the host's (Python) over lines that lose, double, change, delay and reorder."""

from __future__ import annotations

import ctypes
import random
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support_session import CBoard, Fault, FaultyLink, build_session, clean, welcome

from tinyfl.errors import BoardError, DeadlineError, LinkError
from tinyfl.wire import messages as wire
from tinyfl.wire.frame import Frame, FrameDecoder, encode_frame
from tinyfl.wire.messages import FrameKind
from tinyfl_host.node import Node

WEIGHTS = (np.arange(130) * 517 % 32001 - 16000).astype(np.int16)  # 264 bytes: two chunks
DELTAS = (np.arange(130) * 37 % 255 - 127).astype(np.int8)
MANIFEST = {
    "name": "ada",
    "hash": bytes(range(32)).hex(),
    "head": {"features": 25, "classes": 5},
    "input": {"bytes": 300},
    "output": {"bytes": 5},
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build_session(tmp_path_factory.mktemp("session"))


class Answers:
    """A board's answers; it keeps the last HEAD, so that a wrong body would be seen."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.weights = np.zeros(0, np.int16)

    def __call__(self, type: int, body: bytes) -> tuple[int, bytes, float]:
        reply = self._reply(wire.MESSAGES[type].unpack(body))
        return reply.TYPE, reply.pack(), 0.0 if type == wire.Hello.TYPE else self.seconds

    def _reply(self, request: object) -> wire.Message:
        match request:
            case wire.Hello():
                return welcome()
            case wire.Head():
                self.weights = request.weights
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


def make(library: ctypes.CDLL, down: Fault = clean, up: Fault = clean, seconds: float = 0.0) -> tuple[Node, FaultyLink]:
    link = FaultyLink(CBoard(library, Answers(seconds)), down, up)
    return Node(link, MANIFEST, "ada", clock=lambda: link.now), link


def exchange(node: Node, link: FaultyLink) -> None:
    """HELLO, HEAD of two chunks, PULL of two chunks: right, and each carried out once."""
    node.hello()
    node.load(3, WEIGHTS)
    np.testing.assert_array_equal(node.pull(), WEIGHTS)
    assert link.board.requests == [wire.Hello.TYPE, wire.Head.TYPE, wire.Pull.TYPE]


class ByteFault:
    """At byte ``at`` of the stream: flip, drop or double it."""

    def __init__(self, how: str, at: int) -> None:
        self.how, self.at, self.seen = how, at, 0

    def __call__(self, data: bytes) -> Iterator[tuple[float, bytes]]:
        i = self.at - self.seen
        self.seen += len(data)
        if 0 <= i < len(data):
            byte = data[i : i + 1]
            middle = {"flip": bytes([byte[0] ^ 1 << self.at % 8]), "drop": b"", "double": byte + byte}[self.how]
            data = data[:i] + middle + data[i + 1 :]
        yield 0.0, data


class FrameFault:
    """Frames dropped, doubled, delayed or changed at random; seconds of delay: later than the next request."""

    def __init__(self, seed: int, share: float) -> None:
        self.random, self.share = random.Random(seed), share

    def __call__(self, data: bytes) -> Iterator[tuple[float, bytes]]:
        for part in filter(None, data.split(b"\0")):
            frame = b"\0" + part + b"\0"
            if self.random.random() >= self.share:
                yield 0.0, frame
                continue
            match self.random.randrange(4):
                case 0:
                    continue
                case 1:
                    yield 0.0, frame
                    yield self.random.choice([0.0, 0.3, 2.0]), frame
                case 2:
                    yield self.random.choice([0.01, 0.3, 2.0]), frame
                case 3:
                    i = self.random.randrange(len(frame))
                    yield 0.0, frame[:i] + bytes([frame[i] ^ 1 << self.random.randrange(8)]) + frame[i + 1 :]


@pytest.mark.parametrize("direction", ["down", "up"])
@pytest.mark.parametrize("how", ["flip", "drop", "double"])
def test_a_fault_at_every_byte_is_repaired(library: ctypes.CDLL, direction: str, how: str) -> None:
    node, link = make(library)
    exchange(node, link)
    total = node.bytes_down if direction == "down" else node.bytes_up
    assert 300 < total < 800
    for at in range(total):
        node, link = make(library, **{direction: ByteFault(how, at)})
        exchange(node, link)
        assert link.now < 104.0, f"byte {at} cost {link.now - 100:.1f} s"


@pytest.mark.parametrize("seed", range(60))
def test_lines_that_lose_double_delay_and_change(library: ctypes.CDLL, seed: int) -> None:
    """A share of 30 % of the frames in both directions: the result is right, each request carried out once."""
    node, link = make(library, FrameFault(seed, 0.3), FrameFault(seed + 1000, 0.3))
    exchange(node, link)
    for round in range(1, 4):
        np.testing.assert_array_equal(node.collect(round, 4, 9).deltas, DELTAS)
        assert node.evaluate(1, 0).correct == 9
    assert len(link.board.requests) == 3 + 2 * 3


def test_a_clean_line_carries_nothing_twice(library: ctypes.CDLL) -> None:
    node, link = make(library)
    exchange(node, link)
    assert link.board.skipped == 0
    bodies = 10 + 264 + 0  # HELLO, HEAD, PULL
    assert node.bytes_down < bodies + 5 * 20
    assert link.now < 100.1


def test_a_long_job_is_asked_twice_a_second_and_stays_alive(library: ctypes.CDLL) -> None:
    node, link = make(library, seconds=60.0)
    node.hello()
    before, start = node.bytes_down, link.now
    assert node.evaluate(0, 0).samples == 10
    assert 60 <= link.now - start < 61
    assert node.bytes_down - before < 25 + 120 * 16


def test_a_board_that_falls_silent_is_gone_long_before_the_deadline(library: ctypes.CDLL) -> None:
    node, link = make(library, seconds=60.0)
    node.hello()
    start = link.now
    link.board.run = lambda now: b""  # type: ignore[method-assign]
    with pytest.raises(DeadlineError, match=r"^ada: EVALUATE: no answer for 5 s, \d+ repeats$"):
        node.evaluate(0, 0, deadline=600)
    assert link.now - start < 6


def test_a_deadline_ends_a_call_of_a_live_board(library: ctypes.CDLL) -> None:
    """The next call opens a new session; the board drops its job."""
    node, link = make(library, seconds=60.0)
    with pytest.raises(DeadlineError, match=r"^ada: EVALUATE not done after 2 s$"):
        node.evaluate(0, 0, deadline=2)
    link.board._answer.seconds = 0.0  # type: ignore[attr-defined]
    assert node.evaluate(0, 0).correct == 9
    assert link.board.requests == [wire.Hello.TYPE, wire.Evaluate.TYPE] * 2


def test_a_reset_is_noticed_and_joined_again(library: ctypes.CDLL) -> None:
    node, link = make(library)
    exchange(node, link)
    link.board.reset()
    with pytest.raises(LinkError, match="ada: PULL: the board was reset"):
        node.pull()
    node.load(4, WEIGHTS)
    np.testing.assert_array_equal(node.pull(), WEIGHTS)


def test_a_session_number_that_the_board_remembers_is_not_used(library: ctypes.CDLL) -> None:
    """As after a host that was started again and drew the same number."""
    first, link = make(library)
    first.hello()
    first.hello()
    for number in (first._number - 2, first._number - 1):  # the old session, the present one
        again = Node(link, MANIFEST, "ada", clock=lambda: link.now)
        again._number = number
        assert again.evaluate(0, 0).correct == 9


def test_a_line_that_listens_late(library: ctypes.CDLL) -> None:
    """The first second of what the host sends is lost, as with an emulator that is not up yet."""
    node, link = make(library, lambda data: clean(data if link.now > 101.0 else b""))
    node.hello()
    assert 101 < link.now < 101.3


def test_chatter_between_frames_costs_no_result(library: ctypes.CDLL) -> None:
    def boot_text(data: bytes) -> Iterator[tuple[float, bytes]]:
        yield 0.0, b"\r\nROM boot v1.2\r\n\xff\xfe" + data + b"I (32) wifi: \x00\x00 ready\n\x00" if data else b""

    node, link = make(library, boot_text, boot_text)
    exchange(node, link)
    assert link.board.skipped > 0


def test_an_echoing_line_does_not_loop(library: ctypes.CDLL) -> None:
    """All that either side sends comes back to it as well."""
    node, link = make(library)
    plain = link._send

    def echo(to_host: bool, pieces: list[tuple[float, bytes]]) -> None:
        pieces = list(pieces)
        plain(to_host, pieces)
        plain(not to_host, pieces)

    link._send = echo  # type: ignore[method-assign, assignment]
    node.hello()
    assert node.evaluate(1, 0).correct == 9
    assert node.bytes_up < 2000 and link.now < 105


@pytest.mark.parametrize("burst", [1, 7, 32])
def test_bytes_in_any_portions(library: ctypes.CDLL, burst: int) -> None:
    link = FaultyLink(CBoard(library, Answers(), burst=burst))
    exchange(Node(link, MANIFEST, "ada", clock=lambda: link.now), link)


def test_many_chunks_with_small_ones_and_losses(tmp_path: Path) -> None:
    """A chunk of 96: 27 chunks up and down, 20 % of the frames lost or worse."""
    library = build_session(tmp_path, "-DTFL_CHUNK=96u", "-DTFL_CREDITS=4u")

    def answer(type: int, body: bytes) -> tuple[int, bytes, float]:
        if type == wire.Hello.TYPE:
            return wire.Welcome.TYPE, welcome(chunk=96, credits=4, head_features=249).pack(), 0.0
        return wire.Weights.TYPE, wire.Weights(1, wire.Head.unpack(body).weights if body else weights).pack(), 0.0

    weights = (np.arange(1250) * 77 % 32001 - 16000).astype(np.int16)
    for seed in range(5):
        link = FaultyLink(CBoard(library, answer), FrameFault(seed, 0.2), FrameFault(seed + 50, 0.2))
        node = Node(link, None, "ada", clock=lambda link=link: link.now)
        np.testing.assert_array_equal(node._ask(wire.Head(1, weights), wire.Weights, 60).weights, weights)
        np.testing.assert_array_equal(node.pull(), weights)
        assert len(link.board.requests) == 3


def test_a_body_that_is_too_large_is_refused_with_the_limit(library: ctypes.CDLL) -> None:
    link = FaultyLink(CBoard(library, Answers(), body_bytes=100))
    node = Node(link, MANIFEST, "ada", clock=lambda: link.now)
    with pytest.raises(BoardError, match=r"ada: HEAD refused: no room: .* \(detail 100\)"):
        node.load(1, WEIGHTS)
    assert node.evaluate(0, 0).correct == 9


def talk(board: CBoard, *frames: Frame) -> list[Frame]:
    """What the board answers to raw frames."""
    for frame in frames:
        board.receive(encode_frame(frame))
    return FrameDecoder().feed(board.run(0.0))


def opened(type: int, body: bytes, message: int, session: int = 9, digest: int | None = None) -> Frame:

    head = bytes([type]) + (zlib.crc32(body) if digest is None else digest).to_bytes(4, "little")
    return Frame(FrameKind.OPEN, message, session, len(body), head + body)


HELLO = opened(wire.Hello.TYPE, wire.Hello(1, 2, 0).pack(), 0)


def test_frames_of_an_unknown_session_are_answered_by_reset(library: ctypes.CDLL) -> None:
    board = CBoard(library, Answers())
    for kind in (FrameKind.OPEN, FrameKind.DATA, FrameKind.ACK):
        assert talk(board, Frame(kind, 4, 77, 0, b"12345")) == [Frame(FrameKind.RESET, 4, 77, 0)]
    assert talk(board, Frame(FrameKind.RESET, 4, 77, 0), Frame(FrameKind.LOG, 4, 77, 0), Frame(99, 4, 77, 0)) == []
    assert talk(board, opened(wire.Hello.TYPE, bytes(10), 0, session=0))[0].kind == FrameKind.RESET


def test_a_repeated_open_is_answered_but_not_carried_out(library: ctypes.CDLL) -> None:
    board = CBoard(library, Answers())
    talk(board, HELLO)
    request = opened(wire.Evaluate.TYPE, bytes([0, 0]), 1)
    acknowledged, reply = talk(board, request)
    assert (acknowledged.kind, acknowledged.offset, reply.payload[0]) == (FrameKind.ACK, 2, wire.Evaluated.TYPE)
    assert talk(board, request) == [reply]
    assert talk(board, HELLO) == []  # of an older message
    assert talk(board, Frame(FrameKind.ACK, 1, 9, 0, b"\xff")) == [reply]
    assert talk(board, Frame(FrameKind.ACK, 1, 9, 0, b"\x02")) == []  # no host's
    assert board.requests == [wire.Hello.TYPE, wire.Evaluate.TYPE]


def test_a_wrong_digest_is_refused(library: ctypes.CDLL) -> None:
    board = CBoard(library, Answers())
    talk(board, HELLO)
    (reply,) = talk(board, opened(wire.Evaluate.TYPE, bytes(2), 1, digest=5))
    error = wire.Error.unpack(reply.payload[5:])
    assert (error.status, error.detail) == (wire.Status.ERROR_DIGEST, 5)
    assert board.requests == [wire.Hello.TYPE]


def test_hostile_opens_and_chunks_change_nothing(library: ctypes.CDLL) -> None:
    """Lengths that do not agree, replies' types, type 0; chunks beside the grid, beyond the end, of a wrong size."""
    board = CBoard(library, Answers())
    talk(board, HELLO)
    for payload in (b"", b"\x05\0\0\0", b"\x05" + bytes(6), b"\x85" + bytes(4)):
        assert talk(board, Frame(FrameKind.OPEN, 1, 9, 500, payload)) == []
    (error,) = talk(board, opened(0, b"", 2))
    assert wire.Error.unpack(error.payload[5:]).status == wire.Status.ERROR_TYPE
    body = wire.Head(1, WEIGHTS).pack()
    begin = opened(wire.Head.TYPE, body, 3)
    assert talk(board, Frame(FrameKind.OPEN, 3, 9, len(body), begin.payload[:5]))[0].offset == 0
    for offset, size in ((1, 240), (240, 23), (240, 25), (240, 240), (480, 24), (2**32 - 16, 16), (0, 239)):
        assert talk(board, Frame(FrameKind.DATA, 3, 9, offset, bytes(size))) == []
    (ack,) = talk(board, Frame(FrameKind.DATA, 3, 9, 240, body[240:]))
    assert (ack.offset, ack.payload) == (0, b"\x02\x02")
    ack, done = talk(board, Frame(FrameKind.DATA, 3, 9, 0, body[:240]))
    assert (ack.offset, ack.payload, done.payload[0]) == (len(body), b"\x02", wire.Done.TYPE)


def test_a_link_that_fails_after_any_byte_is_reported(library: ctypes.CDLL) -> None:
    """Reading or writing fails for good after n bytes: poll and reply say so, whatever n is."""
    stream = b"".join(
        map(encode_frame, [HELLO, opened(wire.Pull.TYPE, b"", 1), Frame(FrameKind.ACK, 1, 9, 0, b"\xff")])
    )
    reply = bytes(600)
    outcomes = []
    for budget in range(2600):
        board = ctypes.c_void_p(library.board_new(700, 16))
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


def test_logs_reach_the_host_beside_messages(library: ctypes.CDLL) -> None:
    node, link = make(library)
    node.hello()
    link.board.log("flash: 3 % worn")
    node.evaluate(0, 0)
    assert node.logs == ["flash: 3 % worn"]

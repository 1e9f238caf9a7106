"""The board's session (C) and the host's (Python) over lines that lose, double, change, delay, reorder and break."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support_session import (
    CHUNK,
    DELTAS,
    KEY,
    WEIGHTS,
    Answers,
    CBoard,
    Fault,
    FaultyLink,
    build_session,
    clean,
    welcome,
)

from tinyfl.errors import BoardError, DeadlineError, LinkError
from tinyfl.wire import messages as wire
from tinyfl.wire.messages import UNIT
from tinyfl_host.node import Node

MANIFEST = {
    "name": "ada",
    "hash": bytes(range(32)).hex(),
    "head": {"features": 25, "classes": 5},
    "input": {"bytes": 300},
    "output": {"bytes": 5},
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build_session(tmp_path_factory.mktemp("session"), f"-DTFL_CHUNK={CHUNK}u")


class Host:
    """A Node on a line with virtual time. ``auth``: both sides have the key; a lost link is opened again."""

    def __init__(
        self,
        library: ctypes.CDLL,
        down: Fault = clean,
        up: Fault = clean,
        seconds: float = 0.0,
        auth: bool = False,
        body_bytes: int = 4096,
        burst: int = 512,
    ) -> None:
        self.auth = auth
        self.answers = Answers(seconds, welcome(chunk=CHUNK, window=320, features=int(auth)))
        self.board = CBoard(library, self.answers, body_bytes, burst, KEY if auth else None)
        self.link = FaultyLink(self.board, down, up)
        self.node = self.restarted()

    def restarted(self) -> Node:
        """Another host on the same line."""
        keys = (lambda device: KEY) if self.auth else None
        self.node = Node(self.link, MANIFEST, "ada", clock=lambda: self.link.now, keys=keys, nonce=bytes)
        self.node._number = 4 * self.board.requests.count(wire.Hello.TYPE) + 1
        return self.node

    @property
    def now(self) -> float:
        return self.link.now

    def exchange(self) -> None:
        """HELLO, HEAD and PULL, of several frames each: right, and each carried out once."""
        self.node.hello()
        self.node.load(3, WEIGHTS)
        np.testing.assert_array_equal(self.node.pull(), WEIGHTS)
        assert self.board.requests == [wire.Hello.TYPE, wire.Head.TYPE, wire.Pull.TYPE]


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


@pytest.mark.parametrize("auth", [False, True], ids=["open", "auth"])
@pytest.mark.parametrize("direction", ["down", "up"])
@pytest.mark.parametrize("how", ["flip", "drop", "double"])
def test_a_fault_at_every_byte_is_repaired(library: ctypes.CDLL, direction: str, how: str, auth: bool) -> None:
    host = Host(library, auth=auth)
    host.exchange()
    total = host.node.bytes_down if direction == "down" else host.node.bytes_up
    assert 350 < total < 700
    for at in range(total):
        host = Host(library, auth=auth, **{direction: ByteFault(how, at)})  # type: ignore[arg-type]
        host.exchange()
        assert host.now < 104.0, f"byte {at} cost {host.now - 100:.1f} s"
        host.board.close()


class CutLink(FaultyLink):
    """Fails for good behind byte ``at`` of one direction."""

    def __init__(self, board: CBoard, direction: str, at: int) -> None:
        super().__init__(board)
        self.direction, self.left = direction, at

    def write(self, data: bytes) -> None:
        super().write(self._cut(data, "down"))
        self._fail()

    def read(self, timeout: float) -> bytes:
        self._fail()
        return self._cut(super().read(timeout), "up")

    def _cut(self, data: bytes, direction: str) -> bytes:
        if direction != self.direction:
            return data
        data = data[: self.left]
        self.left -= len(data)
        return data

    def _fail(self) -> None:
        if self.left == 0:
            self.closed = True
            raise LinkError("cut: gone")


@pytest.mark.parametrize("auth", [False, True], ids=["open", "auth"])
@pytest.mark.parametrize("direction", ["down", "up"])
def test_a_link_that_is_cut_at_every_byte_is_opened_again(library: ctypes.CDLL, direction: str, auth: bool) -> None:
    """The same session goes on, and each request is still carried out once."""
    host = Host(library, auth=auth)
    host.exchange()
    total = host.node.bytes_down if direction == "down" else host.node.bytes_up

    for at in range(1, total):
        host = Host(library, auth=auth)

        def reopen(host: Host = host) -> FaultyLink:
            now, host.link = host.link.now, FaultyLink(host.board)
            host.link.now = now
            return host.link

        host.link = CutLink(host.board, direction, at)
        node = host.restarted()
        node._reopen, node._sleep = reopen, lambda seconds: None
        host.exchange()
        assert not isinstance(host.link, CutLink) and host.now < 104.0, f"byte {at} cost {host.now - 100:.1f} s"
        host.board.close()


@pytest.mark.parametrize("auth", [False, True], ids=["open", "auth"])
@pytest.mark.parametrize("seed", range(30))
def test_lines_that_lose_double_delay_and_change(library: ctypes.CDLL, seed: int, auth: bool) -> None:
    """A share of 30 % of the frames in both directions: the result is right, each request carried out once."""
    host = Host(library, FrameFault(seed, 0.3), FrameFault(seed + 1000, 0.3), auth=auth)
    host.exchange()
    for round in range(1, 4):
        np.testing.assert_array_equal(host.node.collect(round, 4, 9).deltas, DELTAS)
        assert host.node.evaluate(1, 0).correct == 9
    assert len(host.board.requests) == 3 + 2 * 3


def test_a_clean_line_carries_nothing_twice(library: ctypes.CDLL) -> None:
    host = Host(library)
    host.exchange()
    assert host.board.skipped == 0 and host.node.repeats == 0
    bodies = wire.Hello.BYTES + wire.Head.BYTES + 2 * WEIGHTS.size
    frames = 6  # WHOLE HELLO, OPEN, 3 DATA, WHOLE PULL
    assert host.node.bytes_down == bodies + 10 * frames + 1 + 9 + 2 * 3 + 1 + 1  # 1: the zero before HELLO
    assert host.now < 100.1


@pytest.mark.slow
def test_writes_are_few(tmp_path: Path) -> None:
    """A frame goes to the port in pieces of up to 256 bytes, however many zeros it holds."""
    library = build_session(tmp_path)
    host = Host(library)
    host.answers.welcome = welcome()
    host.answers.weights = np.zeros(130, np.int16)
    host.node.hello()
    before = library.board_writes(host.board.board)
    host.node.pull()
    assert library.board_writes(host.board.board) - before == 2


def test_a_long_job_is_asked_ever_less_often_and_stays_alive(library: ctypes.CDLL) -> None:
    host = Host(library, seconds=60.0)
    host.node.hello()
    before, start = host.node.bytes_down, host.now
    assert host.node.evaluate(0, 0).samples == 10
    assert 60 <= host.now - start < 62.5
    assert host.node.bytes_down - before < 13 + 40 * 13


def test_a_board_that_falls_silent_is_gone_long_before_the_deadline(library: ctypes.CDLL) -> None:
    host = Host(library, seconds=60.0)
    host.node.hello()
    start = host.now
    host.board.run = lambda now: b""  # type: ignore[method-assign]
    with pytest.raises(DeadlineError, match=r"^ada: EVALUATE: no answer for 5 s, \d+ repeats$"):
        host.node.evaluate(0, 0, deadline=600)
    assert host.now - start < 6


def test_a_deadline_ends_a_call_of_a_live_board(library: ctypes.CDLL) -> None:
    """The next call opens a new session; the board drops its job."""
    host = Host(library, seconds=60.0)
    with pytest.raises(DeadlineError, match=r"^ada: EVALUATE not done after 2 s$"):
        host.node.evaluate(0, 0, deadline=2)
    host.answers.seconds = 0.0
    assert host.node.evaluate(0, 0).correct == 9
    assert host.board.requests == [wire.Hello.TYPE, wire.Evaluate.TYPE] * 2


def test_a_reset_is_noticed_and_joined_again(library: ctypes.CDLL) -> None:
    host = Host(library)
    host.exchange()
    host.board.reset()
    with pytest.raises(LinkError, match="ada: PULL: the board was reset"):
        host.node.pull()
    host.node.load(4, WEIGHTS)
    np.testing.assert_array_equal(host.node.pull(), WEIGHTS)


def test_a_session_number_that_the_board_remembers_is_not_used(library: ctypes.CDLL) -> None:
    """As after a host that was started again and drew the same number."""
    host = Host(library)
    host.node.hello()
    host.node.hello()
    last = host.node._number
    for number in (last - 2, last - 1):  # the old session, the present one
        again = host.restarted()
        again._number = number
        assert again.evaluate(0, 0).correct == 9


def test_a_line_that_listens_late(library: ctypes.CDLL) -> None:
    """The first second of what the host sends is lost, as with an emulator that is not up yet."""
    host = Host(library, lambda data: clean(data if host.now > 101.0 else b""))
    host.node.hello()
    assert 101 < host.now < 101.3


@pytest.mark.parametrize("auth", [False, True], ids=["open", "auth"])
def test_chatter_between_frames_costs_no_result(library: ctypes.CDLL, auth: bool) -> None:
    def boot_text(data: bytes) -> Iterator[tuple[float, bytes]]:
        yield 0.0, b"\r\nROM boot v1.2\r\n\xff\xfe" + data + b"I (32) wifi: \x00\x00 ready\n\x00" if data else b""

    host = Host(library, boot_text, boot_text, auth=auth)
    host.exchange()
    assert host.board.skipped > 0


def test_an_echoing_line_does_not_loop(library: ctypes.CDLL) -> None:
    """All that either side sends comes back to it as well."""
    host = Host(library)
    plain = host.link._send

    def echo(to_host: bool, pieces: list[tuple[float, bytes]]) -> None:
        pieces = list(pieces)
        plain(to_host, pieces)
        plain(not to_host, pieces)

    host.link._send = echo  # type: ignore[method-assign, assignment]
    host.exchange()
    assert host.node.bytes_up < 2000 and host.now < 101


@pytest.mark.parametrize("burst", [1, 7, 32])
def test_bytes_in_any_portions(library: ctypes.CDLL, burst: int) -> None:
    Host(library, burst=burst).exchange()


def test_many_frames_with_losses(library: ctypes.CDLL) -> None:
    """20 DATA frames up and down, 20 % of them lost or worse; the host makes them smaller on the way."""
    weights = (np.arange(1250) * 77 % 32001 - 16000).astype(np.int16)
    for seed in range(5):
        host = Host(library, FrameFault(seed, 0.2), FrameFault(seed + 50, 0.2))
        host.answers.welcome = welcome(chunk=CHUNK, window=320, head_features=249)
        host.node.manifest = None
        host.node.load(1, weights)
        np.testing.assert_array_equal(host.node.pull(), weights)
        assert len(host.board.requests) == 3


def test_a_body_that_is_too_large_is_refused_with_the_limit(library: ctypes.CDLL) -> None:
    host = Host(library, body_bytes=200)
    with pytest.raises(BoardError, match=r"ada: HEAD refused: no room: .* \(detail 200\)"):
        host.node.load(1, WEIGHTS)
    assert host.node.evaluate(0, 0).correct == 9


def test_logs_reach_the_host_beside_messages(library: ctypes.CDLL) -> None:
    host = Host(library)
    host.node.hello()
    host.board.log("flash: 3 % worn")
    host.node.evaluate(0, 0)
    assert host.node.logs == ["flash: 3 % worn"]


# Resume


def reset_after(host: Host, count: int, *flipped: int) -> None:
    """The board is reset behind the byte that it receives as number ``count``; what it was about to say is lost."""
    plain, seen = host.board.receive, 0

    def receive(data: bytes) -> None:
        nonlocal seen
        rest = count - seen
        seen += len(data)
        if 0 < rest <= len(data):
            plain(data[:rest])
            host.board.run(host.now)
            host.board.reset(*flipped)
            data = data[rest:]
        plain(data)

    host.board.receive = receive  # type: ignore[method-assign]


RECORD = 4096  # where what is retained begins: behind the body


def load_through_a_reset(host: Host, weights: np.ndarray, at: int, *flipped: int) -> tuple[int, int]:
    """HEAD with a reset behind that many bytes: the units that stayed, the bytes of the second try."""
    host.node.hello()
    reset_after(host, at, *flipped)
    with pytest.raises(LinkError, match="the board was reset"):
        host.node.load(3, weights)
    units = host.board.units
    host.node.hello()
    assert host.board.units == units  # HELLO leaves them alone
    before = host.node.bytes_down
    host.node.load(3, weights)
    np.testing.assert_array_equal(host.answers.weights, weights)
    return units, host.node.bytes_down - before


@pytest.mark.parametrize("auth", [False, True], ids=["open", "auth"])
@pytest.mark.parametrize("flipped", [(), (70,), (RECORD,), (RECORD + 16,)], ids=lambda f: f"flip{f}")
def test_a_reset_at_every_byte(library: ctypes.CDLL, flipped: tuple[int, ...], auth: bool) -> None:
    """Also with a bit changed in the body, or in the record of it: the weights that come are right."""
    host = Host(library, auth=auth)
    host.node.hello()
    before = host.node.bytes_down
    host.node.load(3, WEIGHTS)
    for at in range(1, host.node.bytes_down - before + 1):
        host = Host(library, auth=auth)
        load_through_a_reset(host, WEIGHTS, at, *flipped)
        assert len(host.board.requests) in (3, 4) and host.now < 104
        host.board.close()


@pytest.mark.parametrize("auth", [False, True], ids=["open", "auth"])
def test_what_came_before_a_reset_is_not_sent_again(library: ctypes.CDLL, auth: bool) -> None:
    """But for the first window, which goes out with the OPEN; unless a bit of it, or of its record, changed."""
    weights = np.resize(WEIGHTS, 1250)  # 40 units
    body, window, question = wire.Head.BYTES + 2 * weights.size, 320, 12
    for at in range(400, 2600, 200):
        host = Host(library, auth=auth)
        units, sent = load_through_a_reset(host, weights, at)
        assert units >= (at - 60) * 40 // 2700 - 2
        assert sent <= (body - units * UNIT) * 138 // 128 + window + 19 + 16 * auth + question, (at, units, sent)
        for byte in (70, RECORD, RECORD + 4, RECORD + 8, RECORD + 12, RECORD + 17, RECORD + 16 + 128):
            assert load_through_a_reset(Host(library, auth=auth), weights, at, byte)[0] == 0, byte


def test_a_host_that_is_started_again_goes_on_with_the_request(library: ctypes.CDLL) -> None:
    weights = np.resize(WEIGHTS, 1250)
    for auth in (False, True):
        host = Host(library, auth=auth)
        host.node.hello()
        host.link._down = cut_after(2000)
        with pytest.raises(DeadlineError):
            host.node.load(3, weights)
        assert host.board.units >= 26
        host.link._down = clean
        host.restarted().hello()
        before = host.node.bytes_down
        host.node.load(3, weights)
        assert host.node.bytes_down - before < 1400
        np.testing.assert_array_equal(host.answers.weights, weights)


def cut_after(count: int) -> Fault:
    """Nothing gets through behind so many bytes."""
    left = count

    def fault(data: bytes) -> Iterator[tuple[float, bytes]]:
        nonlocal left
        data = data[:left]
        left -= len(data)
        yield 0.0, data

    return fault

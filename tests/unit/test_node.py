"""Node against boards that answer wrongly. Against the real C session: tests/c/test_session_c.py."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable

import numpy as np
import pytest

from tinyfl.errors import BoardError, DeadlineError, FrameError, LinkError, MismatchError, TinyflError
from tinyfl.wire import messages as wire
from tinyfl.wire.frame import Frame, FrameDecoder, encode_frame
from tinyfl.wire.messages import FrameKind
from tinyfl.wire.packing import Message
from tinyfl_host.links.memory import pair
from tinyfl_host.node import Node

MANIFEST = {
    "name": "har",
    "hash": bytes(range(32)).hex(),
    "head": {"features": 25, "classes": 5},
    "input": {"bytes": 300},
    "output": {"bytes": 5},
}
WELCOME = dict.fromkeys(wire.Welcome.FIELDS, 0) | {
    "protocol": wire.PROTOCOL,
    "schema": wire.SCHEMA,
    "model": bytes(range(16)),
    "name": "ada",
    "chunk": 240,
    "credits": 2,
    "head_features": 25,
    "head_classes": 5,
    "input_bytes": 300,
    "output_bytes": 5,
}


class Script:
    """A link to a board that answers each OPEN whole; virtual time."""

    def __init__(self, *answers: Message | bytes | Callable[[Frame], bytes], **changes: object) -> None:
        self.now = 0.0
        self.welcome = wire.Welcome(**{**WELCOME, **changes})  # type: ignore[arg-type]
        self._answers = list(answers)
        self._out = b""
        self._seen: set[tuple[int, int]] = set()
        self.closed = 0

    def write(self, data: bytes) -> None:
        for frame in FrameDecoder().feed(data):
            key = (frame.session, frame.message)
            if frame.kind == FrameKind.OPEN and key not in self._seen:
                self._seen.add(key)
                hello = frame.payload[0] == wire.Hello.TYPE
                answer = self.welcome if hello else self._answers.pop(0) if self._answers else b""
                self._out += answer(frame) if callable(answer) else whole(frame, answer)

    def read(self, timeout: float) -> bytes:
        data, self._out = self._out, b""
        self.now += 0.001 if data else max(timeout, 1e-6)
        return data

    def close(self) -> None:
        self.closed += 1


def whole(frame: Frame, answer: Message | bytes) -> bytes:
    """A reply in one frame; bytes stand for themselves."""
    if isinstance(answer, bytes):
        return answer
    body = answer.pack()
    payload = bytes([answer.TYPE]) + zlib.crc32(body).to_bytes(4, "little") + body
    return encode_frame(Frame(FrameKind.OPEN, frame.message, frame.session, len(body), payload))


def make(*answers: Message | bytes | Callable[[Frame], bytes], **changes: object) -> tuple[Node, Script]:
    script = Script(*answers, **changes)
    return Node(script, MANIFEST, "ada", clock=lambda: script.now), script


def test_calls_and_counters() -> None:
    deltas = np.arange(130).astype(np.int8)
    trained = wire.Trained(1, 2, 3, 4, 5, 6, 7)
    node, script = make(
        trained, wire.Delta(4, 9, deltas), wire.Inferred(77, np.arange(5, dtype=np.int8)), wire.Fed(1, 0)
    )
    assert node.hello() == script.welcome == node.welcome
    assert node.train(4, 1, 2, 3, 20000, 20) == trained
    np.testing.assert_array_equal(node.collect(4, 10, 5).deltas, deltas)
    ticks, output = node.infer(np.zeros((10, 30), np.int8))
    assert (ticks, output.tolist()) == (77, [0, 1, 2, 3, 4])
    assert node.feed(0, 1, np.zeros(200, np.int8)).train_samples == 1
    assert node.payload_up == 130 and node.bytes_up > 130 + 79 and node.bytes_down > 300
    node.close()
    assert script.closed == 1


@pytest.mark.parametrize(
    ("changes", "found", "expected"),
    [
        ({"model": bytes(16)}, "model: " + "00" * 16, bytes(range(16)).hex()),
        ({"head_classes": 7}, "head: 25 features, 7 classes", "har on this host has 25 features, 5 classes"),
        ({"head_features": 0}, "head: none", "25 features"),
        ({"input_bytes": 9}, "input: 9 bytes", "300 bytes"),
        ({"output_bytes": 9}, "output: 9 bytes", "5 bytes"),
        ({"protocol": 2}, "protocol 2", "protocol 1"),
        ({"schema": 0xABCDEF}, "schema 00abcdef", f"{wire.SCHEMA:08x}"),
    ],
)
def test_a_board_of_another_kind_is_refused_with_both_sides(
    changes: dict[str, object], found: str, expected: str
) -> None:
    node, _ = make(wire.Done(), **changes)
    with pytest.raises(MismatchError) as caught:
        node.load(1, np.zeros(130, np.int16))  # says HELLO first: no session is open
    assert found in caught.value.message and expected in caught.value.message
    assert caught.value.message.startswith("ada: ") and caught.value.hint
    with pytest.raises(MismatchError):
        node.evaluate(0, 0)


def test_a_welcome_of_another_version_is_refused_whatever_its_length() -> None:
    node, script = make()
    script.welcome = wire.Delta(wire.PROTOCOL + 1, 5, np.zeros(9, np.int8))  # type: ignore[assignment]

    def later(frame: Frame) -> bytes:
        body = b"\x02\0\x01\0\0\0 and more"
        payload = bytes([wire.Welcome.TYPE]) + zlib.crc32(body).to_bytes(4, "little") + body
        return encode_frame(Frame(FrameKind.OPEN, frame.message, frame.session, len(body), payload))

    script.welcome = later  # type: ignore[assignment]
    with pytest.raises(MismatchError, match="ada: speaks protocol 2, schema 00000001; this host speaks protocol 1"):
        node.hello()


def test_without_a_manifest_any_model_will_do() -> None:
    script = Script(model=bytes(16), head_classes=9)
    assert Node(script, clock=lambda: script.now).hello().head_classes == 9


@pytest.mark.parametrize(
    ("answer", "kind", "complaint"),
    [
        (wire.Error(wire.Status.ERROR_STATE, 3), BoardError, r"ada: COLLECT refused: not possible now.*detail 3"),
        (wire.Error(wire.Status.ERROR_MODEL, 0), MismatchError, "ada: COLLECT refused: the board holds another model"),
        (wire.Error(-100, 0), BoardError, "status -100"),
        (wire.Done(), FrameError, "ada: COLLECT: answered by DONE, expected DELTA"),
        (wire.Delta(1, 5, np.zeros(12, np.int8)), FrameError, "ada: DELTA holds 12 weights, the head has 130"),
        (wire.Delta(2, 5, np.zeros(130, np.int8)), FrameError, "asked for round 1, the DELTA is of round 2"),
        (lambda f: whole(f, wire.Done())[:-3] + b"\0", DeadlineError, "ada: COLLECT: no answer for 5 s"),
        (b"\x07garbage\0" * 50, DeadlineError, "ada: COLLECT: no answer for 5 s"),
        (b"", DeadlineError, "ada: COLLECT: no answer for 5 s, [0-9]+ repeats"),
        (
            lambda f: encode_frame(Frame(FrameKind.RESET, 0, f.session, 0)),
            LinkError,
            "ada: COLLECT: the board was reset",
        ),
    ],
)
def test_wrong_answers(
    answer: Message | bytes | Callable[[Frame], bytes], kind: type[TinyflError], complaint: str
) -> None:
    node, script = make(answer)
    node.hello()
    with pytest.raises(kind, match=complaint) as caught:
        node.collect(1, 4, 5)
    assert type(caught.value) is kind and caught.value.hint
    assert script.now < 7


def test_a_short_reply_names_both_lengths() -> None:
    def short(frame: Frame) -> bytes:
        payload = bytes([wire.Evaluated.TYPE]) + zlib.crc32(b"abc").to_bytes(4, "little") + b"abc"
        return encode_frame(Frame(FrameKind.OPEN, frame.message, frame.session, 3, payload))

    node, _ = make(short)
    with pytest.raises(FrameError, match="ada: EVALUATE: EVALUATED has 3 bytes, expected 10"):
        node.evaluate(0, 0)


def test_a_chunk_that_cannot_be_is_refused() -> None:
    node, _ = make(chunk=0)
    with pytest.raises(FrameError, match="ada: a chunk of 0 bytes, legal are 84 to"):
        node.hello()


def test_nobody_there() -> None:
    """HELLO every 0.1 s, no longer than its deadline, and the hint of a first contact."""
    node, script = make()
    script.write = lambda data: None  # type: ignore[method-assign]
    with pytest.raises(DeadlineError, match="ada: no answer to HELLO in 3 s") as caught:
        node.hello(deadline=3.0)
    assert 3.0 <= script.now < 3.2
    assert "port" in caught.value.hint
    assert node.bytes_down > 25 * 20


def test_a_closed_link_ends_a_call_at_once() -> None:
    ours, theirs = pair()
    node = Node(ours, MANIFEST, "ada")
    theirs.close()
    start = time.monotonic()
    with pytest.raises(LinkError, match="ada: HELLO: memory: closed"):
        node.hello()
    assert time.monotonic() - start < 1


def test_an_interrupt_voids_the_session() -> None:
    """What was under way must not be taken for the next call's answer."""
    node, script = make(wire.Evaluated(1, 1, 1), wire.Evaluated(2, 2, 2))
    node.hello()
    read = script.read

    def interrupted(timeout: float) -> bytes:
        script.read = read  # type: ignore[method-assign]
        raise KeyboardInterrupt

    script.read = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        node.evaluate(0, 0)
    assert node.evaluate(0, 0).samples == 2

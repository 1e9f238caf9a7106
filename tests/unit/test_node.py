"""Node against boards that answer wrongly. Against the real C session: tests/c/test_session_c.py."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from support_messages import plain

from tinyfl.errors import AuthError, BoardError, DeadlineError, FrameError, LinkError, MismatchError, TinyflError
from tinyfl.wire import auth
from tinyfl.wire import messages as wire
from tinyfl.wire.frame import Frame, FrameDecoder, encode_frame, kind_byte
from tinyfl.wire.messages import FrameKind
from tinyfl.wire.packing import Message
from tinyfl.wire.session import NOTHING
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
    "device": b"device-1",
    "model": bytes(range(16)),
    "name": "ada",
    "chunk": 512,
    "window": 541,
    "nonce": bytes(16),
    "proof": bytes(16),
    "head_features": 25,
    "head_classes": 5,
    "input_bytes": 300,
    "output_bytes": 5,
}


Answer = Message | bytes | Callable[[Frame], bytes]


class Script:
    """A link to a board that answers each WHOLE; virtual time. ``key``: the board is enrolled."""

    def __init__(self, *answers: Answer, key: bytes = b"", **changes: object) -> None:
        self.now = 0.0
        self.welcome: Answer = wire.Welcome(**{**WELCOME, **changes})  # type: ignore[arg-type]
        self.key, self.broken, self.requests = key, False, list[bytes]()
        self._answers = list(answers)
        self._channel: auth.Channel | None = None
        self._out = b""
        self._seen: set[tuple[int, int]] = set()
        self.closed = 0

    def write(self, data: bytes) -> None:
        if self.broken:
            raise LinkError("script: unplugged", "plug it in")
        for frame in FrameDecoder().feed(data):
            key = (frame.session, frame.message)
            if frame.purpose == FrameKind.ACK and key not in self._seen:
                self._out += from_board(FrameKind.ACK, frame, NOTHING.to_bytes(2, "little"))
            if frame.purpose == FrameKind.WHOLE and key not in self._seen:
                self._seen.add(key)
                hello = frame.payload[0] == wire.Hello.TYPE
                self.requests.append(frame.payload)
                answer = self._greet(frame) if hello else self._answers.pop(0) if self._answers else b""
                channel = None if hello else self._channel
                self._out += answer(frame) if callable(answer) else whole(frame, answer, channel)

    def _greet(self, frame: Frame) -> Answer:
        """WELCOME, with the proof of an enrolled board."""
        if not self.key or not isinstance(self.welcome, wire.Welcome):
            return self.welcome
        fields = self.welcome.__dict__ | {"features": wire.Feature.AUTH, "proof": bytes(16)}
        base = auth.base(frame.payload[1:], wire.Welcome(**fields).pack())
        self._channel = auth.Channel(auth.session_key(self.key, base))
        return wire.Welcome(**fields | {"proof": auth.proof(self.key, base)})

    def read(self, timeout: float) -> bytes:
        if self.broken:
            raise LinkError("script: unplugged", "plug it in")
        data, self._out = self._out, b""
        self.now += 0.001 if data else max(timeout, 1e-6)
        return data

    def close(self) -> None:
        self.closed += 1


def from_board(kind: FrameKind, request: Frame, payload: bytes) -> bytes:
    return encode_frame(Frame(kind_byte(kind, True), request.message, request.session, payload))


def whole(frame: Frame, answer: Message | bytes, channel: auth.Channel | None = None) -> bytes:
    """A reply in one frame; bytes stand for themselves."""
    if isinstance(answer, bytes):
        return answer
    body = answer.pack()
    mac = b"" if channel is None else channel.mac(True, frame.message, answer.TYPE, body)
    return from_board(FrameKind.WHOLE, frame, bytes([answer.TYPE]) + mac + body)


def make(*answers: Answer, **changes: object) -> tuple[Node, Script]:
    script = Script(*answers, **changes)  # type: ignore[arg-type]
    return Node(script, MANIFEST, "ada", clock=lambda: script.now), script


def test_calls_and_counters() -> None:
    deltas = np.arange(130).astype(np.uint8)
    trained = wire.Trained(*range(1, 11), np.zeros(0, np.uint8))
    node, script = make(
        trained, wire.Delta(4, 9, deltas), wire.Inferred(77, np.arange(5, dtype=np.int8)), wire.Fed(1, 0)
    )
    assert node.hello() == script.welcome == node.welcome
    assert node.train(4, 1, 2, 3, 20000, 20) == trained
    np.testing.assert_array_equal(node.collect(4, 10, 5).deltas, deltas)
    ticks, output = node.infer(np.zeros((10, 30), np.int8))
    assert (ticks, output.tolist()) == (77, [0, 1, 2, 3, 4])
    assert node.feed(0, 1, np.zeros(200, np.int8)).train_samples == 1
    replies, requests = 128 + 32 + (8 + 130) + (4 + 5) + 8, 26 + 25 + 13 + 300 + (2 + 200)
    assert (node.traffic.body_up, node.traffic.body_down) == (replies, requests)
    assert replies < node.bytes_up < replies + 5 * 13 and requests < node.bytes_down < requests + 5 * 13
    assert (node.repeats, node.forged) == (0, 0)
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
        ({"protocol": 5}, "protocol 5", "protocol 4"),
        ({"schema": 0xABCDEF}, "schema 00abcdef", f"{wire.SCHEMA:08x}"),
    ],
)
def test_a_board_of_another_kind_is_refused_with_both_sides(
    changes: dict[str, object], found: str, expected: str
) -> None:
    node, _ = make(wire.Done(), **changes)
    with pytest.raises(MismatchError) as caught:
        node.load(1, np.zeros(130, np.int16), keep=True)  # says HELLO first: no session is open
    assert found in caught.value.message and expected in caught.value.message
    assert caught.value.message.startswith("ada: ") and caught.value.hint
    with pytest.raises(MismatchError):
        node.evaluate(0, 0)


def test_a_welcome_of_another_version_is_refused_whatever_its_length() -> None:
    node, script = make()
    later = bytes([wire.Welcome.TYPE]) + b"\x09\0\x01\0\0\0 and more"
    script.welcome = lambda frame: from_board(FrameKind.WHOLE, frame, later)
    with pytest.raises(MismatchError, match="ada: speaks protocol 9, schema 00000001; this host speaks protocol 4"):
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
        (wire.Delta(2, 5, np.zeros(130, np.uint8)), FrameError, "asked for round 1, the DELTA is of round 2"),
        (lambda f: whole(f, wire.Done())[:-3] + b"\0", DeadlineError, "ada: COLLECT: no answer for 5 s"),
        (b"\x07garbage\0" * 50, DeadlineError, "ada: COLLECT: no answer for 5 s"),
        (b"", DeadlineError, "ada: COLLECT: no answer for 5 s, [0-9]+ repeats"),
        (
            lambda f: from_board(FrameKind.RESET, f, b""),
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
        return from_board(FrameKind.WHOLE, frame, bytes([wire.Evaluated.TYPE]) + b"abc")

    node, _ = make(short)
    with pytest.raises(FrameError, match="ada: EVALUATE: EVALUATED has 3 bytes, expected 10"):
        node.evaluate(0, 0)


@pytest.mark.parametrize("chunk", [0, 64, 100, 500, 1024])
def test_a_chunk_that_cannot_be_is_refused(chunk: int) -> None:
    node, _ = make(chunk=chunk, window=5000)
    with pytest.raises(FrameError, match=f"ada: a chunk of {chunk} bytes, legal are multiples of 64 from 128 to 960"):
        node.hello()


def test_a_window_that_holds_no_frame_is_refused() -> None:
    node, _ = make(window=540)
    with pytest.raises(FrameError, match="ada: a window of 540 bytes does not hold its frames of 541"):
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


def test_what_a_round_sends() -> None:
    node, script = make(wire.Done(), *[wire.Trained(*range(10), np.zeros(0, np.uint8))] * 2, wire.Done())
    weights = np.arange(130).astype(np.int16)
    node.load(3, weights, keep=True)
    node.train(3, 1, 2, 3, 20000, 20, weights)
    node.train(4, 1, 2, 3, 20000, 20)
    head, with_weights, without = (body[1:] for body in script.requests[1:])
    assert (wire.Head.unpack(head).keep, plain(wire.Head.unpack(head).weights).tolist()) == (1, weights.tolist())
    assert plain(wire.Train.unpack(with_weights).weights).tolist() == weights.tolist()
    assert len(without) == wire.Train.BYTES and wire.Train.unpack(without).round == 4


# Links that are lost


class Plug:
    """Opens the same script again; ``failures``: so often it is not there yet."""

    def __init__(self, script: Script, failures: int = 0) -> None:
        self.script, self.failures, self.tries = script, failures, list[float]()

    def __call__(self) -> Script:
        self.tries.append(round(self.script.now, 3))
        if len(self.tries) <= self.failures:
            raise LinkError("script: no such port")
        self.script.broken = False
        return self.script

    def sleep(self, seconds: float) -> None:
        self.script.now += seconds


def replugged(*answers: Answer, failures: int = 0, patience: float = 1e9) -> tuple[Node, Script, Plug]:
    script = Script(*answers)
    plug = Plug(script, failures)
    node = Node(script, MANIFEST, "ada", clock=lambda: script.now, reopen=plug, sleep=plug.sleep, patience=patience)
    return node, script, plug


def test_a_lost_link_is_opened_again_and_the_call_goes_on_in_its_session() -> None:
    node, script, plug = replugged(wire.Evaluated(2, 2, 2), failures=6)
    node.hello()
    start, script.broken = script.now, True
    assert node.evaluate(0, 0).samples == 2
    assert [round(t - start, 2) for t in plug.tries] == [0.05, 0.15, 0.35, 0.75, 1.55, 2.55, 3.55]
    assert len(script.requests) == 2  # one HELLO, and the request once
    assert script.closed == 7


def test_a_link_that_breaks_while_the_board_works() -> None:
    """The reply was lost with it: a question brings it."""
    node, script, _ = replugged()
    node.hello()
    seen: list[Frame] = []

    def unplug(frame: Frame) -> bytes:
        seen.append(frame)
        script.broken = True
        return b""

    script._answers = [unplug]
    write = script.write

    def answer_questions(data: bytes) -> None:
        write(data)
        if any(f.purpose == FrameKind.ACK for f in FrameDecoder().feed(data)):
            script._out = whole(seen[0], wire.Evaluated(9, 9, 9))

    script.write = answer_questions  # type: ignore[method-assign]
    assert node.evaluate(0, 0).samples == 9
    assert len(script.requests) == 2 and node.repeats == 1


def test_a_link_that_does_not_come_back_ends_the_call_at_its_deadline() -> None:
    node, script, plug = replugged(failures=10**9)
    node.hello()
    start, script.broken = script.now, True
    with pytest.raises(LinkError, match="ada: EVALUATE: script: no such port") as caught:
        node.evaluate(0, 0, deadline=30)
    assert type(caught.value) is LinkError and 28 < script.now - start <= 30
    plug.failures = 0
    script._answers = [wire.Evaluated(2, 2, 2)]
    assert node.evaluate(0, 0).samples == 2  # a new session, over a new link


def test_patience_may_end_before_the_deadline() -> None:
    node, script, _ = replugged(failures=10**9, patience=5.0)
    node.hello()
    start, script.broken = script.now, True
    with pytest.raises(LinkError):
        node.evaluate(0, 0, deadline=3000)
    assert 3 < script.now - start <= 5


def test_a_link_that_is_lost_in_first_contact_is_opened_again() -> None:
    node, script, _ = replugged(failures=4)
    script.broken = True
    assert node.hello().name == "ada"


def test_a_closed_node_opens_nothing() -> None:
    node, script, plug = replugged()
    node.hello()
    node.close()
    script.broken = True
    with pytest.raises(LinkError):
        node.evaluate(0, 0)
    assert plug.tries == []


# Who the board is

KEY, OTHER = bytes(range(32)), bytes(32)


def keyed(script: Script, known: bytes | None = KEY, required: bool = True, nonces: bytes = b"n") -> Node:
    return Node(
        script,
        MANIFEST,
        "ada",
        clock=lambda: script.now,
        keys=lambda device: known if device == b"device-1" else None,
        require_auth=required,
        nonce=lambda size: (nonces * size)[:size],
    )


def test_an_enrolled_board_is_believed_and_its_messages_are() -> None:
    script = Script(wire.Evaluated(2, 2, 2), wire.Evaluated(3, 3, 3), key=KEY)
    node = keyed(script)
    node.hello()
    hello = wire.Hello.unpack(script.requests[0][1:])
    assert (hello.features, hello.nonce) == (wire.Feature.AUTH, b"n" * 16)
    assert [node.evaluate(0, 0).samples, node.evaluate(0, 0).samples] == [2, 3]
    assert script.requests[1][17:] == script.requests[2][17:] == b"\0\0"
    assert script.requests[1][1:17] != script.requests[2][1:17]  # the counter


def test_a_reply_without_the_right_mac_is_no_reply() -> None:
    script = Script(lambda frame: whole(frame, wire.Evaluated(666, 666, 1), auth.Channel(OTHER)), key=KEY)
    node = keyed(script)
    with pytest.raises(DeadlineError):
        node.evaluate(0, 0)
    assert node.forged == 1


@pytest.mark.parametrize(
    ("board", "known", "required", "complaint", "hint"),
    [
        (b"", KEY, False, "device 6465766963652d31 is enrolled, but this board holds no key", "enrol it again"),
        (OTHER, KEY, False, "the board does not know the key of device 6465766963652d31", "another host"),
        (b"", None, True, "device 6465766963652d31 is not enrolled", "tinyfl device enrol"),
        (KEY, None, False, "this host has none for device 6465766963652d31", "copy its key file"),
    ],
)
def test_a_board_that_proves_nothing_is_refused(
    board: bytes, known: bytes | None, required: bool, complaint: str, hint: str
) -> None:
    script = Script(wire.Evaluated(2, 2, 2), key=board)
    node = keyed(script, known, required)
    for _ in range(2):
        with pytest.raises(AuthError, match=complaint) as caught:
            node.evaluate(0, 0)
        assert hint in caught.value.hint and caught.value.message.startswith("ada: ") and caught.value.exit_code == 4
    assert len(script.requests) == 2 and node.welcome is None  # HELLOs alone
    assert node.identify().name == "ada"  # what it says can be read all the same


def test_without_keys_a_board_without_one_is_taken_and_an_enrolled_one_is_not() -> None:
    script = Script(wire.Evaluated(2, 2, 2))
    assert keyed(script, None, required=False).evaluate(0, 0).samples == 2
    node, script = make(key=KEY)
    with pytest.raises(AuthError, match="this host has none"):
        node.hello()
    assert wire.Hello.unpack(script.requests[0][1:]).features == 0


def test_a_recorded_welcome_proves_nothing() -> None:
    """The host's nonce is new: the proof is over another one."""
    first = Script(key=KEY)
    keyed(first).hello()
    recorded = first._greet(Frame(FrameKind.WHOLE, 0, 1, first.requests[0]))
    second = Script()
    second.welcome = recorded
    with pytest.raises(AuthError, match="does not know the key"):
        keyed(second, nonces=b"m").hello()


def test_a_changed_welcome_proves_nothing() -> None:
    """What the proof is over: device, boot, model, name, features and all the rest."""
    for field, value in (("boot", 8), ("train_samples", 7), ("body_bytes", 1), ("window", 5000), ("nonce", b"x" * 16)):
        first = Script(key=KEY)
        keyed(first).hello()
        changed = first._greet(Frame(FrameKind.WHOLE, 0, 1, first.requests[0]))
        second = Script()
        second.welcome = wire.Welcome(**changed.__dict__ | {field: value})
        with pytest.raises(AuthError, match="does not know the key"):
            keyed(second).hello()


def test_a_boot_counter_only_rises() -> None:
    script = Script(key=KEY, boot=7)
    node = keyed(script)
    node.hello()
    for boot, right in ((7, True), (8, True), (7, False), (8, True)):
        script.welcome = wire.Welcome(**{**WELCOME, "boot": boot})  # type: ignore[arg-type]
        if right:
            assert node.hello().boot == boot
        else:
            with pytest.raises(AuthError, match="is in boot 7, it was in 8 before"):
                node.hello()


def test_enrolling_ends_the_session() -> None:
    script = Script(wire.Done(), wire.Evaluated(2, 2, 2))
    keys: dict[bytes, bytes] = {}
    node = Node(script, MANIFEST, "ada", clock=lambda: script.now, keys=keys.get)
    node.enrol(KEY)
    assert script.requests[1] == bytes([wire.Enrol.TYPE]) + KEY
    keys[b"device-1"] = script.key = KEY
    assert node.evaluate(0, 0).samples == 2
    assert [r[0] for r in script.requests] == [wire.Hello.TYPE, wire.Enrol.TYPE, wire.Hello.TYPE, wire.Evaluate.TYPE]

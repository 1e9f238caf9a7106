"""The threats of docs/SECURITY.md, each tried on a real board (posix, sanitizers) and the real host: the weights that
the board holds afterwards tell whether it believed anything that it should not have.
"""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from support_board import build_board
from support_messages import head as put
from support_messages import train
from support_runner import COMPILERS, ROOT
from support_security import MODEL, UNIT, Hand, Mallory, PosixBoard, head, to_host

from tinyfl.errors import AuthError, BoardError, DeadlineError, LinkError, UsageError
from tinyfl.wire import messages as wire
from tinyfl.wire.frame import Frame
from tinyfl.wire.messages import FrameKind
from tinyfl_host import enrolment
from tinyfl_host.cli.main import main
from tinyfl_host.enrolment import enrol, enrol_over
from tinyfl_host.keys import load_keys
from tinyfl_host.links.link import DescriptorLink
from tinyfl_host.links.trace import Trace
from tinyfl_host.node import Node

FIRST, SECOND = head(1), head(2)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_board(COMPILERS[0], MODEL, tmp_path_factory.mktemp("board"))


@pytest.fixture
def make(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], PosixBoard]]:
    """Boards by name, and a key file of this test's own."""
    monkeypatch.setenv("TINYFL_KEYS", str(tmp_path / "keys.json"))
    boards: list[PosixBoard] = []

    def board(name: str = "board-7") -> PosixBoard:
        boards.append(PosixBoard(program, tmp_path, name))
        return boards[-1]

    yield board
    for one in boards:
        one.check()


@pytest.fixture
def board(make: Callable[[], PosixBoard]) -> PosixBoard:
    """One that is enrolled."""
    made = make()
    enrol_over(made.power_on(), "board", load_keys())
    return made


@pytest.fixture
def line(board: PosixBoard) -> Iterator[DescriptorLink]:
    """The enrolled board, switched on."""
    link = board.power_on()
    yield link
    link.close()


@pytest.fixture
def key(board: PosixBoard) -> bytes:
    (entry,) = load_keys().entries.values()
    assert entry.key is not None
    return entry.key


def host(link: Mallory | DescriptorLink, **options: object) -> Node:
    return Node(link, None, "ada", keys=load_keys().get, **options)  # type: ignore[arg-type]


def test_an_enrolled_board_and_its_host_work_as_ever(line: DescriptorLink) -> None:
    node = host(line, require_auth=True)
    node.load(1, FIRST)
    np.testing.assert_array_equal(node.pull(), FIRST)
    assert node.train(1, 99, 0, 1, 20000, 16, SECOND).samples == 16
    assert len(node.collect(1, 10, 5).deltas) == len(FIRST)
    with pytest.raises(BoardError):
        node.collect(2, 10, 5)  # a refusal is authenticated as well
    assert node.forged == 0


# A fake board


def test_a_fake_board_does_not_pass(make: Callable[[], PosixBoard], line: DescriptorLink, tmp_path: Path) -> None:
    """It says the device id of ours and has a key, but not ours."""
    device = next(iter(load_keys().entries))
    other = load_keys(tmp_path / "other.json")
    fake = make("fake")
    enrol_over(fake.power_on(), "fake", other)
    link = Mallory(fake.power_on(), up=lambda frame: [with_device(frame, device)])
    node = host(link)
    with pytest.raises(AuthError, match="does not know the key"):
        node.load(1, FIRST)
    assert [frame.payload[0] for frame in link.went_down if frame.purpose == FrameKind.WHOLE] == [wire.Hello.TYPE]
    link.close()


def with_device(frame: Frame, device: bytes) -> Frame:
    if frame.purpose != FrameKind.WHOLE or frame.payload[0] != wire.Welcome.TYPE:
        return frame
    welcome = dataclasses.replace(wire.Welcome.unpack(frame.payload[1:]), device=device)
    return dataclasses.replace(frame, payload=bytes([wire.Welcome.TYPE]) + welcome.pack())


def test_a_recorded_welcome_does_not_pass(line: DescriptorLink) -> None:
    """The host's nonce is another one each time."""
    link = Mallory(line)
    host(link).hello()
    (recorded,) = [f for f in link.went_up if f.payload[:1] == bytes([wire.Welcome.TYPE])][:1]
    link.up = lambda frame: [dataclasses.replace(recorded, session=frame.session)]
    with pytest.raises(AuthError, match="does not know the key"):
        host(link).hello()


def test_a_reply_that_the_board_did_not_seal_is_not_taken(line: DescriptorLink) -> None:
    """Somebody answers in the board's place, at once and with right CRCs."""
    link = Mallory(line)
    node = host(link)
    node.load(1, FIRST)
    forged = bytes([wire.Weights.TYPE]) + bytes(16) + wire.Weights(1, SECOND).pack()
    link.up = lambda frame: [dataclasses.replace(frame, payload=forged), frame] if sealed(frame) else [frame]
    np.testing.assert_array_equal(node.pull(), FIRST)
    assert node.forged == 1


def sealed(frame: Frame) -> bool:
    """A reply in an authenticated session."""
    return frame.purpose == FrameKind.WHOLE and frame.payload[0] != wire.Welcome.TYPE


# A fake host


@pytest.mark.parametrize("shape", ["whole", "long"])
def test_a_host_without_the_key_is_not_obeyed(line: DescriptorLink, key: bytes, shape: str) -> None:
    """Whatever stands where the MAC should be: nothing, zeros, or a MAC by another key."""
    owner = Hand(line, key, 1)
    assert owner.ask(put(1, 0, FIRST)) == wire.Done()
    thief = Hand(line, secrets.token_bytes(32), 2)
    assert not thief.proved
    body = put(2, 1, SECOND).pack()
    for mac in (b"", bytes(16), thief.channel.mac(False, 1, wire.Head.TYPE, body)):
        thief.send(*thief.shaped(shape, 1, wire.Head.TYPE, mac, body))
    owner = Hand(line, key, 3)
    np.testing.assert_array_equal(owner.pull(), FIRST)
    assert thief.replies == [0] and owner.replies == [0, 1]


def test_nothing_is_asked_of_a_board_before_a_mac_holds(line: DescriptorLink, key: bytes) -> None:
    """No request at all, not even one that changes nothing, is carried out or refused for a stranger."""
    thief = Hand(line, bytes(32), 2)
    requests = [m for m in wire.MESSAGES.values() if 0 < m.TYPE < 0x80 and m is not wire.Hello]
    assert len(requests) == 9
    for counter in (1, 2, 127):
        for message in (*requests, wire.Enrol):
            thief.send(thief.whole(counter, message.TYPE, bytes(16), bytes(message.BYTES)))
            thief.send(*thief.long(counter, message.TYPE, bytes(16), bytes(message.BYTES)))
    owner = Hand(line, key, 3)
    assert owner.proved and len(owner.pull()) == len(FIRST)
    assert thief.replies == [0] and owner.replies == [0, 1]


# Replay


def test_a_replay_in_the_same_session_is_not_taken(line: DescriptorLink, key: bytes) -> None:
    """Under its own number, and under those that are still to come."""
    ours = Hand(line, key, 1)
    first = ours.seal(1, put(1, 0, FIRST))
    assert ours.ask(put(1, 0, FIRST)) == wire.Done()
    assert ours.ask(put(2, 0, SECOND)) == wire.Done()
    ours.send(first, *(dataclasses.replace(first, message=number) for number in range(256)))
    np.testing.assert_array_equal(ours.pull(), SECOND)
    assert ours.replies.count(1) == 1  # what is done is not answered again either


def test_a_replay_256_messages_later_is_not_taken(line: DescriptorLink, key: bytes) -> None:
    """The frame's number is the same again; the counter under the MAC is not."""
    ours = Hand(line, key, 1)
    first = ours.seal(1, put(1, 0, FIRST))
    assert ours.ask(put(1, 0, FIRST)) == wire.Done()
    for _ in range(255):
        assert ours.ask(put(2, 0, SECOND)) == wire.Done()
    ours.send(first)
    np.testing.assert_array_equal(ours.pull(), SECOND)
    assert ours.session.counter == 257


@pytest.mark.parametrize("reset", [False, True])
def test_a_replay_of_an_older_session_is_not_taken(board: PosixBoard, key: bytes, reset: bool) -> None:
    """All of it, HELLO first: as it was, as a new session, and inside the session that is open now."""
    link = board.power_on()
    recorder = Mallory(link)
    old = Hand(recorder, key, 1)  # its nonce is the same each time: the board's alone keeps the sessions apart
    assert old.ask(put(1, 1, FIRST)) == wire.Done()
    if reset:
        link.close()
        link = board.power_on()
    now = Hand(link, key, 2)
    assert now.ask(put(2, 1, SECOND)) == wire.Done()
    now.send(*(dataclasses.replace(f, message=f.message + 1, session=2) for f in recorder.went_down))
    np.testing.assert_array_equal(now.pull(), SECOND)
    for number in (1, 3):
        now.send(*(dataclasses.replace(f, session=number) for f in recorder.went_down))
    np.testing.assert_array_equal(Hand(link, key, 4).pull(), SECOND)
    link.close()


def test_two_sessions_have_no_key_in_common(board: PosixBoard, key: bytes) -> None:
    """With the same nonce of the host: the board's counts resets and HELLOs."""
    macs = set()
    for _ in range(2):
        link = board.power_on()
        for number in (1, 2, 3):
            macs.add(Hand(link, key, number).channel.mac(False, 1, 2, b""))
        link.close()
    assert len(macs) == 6


# Reordering, truncation, reflection, bit flips


def test_reordered_messages_are_taken_in_rising_order_only(line: DescriptorLink, key: bytes) -> None:
    ours = Hand(line, key, 1)
    late, early = ours.seal(1, put(1, 0, FIRST)), ours.seal(2, put(2, 0, SECOND))
    ours.send(early, late, early)
    ours.session.counter = 2
    np.testing.assert_array_equal(ours.pull(), SECOND)
    assert 1 not in ours.replies


@pytest.mark.parametrize("shape", ["whole", "long"])
def test_a_shortened_message_is_not_taken(line: DescriptorLink, key: bytes, shape: str) -> None:
    """By every number of bytes; a TRAIN without its weights would be a legal one."""
    ours = Hand(line, key, 1)
    assert ours.ask(put(1, 0, FIRST)) == wire.Done()
    message = train(2, 1, 0, 1, 20000, 16, SECOND)
    body = message.pack()
    mac = ours.channel.mac(False, 2, wire.Train.TYPE, body)
    for size in [*range(len(body)), len(body) + 1]:
        cut = (body + b"\0")[:size]
        ours.send(*ours.shaped(shape, 2, wire.Train.TYPE, mac, cut))
    np.testing.assert_array_equal(ours.pull(), FIRST)
    assert ours.replies == [0, 1, 2]


def test_a_board_does_not_take_its_own_reply_for_a_request(line: DescriptorLink, key: bytes) -> None:
    """WEIGHTS that the board has sealed, sent back as it is, and with type and direction changed."""
    ours = Hand(line, key, 1)
    weights = ours.pull()
    (reply,) = [frame for frame in ours.frames if frame.message == 1 and frame.purpose == FrameKind.WHOLE]
    for kind in (reply.kind, reply.kind & ~8):
        for number in (1, 2, 3):
            for type in (wire.Weights.TYPE, wire.Weights.TYPE & 0x7F, wire.Head.TYPE):
                ours.send(Frame(kind, number, 1, bytes([type]) + reply.payload[1:]))
    np.testing.assert_array_equal(ours.pull(), weights)
    assert ours.replies.count(2) == 1 and 3 not in ours.replies


def test_a_host_does_not_take_its_own_request_for_a_reply(line: DescriptorLink) -> None:
    """Every frame comes back, with the bits of its direction changed; the board gets none."""
    link = Mallory(line)
    node = host(link)
    node.load(1, FIRST)
    echoes: list[Frame] = []

    def reflect(frame: Frame) -> list[Frame]:
        for type in (frame.payload[0], frame.payload[0] | 0x80, wire.Weights.TYPE):
            echoes.append(to_host(frame.purpose, frame.message, frame.session, bytes([type]) + frame.payload[1:]))
        return [frame]

    def answer(frame: Frame) -> list[Frame]:
        mirrored, echoes[:] = list(echoes), []
        return [*mirrored, frame]

    link.down, link.up = reflect, answer
    np.testing.assert_array_equal(node.pull(), FIRST)
    assert node.forged == 2  # the types of replies among the three


@pytest.mark.parametrize("shape", ["whole", "long"])
def test_no_flipped_bit_is_taken_by_the_board(line: DescriptorLink, key: bytes, shape: str) -> None:
    """One in each byte of type, MAC and body, behind a CRC and a digest that were made right again."""
    ours = Hand(line, key, 1)
    assert ours.ask(put(1, 0, FIRST)) == wire.Done()
    body = put(2, 0, SECOND).pack()
    sealed = bytes([wire.Head.TYPE]) + ours.channel.mac(False, 2, wire.Head.TYPE, body) + body
    for at in range(len(sealed)):
        bent = sealed[:at] + bytes([sealed[at] ^ 1 << at % 7]) + sealed[at + 1 :]
        ours.send(*ours.shaped(shape, 2, bent[0], bent[1:17], bent[17:]))
    np.testing.assert_array_equal(ours.pull(), FIRST)
    assert ours.replies == [0, 1, 2]


def test_no_flipped_bit_is_taken_by_the_host(line: DescriptorLink) -> None:
    """Every bit of a reply, each behind a CRC that was made right again, before the reply itself comes."""
    link = Mallory(line)
    node = host(link)
    node.load(1, FIRST)

    def bend(frame: Frame) -> list[Frame]:
        if not sealed(frame):
            return [frame]
        value, size = int.from_bytes(frame.payload, "little"), len(frame.payload)
        bent = [(value ^ 1 << bit).to_bytes(size, "little") for bit in range(8 * size)]
        return [*(dataclasses.replace(frame, payload=payload) for payload in bent), frame]

    link.up = bend
    np.testing.assert_array_equal(node.pull(), FIRST)
    assert node.forged == 8 * (1 + 16 + 4 + 2 * len(FIRST)) - 1  # without the bit that says that it is a reply


def test_a_spoiled_reply_is_asked_for_again(line: DescriptorLink) -> None:
    link = Mallory(line)
    node = host(link)
    node.load(1, FIRST)
    spoiled: list[Frame] = []

    def spoil(frame: Frame) -> list[Frame]:
        if not sealed(frame) or spoiled:
            return [frame]
        spoiled.append(dataclasses.replace(frame, payload=frame.payload[:-1] + bytes([frame.payload[-1] ^ 1])))
        return spoiled

    link.up = spoil
    np.testing.assert_array_equal(node.pull(), FIRST)
    assert node.forged == 1 and len(spoiled) == 1


def test_a_refusal_is_not_sealed_for_a_stranger(line: DescriptorLink, key: bytes) -> None:
    """Else he could have the board refuse, in good form, what its host is about to ask."""
    ours = Hand(line, key, 1)
    assert ours.ask(put(1, 0, FIRST)) == wire.Done()
    payload = bytes([wire.Pull.TYPE]) + (1 << 20).to_bytes(4, "little") + bytes(4 + 16)
    ours.send(Frame(FrameKind.OPEN, 2, 1, payload), Frame(FrameKind.OPEN, 90, 1, payload))
    np.testing.assert_array_equal(ours.pull(), FIRST)
    assert ours.replies == [0, 1, 2]


def test_units_that_a_stranger_put_into_a_transfer_are_thrown_away(line: DescriptorLink, key: bytes) -> None:
    """He can stop it, not change it: the host sends all of it again."""
    link = Mallory(line)
    ours = Hand(link, key, 1)
    body = put(1, 0, FIRST).pack()
    opened, *data = ours.long(1, wire.Head.TYPE, ours.channel.mac(False, 1, wire.Head.TYPE, body), body)
    foreign = [dataclasses.replace(f, payload=f.payload[:2] + bytes(len(f.payload) - 2)) for f in data]
    link.inject(opened, *foreign, *data)
    assert len(data) == -(-len(body) // UNIT) > 1
    assert ours.ask(put(1, 0, FIRST)) == wire.Done()
    np.testing.assert_array_equal(ours.pull(), FIRST)


# Downgrade


@pytest.mark.parametrize("what", ["AUTH bit cleared", "bit and proof cleared", "host's bit cleared"])
def test_nobody_can_talk_the_two_out_of_authentication(line: DescriptorLink, what: str) -> None:
    def up(frame: Frame) -> list[Frame]:
        if frame.payload[:1] != bytes([wire.Welcome.TYPE]):
            return [frame]
        welcome = wire.Welcome.unpack(frame.payload[1:])
        features = welcome.features & ~int(wire.Feature.AUTH)
        welcome = dataclasses.replace(welcome, features=features)
        if "proof" in what:
            welcome = dataclasses.replace(welcome, proof=bytes(16))
        return [dataclasses.replace(frame, payload=frame.payload[:1] + welcome.pack())]

    def down(frame: Frame) -> list[Frame]:
        hello = dataclasses.replace(wire.Hello.unpack(frame.payload[1:]), features=0)
        return [dataclasses.replace(frame, payload=frame.payload[:1] + hello.pack())]

    link = Mallory(line, down=down) if "host" in what else Mallory(line, up=up)
    expected = "does not know the key" if "host" in what else "holds no key"
    with pytest.raises(AuthError, match=expected):
        host(link).load(1, FIRST)
    assert all(frame.payload[0] == wire.Hello.TYPE for frame in link.went_down)


def test_a_board_that_was_never_enrolled_is_refused_where_authentication_is_asked_for(
    make: Callable[[], PosixBoard],
) -> None:
    link = make("stranger").power_on()
    node = Node(link, None, "ada", keys=load_keys().get, require_auth=True)
    with pytest.raises(AuthError, match="not enrolled"):
        node.load(1, FIRST)
    link.close()


# A stolen fleet file, a trace, the firmware


def test_a_thief_of_all_but_the_key_file_can_do_nothing(
    board: PosixBoard, program: Path, key: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He has the fleet file (links and device ids), the firmware and the record of every byte on the line."""
    device = next(iter(load_keys().entries))
    trace = Trace(tmp_path / "trace.jsonl")
    link = trace.wrap("board", board.power_on())
    node = host(link)
    node.load(1, FIRST)
    node.close()
    trace.close()
    recorded = (tmp_path / "trace.jsonl").read_text()
    assert len(recorded) > 500 and key.hex() not in recorded.lower()
    assert key not in program.read_bytes() and key not in MODEL.sources["model.c"].encode()

    monkeypatch.setenv("TINYFL_KEYS", str(tmp_path / "thief.json"))
    link = board.power_on()
    with pytest.raises(AuthError, match=f"none for device {device.hex()}"):
        host(link).load(2, SECOND)
    link.close()


def test_the_key_of_one_board_does_not_open_another(
    make: Callable[[], PosixBoard], line: DescriptorLink, key: bytes
) -> None:
    other = make("board-8")
    enrol_over(other.power_on(), "board-8", load_keys())
    keys = load_keys()
    assert len({entry.key for entry in keys.entries.values()}) == 2
    link = other.power_on()
    assert not Hand(link, key, 1).proved
    assert Hand(line, key, 1).proved
    link.close()


# Enrolment


def test_a_board_is_enrolled_once(board: PosixBoard) -> None:
    with pytest.raises(UsageError, match="enrolled by this host already") as caught:
        enrol_over(board.power_on(), "board", load_keys())
    assert "--replace" in caught.value.hint
    before = load_keys()
    enrol_over(board.power_on(), "board", load_keys(), replace=True)
    after = load_keys()
    (device,) = after.entries
    assert before.get(device) != after.get(device) and after.entries[device].pending is None
    link = board.power_on()
    host(link, require_auth=True).load(1, FIRST)
    link.close()


def test_another_host_cannot_enrol_a_board_again(board: PosixBoard, tmp_path: Path) -> None:
    for replace in (False, True):
        with pytest.raises(AuthError, match="holds a key that is not in"):
            enrol_over(board.power_on(), "board", load_keys(tmp_path / "other.json"), replace)
    assert not (tmp_path / "other.json").exists()


def test_a_board_whose_flash_was_erased_is_not_enrolled_again_unasked(board: PosixBoard) -> None:
    """It might be another one that says it is this one."""
    before = load_keys().entries
    board.store.unlink()
    with pytest.raises(AuthError, match="this board holds none") as caught:
        enrol_over(board.power_on(), "board", load_keys())
    assert load_keys().entries == before and "--replace" in caught.value.hint
    enrol_over(board.power_on(), "board", load_keys(), replace=True)
    assert load_keys().entries != before


@pytest.mark.parametrize("board_got_it", [False, True])
@pytest.mark.parametrize("replace", [False, True])
def test_an_enrolment_that_is_cut_off_loses_no_key(
    make: Callable[[], PosixBoard], monkeypatch: pytest.MonkeyPatch, board_got_it: bool, replace: bool
) -> None:
    board = make()
    if replace:
        enrol_over(board.power_on(), "board", load_keys())
    whole = Node.enrol

    def cut(self: Node, key: bytes, **options: float) -> None:
        if board_got_it:
            whole(self, key)
        raise LinkError("unplugged")

    with monkeypatch.context() as patch:
        patch.setattr(Node, "enrol", cut)
        with pytest.raises(LinkError, match="unplugged"):
            enrol_over(board.power_on(), "board", load_keys(), replace)
    (entry,) = load_keys().entries.values()
    assert entry.pending is not None and (entry.key is not None) == replace
    enrol_over(board.power_on(), "board", load_keys(), replace)
    (done,) = load_keys().entries.values()
    assert done.pending is None and (done.key == entry.pending) == board_got_it
    link = board.power_on()
    host(link, require_auth=True).load(1, FIRST)
    link.close()


def test_a_board_that_takes_no_key_leaves_none_behind(
    make: Callable[[], PosixBoard], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Node, key: bytes) -> None:
        raise BoardError("no store", status=wire.Status.ERROR_STORE)

    monkeypatch.setattr(Node, "enrol", refuse)
    with pytest.raises(BoardError, match="no store"):
        enrol_over(make().power_on(), "board", load_keys())
    assert load_keys().empty


def test_a_board_without_an_id_is_not_enrolled(make: Callable[[], PosixBoard]) -> None:
    link = Mallory(make().power_on(), up=lambda frame: [with_device(frame, bytes(8))])
    with pytest.raises(BoardError, match="no device id"):
        enrol_over(link, "board", load_keys())
    assert load_keys().empty


def test_the_command_names_the_device_and_never_the_key(
    make: Callable[[], PosixBoard], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    board = make()
    monkeypatch.setattr(enrolment, "open_link", lambda link: board.power_on())
    assert main(["device", "enrol", "unix:board", "--json"]) == 0
    shown = capsys.readouterr()
    ((device, entry),) = load_keys().entries.items()
    assert entry.key is not None and entry.key.hex() not in shown.out + shown.err
    assert json.loads(shown.out) == {"device": device.hex(), "name": "board-7", "keys": str(load_keys().path)}


def test_no_key_goes_through_the_air(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrolment, "open_link", lambda link: pytest.fail("opened"))
    for link in ("ble:name=tfl-01", "BLE:AA:BB:CC:DD:EE:FF"):
        with pytest.raises(UsageError, match="through the air"):
            enrol(link)


def test_who_writes_on_the_line_can_stop_a_call_and_no_more(line: DescriptorLink) -> None:
    """Every reply is swallowed: the call ends at its deadline, the next session works."""
    link = Mallory(line)
    node = host(link, silence=0.5)
    node.load(1, FIRST)
    link.up = lambda frame: []
    with pytest.raises(DeadlineError):
        node.pull(deadline=0.5)
    link.up = lambda frame: [frame]
    np.testing.assert_array_equal(node.pull(), FIRST)


def test_the_page_names_tests_that_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/SECURITY.md").read_text()))
    assert len(named) > 20 and named <= globals().keys()

"""Rounds over BLE: real firmware in processes, real frames, the real bleak client, only the air is virtual."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support_ble import Air, BleFleet, Peripheral
from support_board import build_board
from support_faults import FAULTS, MEMBER, Fault, round_over, twins_round
from support_rounds import MODEL, TwinFleet, contents, head_format, image, members, run, settings, twin

from tinyfl.errors import AuthError
from tinyfl.reference.head import rate, to_wire
from tinyfl_host.boards import board
from tinyfl_host.emulate import boot
from tinyfl_host.events import BoardDropped
from tinyfl_host.fleet import Member
from tinyfl_host.links import Link, ble, open_link
from tinyfl_host.node import Node

pytestmark = pytest.mark.slow

KEY, OTHER = bytes(range(32)), bytes(range(32, 64))
SHORT = settings(rounds=2, local_only=False)


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_board("gcc", MODEL, tmp_path_factory.mktemp("board"))


@pytest.fixture
def air() -> Iterator[Air]:
    with Air() as air:
        ble.use_backend(air.backend)
        yield air
    ble.use_backend(None)


@pytest.mark.parametrize("mtu", [23, 64, 185, 247])
def test_a_run_over_ble_is_the_twins_run_byte_for_byte(tmp_path: Path, air: Air, firmware: Path, mtu: int) -> None:
    boards = members(2, 0)
    with BleFleet(air, "posix", firmware, boards, mtu) as fleet:
        outcome = run(tmp_path / "ble", fleet, SHORT)
    run(tmp_path / "twin", TwinFleet(boards), SHORT)
    assert not outcome.of(BoardDropped)
    assert contents(tmp_path / "ble") == contents(tmp_path / "twin")
    assert all(max(radio.writes) <= mtu - 3 for radio in fleet.radios.values())


@pytest.fixture
def enrolled(air: Air, firmware: Path, tmp_path: Path) -> Iterator[Callable[[bytes], Peripheral]]:
    """Boots a board, gives it a key over BLE, and returns its radio; all call themselves b1."""
    with contextlib.ExitStack() as boards:

        def start(key: bytes) -> Peripheral:
            store = tmp_path / f"store{key[0]}"
            emulator = boot(board("posix"), firmware, image(MEMBER), name=MEMBER.name, store=store)
            boards.callback(emulator.close)
            radio = air.board("b1", mtu=64, uart=emulator.link.removeprefix("unix:"))
            node = Node(connect())
            node.enrol(key)
            node.close()
            return radio

        yield start


def connect() -> Link:
    return open_link("ble:name=b1")


@pytest.mark.parametrize("count", [1, 60, 120, 200])
def test_a_board_that_vanishes_in_an_authenticated_round_finishes_it(
    enrolled: Callable[[bytes], Peripheral], count: int
) -> None:
    """Once at least ``count`` bytes have come to it, in writes of 61: in HELLO, in TRAIN twice, in COLLECT."""
    radio = enrolled(KEY)
    before = radio.connections
    radio.vanish_after(count, 0.1)
    assert round_over(connect, KEY, Fault())[0] == twins_round()
    assert radio.connections == before + 2


def test_no_new_session_is_opened_for_a_new_connection(air: Air, firmware: Path) -> None:
    member, head = Member("b0", 0, "twin"), head_format()
    job = (1, 3, 0, 2, *rate(0.5, head.r2, head.fw), to_wire(head.initial))
    with BleFleet(air, "posix", firmware, [member], mtu=23) as fleet:
        node = Node(fleet.connect(member), MODEL.manifest, "b0", reopen=lambda: fleet.connect(member))
        node.hello()
        session = node._session
        fleet.radios["b0"].vanish_after(50, 0.1)
        trained = node.train(*job)
        delta = node.collect(1, 5, 77)
        assert node._session is session and fleet.radios["b0"].connections == 2
        node.close()
    board = twin(member)
    assert trained.max_delta == board.train(*job).max_delta
    assert delta.deltas.tobytes() == board.collect(1, 5, 77).deltas.tobytes()


def test_a_board_is_known_by_its_key_never_by_its_name(enrolled: Callable[[bytes], Peripheral]) -> None:
    first = enrolled(KEY)
    first.vanish()
    enrolled(OTHER)
    with pytest.raises(AuthError, match="does not know the key"):
        round_over(connect, KEY, Fault())
    assert round_over(connect, OTHER, Fault())[0] == twins_round()


@pytest.mark.parametrize("kind", FAULTS)
def test_no_fault_on_the_way_changes_what_a_round_comes_to(enrolled: Callable[[bytes], Peripheral], kind: str) -> None:
    """At every 37th byte of an authenticated round, in both directions."""
    enrolled(KEY)
    _, link = round_over(connect, KEY, Fault())
    for up, count in ((True, link.up), (False, link.down)):
        for position in range(0, count, 37):
            fault = Fault(kind, up, position)
            assert round_over(connect, KEY, fault)[0] == twins_round(), (up, position)
            assert fault.done

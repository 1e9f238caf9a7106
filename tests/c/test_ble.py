"""BLE links: the real bleak client through virtual air to a board that echoes what it gets."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support_ble import Air
from support_line import read_all

from tinyfl.errors import LinkError
from tinyfl_host.cli.main import main
from tinyfl_host.links import Link, ble, open_link

pytestmark = pytest.mark.slow

PAYLOAD = bytes(range(256)) * 80 + b"end"


@pytest.fixture
def air(monkeypatch: pytest.MonkeyPatch) -> Iterator[Air]:
    for name, seconds in (("LOOK", 0.2), ("LOOK_AROUND", 0.2), ("PAUSES", (0.0, 0.02, 0.04, 0.08))):
        monkeypatch.setattr(ble, name, seconds)
    with Air() as air:
        ble.use_backend(air.backend)
        yield air
    ble.use_backend(None)


def echo(link: Link, data: bytes = PAYLOAD) -> None:
    link.write(data)
    assert read_all(link, len(data), 5.0) == data
    assert link.read(0.0) == b""


@pytest.mark.parametrize("mtu", [23, 64, 185, 247])
def test_twenty_kilobytes_each_way_in_writes_that_fit(air: Air, mtu: int) -> None:
    board, size = air.board(mtu=mtu), min(mtu - 3, 244)
    link = open_link("ble:name=tfl-01")
    start = time.perf_counter()
    echo(link)
    print(f"MTU {mtu}: {len(PAYLOAD) / (time.perf_counter() - start) / 1000:.1f} kB/s each way")
    link.close()
    assert board.writes == [size] * (len(PAYLOAD) // (size)) + [len(PAYLOAD) % (size)]


def test_no_write_is_longer_than_one_packet(air: Air) -> None:
    board = air.board(mtu=517)
    link = open_link("ble:name=tfl-01")
    echo(link)
    link.close()
    assert max(board.writes) == 244


def test_two_boards_at_once_in_one_loop(air: Air) -> None:
    boards = [air.board(name, mtu=mtu) for name, mtu in (("tfl-01", 247), ("tfl-02", 64))]
    with ThreadPoolExecutor(2) as pool:
        links = list(pool.map(open_link, ["ble:name=tfl-01", f"ble:{boards[1].address.lower()}"]))
        list(pool.map(echo, links, [PAYLOAD, PAYLOAD[::-1]]))
    for link in links:
        link.close()
    assert [max(board.writes) for board in boards] == [244, 61]
    assert [thread.name for thread in threading.enumerate()].count("ble") == 1


def test_a_board_that_vanishes_in_a_transfer_is_reached_again(air: Air) -> None:
    board = air.board()
    link = open_link("ble:name=tfl-01")
    board.vanish_after(5000, 0.2)
    with pytest.raises(LinkError, match="ble:name=tfl-01: the board has disconnected") as caught:
        for _ in range(1000):
            link.write(PAYLOAD)
    assert caught.value.hint
    with pytest.raises(LinkError, match="disconnected"):
        while link.read(1.0):
            pass
    link.close()
    again = open_link("ble:name=tfl-01")
    echo(again)
    again.close()


def test_what_came_before_the_end_is_handed_out(air: Air) -> None:
    board = air.board()
    link = open_link("ble:")
    link.write(b"last")
    data = read_all(link, 1, 5.0)
    board.vanish()
    with pytest.raises(LinkError, match="disconnected"):
        while True:
            data += link.read(1.0)
    assert data == b"last"
    link.close()


def test_a_reader_that_waits_hears_of_the_end(air: Air) -> None:
    board = air.board()
    link = open_link("ble:")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(link.read, 30.0)
        board.vanish()
        with pytest.raises(LinkError, match="disconnected"):
            waiting.result(5.0)
    link.close()


def test_the_controller_goes_away(air: Air) -> None:
    air.board()
    link = open_link("ble:")
    air.unplug()
    with pytest.raises(LinkError, match="disconnected"):
        link.read(5.0)
    link.close()


def test_a_closed_link_says_so_and_the_board_is_free_again(air: Air) -> None:
    air.board()
    link = open_link("ble:")
    link.close()
    link.close()
    with pytest.raises(LinkError, match="closed"):
        link.read(0.0)
    with pytest.raises(LinkError, match="closed"):
        link.write(b"x")
    again = open_link("ble:")
    echo(again, b"x")
    again.close()


def test_a_program_that_ends_lets_its_boards_go(air: Air) -> None:
    """The virtual controller does not do it by itself when the program's socket closes."""
    board = air.board()
    program = "\n".join(
        [
            "from tinyfl_host.links import open_link",
            "link = open_link('ble:name=tfl-01')",
            "link.write(b'x')",
            "print(link.read(5))",
        ]
    )
    environment = os.environ | {"TINYFL_BLE_BACKEND": air.backend}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=20)
    assert (done.stdout, done.stderr) == ("b'x'\n", "")
    assert board.connections == 1 and not board.connected


def test_the_service_decides_never_the_name(air: Air, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ble, "LOOKS", 1)
    namesake = air.board("tfl-01", advertises=False)
    with pytest.raises(LinkError, match="no board is advertising"):
        open_link("ble:name=tfl-01")
    with pytest.raises(LinkError, match="no board is advertising"):
        open_link(f"ble:{namesake.address}")
    board = air.board("tfl-01")
    link = open_link("ble:name=tfl-01")
    echo(link, b"x")
    link.close()
    assert not namesake.writes and board.writes == [1]


def test_a_service_that_is_advertised_but_not_there(air: Air) -> None:
    board = air.board(offers=False)
    with pytest.raises(LinkError, match="advertises the Nordic UART Service, but does not offer it"):
        open_link("ble:name=tfl-01")
    board.vanish()


def test_a_link_without_name_takes_the_only_board(air: Air) -> None:
    first = air.board("tfl-01")
    link = open_link("ble:")
    echo(link, b"x")
    link.close()
    air.board("tfl-02")
    with pytest.raises(
        LinkError, match=rf"ble:: 2 boards are there: tfl-01 \({first.address}\), tfl-02 \(C0:"
    ) as caught:
        open_link("ble:")
    assert "ble:name=" in caught.value.hint


def test_what_was_heard_is_named(air: Air, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ble, "LOOKS", 1)
    air.board("tfl-02")
    with pytest.raises(LinkError, match=r"ble:name=tfl-01: not found; boards that were: tfl-02 \(C0:"):
        open_link("ble:name=tfl-01")


def test_a_board_that_refuses_is_tried_again(air: Air) -> None:
    board = air.board()
    board.refusals = 2
    link = open_link("ble:name=tfl-01")
    echo(link, b"x")
    link.close()
    board.refusals = 100
    with pytest.raises(LinkError, match="no connection in 4 attempts"):
        open_link("ble:name=tfl-01")
    assert board.refusals == 96


def test_a_board_that_goes_after_it_was_found(air: Air, monkeypatch: pytest.MonkeyPatch) -> None:
    board = air.board()
    find = ble._find

    async def found_and_gone(wanted: ble.Wanted) -> Any:
        found = await find(wanted)
        board.vanish()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(ble, "_find", found_and_gone)
        patch.setattr(ble, "LOOKS", 1)
        patch.setattr(ble, "PATIENCE", 0.3)
        with pytest.raises(LinkError, match="no board is advertising"):
            open_link("ble:name=tfl-01")
    board.appear()
    link = open_link("ble:name=tfl-01")
    echo(link, b"x")
    link.close()


def test_scan_lists_boards_and_connects_to_none(air: Air, capsys: pytest.CaptureFixture[str]) -> None:
    boards = [air.board(name) for name in ("tfl-01", "tfl-02")]
    air.board("speaker", advertises=False)
    assert main(["device", "scan", "--seconds", "0.2", "--json", "--ble-backend", air.backend]) == 0
    found = json.loads(capsys.readouterr().out)
    assert sorted(found["ble"], key=lambda seen: seen["name"]) == [
        {"name": board.name, "address": board.address, "rssi": -50} for board in boards
    ]
    assert not found["trouble"] and not any(board.connections for board in boards)
    assert main(["device", "scan", "--seconds", "0.2", "--ble-backend", air.backend]) == 0
    out = capsys.readouterr().out
    assert f"ble:{boards[0].address}  tfl-01" in out and "-50 dBm" in out and "speaker" not in out

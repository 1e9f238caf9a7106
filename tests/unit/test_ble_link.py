"""What BLE links decide without a radio: which board, how long a write, what is said where there is no Bluetooth."""

import asyncio
import json
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from tinyfl.errors import LinkError, UsageError
from tinyfl_host.cli.main import main
from tinyfl_host.links import ble, open_link

NOBODY = "bumble:tcp-client:127.0.0.1:1"
MAC = "AA:BB:CC:DD:EE:FF"
APPLE = "12345678-ABCD-ef01-2345-6789abcdef01"


class Client:
    """bleak's client as far as a link uses it."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.disconnects = 0

    async def write_gatt_char(self, receiver: Any, data: bytes, response: bool) -> None:
        assert not response
        self.writes.append(data)

    async def disconnect(self) -> None:
        self.disconnects += 1


def link(limit: int) -> tuple[ble.BleLink, Client, ble.Inbox]:
    client, inbox = Client(), ble.Inbox()
    receiver: Any = SimpleNamespace(max_write_without_response_size=limit)
    return ble.BleLink("ble:name=x", client, receiver, inbox), client, inbox  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("address", "name", "wanted"),
    [("name=tfl-01", "tfl-01", ""), (MAC, "", MAC), (MAC.lower(), "", MAC.lower()), (APPLE, "", APPLE), ("", "", "")],
)
def test_what_a_link_names(address: str, name: str, wanted: str) -> None:
    assert ble.parse_ble(address) == ble.Wanted(f"ble:{address}", name, wanted)


@pytest.mark.parametrize("address", ["tfl-01", "name=", "names=x", "AA:BB:CC:DD:EE", MAC + ":00", "AA-BB-CC-DD-EE-FF"])
def test_what_names_nothing(address: str) -> None:
    with pytest.raises(UsageError, match="neither a name nor an address") as caught:
        open_link(f"ble:{address}")
    assert "ble:name=tfl-01" in caught.value.hint


def test_which_board_is_meant() -> None:
    seen = ble.Seen("tfl-01", MAC, -60)
    assert ble.Wanted("").fits(seen)
    assert ble.Wanted("", name="tfl-01").fits(seen) and not ble.Wanted("", name="TFL-01").fits(seen)
    assert ble.Wanted("", address=MAC.lower()).fits(seen) and not ble.Wanted("", address=MAC[:-1] + "E").fits(seen)


@pytest.mark.parametrize(("limit", "size"), [(5, 20), (20, 20), (182, 182), (244, 244), (509, 244), (512, 244)])
def test_a_write_fits_every_link_and_one_packet(limit: int, size: int) -> None:
    pytest.importorskip("bleak")
    line, client, _ = link(limit)
    line.write(bytes(range(250)) * 4)
    assert {len(data) for data in client.writes[:-1]} == {size}
    assert b"".join(client.writes) == bytes(range(250)) * 4


def test_writing_to_a_board_that_is_gone() -> None:
    """Some stacks take the bytes all the same."""
    pytest.importorskip("bleak")
    line, client, inbox = link(244)
    inbox.end()
    with pytest.raises(LinkError, match="ble:name=x: the board has disconnected"):
        line.write(b"x")
    assert not client.writes
    line.close()
    line.close()
    assert client.disconnects == 1


def test_a_board_that_takes_no_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("bleak")
    monkeypatch.setattr(ble, "WRITE_PATIENCE", 0.01)
    line, client, _ = link(244)
    monkeypatch.setattr(client, "write_gatt_char", lambda *_, **__: asyncio.sleep(30))
    with pytest.raises(LinkError, match="ble:name=x: Bluetooth does not answer"):
        line.write(b"x")


def test_an_inbox_hands_out_once_and_waits() -> None:
    inbox = ble.Inbox()
    assert inbox.take(0.0) == b""
    threading.Timer(0.01, inbox.put, (b"ab",)).start()
    assert inbox.take(5.0) == b"ab"
    assert inbox.take(0.0) == b""


@pytest.mark.parametrize("spec", ["foo", "bumble", "bumble:", "auto:x"])
def test_a_backend_that_is_none(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="is no BLE backend"):
        ble.use_backend(spec)
    assert main(["device", "scan", "--ble-backend", spec]) == 2
    assert "bumble:usb:0" in capsys.readouterr().err


def test_no_controller(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("bumble")
    monkeypatch.setenv("TINYFL_BLE_BACKEND", NOBODY)
    with pytest.raises(LinkError, match=f"no Bluetooth by {NOBODY}: .*127.0.0.1") as caught:
        open_link("ble:name=tfl-01")
    assert caught.value.exit_code == 4 and caught.value.hint
    assert main(["device", "scan", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ble"] == [] and found["trouble"].startswith(f"no Bluetooth by {NOBODY}")


def test_bleak_is_not_installed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "bleak", None)
    monkeypatch.setitem(sys.modules, "bleak.exc", None)
    assert main(["device", "info", f"ble:{MAC}"]) == 4
    assert "error: bleak is not installed" in (err := capsys.readouterr().err) and "pip install -e '.[ble]'" in err
    assert main(["device", "scan"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("bleak is not installed")


def test_bumble_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tinyfl_host.links.ble_bumble", None)
    with pytest.raises(LinkError, match=r"not installed: no bumble:usb:0") as caught:
        ble.use_backend("bumble:usb:0")
    assert "pip install -e '.[bumble]'" in caught.value.hint

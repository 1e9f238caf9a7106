"""Serial ports as they are: options, throttled lines, ports that go and come back, and ports behind a server."""

import contextlib
import fcntl
import os
import socket
import struct
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial
from serial.rfc2217 import PortManager
from support_line import Line, pretend_usb, read_all

from tinyfl.errors import LinkError, UsageError
from tinyfl_host.links import open_link
from tinyfl_host.links.serial import SerialAddress, parse_serial

PAYLOAD = bytes(range(256)) * 4


def read_board(line: Line, count: int) -> bytes:
    line.board.settimeout(2.0)
    data = b""
    while len(data) < count:
        data += line.board.recv(4096)
    return data


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with Line(tmp_path / "ttyUSB0", baud=921_600, latency=0.001) as made:
        yield made


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("/dev/ttyACM0", SerialAddress("/dev/ttyACM0", 115200, True, True)),
        ("/dev/ttyACM0,921600", SerialAddress("/dev/ttyACM0", 921600, True, True)),
        ("/dev/ttyACM0,9600,dtr=off,rts=off", SerialAddress("/dev/ttyACM0", 9600, False, False)),
        ("/dev/ttyACM0,rts=on,dtr=off", SerialAddress("/dev/ttyACM0", 115200, False, True)),
        ("usb=00A1,57600", SerialAddress("usb=00A1", 57600, True, True)),
        ("rfc2217://[::1]:2217,dtr=off", SerialAddress("rfc2217://[::1]:2217", 115200, False, True)),
    ],
)
def test_an_address_taken_apart(address: str, parsed: SerialAddress) -> None:
    assert parse_serial(address) == parsed


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("/dev/ttyACM0,dtr=yes", "'dtr=yes' is no option"),
        ("/dev/ttyACM0,115200,parity=even", "'parity=even' is no option"),
        ("/dev/ttyACM0,0", "'0' is no baud rate"),
        ("/dev/ttyACM0,", "'' is no baud rate"),
        ("hwgrep://ACM", "unknown kind of port"),
        ("socket://localhost", "no HOST:PORT"),
    ],
)
def test_an_address_that_is_none(address: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        open_link(f"serial:{address}")
    assert caught.value.hint


def test_lines_are_set_as_the_port_opens(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pty has no lines: what pyserial would set is seen at its own functions."""
    done: list[object] = []
    monkeypatch.setattr(serial.Serial, "_update_dtr_state", lambda port: done.append(("dtr", port.dtr)))
    monkeypatch.setattr(serial.Serial, "_update_rts_state", lambda port: done.append(("rts", port.rts)))
    monkeypatch.setattr(serial.Serial, "set_low_latency_mode", lambda port, on: done.append(("low latency", on)))
    open_link(f"serial:{line.path}").close()
    open_link(f"serial:{line.path},dtr=off,rts=off").close()
    assert done == [
        *(("dtr", True), ("rts", True), ("low latency", True)),
        *(("dtr", False), ("rts", False), ("low latency", True)),
    ]


def test_closing_does_not_drop_the_lines(line: Line) -> None:
    descriptor = os.open(line.path, os.O_RDWR | os.O_NOCTTY)
    settings = termios.tcgetattr(descriptor)
    settings[2] |= termios.HUPCL
    termios.tcsetattr(descriptor, termios.TCSANOW, settings)
    link = open_link(f"serial:{line.path},9600")
    after = termios.tcgetattr(descriptor)
    assert not after[2] & termios.HUPCL
    assert after[4] == after[5] == termios.B9600
    link.close()
    os.close(descriptor)


def test_what_came_before_opening_is_thrown_away(line: Line) -> None:
    line.board.sendall(b"boot: rst 0x1 (POWERON)\r\n")
    descriptor = os.open(line.path, os.O_RDWR | os.O_NOCTTY)
    while fcntl.ioctl(descriptor, termios.FIONREAD, b"\0" * 4) != struct.pack("i", 25):
        time.sleep(0.001)
    link = open_link(f"serial:{line.path}")
    line.board.sendall(b"frames")
    assert read_all(link, 6) == b"frames"
    link.close()
    os.close(descriptor)


def test_a_line_takes_its_time(tmp_path: Path) -> None:
    """1,024 bytes at 115,200 baud take 89 ms; a few bytes wait for the converter's timer, a full packet does not."""
    with Line(tmp_path / "ttyUSB0", baud=115_200, latency=0.5) as line:
        link = open_link(f"serial:{line.path}")
        start = time.monotonic()
        link.write(PAYLOAD)
        assert read_board(line, 1024) == PAYLOAD
        assert time.monotonic() - start >= 1024 * 10 / 115_200
        start = time.monotonic()
        line.board.sendall(PAYLOAD[:62])
        assert read_all(link, 62) == PAYLOAD[:62]
        assert time.monotonic() - start < 0.4
        line.board.sendall(b"few")
        assert read_all(link, 3) == b"few"
        assert time.monotonic() - start >= 0.5
        link.close()


def test_a_port_that_is_unplugged_says_so_and_comes_back(line: Line) -> None:
    link = open_link(f"serial:{line.path}")
    line.unplug()
    for action in (lambda: link.read(1.0), lambda: link.write(b"x")):
        with pytest.raises(LinkError, match="ttyUSB0: unplugged") as caught:
            action()
        assert "plug the board in again" in caught.value.hint
    link.close()
    with pytest.raises(LinkError, match="no such port"):
        open_link(f"serial:{line.path}")
    line.plug()
    link = open_link(f"serial:{line.path}")
    link.write(b"again")
    assert read_board(line, 5) == b"again"
    link.close()


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    return pretend_usb(monkeypatch)


def test_a_board_is_found_again_under_another_name(line: Line, tmp_path: Path, plugged: dict[str, str]) -> None:
    first = str(line.path)
    plugged[first] = "A1"
    open_link(f"serial:{first}").close()
    line.unplug()
    plugged.clear()
    with pytest.raises(LinkError, match="no such port"):
        open_link(f"serial:{first}")
    line.plug(tmp_path / "ttyUSB1")
    plugged[str(line.path)] = "A1"
    link = open_link(f"serial:{first}")
    assert os.path.realpath(line.path) in link.name  # type: ignore[attr-defined]
    link.write(b"moved")
    assert read_board(line, 5) == b"moved"
    link.close()


def test_another_board_under_the_old_name_is_not_taken_for_it(
    line: Line, tmp_path: Path, plugged: dict[str, str]
) -> None:
    first = str(line.path)
    plugged[first] = "A1"
    open_link(f"serial:{first}").close()
    plugged[first] = "B2"
    with pytest.raises(LinkError, match="another USB device has this name now: serial number B2") as caught:
        open_link(f"serial:{first}")
    assert "serial number A1" in caught.value.hint
    with Line(tmp_path / "ttyUSB1") as other:
        plugged[str(other.path)] = "A1"
        link = open_link(f"serial:{first}")
        link.write(b"right")
        assert read_board(other, 5) == b"right"
        link.close()


def test_two_ports_of_the_same_identity_are_not_guessed_between(
    line: Line, tmp_path: Path, plugged: dict[str, str]
) -> None:
    """Cheap converters all have the serial number 0001."""
    first = str(line.path)
    plugged[first] = "0001"
    open_link(f"serial:{first}").close()
    line.unplug()
    del plugged[first]
    plugged |= {str(tmp_path / "a"): "0001", str(tmp_path / "b"): "0001"}
    with pytest.raises(LinkError, match="no such port"):
        open_link(f"serial:{first}")
    with pytest.raises(LinkError, match="2 ports have this serial number"):
        open_link("serial:usb=0001")


def test_a_board_named_by_its_usb_serial_number(line: Line, plugged: dict[str, str]) -> None:
    plugged[str(line.path)] = "9904360258824e45"
    link = open_link("serial:usb=9904360258824e45,115200")
    link.write(b"named")
    assert read_board(line, 5) == b"named"
    link.close()
    with pytest.raises(LinkError, match="no port has this serial number") as caught:
        open_link("serial:usb=77")
    assert "usb=9904360258824e45" in caught.value.hint


class Port(serial.Serial):
    """A pty as a server's serial port: without lines to read or set."""

    cts = dsr = ri = cd = False

    def _update_dtr_state(self) -> None:
        self.lines = [*getattr(self, "lines", []), ("dtr", self._dtr_state)]

    def _update_rts_state(self) -> None:
        self.lines = [*getattr(self, "lines", []), ("rts", self._rts_state)]


class Server:
    """A port behind a TCP server, for one client; ``rfc2217`` with its commands, or plain bytes."""

    def __init__(self, path: Path, rfc2217: bool) -> None:
        self.port = Port(str(path), 9600, timeout=0)
        self._rfc2217 = rfc2217
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._client: socket.socket | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def write(self, data: bytes) -> None:
        """What PortManager sends."""
        assert self._client is not None
        with self._lock:
            self._client.sendall(data)

    def close(self) -> None:
        """Hangs up; once is enough."""
        self._listener.close()
        if self._client is not None:
            with contextlib.suppress(OSError):
                self._client.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self.port.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            self._client, _ = self._listener.accept()
            manager = PortManager(self.port, self) if self._rfc2217 else None
            threading.Thread(target=self._upward, args=(manager,), daemon=True).start()
            while data := self._client.recv(1024):
                self.port.write(b"".join(manager.filter(data)) if manager else data)
            self._client.close()

    def _upward(self, manager: PortManager | None) -> None:
        with contextlib.suppress(OSError, TypeError):  # the port was closed
            while True:
                self.port.timeout = 0.05
                data = self.port.read(1) + self.port.read(self.port.in_waiting)
                self.write(b"".join(manager.escape(data)) if manager else data)


@pytest.fixture(params=["socket", "rfc2217"])
def served(request: pytest.FixtureRequest, line: Line) -> Iterator[tuple[Server, str]]:
    server = Server(line.path, request.param == "rfc2217")
    yield server, f"serial:{request.param}://{server.address}"
    server.close()


@pytest.mark.filterwarnings("ignore:set(Daemon|Name):DeprecationWarning")
def test_a_port_behind_a_server(line: Line, served: tuple[Server, str]) -> None:
    server, name = served
    link = open_link(f"{name},57600,dtr=on,rts=off")
    if "rfc2217" in name:
        assert server.port.baudrate == 57600
        assert server.port.lines[-2:] == [("dtr", True), ("rts", False)]
    writer = threading.Thread(target=line.board.sendall, args=(PAYLOAD,))
    writer.start()
    link.write(PAYLOAD)
    assert read_all(link, 1024) == PAYLOAD
    assert read_board(line, 1024) == PAYLOAD
    assert link.read(0.0) == b""
    writer.join(5)
    server.close()
    with pytest.raises(LinkError, match="closed the link"):
        link.read(2.0)
    link.close()
    link.close()
    with pytest.raises(LinkError, match="closed"):
        link.write(b"x")


@pytest.mark.parametrize("kind", ["socket", "rfc2217"])
def test_a_server_that_is_not_there(kind: str) -> None:
    with pytest.raises(LinkError, match="refused") as caught:
        open_link(f"serial:{kind}://127.0.0.1:1")
    assert "listening there" in caught.value.hint

"""Links: bytes through sockets, ptys and memory, what a broken one says, and the trace."""

import os
import pty
import socket
import threading
from pathlib import Path

import pytest
from support_line import read_all

from tinyfl.errors import ConfigError, LinkError, UsageError
from tinyfl_host.links import open_link
from tinyfl_host.links.memory import pair
from tinyfl_host.links.trace import Chunk, Trace, read_trace

PAYLOAD = bytes(range(256)) * 16


@pytest.fixture(params=["unix", "tcp", "pty"])
def line(request: pytest.FixtureRequest, tmp_path: Path):
    """(link, file descriptor of the other side)."""
    if request.param == "pty":
        other, end = pty.openpty()
        link = open_link(f"pty:{os.ttyname(end)}")
        os.close(end)
        yield link, other
        os.close(other)
    else:
        family = socket.AF_UNIX if request.param == "unix" else socket.AF_INET
        with socket.socket(family) as server:
            server.bind(str(tmp_path / "s") if request.param == "unix" else ("127.0.0.1", 0))
            server.listen()
            name = server.getsockname()
            link = open_link(f"unix:{name}" if request.param == "unix" else f"tcp:127.0.0.1:{name[1]}")
            peer, _ = server.accept()
            yield link, peer.fileno()
            peer.close()
    link.close()


def test_every_byte_value_crosses_both_ways(line) -> None:
    link, other = line
    writer = threading.Thread(target=os.write, args=(other, PAYLOAD[:2048]))
    writer.start()
    assert read_all(link, 2048) == PAYLOAD[:2048]
    writer.join()
    link.write(PAYLOAD[:2048])
    assert os.read(other, 4096) == PAYLOAD[:2048]
    assert link.read(0.0) == b""


def test_a_closed_link_says_so(line) -> None:
    link, _ = line
    link.close()
    link.close()
    with pytest.raises(LinkError, match="closed"):
        link.read(0.0)
    with pytest.raises(LinkError, match="closed"):
        link.write(b"x")


def test_the_other_side_goes_away_after_its_last_bytes(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        link = open_link(f"unix:{tmp_path / 's'}")
        peer, _ = server.accept()
        peer.send(b"last")
        peer.close()
    assert link.read(1.0) == b"last"
    with pytest.raises(LinkError, match="other side closed"):
        link.read(1.0)


def test_writing_does_not_wait_for_a_board_that_waits_to_send(tmp_path: Path) -> None:
    """Both sides send four megabytes before either reads: the line's buffers hold far less."""
    many = PAYLOAD * 1024
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        link = open_link(f"unix:{tmp_path / 's'}")
        peer, _ = server.accept()
    got = bytearray()

    def board() -> None:
        peer.sendall(many)
        while len(got) < len(many):
            got.extend(peer.recv(65536))

    thread = threading.Thread(target=board)
    thread.start()
    link.write(many)
    assert read_all(link, len(many)) == many
    thread.join(10)
    assert bytes(got) == many


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ("nonsense", "is no link"),
        ("ftp:x", "is no link"),
        ("tcp:localhost", "no HOST:PORT"),
        ("tcp:localhost:70000", "no HOST:PORT"),
        ("tcp:", "names nothing"),
        ("serial:/dev/ttyACM0,fast", "no baud rate"),
        ("emu:qemu-m4", "no emulated board 'qemu-m4' is running"),
        ("posix", "no emulated board 'posix' is running"),
    ],
)
def test_a_string_that_is_no_link(link: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        open_link(link)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ("serial:/dev/ttyNOPE", "no such port"),
        ("serial:/dev/null", "/dev/null"),
        ("pty:/dev/pts/nope", "No such file"),
        ("pty:/dev/null", "no terminal"),
        ("unix:/nowhere/socket", "No such file"),
        ("unix:" + "/long" * 40, "too long"),
        ("tcp:127.0.0.1:1", "refused"),
    ],
)
def test_a_link_that_cannot_be_had(link: str, message: str) -> None:
    with pytest.raises(LinkError, match=message) as caught:
        open_link(link)
    assert caught.value.hint
    assert caught.value.exit_code == 4


def test_a_port_belongs_to_one_program() -> None:
    """A pty is as good as a serial port here: pyserial opens and locks it the same way."""
    other, end = pty.openpty()
    first = open_link(f"serial:{os.ttyname(end)},115200")
    with pytest.raises(LinkError, match="in use by another program"):
        open_link(f"serial:{os.ttyname(end)}")
    first.write(b"\x00\xffhello\n\r\x03")
    assert os.read(other, 100) == b"\x00\xffhello\n\r\x03"
    os.write(other, b"\r\n\x11")
    assert read_all(first, 3) == b"\r\n\x11"
    first.close()
    os.close(end)
    os.close(other)


def test_a_pty_whose_other_side_closes() -> None:
    other, end = pty.openpty()
    link = open_link(f"pty:{os.ttyname(end)}")
    os.close(end)
    os.close(other)
    with pytest.raises(LinkError):
        link.read(1.0)
    link.close()


def test_memory() -> None:
    host, board = pair()
    host.write(b"ab")
    host.write(b"c")
    assert board.read(0.0) == b"abc"
    assert board.read(0.0) == b""
    board.write(b"d")
    board.close()
    assert host.read(0.0) == b"d"
    with pytest.raises(LinkError):
        host.read(1.0)
    with pytest.raises(LinkError):
        host.write(b"x")


def test_a_trace_holds_every_chunk(tmp_path: Path) -> None:
    host, board = pair()
    trace = Trace(tmp_path / "trace.jsonl")
    traced = trace.wrap("b1", host)
    traced.write(b"\x00\x01")
    board.write(b"\xff")
    assert traced.read(0.0) == b"\xff"
    assert traced.read(0.0) == b""
    trace.close()
    traced.write(b"after the end")
    chunks = list(read_trace(tmp_path / "trace.jsonl"))
    assert [(c.link, c.sent, c.data) for c in chunks] == [("b1", True, b"\x00\x01"), ("b1", False, b"\xff")]
    assert isinstance(chunks[0], Chunk) and 0 <= chunks[0].seconds <= chunks[1].seconds


def test_a_file_that_is_no_trace(tmp_path: Path) -> None:
    file = tmp_path / "t"
    file.write_text('{"t": 0, "link": "a", "dir": "out", "data": "00"}\n{"t": 0, "dir": "up"}\n')
    with pytest.raises(ConfigError, match="line 2 is no trace"):
        list(read_trace(file))
    with pytest.raises(ConfigError, match="No such file"):
        list(read_trace(tmp_path / "none"))
    with pytest.raises(ConfigError):
        Trace(tmp_path / "no" / "t")

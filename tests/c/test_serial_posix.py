"""A posix board on a line of 115,200 baud with a latency timer of 16 ms: chatter, and unplugging at any moment."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support_board import build_board
from support_line import Line, pretend_usb
from support_rounds import MODEL, image, members, twin

from tinyfl.errors import LinkError
from tinyfl.reference.head import to_wire
from tinyfl_host.links import Link, open_link
from tinyfl_host.node import Node

pytestmark = pytest.mark.slow

MEMBER = members()[1]
RATE = (20000, 16)
TICKS = ("embeddings", "embed_ticks", "step_ticks")  # what only the board can know


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(program, data image)"""
    folder = tmp_path_factory.mktemp("board")
    program = build_board("gcc", MODEL, folder / "firmware")
    (folder / "data.bin").write_bytes(image(MEMBER))
    return program, folder / "data.bin"


@pytest.fixture
def line(tmp_path: Path, firmware: tuple[Path, Path]) -> Iterator[Line]:
    """With the board at its end."""
    program, data = firmware
    with Line(tmp_path / "ttyUSB0") as made:
        end = made.board.fileno()
        board = subprocess.Popen([str(program), "--fd", str(end), "--image", str(data)], pass_fds=[end])
        yield made
    try:
        assert board.wait(10) == 0
    finally:
        board.kill()


class Unplugged:
    """A link whose port is pulled at its ``at``-th read or write: a read hands nothing out, a write gets on its way."""

    operations = 0

    def __init__(self, link: Link, line: Line, at: int) -> None:
        self._link, self._line, self._at = link, line, at

    def read(self, timeout: float) -> bytes:
        """See Link."""
        data = self._link.read(timeout)
        return b"" if self._pull() else data

    def write(self, data: bytes) -> None:
        """See Link."""
        self._link.write(data)
        self._pull()

    def close(self) -> None:
        """See Link."""
        self._link.close()

    def _pull(self) -> bool:
        type(self).operations += 1
        if type(self).operations != self._at:
            return False
        self._line.unplug()
        return True


def head() -> np.ndarray:
    """A broadcast head."""
    assert MODEL.head is not None
    return to_wire(MODEL.head.initial)


def round_of(node: Node) -> None:
    """TRAIN, COLLECT and PULL, compared with the twin's."""
    reference = twin(MEMBER)
    reference.load(1, head())
    trained, expected = node.train(1, 7, 1, 3, *RATE, head()), reference.train(1, 7, 1, 3, *RATE)
    ticks = {name: getattr(trained, name) for name in TICKS}
    assert trained == dataclasses.replace(expected, **ticks)
    np.testing.assert_array_equal(node.collect(1, 4, 9).deltas, reference.collect(1, 4, 9).deltas)
    np.testing.assert_array_equal(node.pull(), reference.pull())


def test_a_round_through_boot_chatter(line: Line) -> None:
    """Text stands before the first frame, within the line's stream, and without an end."""
    node = Node(open_link(f"serial:{line.path}"), MODEL.manifest, "b1")
    line.board.sendall(b"rst:0x1 (POWERON_RESET)\r\nflash size: 4MB\r\n\x00\xff\xfe garbage at another baud rate")
    node.hello()
    line.board.sendall(b"W (312) wifi: no AP\r\n")
    round_of(node)
    node.close()


@pytest.mark.parametrize("at", range(1, 7))  # three requests, each at least one write and one read
def test_a_round_goes_on_after_unplugging(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Under another port name, in the same session, with the same bytes: no HELLO and no TRAIN is repeated."""
    numbers = pretend_usb(monkeypatch)
    first = str(line.path)
    numbers[first] = "A1"
    monkeypatch.setattr(Unplugged, "operations", 0)
    opened: list[bool] = []

    def reopen() -> Link:
        opened.append(True)
        if len(opened) == 1:
            numbers.clear()
            raise LinkError("not yet")
        line.plug(tmp_path / "ttyUSB1")
        numbers[str(line.path)] = "A1"
        return open_link(f"serial:{first}")

    link = open_link(f"serial:{first}")
    node = Node(link, MODEL.manifest, "b1", reopen=reopen)
    node.hello()
    session = node._session
    node._link = Unplugged(link, line, at)
    round_of(node)
    assert len(opened) == 2
    assert node._session is session
    node.close()

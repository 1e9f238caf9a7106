"""A board that is reset or loses its power finds head, key and boot counter again: in a chip's flash as QEMU models it,
and in what stands for flash elsewhere."""

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from support_rounds import MODEL, artifacts, image, members

from tinyfl.errors import LinkError, ToolError
from tinyfl.wire import messages as wire
from tinyfl_host import emulate
from tinyfl_host.boards import board
from tinyfl_host.build import build_firmware
from tinyfl_host.links import open_link
from tinyfl_host.node import Node

pytestmark = pytest.mark.emulated
KEY = bytes(range(32))
OFFERS = wire.Feature.CODECS | wire.Feature.FEEDBACK | wire.Feature.PROXIMAL | wire.Feature.CLUSTERS
IMAGE = image(members(1, 0)[0])


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The small model's firmware for an environment."""
    small = artifacts(tmp_path_factory.mktemp("small"))
    return lambda env: build_firmware(small, env)


def head(round: int) -> npt.NDArray[np.int16]:
    return np.random.default_rng(round).integers(-500, 500, MODEL.manifest["head"]["count"]).astype(np.int16)


def digest(round: int) -> int:
    return zlib.crc32(head(round).astype("<i2").tobytes())


def connect(emulator: emulate.Emulator) -> Node:
    return Node(open_link(emulator.link), MODEL.manifest, keys=lambda device: KEY, patience=0.0)


def greet(emulator: emulate.Emulator, keys: bool = True) -> wire.Welcome:
    node = connect(emulator) if keys else Node(open_link(emulator.link), MODEL.manifest)
    welcome = node.hello() if keys else node.identify()
    node.close()
    return welcome


@pytest.mark.parametrize("env", ["microbit", "qemu-m4", "qemu-m55", "posix"])
def test_a_reset_keeps_head_key_and_boots(build: Callable[[str], Path], env: str, tmp_path: Path) -> None:
    with emulate.boot(board(env), build(env), IMAGE, store=tmp_path / "store") as emulator:
        first = greet(emulator, keys=False)
        assert (first.boot, first.round, first.features) == (1, 0, OFFERS | wire.Feature.STORE)
        assert first.device != bytes(8)
        node = Node(open_link(emulator.link), MODEL.manifest)
        node.load(3, head(3), keep=True)
        node.load(4, head(4), keep=True)
        node.load(5, head(5))
        node.enrol(KEY)
        node.close()
        for boot in (2, 3):
            emulator.reset()
            again = greet(emulator)
            assert (again.boot, again.round, again.head_digest) == (boot, 4, digest(4))
            assert again.device == first.device and again.features == OFFERS | wire.Feature.STORE | wire.Feature.AUTH
    if env == "posix":  # the file outlives the process
        with emulate.boot(board(env), build(env), IMAGE, store=tmp_path / "store") as emulator:
            assert greet(emulator).boot == 4


def test_the_line_of_a_machine_stays_open_over_a_reset(build: Callable[[str], Path]) -> None:
    with emulate.boot(board("qemu-m4"), build("qemu-m4"), IMAGE) as emulator:
        node = Node(open_link(emulator.link), MODEL.manifest)
        boots = []
        for _ in range(5):
            boots.append(node.hello().boot)
            node.load(1, head(1))
            emulator.reset()
        assert boots == [1, 2, 3, 4, 5] and node.hello().boot == 6
        node.close()


def test_an_emulator_that_ended_cannot_be_reset(build: Callable[[str], Path]) -> None:
    with emulate.boot(board("qemu-m4"), build("qemu-m4"), IMAGE) as emulator:
        emulator.kill()
        with pytest.raises(ToolError, match="was not reset"):
            emulator.reset()


def test_a_power_cut_at_every_flash_operation_of_a_kept_head(build: Callable[[str], Path], tmp_path: Path) -> None:
    """The board ends in the middle of its n-th operation of a life: one boot mark, then the writing of a head."""
    firmware, n, found = build("posix"), 1, set()
    while True:
        store = tmp_path / f"store{n}"
        with emulate.boot(board("posix"), firmware, IMAGE, store=store) as emulator:
            node = Node(open_link(emulator.link), MODEL.manifest)
            node.load(1, head(1), keep=True)
            node.close()
        n += 1  # the first operation is the mark: a board that ends there opens no line
        with emulate.boot(board("posix"), firmware, IMAGE, store=store, arguments=["--cut", str(n)]) as emulator:
            node = Node(open_link(emulator.link), MODEL.manifest, patience=0.0)
            try:
                node.load(2, head(2), keep=True)
                break
            except LinkError:
                emulator.reset()
            finally:
                node.close()
            after = greet(emulator, keys=False)
            assert after.boot == 3 and (after.round, after.head_digest) in ((1, digest(1)), (2, digest(2)))
            found.add(after.round)
    assert n > 5 and 1 in found

"""Emulated boards: quick to boot, gone with their host, and honest about why they ended."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support_tflite import small_classifier

from tinyfl.errors import LinkError, ToolError
from tinyfl_host import emulate
from tinyfl_host.artifacts import Artifacts, compile_artifacts
from tinyfl_host.boards import board
from tinyfl_host.build import build_firmware
from tinyfl_host.links import open_link
from tinyfl_host.node import Node

pytestmark = pytest.mark.emulated
ENVS = ["qemu-m4", "qemu-m3", "qemu-m0", "qemu-m55", "microbit", "posix"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.tflite").write_bytes(small_classifier())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYFL_BUILD", str(folder))
        return compile_artifacts(folder / "small.tflite")


@pytest.mark.parametrize("env", ENVS)
def test_every_board_says_who_it_is(small: Artifacts, env: str) -> None:
    with emulate.boot(board(env), build_firmware(small, env)) as emulator:
        node = Node(open_link(emulator.link), small.manifest)
        welcome = node.hello()
        node.close()
        assert welcome.model.hex() == small.manifest["hash"][:32]
        again = Node(open_link(emulator.link), small.manifest)
        assert again.hello().boot == welcome.boot
        again.close()
    assert not emulator.running and not Path(emulator.link.removeprefix("unix:")).parent.exists()


def test_six_boards_boot_within_a_second(small: Artifacts) -> None:
    firmware = build_firmware(small, "qemu-m4")
    start = time.perf_counter()
    emulators = [emulate.boot(board("qemu-m4"), firmware) for _ in range(6)]
    seconds = time.perf_counter() - start
    for emulator in emulators:
        emulator.close()
    assert seconds < 1.0


def test_a_killed_emulator_is_a_link_error_at_once(small: Artifacts) -> None:
    with emulate.boot(board("qemu-m4"), build_firmware(small, "qemu-m4")) as emulator:
        node = Node(open_link(emulator.link), small.manifest)
        node.hello()
        os.kill(emulator.pid, signal.SIGKILL)
        start = time.perf_counter()
        with pytest.raises(LinkError):
            node.pull()
        assert time.perf_counter() - start < 1.0


def test_no_emulator_outlives_a_host_that_is_killed(small: Artifacts) -> None:
    firmware = build_firmware(small, "qemu-m4")
    code = (
        "import threading, time; from pathlib import Path; from tinyfl_host.emulate import boot; "
        "from tinyfl_host.boards import board\n"
        f"go = lambda: print(boot(board('qemu-m4'), Path({str(firmware.resolve())!r})).pid, flush=True)\n"
        "thread = threading.Thread(target=go); thread.start(); thread.join(); time.sleep(60)"
    )
    host = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    pid = int(host.stdout.readline())
    time.sleep(0.2)  # the thread that booted it has ended: the board has not
    os.kill(pid, 0)
    host.kill()
    host.wait()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _runs(pid):
        time.sleep(0.02)
    assert not _runs(pid)
    with emulate.boot(board("qemu-m4"), firmware) as emulator:  # sweeps what the killed host left
        folder = Path(emulator.link.removeprefix("unix:")).parent
        assert not list(folder.parent.glob(f"tfl-{host.pid}-*"))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_machine_that_cannot_load_its_image_says_why(tmp_path: Path) -> None:
    (tmp_path / "firmware.bin").write_bytes(b"\0" * 0x40001)  # more than the chip's flash
    with pytest.raises(ToolError, match=r"ended at once: .*Could not load"):
        emulate.boot(board("microbit"), tmp_path / "firmware.elf")


def test_a_posix_board_that_ends_at_once_says_why(tmp_path: Path) -> None:
    script = tmp_path / "firmware"
    script.write_text("#!/bin/sh\necho no such option >&2\nexit 3\n")
    script.chmod(0o755)
    with pytest.raises(ToolError, match="ended at once: no such option"):
        emulate.boot(board("posix"), script)


def test_without_qemu_the_error_names_the_package(small: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    firmware = build_firmware(small, "qemu-m4")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ToolError, match="not installed") as caught:
        emulate.boot(board("qemu-m4"), firmware)
    assert "apt-get install qemu-system-arm" in caught.value.hint


def test_firmware_that_was_not_built(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="No such file"):
        emulate.boot(board("qemu-m4"), tmp_path / "firmware.elf")

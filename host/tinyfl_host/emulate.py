"""Boards without hardware: QEMU machines and posix processes, each with a Unix socket as its serial line."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from types import TracebackType

from tinyfl.errors import ConfigError, ToolError, UsageError
from tinyfl_host.boards import BoardSpec

QEMU = "qemu-system-arm"
APT = "apt-get install qemu-system-arm"
PATIENCE = 10.0  # seconds for the socket to appear
SETTLE = 0.03  # seconds in which a machine that cannot load its image has ended
SOCKET_PATH = 100  # sun_path holds 108 bytes
PREFIX = "tfl-"


class Emulator:
    """One running board. It ends with ``close``, with ``kill``, or with the process that booted it."""

    def __init__(self, env: str, folder: Path, process: subprocess.Popen[bytes], command: Sequence[str] = ()) -> None:
        self.env = env
        self._folder = folder
        self._process = process
        self._command = list(command)  # of a posix board: what starts it again

    @property
    def link(self) -> str:
        """The link string of its serial line."""
        return f"unix:{self._folder / 'line'}"

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """False once it has ended, however."""
        return self._process.poll() is None

    def kill(self) -> None:
        """As pulling its plug."""
        self._process.kill()
        self._process.wait()

    def reset(self) -> None:
        """As pressing its button: RAM that start-up clears is lost, flash stays. Raises ToolError.

        A machine's line stays open. A posix board is killed and started again on the same path with its first arguments
        (but for ``--cut``, as the power is back): its line must be opened again.
        """
        if not self._command:
            _system_reset(self.env, self._folder / "control")
            return
        self.kill()
        line = self._folder / "line"
        line.unlink(missing_ok=True)
        self._process = _start(_without(self._command, "--cut"), self._folder)
        _await(self, line)

    def close(self) -> None:
        """Ends it and removes its files."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def complaint(self) -> str:
        """The last lines that it wrote to stderr."""
        with contextlib.suppress(OSError):
            return "\n".join((self._folder / "stderr").read_text(errors="replace").strip().splitlines()[-8:])
        return ""

    def __enter__(self) -> Emulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def boot(
    spec: BoardSpec,
    firmware: Path,
    image: bytes | None = None,
    *,
    name: str = "",
    cache: int | None = None,
    quiet: bool = False,
    store: Path | None = None,
    arguments: Sequence[str] = (),
) -> Emulator:
    """Starts a board with a data image and returns when its line can be opened.

    ``firmware``: the ELF that build_firmware returned. A posix board takes its ``name`` where it has no image, and the
    bytes of its ``cache``; an emulated one has the RAM that it has. ``quiet``: the machine starts when its line is
    opened and never follows the host's clock: it counts the same instructions every time, but is busy when idle.
    ``store``: the file that is a posix board's flash; a machine's lasts as long as its process. ``arguments``: more of
    them, for the process or for QEMU. Raises ToolError where it does not start.
    """
    folder = _folder()
    try:
        command = (
            _machine(spec, firmware, image, folder, quiet)
            if spec.machine
            else _process(firmware, image, folder, name, cache, store)
        )
        command += arguments
        emulator = Emulator(spec.env, folder, _start(command, folder), () if spec.machine else command)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    try:
        _await(emulator, folder / "line")
    except BaseException:
        emulator.close()
        raise
    return emulator


def flat_image(spec: BoardSpec, firmware: bytes, image: bytes | None) -> bytes:
    """Memory from address 0: the firmware, and from the board's data address on the data image."""
    if image is None:
        return firmware
    if len(image) > spec.data_bytes:
        raise ConfigError(
            f"a data image of {len(image)} bytes, {spec.env} takes {spec.data_bytes}", "give the board fewer samples"
        )
    if len(firmware) > spec.data_address:
        raise ToolError(
            f"the firmware has {len(firmware)} bytes, on {spec.env} data begin at {spec.data_address}",
            "take a smaller model or another board",
        )
    return firmware.ljust(spec.data_address, b"\0") + image


def _machine(spec: BoardSpec, firmware: Path, image: bytes | None, folder: Path, quiet: bool) -> list[str]:
    """QEMU's command line; its image lies in the folder."""
    if shutil.which(QEMU) is None:
        raise ToolError(f"{QEMU} is not installed", APT)
    flat = folder / "flat.bin"
    _put(flat, flat_image(spec, _get(firmware.with_suffix(".bin")), image))
    clock = f"shift={spec.icount}" + (",sleep=off" if quiet else "")
    options = ["-nodefaults", "-display", "none", "-monitor", "none", "-icount", clock]
    serial = f"unix:{folder / 'line'},server=on,wait={'on' if quiet else 'off'}"
    control = ["-qmp", f"unix:{folder / 'control'},server=on,wait=off"]
    return [QEMU, "-machine", str(spec.machine), *options, *control, "-serial", serial, "-kernel", str(flat)]


def _system_reset(env: str, control: Path) -> None:
    """Over QMP; when this returns, the machine has been reset."""
    try:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(PATIENCE)
            channel.connect(str(control))
            lines = channel.makefile("r")
            lines.readline()  # the greeting
            for command in ("qmp_capabilities", "system_reset"):
                channel.sendall(json.dumps({"execute": command}).encode())
            for message in map(json.loads, lines):
                if message.get("event") == "RESET":
                    return
    except OSError as error:
        raise ToolError(f"{env} was not reset: {error.strerror or 'its monitor does not answer'}") from error
    raise ToolError(f"{env} ended before it was reset")


def _without(command: Sequence[str], option: str) -> list[str]:
    """A command without this option and its value."""
    at = command.index(option) if option in command else len(command)
    return [*command[:at], *command[at + 2 :]]


def _process(
    firmware: Path, image: bytes | None, folder: Path, name: str, cache: int | None, store: Path | None
) -> list[str]:
    command = [str(firmware.resolve()), "--listen", f"unix:{folder / 'line'}"]
    if image is not None:
        _put(folder / "image.bin", image)
        command += ["--image", str(folder / "image.bin")]
    command += ["--name", name] if name else []
    command += ["--store", str(store.resolve())] if store is not None else []
    return command + (["--cache", str(cache)] if cache is not None else [])


def _start(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """Starts it from a thread that lives as long as we do: a child's death signal comes when its *thread* ends."""
    guard = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []

    def popen() -> subprocess.Popen[bytes]:
        with (folder / "stderr").open("wb") as stderr:
            return subprocess.Popen(
                [*guard, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,  # Ctrl-C is for the host, which ends its round first
            )

    try:
        return _starter().submit(popen).result()
    except OSError as error:
        raise ToolError(f"{command[0]} does not start: {error.strerror}") from error


@lru_cache(maxsize=1)
def _starter() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="emulators")


def _await(emulator: Emulator, line: Path) -> None:
    """Until the socket is there and the machine has had the time to refuse its image."""
    deadline = time.monotonic() + PATIENCE
    while emulator.running and not line.exists():
        if time.monotonic() > deadline:
            raise ToolError(f"{emulator.env} did not open its line within {PATIENCE:.0f} s: {emulator.complaint()}")
        time.sleep(0.002)
    with contextlib.suppress(subprocess.TimeoutExpired):
        emulator._process.wait(SETTLE)
        raise ToolError(f"{emulator.env} ended at once: {emulator.complaint()}", "build the firmware again")


def _folder() -> Path:
    """A new folder with a path that is short enough for a socket; those of hosts that were killed go."""
    base = next((b for b in (Path(tempfile.gettempdir()), Path("/tmp")) if len(str(b)) < SOCKET_PATH - 40), None)
    if base is None:
        raise UsageError(f"TMPDIR is too long for a socket: {tempfile.gettempdir()}", "name a shorter one")
    for old in base.glob(f"{PREFIX}*"):
        owner = old.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not _alive(int(owner)):
            shutil.rmtree(old, ignore_errors=True)
    try:
        return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=base))
    except OSError as error:
        raise ToolError(f"{base}: {error.strerror}", "set TMPDIR to a folder that can be written") from error


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIG_DFL)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _get(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ToolError(f"{path}: {error.strerror}", "build it: tinyfl build MODEL --env ENV") from error


def _put(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ToolError(f"{path}: {error.strerror}", "make room, or set TMPDIR to another folder") from error

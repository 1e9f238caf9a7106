"""Firmware from a compiled model: a thin caller of ``pio run`` with a core directory of the project's own.

PlatformIO needs no network this way: our platform downloads nothing, and the one package that PlatformIO itself wants
(tool-scons) is a folder that points to PyPI's SCons.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tinyfl.errors import ConfigError, ToolError
from tinyfl_host.artifacts import Artifacts, write_atomically
from tinyfl_host.boards import BoardSpec, board, project_root
from tinyfl_host.thirdparty import RELEASES, fetch

APPS = {"node": "main", "profile": "profile"}  # firmware/app/<...>.c
SCONS_PACKAGE = "4.41101.0"  # PlatformIO's number for SCons 4.11.1
TIMEOUT = 300.0
APT = "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi"


@dataclass(frozen=True)
class Region:
    """A memory of the board that the firmware does not fit."""

    name: str  # FLASH or RAM
    size: int
    excess: int


class FitError(ToolError):
    """The firmware does not fit the board: ``regions`` says where and by how much."""

    def __init__(self, message: str, hint: str, regions: tuple[Region, ...]) -> None:
        super().__init__(message, hint)
        self.regions = regions


def build_firmware(artifacts: Artifacts, env: str, app: str = "node", *, oversize: bool = False) -> Path:
    """``build/<name>/<env>/firmware.elf`` (``profile.elf`` for the app "profile") with a flat ``.bin`` beside it.

    Nothing is built again while firmware, board table and model are the same. ``oversize`` links for a board with
    boundless memory: to measure what does not fit. Raises FitError, or ToolError where a tool is missing or fails.
    """
    spec = board(env)
    if app not in APPS or not (project_root() / "firmware" / "ports" / spec.port).is_dir():
        raise ConfigError(f"{env} has no {app} firmware: firmware/ports/{spec.port} is missing", "docs/PORTING.md")
    elf = artifacts.folder / env / (("firmware" if app == "node" else app) + ("-oversize" if oversize else "") + ".elf")
    inputs = _inputs_hash(artifacts, env, app)
    if _is_built(elf, inputs):
        return elf
    _need_compiler(spec)
    with _lock():
        if not _is_built(elf, inputs):  # by another process while this one waited
            _put(spec, _run_pio(artifacts, spec, app, oversize), elf, inputs)
    return elf


def _is_built(elf: Path, inputs: str) -> bool:
    stamp = elf.with_suffix(".inputs")
    return elf.is_file() and stamp.is_file() and stamp.read_text() == inputs


def _put(spec: BoardSpec, built: Path, elf: Path, inputs: str) -> None:
    """The ELF and its flat image into place; the stamp comes last. A board that runs the old file keeps it."""
    stamp = elf.with_suffix(".inputs")
    try:
        stamp.unlink(missing_ok=True)
        write_atomically(elf, built.read_bytes())
        elf.chmod(0o755)
        if spec.cpu:
            _tool(["arm-none-eabi-objcopy", "-O", "binary", str(elf), str(elf.with_suffix(".bin"))])
        write_atomically(stamp, inputs.encode())
    except OSError as error:
        raise ConfigError(f"{error.filename or elf}: {error.strerror}", "make room or permit writing there") from error


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    """One PlatformIO at a time: builds share its core directory. The lock goes with the process that holds it."""
    path = _core() / "tinyfl.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise ConfigError(f"{error.filename or path}: {error.strerror}", "make room or permit writing there") from error


def _core() -> Path:
    return project_root() / "build" / ".platformio"


def section_sizes(elf: Path) -> dict[str, int]:
    """Bytes of each section of a board's ELF."""
    text = _tool(["arm-none-eabi-size", "-A", "-d", str(elf)])
    return {name: int(size) for name, size in re.findall(r"^(\.\S+)\s+(\d+)", text, re.M)}


def pio_environment() -> dict[str, str]:
    """Environment variables for ``pio``: the project's own core directory, no telemetry, no look for updates."""
    core = prepare_core(_core())
    return {
        **os.environ,
        "PLATFORMIO_CORE_DIR": str(core),
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
        "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
        "PLATFORMIO_NO_ANSI": "true",
    }


def pio_command(*arguments: str) -> list[str]:
    """``python -m platformio ...``; raises ToolError where PlatformIO is not installed."""
    for module in ("platformio", "SCons"):
        if importlib.util.find_spec(module) is None:
            raise ToolError(f"Python package {module} is not installed", "make setup, or pip install 'tinyfl[build]'")
    return [sys.executable, "-m", "platformio", *arguments]


def prepare_core(core: Path) -> Path:
    """A PlatformIO core directory whose tool-scons is PyPI's SCons; returns it."""
    package = core / "packages" / "tool-scons"
    if not (package / ".piopm").is_file():
        package.mkdir(parents=True, exist_ok=True)
        (package / "scons.py").write_text("from SCons.Script.Main import main\n\nmain()\n")
        about = {"name": "tool-scons", "version": SCONS_PACKAGE, "system": "*", "description": "SCons from PyPI"}
        (package / "package.json").write_text(json.dumps(about))
        spec = {"owner": "platformio", "id": None, "name": "tool-scons", "requirements": None, "uri": None}
        origin = {"type": "tool", "name": "tool-scons", "version": SCONS_PACKAGE, "spec": spec}
        (package / ".piopm").write_text(json.dumps(origin))
    return core


def upload_firmware(artifacts: Artifacts, env: str, probe: str = "") -> Path:
    """Builds, then flashes the board through ``pio run -t upload``; returns the ELF. Raises ToolError."""
    elf = build_firmware(artifacts, env)
    with _lock():
        _run_pio(artifacts, board(env), "node", False, "upload", probe)
    return elf


def _run_pio(
    artifacts: Artifacts, spec: BoardSpec, app: str, oversize: bool, target: str = "", probe: str = ""
) -> Path:
    """Builds in a directory of its own per model, environment and app; returns what PlatformIO linked."""
    folder = artifacts.folder.resolve() / spec.env / (f"pio-{app}" + ("-oversize" if oversize else ""))
    variables = {
        **pio_environment(),
        "PLATFORMIO_BUILD_DIR": str(folder),
        "TFL_MODEL_DIR": str(artifacts.sources.resolve()),
        "TFL_APP": APPS[app],
        "TFL_MONOCYPHER": str(fetch("monocypher")) if app == "node" else "",
        "TFL_OVERSIZE": "1" if oversize else "",
        "TFL_PROBE": probe,
    }
    command = pio_command("run", "-d", str(project_root()), "-e", spec.env, *(["-t", target] if target else []))
    try:
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"pio run -e {spec.env} took more than {TIMEOUT:.0f} s", _platform_hint()) from error
    if done.returncode != 0:
        raise _failure(spec, app, done.stdout + done.stderr)
    return folder / spec.env / ("firmware.elf" if spec.cpu else "firmware")


def _failure(spec: BoardSpec, app: str, output: str) -> ToolError:
    """What PlatformIO's output says, as one error."""
    regions = overflows(spec, output)
    if regions:
        parts = [f"{r.name} needs {r.size + r.excess} bytes of {r.size} ({r.excess} too many)" for r in regions]
        return FitError(
            f"the {app} firmware does not fit {spec.env}: {'; '.join(parts)}",
            f"tinyfl profile MODEL --env {spec.env} shows what takes the room",
            regions,
        )
    if "No connected debug probes" in output or "No target device available" in output:
        return ToolError(
            f"no debug probe is connected: {spec.env} was built, not flashed",
            "plug the board in; without libusb (apt-get install libusb-1.0-0) some probes are not seen"
            if "no libusb" in output
            else "plug the board in; pyocd list shows the probes that it sees",
        )
    if "HTTPClientError" in output or "UnknownPackageError" in output or "InternetConnectionError" in output:
        return ToolError(f"PlatformIO could not fetch what {spec.env} needs", _platform_hint())
    lines = [
        line
        for line in output.splitlines()
        if re.search(r"error:|undefined reference|not set| E |No space", line, re.I)
    ]
    return ToolError(f"pio run -e {spec.env} failed:\n" + "\n".join(lines[:12] or output.splitlines()[-12:]))


def overflows(spec: BoardSpec, output: str) -> tuple[Region, ...]:
    """The regions that the linker says are too small."""
    sizes = {"FLASH": spec.flash or 0, "RAM": spec.ram or 0}
    found = dict(re.findall(r"region [`'](FLASH|RAM)' overflowed by (\d+) bytes", output))
    return tuple(Region(name, sizes[name], int(excess)) for name, excess in sorted(found.items()))


def _platform_hint() -> str:
    return "a real board's platform comes from PlatformIO's registry: build once with a network; ours need none"


def _need_compiler(spec: BoardSpec) -> None:
    compiler, hint = ("arm-none-eabi-gcc", APT) if spec.cpu else (os.environ.get("CC", "cc"), "apt-get install gcc")
    if shutil.which(compiler) is None:
        raise ToolError(f"{compiler} is not installed", hint)


def _tool(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except FileNotFoundError as error:
        raise ToolError(f"{command[0]} is not installed", APT) from error
    if done.returncode != 0:
        raise ToolError(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout


def _inputs_hash(artifacts: Artifacts, env: str, app: str) -> str:
    """Over all that goes into the image: firmware, board table, model, app."""
    root = project_root()
    digest = hashlib.sha256(f"{env} {app} {os.environ.get('CC', '')} {os.environ.get('TFL_SANITIZE', '')}".encode())
    suffixes = (".c", ".h", ".ld", ".py", ".json")
    files = (root / "firmware").rglob("*")
    firmware = sorted(p for p in files if p.suffix in suffixes and "__pycache__" not in p.parts)
    for path in [root / "platformio.ini", *firmware, *sorted(artifacts.sources.glob("*"))]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    digest.update(RELEASES["monocypher"].sha256.encode())
    return digest.hexdigest()

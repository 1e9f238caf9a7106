"""``tinyfl doctor``: looks for all that the commands need, with the fix for each. Changes nothing, opens no port."""

from __future__ import annotations

import grp
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tinyfl.errors import ConfigError
from tinyfl_host.artifacts import build_root
from tinyfl_host.boards import boards

NEEDED = ("click", "jinja2", "numpy", "pyserial", "rich", "flatbuffers", "tflite")
BUILD = {"platformio": "6.2.0", "scons": "4.11.1"}  # the pair that works offline (pyproject.toml)
DISK = 300_000_000  # bytes: builds and runs of a few models
TIMEOUT = 20.0
APT = "sudo apt-get install"


@dataclass(frozen=True)
class Finding:
    """One thing looked at. ``needed``: nothing is built or emulated without it; else only ``use`` misses it."""

    name: str
    ok: bool
    found: str
    use: str
    fix: str = ""
    needed: bool = True


def examine() -> list[Finding]:
    """All findings, in the order in which the stages need them."""
    steps: tuple[Callable[[], Iterator[Finding]], ...] = (
        _python,
        _packages,
        _training,
        _tools,
        _machines,
        _ports,
        _disk,
    )
    return [finding for step in steps for finding in step()]


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", sys.version_info >= (3, 11), version, "everything", "install Python 3.11 or later")


def _packages() -> Iterator[Finding]:
    versions = {name: _version(name) for name in NEEDED}
    missing = [name for name, version in versions.items() if version is None]
    found = f"without {', '.join(missing)}" if missing else f"{len(NEEDED)} of {len(NEEDED)}"
    yield Finding("packages", not missing, found, "everything", "pip install -e . or make setup")
    for name, wanted in BUILD.items():
        version = _version(name)
        fix = f"pip install {name}=={wanted} or make setup"
        yield Finding(name, version == wanted, version or "not installed", "build", fix)
    yield _package("seglearn", "the data of models/har", "pip install --no-deps seglearn==1.2.5")
    yield _package("pyocd", "flash", "pip install -e '.[flash]'")


def _training() -> Iterator[Finding]:
    fix = "pip install -e '.[train]'"
    if sys.version_info >= (3, 12):
        fix += " and, without their dependencies, tf-keras and tensorflow-model-optimization (docs/RECIPES.md)"
    for name in ("tensorflow-cpu", "tensorflow-model-optimization"):
        finding = _package(name, "train", fix)
        if name == "tensorflow-cpu" and not finding.ok and _version("tensorflow"):
            finding = _package("tensorflow", "train", fix)
        yield finding


def _tools() -> Iterator[Finding]:
    yield _tool("arm-none-eabi-gcc", "build", f"{APT} gcc-arm-none-eabi libnewlib-arm-none-eabi", ["-dumpfullversion"])
    if shutil.which("arm-none-eabi-gcc"):
        specs = _output(["arm-none-eabi-gcc", "-print-file-name=nano.specs"])
        ok = "/" in specs  # the bare name comes back when there is no such file
        yield Finding("newlib", ok, "nano" if ok else "not installed", "build", f"{APT} libnewlib-arm-none-eabi")
    compiler = os.environ.get("CC", "cc")
    yield _tool(compiler, "boards as processes (posix)", f"{APT} gcc libc6-dev", ["-dumpversion"], needed=False)


def _machines() -> Iterator[Finding]:
    """QEMU, and the machines that the board table asks of it."""
    program, fix = "qemu-system-arm", f"{APT} qemu-system-arm"
    if shutil.which(program) is None:
        yield Finding(program, False, "not installed", "emulate", fix)
        return
    known = {line.split()[0] for line in _output([program, "-machine", "help"]).splitlines() if line.strip()}
    try:
        asked = sorted({spec.machine for spec in boards().values() if spec.machine})
    except ConfigError as error:
        yield Finding("checkout", False, error.message, "build", error.hint)
        return
    missing = [machine for machine in asked if machine not in known]
    version = _output([program, "--version"]).splitlines()[:1] or ["cannot be started"]
    found = f"lacks {', '.join(missing)}" if missing else version[0].removeprefix("QEMU emulator version ")
    yield Finding(program, not missing, found, "emulate", f"{fix} (7.2 or later)")


def _ports() -> Iterator[Finding]:
    """Serial ports by name and permission; opening one would reset many boards."""
    if importlib.util.find_spec("serial") is None:
        return
    from serial.tools import list_ports

    ports = sorted(list_ports.comports())
    if not ports:
        yield Finding("serial ports", True, "none", "boards on a cable", needed=False)
    for port in ports:
        path = Path(port.device)
        ok = os.access(path, os.R_OK | os.W_OK)
        fix = f"sudo usermod -aG {_group(path)} $USER, then log in again"
        found = port.description if ok else "no permission"
        yield Finding(port.device, ok, found, "boards on a cable", fix, needed=False)


def _disk() -> Iterator[Finding]:
    root = build_root().absolute()
    place = next(p for p in (root, *root.parents) if p.exists())
    writable = os.access(place, os.W_OK)
    free = shutil.disk_usage(place).free
    fix = f"make room, or set TINYFL_BUILD to a folder with {DISK // 1_000_000} MB that can be written"
    found = f"{free // 1_000_000:,} MB free" if writable else "cannot be written"
    yield Finding(str(root), writable and free >= DISK, found, "builds and runs", fix)


def _package(name: str, use: str, fix: str) -> Finding:
    version = _version(name)
    return Finding(name, version is not None, version or "not installed", use, fix, needed=False)


def _tool(program: str, use: str, fix: str, version: list[str], *, needed: bool = True) -> Finding:
    if shutil.which(program) is None:
        return Finding(program, False, "not installed", use, fix, needed)
    found = _output([program, *version])
    return Finding(program, bool(found), found or "cannot be started", use, fix, needed)


def _output(command: list[str]) -> str:
    """What a program prints; empty where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _group(path: Path) -> str:
    try:
        return grp.getgrgid(path.stat().st_gid).gr_name
    except (OSError, KeyError):
        return "dialout"

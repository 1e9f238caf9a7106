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
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tinyfl.errors import ConfigError, ToolError
from tinyfl_host.artifacts import Artifacts, write_atomically
from tinyfl_host.boards import BoardSpec, board, project_root
from tinyfl_host.fit import FitError, Region, misfit, require_fit
from tinyfl_host.thirdparty import RELEASES, fetch

__all__ = ["FitError", "Region", "build_firmware", "section_sizes", "upload_firmware"]

APPS = {"node": "main", "profile": "profile"}  # firmware/app/<...>.c
SCONS_PACKAGE = "4.41101.0"  # PlatformIO's number for SCons 4.11.1
TIMEOUT = 300.0
SIM = "sim"  # the port of boards in our own process
LINE = ("session.c", "frame.c", "retained.c")  # of core: firmware/ports/sim/session.c takes their place
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-D_POSIX_C_SOURCE=200809L"]
LIBRARY_FLAGS = ["-O2", "-fPIC", "-fvisibility=hidden"]
APT = "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi"


def build_firmware(artifacts: Artifacts, env: str, app: str = "node", *, oversize: bool = False) -> Path:
    """``build/<name>/<env>/firmware.elf`` (``profile.elf`` for the app "profile") with a flat ``.bin`` beside it.

    Nothing is built again while firmware, board table and model are the same. ``oversize`` links for a board with
    boundless memory: to measure what does not fit. Raises FitError, before anything is compiled where that is certain
    from the model alone, or ToolError where a tool is missing or fails.
    """
    spec = board(env)
    if app not in APPS or not (project_root() / "firmware" / "ports" / spec.port).is_dir():
        raise ConfigError(f"{env} has no {app} firmware: firmware/ports/{spec.port} is missing", "docs/PORTING.md")
    elf = artifacts.folder / env / (("firmware" if app == "node" else app) + ("-oversize" if oversize else "") + ".elf")
    inputs = _inputs_hash(artifacts, env, app, artifacts.manifest["optimise"])
    if _is_built(elf, inputs):
        return elf
    if not oversize:
        require_fit(artifacts.manifest, spec, app)
    _need_compiler(spec)
    with _lock():
        if not _is_built(elf, inputs):  # by another process while this one waited
            _place(_run_pio(artifacts, spec, app, oversize), elf, inputs, flatten=bool(spec.cpu))
    return elf


def build_library(artifacts: Artifacts) -> Path:
    """``build/<name>/sim/boards.so``: the core with this model for boards in our own process (firmware/ports/sim).

    By the host's compiler alone; nothing is built again while firmware and model are the same. Raises ToolError.
    """
    library = artifacts.folder / SIM / "boards.so"
    inputs = _inputs_hash(artifacts, SIM, "node", "")
    if _is_built(library, inputs):
        return library
    compiler = os.environ.get("CC", "cc")
    if shutil.which(compiler) is None:
        raise ToolError(f"{compiler} is not installed", "apt-get install gcc")
    with _lock(), tempfile.TemporaryDirectory() as folder:
        if not _is_built(library, inputs):
            made = Path(folder) / library.name
            firmware, foreign = project_root() / "firmware", fetch("monocypher")
            includes = [f"-I{path}" for path in (firmware / "include", artifacts.sources, foreign)]
            sources = [*_library_sources(firmware), artifacts.sources / "model.c"]
            _cc([compiler, *LIBRARY_FLAGS, "-c", "-w", str(foreign / "monocypher.c"), "-o", f"{folder}/monocypher.o"])
            _cc([compiler, *STRICT, *LIBRARY_FLAGS, "-shared", *includes, *map(str, sources), f"{folder}/monocypher.o",
                 "-o", str(made)])  # fmt: skip
            _place(made, library, inputs)
    return library


def _library_sources(firmware: Path) -> list[Path]:
    """All of core but what makes a line of bytes out of messages."""
    core = [path for path in sorted((firmware / "core").glob("*.c")) if path.name not in LINE]
    return [*core, *sorted((firmware / "core/ops").glob("*.c")), *sorted((firmware / f"ports/{SIM}").glob("*.c"))]


def _is_built(elf: Path, inputs: str) -> bool:
    stamp = elf.with_suffix(".inputs")
    return elf.is_file() and stamp.is_file() and stamp.read_text() == inputs


def _place(built: Path, target: Path, inputs: str, flatten: bool = False) -> None:
    """What was built into place, with a flat image of an ELF; the stamp comes last. Who runs the old file keeps it."""
    stamp = target.with_suffix(".inputs")
    try:
        stamp.unlink(missing_ok=True)
        write_atomically(target, built.read_bytes())
        target.chmod(0o755)
        if flatten:
            _tool(["arm-none-eabi-objcopy", "-O", "binary", str(target), str(target.with_suffix(".bin"))])
        write_atomically(stamp, inputs.encode())
    except OSError as error:
        raise ConfigError(
            f"{error.filename or target}: {error.strerror}", "make room or permit writing there"
        ) from error


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
            raise ToolError(f"Python package {module} is not installed", "make setup, or pip install -e '.[build]'")
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
        "TFL_OPTIMISE": artifacts.manifest["optimise"],
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
        output = done.stdout + done.stderr
        regions = overflows(spec, output)
        raise misfit(artifacts.manifest, spec, app, regions) if regions else _failure(spec, output)
    return folder / spec.env / ("firmware.elf" if spec.cpu else "firmware")


def _failure(spec: BoardSpec, output: str) -> ToolError:
    """What PlatformIO's output says, as one error."""
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


def _cc(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{command[0]} took more than {TIMEOUT:.0f} s") from error
    if done.returncode != 0:
        raise ToolError(f"{command[0]} failed: {done.stderr.strip()[:2000]}")


def _tool(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except FileNotFoundError as error:
        raise ToolError(f"{command[0]} is not installed", APT) from error
    if done.returncode != 0:
        raise ToolError(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout


def _inputs_hash(artifacts: Artifacts, env: str, app: str, goal: str) -> str:
    """Over all that goes into the image: firmware, board table, model, app, what the C compiler optimises for."""
    root = project_root()
    settings = (env, app, goal, os.environ.get("CC", ""), os.environ.get("TFL_SANITIZE", ""))
    digest = hashlib.sha256(" ".join(settings).encode())
    suffixes = (".c", ".h", ".ld", ".py", ".json")
    files = (root / "firmware").rglob("*")
    firmware = sorted(p for p in files if p.suffix in suffixes and "__pycache__" not in p.parts)
    for path in [root / "platformio.ini", *firmware, *sorted(artifacts.sources.glob("*"))]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    digest.update(RELEASES["monocypher"].sha256.encode())
    return digest.hexdigest()

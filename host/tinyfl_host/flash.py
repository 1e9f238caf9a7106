"""Firmware onto a real board: PlatformIO calls pyocd, to the probe or port that the user named."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tinyfl.errors import LinkError, ToolError, UsageError
from tinyfl_host.artifacts import Artifacts
from tinyfl_host.boards import board
from tinyfl_host.build import upload_firmware


def flash_firmware(artifacts: Artifacts, env: str, port: str = "", probe: str = "") -> Path:
    """Builds and flashes; returns the ELF. Raises ToolError (exit 6) without a probe, FitError before any write."""
    spec = board(env)
    if spec.upload is None:
        raise UsageError(f"{env} is emulated: there is nothing to flash", f"tinyfl emulate MODEL --env {env}")
    if port and not probe:
        probe = probe_of(port)
    if importlib.util.find_spec("pyocd") is None:
        raise ToolError("the Python package pyocd is not installed", "pip install -e '.[flash]'")
    return upload_firmware(artifacts, env, probe)


def probe_of(port: str) -> str:
    """The id of the debug probe behind a serial port: boards with both give them the same USB serial number."""
    from serial.tools.list_ports import comports

    known = {entry.device: entry.serial_number for entry in comports() if entry.serial_number}
    device = port.removeprefix("serial:").partition(",")[0]
    if device not in known:
        names = ", ".join(sorted(known)) or "none"
        raise LinkError(
            f"{port}: no USB port with a serial number", f"ports that have one: {names}; or give --probe ID"
        )
    return str(known[device])

"""What inference costs on a board: instructions and kernel by layer, RAM and flash, and what does not fit.

The profile app (firmware/app/profile.c) runs each layer alone and the whole model; QEMU counts instructions exactly, so
the same image gives the same figures every time.
"""

from __future__ import annotations

import math
import re
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyfl.errors import LinkError, ToolError
from tinyfl_host.artifacts import Artifacts
from tinyfl_host.boards import BoardSpec, board
from tinyfl_host.build import FitError, build_firmware, section_sizes
from tinyfl_host.emulate import Emulator, boot
from tinyfl_host.links import Link, open_link

MAGIC = 0x504C4654  # "TFLP"
PATIENCE = 300.0  # seconds for two runs of the model
ALIAS = "none"  # kernel of a reshape: nothing is left to do


@dataclass(frozen=True)
class Counts:
    """What the profile app reported: instructions of each layer and of the whole model, and bytes of stack."""

    layers: tuple[int, ...]
    total: int
    stack: int


def profile_model(artifacts: Artifacts, env: str) -> dict[str, Any]:
    """The document of ``tinyfl profile --json``. Figures that a target cannot give are None."""
    spec = board(env)
    missing: dict[str, int] = {}
    counts: Counts | None = None
    sections: dict[str, int] | None = None
    if spec.machine is not None:
        try:
            firmware = build_firmware(artifacts, env, "profile")
            counts = count_instructions(spec, firmware, len(artifacts.manifest["layers"]))
        except FitError as error:
            missing = {region.name.lower(): region.excess for region in error.regions}
            firmware = build_firmware(artifacts, env, "profile", oversize=True)
        sections = section_sizes(firmware)
    return _document(artifacts, env, counts, sections, missing)


def count_instructions(spec: BoardSpec, firmware: Path, layers: int) -> Counts:
    """Boots the profile app and reads its report; raises ToolError where none comes."""
    with boot(spec, firmware, quiet=True) as emulator:
        link = open_link(emulator.link)
        try:
            words = _read_report(emulator, link, layers + 6)
        finally:
            link.close()
    numerator, denominator, *ticks, stack, _ = words[1:]
    instructions = [round(count * numerator / denominator) for count in ticks]
    return Counts(tuple(instructions[:-1]), instructions[-1], stack)


def kernels(artifacts: Artifacts) -> dict[int, str]:
    """Which function of the core runs each layer, as the generated C says."""
    text = (artifacts.sources / "model.c").read_text()
    return {int(layer): name for layer, name in re.findall(r"case (\d+):\s+(\w+)\(", text)}


def _read_report(emulator: Emulator, link: Link, count: int) -> tuple[int, ...]:
    """A whole report of ``count`` words; sent unasked, since a byte to the board would interrupt what it measures."""
    received = b""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            received += link.read(1.0)
        except LinkError as error:
            raise ToolError(f"{emulator.env} ended while it was measured: {emulator.complaint()}") from error
        at = received.find(struct.pack("<I", MAGIC))
        if at >= 0 and len(received) - at >= 4 * count:
            words = struct.unpack_from(f"<{count}I", received, at)
            if sum(words[:-1]) & 0xFFFFFFFF == words[-1]:
                return words
            received = received[at + 4 :]
    raise ToolError(f"{emulator.env} gave no profile within {PATIENCE:.0f} s", "does the model need that long?")


def _document(
    artifacts: Artifacts, env: str, counts: Counts | None, sections: dict[str, int] | None, missing: dict[str, int]
) -> dict[str, Any]:
    manifest = artifacts.manifest
    running = kernels(artifacts)
    text, constants, data = (
        (sections.get(name, 0) for name in (".text", ".rodata", ".data")) if sections else (None,) * 3
    )
    layers = [
        {
            "op": layer["op"],
            "macs": layer["macs"],
            "instructions": counts.layers[i] if counts else None,
            "kernel": running.get(i, ALIAS),
            "ram": _ram(layer),
            "flash": layer["weight_bytes"],
        }
        for i, layer in enumerate(manifest["layers"])
    ]
    return {
        "model": manifest["name"],
        "env": env,
        "instructions": counts.total if counts else None,
        "macs": manifest["macs"],
        "ram": {"arena": manifest["arena_bytes"], "scratch": 0, "stack": counts.stack if counts else None},
        "flash": {
            "text": text,
            "constants": constants if sections else manifest["constants_bytes"],
            "total": None if text is None else text + (constants or 0) + (data or 0),
        },
        "fits": not missing,
        "missing": missing,
        "layers": layers,
    }


def _ram(layer: dict[str, Any]) -> int:
    """Bytes of the arena that the layer's inputs and output take; what lies in place counts once."""
    spans = [(start, math.prod(shape)) for start, shape in zip(layer["arena_in"], layer["input_shapes"], strict=True)]
    spans.append((layer["arena_out"], math.prod(layer["output_shape"])))
    used: set[int] = set()
    for start, size in spans:
        used.update(range(start, start + size))
    return len(used)

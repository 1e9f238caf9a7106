"""What inference costs on a board: instructions and kernel by layer, RAM and flash, and what does not fit.

The profile app (firmware/app/profile.c) runs each layer alone and the whole model; QEMU counts instructions exactly, so
the same image gives the same figures every time. Where nothing counts, instructions are those that the compiler expects
(tinyfl/compiler/cost.py), and ``counted`` is false.
"""

from __future__ import annotations

import re
import shutil
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyfl.compiler.cost import FAMILIES
from tinyfl.errors import LinkError, ToolError, UsageError
from tinyfl_host.artifacts import Artifacts
from tinyfl_host.boards import BoardSpec, board
from tinyfl_host.build import build_firmware, section_sizes
from tinyfl_host.charts import Span, arena_chart
from tinyfl_host.emulate import Emulator, boot
from tinyfl_host.fit import FitError
from tinyfl_host.links import Link, open_link

MAGIC = 0x504C4654  # "TFLP"
QEMU = "qemu-system-arm"
FLASH = (".text", ".rodata", ".data")
RAM = (".stack", ".noinit", ".data", ".bss")
PATIENCE = 300.0  # seconds for two runs of the model
OBJECT = re.compile(r"^ (\.\S+)(?:\n)?\s+0x[0-9a-f]+\s+0x([0-9a-f]+) \S*/core/ops/(\w+)\.o$", re.M)


@dataclass(frozen=True)
class Counts:
    """What the profile app reported: instructions of each layer and of the whole model, and bytes of stack."""

    layers: tuple[int, ...]
    total: int
    stack: int


def profile_model(artifacts: Artifacts, env: str) -> dict[str, Any]:
    """The document of ``tinyfl profile --json``. Figures that a target cannot give are None."""
    spec = board(env)
    counts: Counts | None = None
    if not spec.cpu:
        return _document(artifacts, spec, None, None, {}, {})
    try:
        firmware = build_firmware(artifacts, env, "profile")
        if spec.machine is not None and shutil.which(QEMU):
            counts = count_instructions(spec, firmware, len(artifacts.manifest["layers"]))
    except FitError:
        firmware = build_firmware(artifacts, env, "profile", oversize=True)
    sections = section_sizes(firmware)
    code = code_sizes(_map(artifacts, spec, firmware).read_text())
    return _document(artifacts, spec, counts, sections, excess(sections, spec), code)


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


def excess(sections: dict[str, int], spec: BoardSpec) -> dict[str, int]:
    """Bytes by region that an image has too many for a board."""
    limits = (("flash", FLASH, spec.flash), ("ram", RAM, spec.ram))
    sizes = {region: (sum(sections.get(name, 0) for name in names), limit) for region, names, limit in limits}
    return {region: size - limit for region, (size, limit) in sizes.items() if limit is not None and size > limit}


def _map(artifacts: Artifacts, spec: BoardSpec, firmware: Path) -> Path:
    return artifacts.folder / spec.env / f"pio-{firmware.stem}" / spec.env / "firmware.map"


def code_sizes(linker_map: str) -> dict[str, int]:
    """Bytes of code and tables of each operator's object file that the linker kept."""
    sizes: dict[str, int] = {}
    for section, size, name in OBJECT.findall(linker_map[linker_map.index("Linker script and memory map") :]):
        if section.startswith((".text", ".rodata")) and int(size, 16):
            sizes[name] = sizes.get(name, 0) + int(size, 16)
    return dict(sorted(sizes.items()))


def draw_arena(artifacts: Artifacts, path: Path) -> None:
    """Writes ``arena_picture`` to a file; raises UsageError where that is not possible."""
    try:
        path.write_text(arena_picture(artifacts.manifest), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "name a file that can be written") from error


def arena_picture(manifest: dict[str, Any]) -> str:
    """The arena over time as an SVG file."""
    layers = [f"{i} {layer['op']}" for i, layer in enumerate(manifest["layers"])]
    spans = [_span(layers, block) for block in manifest["blocks"]]
    title = f"{manifest['name']}: an arena of {manifest['arena_bytes']:,} bytes"
    return arena_chart(title, layers, spans, manifest["arena_bytes"])


def _span(layers: list[str], block: dict[str, Any]) -> Span:
    first, last = block["first"], min(block["last"], len(layers) - 1)
    writer = "input" if first < 0 else layers[first].split(" ", 1)[1]
    name, style = (writer, "value") if block["tensors"] else ("scratch", "scratch")
    detail = "".join(f", {tensor}" for tensor in block["tensors"])
    return Span(name, detail, block["offset"], block["bytes"], first, last, style)


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
    artifacts: Artifacts,
    spec: BoardSpec,
    counts: Counts | None,
    sections: dict[str, int] | None,
    missing: dict[str, int],
    code: dict[str, int],
) -> dict[str, Any]:
    manifest = artifacts.manifest
    text, constants, data = (
        (sections.get(name, 0) for name in (".text", ".rodata", ".data")) if sections else (None,) * 3
    )
    expected = [layer["estimate"].get(family(spec)) for layer in manifest["layers"]]
    each = list(counts.layers) if counts else expected
    whole = counts.total if counts else manifest["estimate"].get(family(spec))
    layers = [
        {
            "op": layer["op"],
            "macs": layer["macs"],
            "instructions": each[i],
            "instructions_per_mac": _ratio(each[i], layer["macs"]),
            "estimate": expected[i],
            "kernel": layer["kernel"],
            "reason": layer["reason"],
            "ram": layer["live_bytes"],
            "scratch": layer["scratch_bytes"],
            "flash": layer["weight_bytes"],
        }
        for i, layer in enumerate(manifest["layers"])
    ]
    return {
        "model": manifest["name"],
        "env": spec.env,
        "optimise": manifest["optimise"],
        "counted": counts is not None,
        "instructions": whole,
        "estimate": manifest["estimate"].get(family(spec)),
        "macs": manifest["macs"],
        "instructions_per_mac": _ratio(whole, manifest["macs"]),
        "ram": {
            "arena": manifest["arena_bytes"] - manifest["scratch_bytes"],
            "scratch": manifest["scratch_bytes"],  # what it adds to the arena
            "stack": counts.stack if counts else None,
        },
        "flash": {
            "text": text,
            "constants": constants if sections else manifest["constants_bytes"],
            "total": None if text is None else text + (constants or 0) + (data or 0),
        },
        "fits": not missing,
        "missing": missing,
        "code": code,
        "layers": layers,
    }


def family(spec: BoardSpec) -> str:
    """The CPU family that a board's instructions are estimated as; "" where none is like it."""
    found = re.search(r"-mcpu=cortex-(m\d+)", " ".join(spec.cpu))
    name = found.group(1) if found else ""
    alike = {"m1": "m0", "m7": "m4", "m33": "m4", "m35": "m4", "m85": "m55"}
    return name if name in FAMILIES else alike.get(name, "")


def _ratio(instructions: int | None, macs: int) -> float | None:
    return round(instructions / macs, 3) if instructions is not None and macs else None

"""``make sizes``: flash and RAM of the firmware by part, from the linked images; writes docs/SIZES.md, prints it.

Needs the HAR recipe's data (make setup) and arm-none-eabi-gcc. The same sources and compiler give the same page.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from tinyfl.errors import TinyflError
from tinyfl_host.artifacts import Artifacts, compile_artifacts
from tinyfl_host.boards import boards
from tinyfl_host.build import build_firmware, section_sizes
from tinyfl_host.profile import profile_model

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/SIZES.md"
FLASH = (".text", ".rodata", ".data")
RAM = (".noinit", ".data", ".bss")
CORE_GOAL, RAM_GOAL, LINK_GOAL = 16 * 1024, 4 * 1024, 2 * 1024
STRUCTS = {  # what each holds beside the frame buffer
    "session, with the body of WELCOME": "sizeof(struct tfl_session) - sizeof(struct tfl_decoder)",
    "record of an unfinished request": "sizeof(struct tfl_retained)",
    "keys and session key": "sizeof(struct tfl_auth)",
    "store": "sizeof(struct tfl_store)",
}
AUTHENTICATION, STORE = "authentication: MACs, BLAKE2b", "store over reset"
PARTS = (  # (part, what an object file's path in the map contains)
    ("model: weights and layer table", "/model/"),
    ("operators", "/src/core/ops/"),
    (AUTHENTICATION, "/src/core/auth"),
    (AUTHENTICATION, "/monocypher/"),
    (STORE, "/src/core/store"),
    (STORE, "/src/core/keep"),
    ("link: frames, session, resume", "/src/core/frame"),
    ("link: frames, session, resume", "/src/core/session"),
    ("link: frames, session, resume", "/src/core/retained"),
    ("node, training, messages", "/src/core/"),
    ("port", "/src/ports/"),
    ("start-up, memory functions", "/src/platform/"),
    ("main", "/src/app/"),
    ("libgcc (division)", "libgcc"),
)
ENTRY = re.compile(r"^ (\.\S+)(?:\n)?\s+0x[0-9a-f]+\s+0x([0-9a-f]+) (\S+)$", re.M)
SECTION = re.compile(r"^(\.\w+)\s+0x[0-9a-f]+\s+0x[0-9a-f]+", re.M)


def main() -> int:
    """Measures, writes, prints; 8 where a goal is missed."""
    artifacts = compile_artifacts(ROOT / "models/har")
    parts = flash_by_part(artifacts, "qemu-m4")
    core = sum(size for part, size in parts.items() if part not in (PARTS[0][0], AUTHENTICATION, STORE))
    ram = ram_by_part(artifacts, "microbit")
    beside = sum(size for part, size in ram.items() if part not in ("arena", "head"))
    link = struct_sizes()
    lines = [*_head(), *_flash(parts, core), *_ram(ram, beside), *_link(link), *_authentication(), *_images(artifacts)]
    PAGE.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0 if core < CORE_GOAL and beside < RAM_GOAL and sum(link.values()) < LINK_GOAL else 8


def flash_by_part(artifacts: Artifacts, env: str) -> dict[str, int]:
    """Bytes of the node's flash image by part; together they are the image, but for alignment."""
    elf = build_firmware(artifacts, env)
    text = (artifacts.folder / env / "pio-node" / env / "firmware.map").read_text()
    count: Counter[str] = Counter()
    for section, size, path in ENTRY.findall(text[text.index("Linker script and memory map") :]):
        if section.startswith((".text", ".rodata", ".vectors", ".data")):
            count[_part(path)] += int(size, 16)
    sizes = section_sizes(elf)
    total = sum(sizes.get(name, 0) for name in FLASH)
    count["alignment"] = total - sum(count.values())
    return {part: count[part] for part in (*dict.fromkeys(name for name, _ in PARTS), "alignment")}


def ram_by_part(artifacts: Artifacts, env: str) -> dict[str, int]:
    """Bytes of the node's static RAM; "stack" is what inference used of it, measured."""
    sizes = section_sizes(build_firmware(artifacts, env))
    static = sum(sizes.get(name, 0) for name in RAM)
    arena, head = artifacts.manifest["arena_bytes"], 6 * artifacts.manifest["head"]["count"]
    return {
        "arena": arena,
        "head": head,
        "node, message body, link buffers": static - arena - head,
        "stack": profile_model(artifacts, env)["ram"]["stack"],
    }


def struct_sizes() -> dict[str, int]:
    """Static bytes of link, session, authentication and store on Cortex-M4, beside the frame buffer."""
    includes = "".join(f'#include "{name}.h"\n' for name in ("session", "store"))
    names = {f"size{i}": size for i, size in enumerate(STRUCTS.values())}
    source = includes + "".join(f"char {name}[{size}];\n" for name, size in names.items())
    with TemporaryDirectory() as folder:
        built = Path(folder) / "sizes.o"
        paths = [f"-I{ROOT / 'firmware/core'}", f"-I{ROOT / 'firmware/include'}"]
        command = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", *paths, "-xc", "-", "-c", "-o", str(built)]
        subprocess.run(command, input=source, text=True, check=True)
        symbols = subprocess.run(["arm-none-eabi-nm", "-S", str(built)], capture_output=True, text=True, check=True)
    found = {line.split()[3]: int(line.split()[1], 16) for line in symbols.stdout.splitlines()}
    return dict(zip(STRUCTS, (found[name] for name in names), strict=True))


def _part(path: str) -> str:
    for part, mark in PARTS:
        if mark in path:
            return part
    raise SystemExit(f"{path} belongs to no part: mend tools/sizes.py")


def _head() -> list[str]:
    version = subprocess.run(["arm-none-eabi-gcc", "-dumpfullversion"], capture_output=True, text=True, check=True)
    return [
        "# Sizes",
        "",
        f"Written by `make sizes` from linked images: arm-none-eabi-gcc {version.stdout.strip()}, `-O2`, model HAR.",
        "",
    ]


def _flash(parts: dict[str, int], core: int) -> list[str]:
    rows = [f"| {part} | {size:,} |" for part, size in parts.items()]
    return [
        "## Flash of the node on Cortex-M4",
        "",
        "| part | bytes |",
        "|---|---:|",
        *rows,
        f"| **all without the model** | **{sum(parts.values()) - parts[PARTS[0][0]]:,}** |",
        f"| **of it without authentication and store** (goal: under {CORE_GOAL:,}) | **{core:,}** |",
        "",
    ]


def _ram(ram: dict[str, int], beside: int) -> list[str]:
    names = {"arena": "arena (activations)", "head": "head: int32 master and int16 broadcast weights"}
    names["stack"] = "stack that inference used"
    return [
        "## RAM of the node on the micro:bit",
        "",
        "| part | bytes |",
        "|---|---:|",
        *(f"| {names.get(part, part)} | {size:,} |" for part, size in ram.items()),
        f"| **all beside arena and head** (goal: under {RAM_GOAL:,}) | **{beside:,}** |",
        "",
        "What RAM is left caches embeddings; no part of it is needed.",
        "",
    ]


def _link(sizes: dict[str, int]) -> list[str]:
    return [
        "## RAM of link, session and authentication on Cortex-M4",
        "",
        "| struct | bytes |",
        "|---|---:|",
        *(f"| {name} | {size:,} |" for name, size in sizes.items()),
        f"| **all beside the frame buffer** (goal: under {LINK_GOAL:,}) | **{sum(sizes.values()):,}** |",
        "",
    ]


def _authentication() -> list[str]:
    """What tools/bench/auth.py counts, as its table."""
    counted = subprocess.run(
        [sys.executable, str(ROOT / "tools/bench/auth.py")], capture_output=True, text=True, check=True
    )
    return ["## Cost of authentication", "", *counted.stdout.strip().splitlines(), ""]


def _images(artifacts: Artifacts) -> list[str]:
    lines = [
        "## Whole images",
        "",
        "Node: federated learning and inference. Inference alone: what `tinyfl profile` measures.",
        "",
        "| environment | node flash | node RAM without stack | inference flash | stack used |",
        "|---|---:|---:|---:|---:|",
    ]
    for env, spec in boards().items():
        if spec.machine is None:
            continue
        sizes = section_sizes(build_firmware(artifacts, env))
        flash, ram = (sum(sizes.get(name, 0) for name in names) for names in (FLASH, RAM))
        profile = profile_model(artifacts, env)
        lines.append(f"| {env} | {flash:,} | {ram:,} | {profile['flash']['total']:,} | {profile['ram']['stack']:,} |")
    return lines


if __name__ == "__main__":
    try:
        sys.exit(main())
    except TinyflError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)

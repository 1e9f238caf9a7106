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
FIRMWARE = ROOT / "firmware"
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
HEADS = ((32, 7, 0), (64, 12, 0), (32, 7, 16))  # HAR's, the one that trainers are compared with, HAR's with an adapter
TRAINING = {
    "master": "master weights, int32",
    "broadcast": "broadcast weights, int16",
    "residual": "residual of error feedback, int32",
    "features": "features of a sample that are not zero",
    "adapter_features": "all of them, before the adapter",
    "adapted": "and behind it",
    "logits": "logits, probabilities, rates",
    "job": "the request and the order of samples",
}
AUTHENTICATION, STORE = "authentication: MACs, BLAKE2b", "store over reset"
CODECS = "codecs of updates and heads, error feedback"
OPERATORS = "operators"  # what pruned layers save in weights, their kernels take a part of: it goes with the model
PARTS = (  # (part, what an object file's path in the map contains)
    ("model: weights and layer table", "/model/"),
    (OPERATORS, "/src/core/ops/"),
    (AUTHENTICATION, "/src/core/auth"),
    (AUTHENTICATION, "/monocypher/"),
    (STORE, "/src/core/store"),
    (STORE, "/src/core/keep"),
    (CODECS, "/src/core/codec"),
    (CODECS, "/src/core/broadcast"),
    (CODECS, "/src/core/residual"),
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
    core = sum(size for part, size in parts.items() if part not in (PARTS[0][0], OPERATORS, AUTHENTICATION, STORE))
    ram = ram_by_part(artifacts, "microbit")
    beside = sum(size for part, size in ram.items() if part not in ("arena", "head"))
    link = struct_sizes()
    lines = [
        *_head(),
        *_flash(parts, core),
        *_objects(flash_by_object(artifacts, "qemu-m4")),
        *_ram(ram, beside),
        *_training(),
        *_link(link),
    ]
    lines += [*_authentication(), *_images(artifacts)]
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


def flash_by_object(artifacts: Artifacts, env: str) -> dict[str, int]:
    """Bytes of flash of each object file of the node's image that the linker took something of, largest first."""
    text = (artifacts.folder / env / "pio-node" / env / "firmware.map").read_text()
    count: Counter[str] = Counter()
    for section, size, path in ENTRY.findall(text[text.index("Linker script and memory map") :]):
        if section.startswith((".text", ".rodata", ".vectors", ".data")) and int(size, 16):
            count["/".join(path.split("/")[-2:])] += int(size, 16)
    return dict(sorted(count.items(), key=lambda item: (-item[1], item[0])))


def ram_by_part(artifacts: Artifacts, env: str) -> dict[str, int]:
    """Bytes of the node's static RAM; "stack" is what inference used of it, measured."""
    sizes = section_sizes(build_firmware(artifacts, env))
    static = sum(sizes.get(name, 0) for name in RAM)
    arena, head = artifacts.manifest["arena_bytes"], 10 * artifacts.manifest["head"]["count"]
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
    found = _symbols(includes + "".join(f"char {name}[{size}];\n" for name, size in names.items()))
    return dict(zip(STRUCTS, (found[name] for name in names), strict=True))


def training_sizes(features: int, classes: int, group: int) -> dict[str, int]:
    """Static bytes of a node's head, of an adapter in groups that divide its features (0: none), of what trains them.

    By names in firmware/app/main.c.
    """
    head, adapter = (features + 1) * classes, features * (group + 1) if group else 0
    values = {"FEATURES": features, "CLASSES": classes, "HEAD_COUNT": head, "ADAPTER_COUNT": adapter}
    values |= {"WEIGHTS": head + adapter}
    values |= {"ARENA_BYTES": 4, "BODY_BYTES": 4}
    model = "".join(f"#define TFL_MODEL_{name} {value}u\n" for name, value in values.items())
    found = _symbols('#include "main.c"\nstruct tfl_job job;\n', model)
    return {name: found.get(name, 0) for name in TRAINING}


def _symbols(source: str, model: str = "") -> dict[str, int]:
    """Bytes of each symbol that the source defines, on Cortex-M4; ``model``: text of a model.h."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "model.h").write_text(model)
        built = Path(folder) / "sizes.o"
        paths = [f"-I{FIRMWARE / name}" for name in ("core", "include", "app")]
        command = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", f"-I{folder}", *paths, "-xc", "-"]
        subprocess.run([*command, "-c", "-o", str(built)], input=source, text=True, check=True)
        symbols = subprocess.run(["arm-none-eabi-nm", "-S", str(built)], capture_output=True, text=True, check=True)
    rows = (line.split() for line in symbols.stdout.splitlines())
    return {row[3]: int(row[1], 16) for row in rows if len(row) == 4}


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
        f"| **of it without operators, authentication and store** (goal: under {CORE_GOAL:,}) | **{core:,}** |",
        "",
    ]


def _objects(sizes: dict[str, int]) -> list[str]:
    rows = [f"| {path} | {size:,} |" for path, size in sizes.items()]
    return ["### By object file", "", "| object | bytes |", "|---|---:|", *rows, ""]


def _ram(ram: dict[str, int], beside: int) -> list[str]:
    names = {"arena": "arena (activations)", "head": "head: int32 master, int16 broadcast weights, int32 residual"}
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


def _training() -> list[str]:
    columns = [training_sizes(*shape) for shape in HEADS]
    names = [f"{n} features, {c} classes{f', adapter in groups of {group}' if group else ''}" for n, c, group in HEADS]
    rows = [(TRAINING[key], *(column[key] for column in columns)) for key in TRAINING]
    total = [sum(column.values()) for column in columns]
    return [
        "## Training",
        "",
        f"| RAM, bytes | {' | '.join(names)} |",
        f"|---|{'---:|' * len(HEADS)}",
        *(f"| {name} | {' | '.join(f'{size:,}' for size in sizes)} |" for name, *sizes in rows),
        f"| **all** | {' | '.join(f'**{size:,}**' for size in total)} |",
        "",
        *_bench("head"),
        "",
    ]


def _authentication() -> list[str]:
    return ["## Cost of authentication", "", *_bench("auth"), ""]


def _bench(name: str) -> list[str]:
    """What a script of tools/bench counts, as its table."""
    command = [sys.executable, str(ROOT / f"tools/bench/{name}.py")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().splitlines()


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

"""What authentication costs a board: instructions of a handshake and of a MAC, bytes of flash, bytes a message.

    python tools/bench/auth.py

Compiles firmware/core/auth.c and Monocypher as `tinyfl build` does, with nothing else, and counts under QEMU: the same
compiler gives the same figures every time.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tinyfl.errors import TinyflError
from tinyfl.wire.messages import MAC_BYTES
from tinyfl_host.thirdparty import fetch

ROOT = Path(__file__).resolve().parents[2]
CPUS = {"M4": ("cortex-m4", "mps2-an386"), "M0": ("cortex-m0", "mps2-an385")}
OURS, THEIRS = ("-Os",), ("-Os", "-w", "-DBLAKE2_NO_UNROLLING")
SCRIPT = """
SECTIONS {
    .text 0 : { KEEP(*(.vectors)) *(.text*) *(.rodata*) }
    .bss 0x20000000 (NOLOAD) : { bss_start = .; *(.bss*) . = ALIGN(4); bss_end = .; }
}
"""
PART = re.compile(r"^ \.(?:text|rodata)\S*(?:\n)?\s+0x[0-9a-f]+\s+0x([0-9a-f]+) (\S+)$", re.M)


def measure(cpu: str) -> dict[str, int]:
    """Instructions by name, as auth.c prints them, and ``flash``: bytes of auth.c and BLAKE2b."""
    core, machine = CPUS[cpu]
    with tempfile.TemporaryDirectory() as folder:
        image = _link(core, Path(folder))
        flash = sum(int(size, 16) for size, path in PART.findall(_map(image)) if path in ("auth.o", "blake.o"))
        options = ["-semihosting-config", "enable=on,target=native", "-icount", "shift=6", "-display", "none"]
        command = ["qemu-system-arm", "-machine", machine, *options, "-monitor", "none", "-kernel", str(image)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    lines = (line.split() for line in (done.stdout + done.stderr).splitlines())
    return {name: int(count) for name, count in lines} | {"flash": flash}


def _link(core: str, folder: Path) -> Path:
    monocypher = fetch("monocypher")
    (folder / "script.ld").write_text(SCRIPT)
    options = ["arm-none-eabi-gcc", f"-mcpu={core}", "-mthumb", "-std=gnu99", "-ffreestanding"]
    options += ["-ffunction-sections", "-fdata-sections"]
    options += [f"-I{ROOT}/firmware/include", f"-I{ROOT}/firmware/core", f"-I{monocypher}"]
    sources = {
        "use.o": (ROOT / "tools/bench/auth.c", OURS),
        "memory.o": (ROOT / "firmware/platform/cortexm/memory.c", OURS),
        "auth.o": (ROOT / "firmware/core/auth.c", OURS),
        "blake.o": (monocypher / "monocypher.c", THEIRS),
    }
    for name, (source, extra) in sources.items():
        subprocess.run([*options, *extra, "-c", str(source), "-o", str(folder / name)], check=True, timeout=60)
    link = [*options[:3], "-nostdlib", "-e", "start", "-T", "script.ld"]
    link += ["-Wl,--gc-sections,--no-warn-rwx-segments,-Map,map"]
    subprocess.run([*link, *sources, "-lgcc", "-o", "image.elf"], cwd=folder, check=True, timeout=60)
    return folder / "image.elf"


def _map(image: Path) -> str:
    """What the linker kept."""
    return (image.parent / "map").read_text().partition("Linker script and memory map")[2]


LABELS = {
    "hello": "HELLO: nonce, proof, session key (instructions)",
    "mac-0": "MAC of an empty body",
    "mac-239": "MAC of a DELTA of the HAR head",
    "mac-479": "MAC of a TRAIN of the HAR head",
    "holds-479": "checking that TRAIN's MAC",
    "flash": "flash of auth.c and BLAKE2b, bytes",
}


def main() -> int:
    columns = [measure(cpu) for cpu in CPUS]
    print(f"| | {' | '.join(CPUS)} |\n|---|{'---:|' * len(CPUS)}")
    for name, label in LABELS.items():
        print(f"| {label} | {' | '.join(f'{column[name]:,}' for column in columns)} |")
    print(f"\nOn the wire: {MAC_BYTES} bytes a message, none on ACK, DATA, LOG, RESET; WELCOME has nonce and proof.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except TinyflError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)

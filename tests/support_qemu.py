"""The generated C of many models on an emulated core: one image, inputs and outputs in files (semihosting)."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from support_operator import Case
from support_runner import ROOT, split_outputs, write_cases

from tinyfl.compiler import CompiledModel
from tinyfl_host.boards import board

# The machine of qemu-m0 has an Armv7-M; that of the microbit has a Cortex-M0, which faults on unaligned words.
ENVS = ("qemu-m4", "qemu-m3", "qemu-m0", "qemu-m55", "microbit")
STACK = 4096
FIRMWARE = ROOT / "firmware"
PLATFORM = FIRMWARE / "platform/cortexm"
START = ("start.c", "memory.c")
FLAGS = ("-std=c99", "-ffreestanding", "-ffunction-sections", "-nostdlib")


def memory(env: str) -> int:
    """Bytes for an arena and the guards around it (tests/emulated/kernels.c)."""
    return min(1 << 16, board(env).ram - STACK - 512)


def build_image(env: str, models: Sequence[CompiledModel], folder: Path, level: str = "-O2") -> Path:
    """An ELF that runs all the models on the core of a board of platformio.ini."""
    spec = board(env)
    cases = write_cases(models, folder)
    (folder / "memory.ld").write_text(
        f"MEMORY {{ FLASH (rx) : ORIGIN = 0, LENGTH = {spec.flash:#x}\n"
        f"RAM (rwx) : ORIGIN = 0x20000000, LENGTH = {spec.ram:#x} }}\n"
        f"TFL_STACK_BYTES = {STACK};\nINCLUDE cortexm.ld\n"
    )
    image = folder / "kernels.elf"
    linking = ["-T", str(folder / "memory.ld"), f"-L{PLATFORM}", "-Wl,--gc-sections", "-lgcc", "-o", str(image)]
    sources = [cases, ROOT / "tests/emulated/kernels.c", *kernels(env, level)]
    compile_for(env, level, f"-I{folder}", f"-DMEMORY={memory(env)}u", *map(str, sources), *linking)
    return image


@cache
def kernels(env: str, level: str) -> tuple[Path, ...]:
    """The object files of all operators and of the start of a core, compiled once a process."""
    folder = Path(tempfile.mkdtemp(prefix="tinyfl-kernels-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    objects = []
    for source in [*sorted((FIRMWARE / "core/ops").glob("*.c")), *(PLATFORM / name for name in START)]:
        objects.append(folder / f"{source.stem}.o")
        compile_for(env, level, "-c", str(source), "-o", str(objects[-1]))
    return tuple(objects)


def compile_for(env: str, level: str, *arguments: str) -> None:
    """Cross-compiles or links; the compiler's words are the assertion's."""
    includes = [f"-I{path}" for path in (FIRMWARE / "include", FIRMWARE / "core", PLATFORM)]
    command = ["arm-none-eabi-gcc", *board(env).cpu, level, *FLAGS, *includes, *arguments]
    built = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stderr


def run_image(env: str, image: Path, data: bytes) -> bytes:
    """What the image answers to a stream of cases (tests/emulated/kernels.c)."""
    folder = image.parent
    (folder / "input").write_bytes(data)
    command = ["qemu-system-arm", "-machine", str(board(env).machine), "-nodefaults", "-display", "none"]
    command += ["-semihosting-config", "enable=on,target=native", "-kernel", str(image)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"kernels.c, line {done.returncode} (modulo 256) {done.stderr}"
    return (folder / "output").read_bytes()


def case_input(case: int, x: np.ndarray) -> bytes:
    """A case and its inputs, as the image reads them."""
    return np.array([case, len(x)], "<u4").tobytes() + x.tobytes()


def installed() -> bool:
    """Whether there is a cross compiler and an emulator."""
    return shutil.which("arm-none-eabi-gcc") is not None and shutil.which("qemu-system-arm") is not None


def assert_cpu_agrees(several: Sequence[Case], env: str, folder: Path, level: str = "-O2") -> None:
    """The C of these cases gives the twin's bytes on a board's core; cases that its RAM cannot hold are left out."""
    fitting = [case for case in several if case.model.plan.arena_bytes <= memory(env) - 256]
    assert len(fitting) >= 0.9 * len(several)
    models, inputs = [case.model for case in fitting], [case.inputs for case in fitting]
    image = build_image(env, models, folder, level)
    data = run_image(env, image, b"".join(case_input(i, x) for i, x in enumerate(inputs)))
    for case, got in zip(fitting, split_outputs(data, models, inputs), strict=True):
        np.testing.assert_array_equal(got, case.twin, f"{env} {level}: {case}")

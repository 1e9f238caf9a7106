"""The adapter on emulated cores: bit for bit the twin's, and what a step costs in instructions."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from support_adapter import compare, random_case
from support_qemu import FIRMWARE, FLAGS, START, installed
from support_runner import ROOT

from tinyfl_host.boards import board

pytestmark = pytest.mark.emulated
SHAPES = [(32, 7, 16), (32, 7, 32), (64, 12, 8), (17, 5, 4), (3, 2, 2), (256, 4, 256)]
MOST = {"qemu-m4": 10_400, "qemu-m0": 15_200}  # instructions of a step of the first shape, all included


@pytest.mark.parametrize("env", MOST)
def test_every_core_computes_the_same_bytes(env: str, tmp_path: Path) -> None:
    if not installed():
        pytest.skip("arm-none-eabi-gcc or qemu-system-arm is not installed")
    rng = np.random.default_rng(19)
    cases = [random_case(rng, shape, 64, 4 if shape[0] < 256 else 1) for shape in SHAPES]
    answers = run_image(env, build_image(env, tmp_path), b"".join(case.pack() for case in cases))
    ticks = compare(answers, cases)[0][2]
    assert ticks * 5 // 8 // (len(cases[0].x) * cases[0].epochs) <= MOST[env]  # 1.6 ticks an instruction (ticks.h)


def build_image(env: str, folder: Path) -> Path:
    """An ELF that trains the cases of its input."""
    spec, platform, port = board(env), FIRMWARE / "platform/cortexm", FIRMWARE / "ports/cmsdk"
    (folder / "memory.ld").write_text(
        f"MEMORY {{ FLASH (rx) : ORIGIN = 0, LENGTH = {spec.flash:#x}\n"
        f"RAM (rwx) : ORIGIN = 0x20000000, LENGTH = {spec.ram:#x} }}\n"
        "TFL_STACK_BYTES = 4096;\nINCLUDE cortexm.ld\n"
    )
    sources = [
        ROOT / "tests/emulated/adapter.c",
        *(FIRMWARE / f"core/{name}.c" for name in ("adapter", "head", "tensor")),
    ]
    sources += [*(platform / name for name in START), port / "ticks.c"]
    includes = [FIRMWARE / "include", FIRMWARE / "core", ROOT / "tests/c", platform, port]
    image = folder / "adapter.elf"
    command = ["arm-none-eabi-gcc", *spec.cpu, "-O2", *FLAGS, *(f"-I{path}" for path in includes), *map(str, sources)]
    command += ["-T", str(folder / "memory.ld"), f"-L{platform}", "-lgcc", "-o", str(image)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stderr
    return image


def run_image(env: str, image: Path, data: bytes) -> bytes:
    """What the image answers; QEMU's clock counts instructions."""
    folder, spec = image.parent, board(env)
    (folder / "input").write_bytes(data)
    command = ["qemu-system-arm", "-machine", str(spec.machine), "-nodefaults", "-display", "none"]
    command += ["-icount", f"shift={spec.icount},sleep=off", "-semihosting-config", "enable=on,target=native"]
    done = subprocess.run([*command, "-kernel", str(image)], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"adapter.c, line {done.returncode} (modulo 256) {done.stderr}"
    return (folder / "output").read_bytes()

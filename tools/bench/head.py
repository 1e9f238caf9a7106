"""What one step of training costs a board: instructions on each CPU, the clamp's share and all else included.

    python tools/bench/head.py           a table; --json: one document

Compiles firmware/core/head.c as `tinyfl build` does and counts under QEMU: the same compiler gives the same figures.
Training on HAR's embeddings wants the recipe's data (make setup).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyfl.errors import TinyflError
from tinyfl.graph import HeadFormat
from tinyfl.reference.head import from_wire, rate, to_wire
from tinyfl_host.boards import board

ROOT = Path(__file__).resolve().parents[2]
FIRMWARE = ROOT / "firmware"
ENVS = ("qemu-m4", "qemu-m3", "qemu-m0", "qemu-m55")
FLAGS = ("-std=c99", "-ffreestanding", "-ffunction-sections", "-nostdlib", "-Wl,--gc-sections")
SOURCES = (
    "tools/bench/head.c",
    "firmware/core/head.c",
    "firmware/core/tensor.c",
    "firmware/ports/cmsdk/ticks.c",
    "firmware/platform/cortexm/start.c",
    "firmware/platform/cortexm/memory.c",
)
SAMPLES = 64  # twice the steps between two clamps
STREAM = (1, 2, 3)  # seed, round, board


@dataclass(frozen=True)
class Case:
    """A head and what it is to learn: x int8 (n, N), y uint8 (n,)."""

    format: HeadFormat
    x: np.ndarray
    y: np.ndarray
    epochs: int
    rate: tuple[int, int]

    def pack(self) -> bytes:
        """As head.c reads it."""
        f = self.format
        words = [f.features, f.classes, f.fw, f.bias_value, len(self.x), self.epochs, *self.rate, *STREAM]
        weights = to_wire(f.initial).astype("<i2")
        return b"".join(part.tobytes() for part in (np.array(words, "<u4"), f.offset, weights, self.x, self.y))


@dataclass(frozen=True)
class Result:
    """Instructions of one step (mean), the last epoch's sum of losses, the master weights (N + 1, C)."""

    instructions: float
    loss: int
    master: np.ndarray


def build(env: str, folder: Path, level: str = "-O2") -> Path:
    """An ELF that trains what it is given."""
    spec = board(env)
    (folder / "memory.ld").write_text(
        f"MEMORY {{ FLASH (rx) : ORIGIN = 0, LENGTH = {spec.flash:#x}\n"
        f"RAM (rwx) : ORIGIN = 0x20000000, LENGTH = {spec.ram:#x} }}\n"
        "TFL_STACK_BYTES = 4096;\nINCLUDE cortexm.ld\n"
    )
    image, platform = folder / "head.elf", FIRMWARE / "platform/cortexm"
    paths = (FIRMWARE / "include", FIRMWARE / "core", FIRMWARE / "ports/cmsdk", platform)
    includes, sources = (f"-I{path}" for path in paths), (str(ROOT / source) for source in SOURCES)
    linking = ["-T", str(folder / "memory.ld"), f"-L{platform}", "-lgcc", "-o", str(image)]
    command = ["arm-none-eabi-gcc", *spec.cpu, level, *FLAGS, *includes, *sources, *linking]
    subprocess.run(command, check=True, timeout=60)
    return image


def run(env: str, image: Path, cases: Sequence[Case]) -> list[Result]:
    """Trains each case on the emulated core."""
    spec, folder = board(env), image.parent
    (folder / "input").write_bytes(b"".join(case.pack() for case in cases))
    command = ["qemu-system-arm", "-machine", str(spec.machine), "-icount", f"shift={spec.icount}", "-nodefaults"]
    command += ["-display", "none", "-semihosting-config", "enable=on,target=native", "-kernel", str(image)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"head.c, line {done.returncode} (modulo 256) {done.stderr}")
    data = (folder / "output").read_bytes()
    numerator, denominator = np.frombuffer(data, "<u4", 2).tolist()
    results, position = [], 8
    for case in cases:
        ticks, loss = np.frombuffer(data, "<u4", 2, position).tolist()
        master = np.frombuffer(data, "<i4", case.format.initial.size, position + 8)
        position += 8 + master.nbytes
        steps = len(case.x) * case.epochs
        weights = from_wire(master, case.format.features, case.format.classes)
        results.append(Result(ticks * numerator / denominator / steps, loss, weights))
    return results


def random_case(features: int, classes: int) -> Case:
    """Random embeddings without a zero, random weights and labels."""
    rng = np.random.default_rng(features)
    offset = np.full(features, -100, np.int8)
    x = rng.choice(np.setdiff1d(np.arange(-128, 128), offset), (SAMPLES, features)).astype(np.int8)
    r2 = float((np.square(x.astype(int) - offset).sum(axis=1)).mean() + 128**2)
    fw = 9 + int(np.floor(np.log2(np.sqrt(r2))))
    initial = rng.integers(-300, 300, (features + 1, classes)).astype(np.int16)
    format = HeadFormat(features, classes, offset, 128, r2, fw, initial)
    return Case(format, x, rng.integers(0, classes, SAMPLES).astype(np.uint8), 1, rate(0.5, r2, fw))


def har_case() -> Case:
    """HAR's head on embeddings of its first federated user, spread over all of them."""
    from har import task

    from tinyfl_host.recipe import load_recipe

    recipe = load_recipe(ROOT / "models/har")
    har = task(recipe, recipe.tflite.read_bytes())
    user = har.users[recipe.users.federated[0]]
    pick = np.linspace(0, len(user.x) - 1, SAMPLES).astype(int)
    x, y = user.x[pick], user.y[pick].astype(np.uint8)
    return Case(har.head, x, y, 1, rate(recipe.run.rate, har.head.r2, har.head.fw))


def cases() -> dict[str, Case]:
    """What is counted, by name."""
    return {"step-64x12": random_case(64, 12), "step-32x7": random_case(32, 7), "step-har": har_case()}


def measure() -> dict[str, dict[str, int]]:
    """Instructions of one step by case and CPU."""
    counted = cases()
    found: dict[str, dict[str, int]] = {name: {} for name in counted}
    for env in ENVS:
        with tempfile.TemporaryDirectory() as folder:
            results = run(env, build(env, Path(folder)), list(counted.values()))
        for name, result in zip(counted, results, strict=True):
            found[name][env] = round(result.instructions)
    return found


LABELS = {
    "step-64x12": "64 features, 12 classes, no feature zero",
    "step-32x7": "32 features, 7 classes, no feature zero",
    "step-har": "32 features, 7 classes, HAR's embeddings",
}


def main() -> int:
    """Prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one document")
    as_json = parser.parse_args().json
    found = measure()
    if as_json:
        print(json.dumps(found, indent=2))
        return 0
    print(f"| instructions of one step | {' | '.join(env[5:].upper() for env in ENVS)} |\n|---|{'---:|' * len(ENVS)}")
    for name, label in LABELS.items():
        print(f"| {label} | {' | '.join(f'{found[name][env]:,}' for env in ENVS)} |")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except TinyflError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)

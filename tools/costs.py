"""``make costs``: fits tinyfl/compiler/cost.toml to layers counted under QEMU, and prints how far off it is.

Counts the models of tools/bench/zoo.py and HAR, KWS and AD on four CPUs, optimised for speed, size and both: some
minutes. The constants of a kernel are those, none of them negative, that make the sum of squares of relative errors
least; three digits of each are kept, so that the same counts give the same file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from tinyfl.compiler import compile_model
from tinyfl.compiler.cost import FAMILIES, TABLE, Work, work
from tinyfl.errors import TinyflError
from tinyfl.settings import GOALS
from tinyfl_host.artifacts import Artifacts, compile_artifacts
from tinyfl_host.boards import board, boards
from tinyfl_host.build import build_firmware, section_sizes
from tinyfl_host.fit import FitError
from tinyfl_host.profile import FLASH, RAM, count_instructions, profile_model

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared/models"
MODELS = (ROOT / "models/har/har.tflite", SHARED / "kws_ref_model.tflite", SHARED / "ad01_int8.tflite")
sys.path[:0] = [str(ROOT / "tools/bench")]

from zoo import write_zoo  # noqa: E402

HEAD = """\
# Written by make costs (tools/costs.py): instructions under QEMU by kernel, CPU family and count of its work, as
# tinyfl/compiler/cost.py names them. Fitted to {layers} layers of {models} models, for speed, size or both.
"""
DIGITS = 3
ROUND = 512  # some bytes of an image depend on the model: counters by layer, alignment
WEIGHT = 0.02  # a layer of this share of its model's instructions counts for the errors that are printed


Constants = dict[str, dict[str, float]]
Table = dict[str, Constants]  # kernel, family, count


@dataclass(frozen=True)
class Counted:
    """One layer on one family."""

    model: str
    family: str
    work: Work
    instructions: int


def main() -> int:
    """Counts, fits, writes, prints."""
    with TemporaryDirectory() as folder:
        os.environ["TINYFL_BUILD"] = folder
        zoo = [*write_zoo(Path(folder) / "zoo").values()]
        jobs = [(path, ("balanced", GOALS[i % 2])) for i, path in enumerate(zoo)] + [(path, GOALS) for path in MODELS]
        counted = [layer for job in jobs for layer in count(*job)]
        table = {**fit(counted), "firmware": firmware()}
    layers = len({(c.model, c.family, c.work[0], str(c.work[1])) for c in counted}) // len(FAMILIES)
    TABLE.write_text(HEAD.format(layers=layers, models=len(jobs)) + text(table))
    for line in errors(counted, table):
        print(line)
    return 0


def count(path: Path, goals: Sequence[str]) -> Iterator[Counted]:
    """Each layer of a model for each goal on each family; what was counted once is not counted again."""
    seen = set()
    for goal in goals:
        compiled = compile_model(path.read_bytes(), path.stem, None, goal)
        if (compiled.sources["model.c"], goal == "size") in seen:
            continue
        seen.add((compiled.sources["model.c"], goal == "size"))
        artifacts = compile_artifacts(path, goal)
        jobs = [work(compiled.graph, *pair) for pair in zip(compiled.graph.layers, compiled.folded, strict=True)]
        for family in FAMILIES:
            env = f"qemu-{family}"
            try:
                firmware = build_firmware(artifacts, env, "profile")
            except FitError:
                continue
            for job, instructions in zip(jobs, count_instructions(board(env), firmware, len(jobs)).layers, strict=True):
                yield Counted(f"{path.stem} for {goal}", family, job, instructions)


def firmware() -> Constants:
    """The least flash and RAM of an image without what model.json names, without operators, and without a stack."""
    least: Constants = {}
    artifacts = compile_artifacts(ROOT / "models/har", "size")
    head = 10 * artifacts.manifest["head"]["count"]  # with the residual of error feedback
    for app in ("node", "profile"):
        flash, ram = [], []
        for env, spec in boards().items():
            if spec.cpu:
                sizes = section_sizes(build_firmware(artifacts, env, app))
                model = artifacts.manifest["constants_bytes"] + profile_code(artifacts, env)
                flash.append(sum(sizes.get(name, 0) for name in FLASH) - model)
                beside = artifacts.manifest["arena_bytes"] + (spec.stack or 0) + (head if app == "node" else 0)
                ram.append(sum(sizes.get(name, 0) for name in RAM) - beside)
        least[app] = {"flash": max(0, min(flash)) // ROUND * ROUND, "ram": max(0, min(ram)) // ROUND * ROUND}
    return least


def profile_code(artifacts: Artifacts, env: str) -> int:
    """Bytes of the operators' code."""
    return sum(profile_model(artifacts, env)["code"].values())


def fit(counted: Sequence[Counted]) -> Table:
    """Constants by kernel and family."""
    table: Table = {}
    for row in sorted({c.work[0] for c in counted}):
        mine = [c for c in counted if c.work[0] == row]
        table[row] = {family: _constants([c for c in mine if c.family == family]) for family in FAMILIES}
    return table


def _constants(counted: Sequence[Counted]) -> dict[str, float]:
    names = sorted({name for c in counted for name, value in c.work[1].items() if value})
    lines = {(*(c.work[1].get(name, 0) for name in names), c.instructions) for c in counted}
    rows = np.array(sorted(lines), dtype=float)
    if not len(rows):
        return {}
    constants = least_squares(rows[:, :-1] / rows[:, -1:], np.ones(len(rows)))
    return {name: float(f"{c:.{DIGITS}g}") for name, c in zip(names, constants, strict=True) if c > 0}


def least_squares(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The x >= 0 with the least |a x - b| (Lawson and Hanson, Solving Least Squares Problems, 1974, chapter 23)."""
    scale = np.maximum(np.linalg.norm(a, axis=0), 1e-300)
    a = a / scale
    x, free = np.zeros(a.shape[1]), np.zeros(a.shape[1], bool)
    for _ in range(10 * a.shape[1]):
        gradient = np.where(free, -np.inf, a.T @ (b - a @ x))
        if gradient.max() < 1e-9:
            break
        free[gradient.argmax()] = True
        while True:
            step = np.zeros_like(x)
            step[free] = np.linalg.lstsq(a[:, free], b, rcond=None)[0]
            low = free & (step <= 0)
            if not low.any():
                break
            x += np.min(x[low] / (x[low] - step[low] + 1e-300)) * (step - x)
            free &= x > 1e-12
        x = step
    return np.asarray(x / scale)


def text(table: Table) -> str:
    """TOML, in the order of names."""
    lines = []
    for row, families in table.items():
        for family, constants in families.items():
            if constants:
                lines += ["", f"[{row}.{family}]", *(f"{name} = {value:g}" for name, value in constants.items())]
    return "\n".join(lines) + "\n"


def errors(counted: Sequence[Counted], table: Table) -> Iterator[str]:
    """By model and family: the error of the sum, and the worst of a layer of weight."""
    for model in dict.fromkeys(c.model for c in counted):
        for family in FAMILIES:
            mine = [c for c in counted if (c.model, c.family) == (model, family)]
            if not mine:
                continue
            guesses = [sum(table[c.work[0]][family].get(k, 0) * v for k, v in c.work[1].items()) for c in mine]
            whole = sum(c.instructions for c in mine)
            heavy = [
                (guess / c.instructions - 1, c.work[0])
                for guess, c in zip(guesses, mine, strict=True)
                if c.instructions > WEIGHT * whole
            ]
            worst, row = max(heavy, key=lambda pair: abs(pair[0]))
            error = 100 * (sum(guesses) / whole - 1)
            yield f"{model:28} {family:4} {error:+6.1f} %, worst layer {100 * worst:+6.1f} % ({row})"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except TinyflError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)

"""``make budgets``: what inference and a step of training cost now, into tests/budgets.toml; prints what changed.

Writes the figures and the picture of docs/PLANNER.md too.
tests/emulated/test_budgets.py compares with it, so that a change of costs is a change of that file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from tinyfl.compiler import read_tflite
from tinyfl.compiler.demand import Demand, layer_demands
from tinyfl.compiler.plan import plan_arena, plan_model
from tinyfl.errors import TinyflError
from tinyfl_host.artifacts import compile_artifacts
from tinyfl_host.profile import arena_picture, profile_model

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "tests/budgets.toml"
SHARED = ROOT.parent / "shared/models"  # where they are not, their figures stay
MODELS = {
    "har": ROOT / "models/har/har.tflite",
    "kws": SHARED / "kws_ref_model.tflite",
    "ad01": SHARED / "ad01_int8.tflite",
}
ENVS = ("qemu-m4", "qemu-m3", "qemu-m0", "qemu-m55")
HEAD = """\
# Written by make budgets (tools/budgets.py): one inference, or one step of training, under QEMU. The test gives
# instructions and flash 2 %, up and down, and the arena (activations and scratch) nothing.
"""

Figures = dict[str, dict[str, dict[str, int]]]


def main() -> int:
    """Measures, writes, prints."""
    before = tomllib.loads(FILE.read_text()) if FILE.exists() else {}
    now: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for model, path in MODELS.items():
            if not path.exists():
                print(f"{path.name} is not here: its figures stay", file=sys.stderr)
                now[model] = before.get(model, {})
                continue
            now[model] = {env: measure(path, env, Path(folder)) for env in ENVS}
            for env in ENVS:
                print(f"{model:5} {env:9} " + _told(now[model][env], before.get(model, {}).get(env, {})))
        now |= steps()
        (ROOT / "docs/arena.svg").write_text(picture())
    FILE.write_text(_text(compiler(), now))
    _write_figures()
    return 0


def picture() -> str:
    """HAR's arena for docs/PLANNER.md."""
    return arena_picture({**compile_artifacts(MODELS["har"]).manifest, "name": "HAR"})


def _write_figures() -> None:
    page = ROOT / "docs/PLANNER.md"
    head, rest = page.read_text().split("<!-- figures -->")
    rows = [_figures(name, path) for name, path in MODELS.items() if path.exists()]
    if len(rows) == len(MODELS):
        table = "\n".join(
            ("| model | layers | apart | activations | scratch adds | arena | search |", "|---|" + "---:|" * 6, *rows)
        )
        page.write_text(f"{head}<!-- figures -->\n{table}\n<!-- end -->{rest.split('<!-- end -->')[1]}")


def _figures(name: str, path: Path) -> str:
    graph = read_tflite(path.read_bytes(), name)
    demands = layer_demands(graph)
    apart = plan_arena(graph, [Demand(alias=demand.alias) for demand in demands]).arena_bytes
    _, plan = plan_model(graph, demands)
    activations = plan.arena_bytes - plan.scratch_bytes
    search = f"{plan.nodes} nodes, {'proved' if plan.proved else 'cut'}"
    cells = (
        name,
        len(graph.layers),
        *(f"{n:,}" for n in (apart, activations, plan.scratch_bytes, plan.arena_bytes)),
        search,
    )
    return f"| {' | '.join(map(str, cells))} |"


def measure(model: Path, env: str, folder: Path) -> dict[str, int]:
    """The figures of one model on one CPU; builds below ``folder``."""
    os.environ["TINYFL_BUILD"] = str(folder)
    profile = profile_model(compile_artifacts(model), env)
    ram = profile["ram"]
    return {
        "instructions": profile["instructions"],
        "arena": ram["arena"] + ram["scratch"],
        "flash": profile["flash"]["total"],
    }


def steps() -> Figures:
    """Instructions of a step of training, by case and CPU (tools/bench/head.py)."""
    command = [sys.executable, str(ROOT / "tools/bench/head.py"), "--json"]
    counted = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return {name: {env: {"instructions": n} for env, n in envs.items()} for name, envs in counted.items()}


def compiler() -> str:
    """Which compiler the figures belong to."""
    done = subprocess.run(["arm-none-eabi-gcc", "-dumpfullversion"], capture_output=True, text=True, check=True)
    return f"arm-none-eabi-gcc {done.stdout.strip()}"


def _told(now: dict[str, int], before: dict[str, int]) -> str:
    parts = []
    for key, value in now.items():
        was = before.get(key)
        change = "" if was in (None, 0, value) else f" ({100 * (value / was - 1):+.1f} %)"
        parts.append(f"{key} {value:,}{change}")
    return ", ".join(parts)


def _text(version: str, figures: Figures) -> str:
    lines = [HEAD.rstrip(), f'compiler = "{version}"']
    for model, envs in figures.items():
        for env, costs in envs.items():
            lines += ["", f"[{model}.{env}]", *(f"{key} = {value}" for key, value in costs.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except TinyflError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)

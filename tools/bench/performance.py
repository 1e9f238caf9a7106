"""What inference costs beside the peer and the CPU's limit: instructions under QEMU, RAM, flash.

    python tools/bench/performance.py             the tables of docs/PERFORMANCE.md, after some minutes
    python tools/bench/performance.py --write     into the page
    python tools/bench/performance.py --check     only the zoo on a Cortex-M4: 8 where a model is too slow

The zoo (zoo.py) is compared with an estimate of the peer (peer.py).
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import peer
from zoo import ROOT, write_zoo

from tinyfl.compiler import read_tflite
from tinyfl_host.artifacts import compile_artifacts
from tinyfl_host.profile import profile_model

PAGE = ROOT / "docs/PERFORMANCE.md"
SHARED = ROOT.parent / "shared/models"
MODELS = {
    "kws": SHARED / "kws_ref_model.tflite",
    "ad01": SHARED / "ad01_int8.tflite",
    "har": ROOT / "models/har/har.tflite",
}
TITLES = {"kws": "KWS", "ad01": "AD", "har": "HAR"}
LIMITS = {"qemu-m4": "1/2", "qemu-m3": "1", "qemu-m0": "2", "qemu-m55": "1/16"}  # instructions a MAC
CPUS = {"qemu-m4": "M4", "qemu-m3": "M3", "qemu-m0": "M0", "qemu-m55": "M55"}
# (what, model, env or figure, peer, must, aim)
BARS = (
    ("KWS, M4", "kws", "qemu-m4", 7_700_238, 4_600_000, 3_850_000),
    ("KWS, M3", "kws", "qemu-m3", 10_534_987, 7_000_000, 6_000_000),
    ("KWS, M0", "kws", "qemu-m0", 29_004_651, 19_000_000, 14_500_000),
    ("KWS, M55", "kws", "qemu-m55", 1_816_800, 1_400_000, 900_000),
    ("AD, M4", "ad01", "qemu-m4", 583_239, 437_429, 291_620),
    ("AD, M3", "ad01", "qemu-m3", 956_275, 717_206, 478_138),
    ("AD, M0", "ad01", "qemu-m0", 1_763_293, 1_322_470, 881_647),
    ("AD, M55", "ad01", "qemu-m55", 285_858, 214_394, 142_929),
    ("KWS, RAM: arena and scratch", "kws", "ram", 22_820, 11_000, 9_500),
    ("AD, RAM", "ad01", "ram", 2_580, 800, 768),
    ("KWS, flash", "kws", "flash", 124_472, 48_000, 42_000),
    ("AD, flash", "ad01", "flash", 316_280, 282_000, 276_000),
)
FASTER, SMALLER = 1.5, 1.5  # the zoo's bars

Profiles = dict[str, dict[str, dict[str, Any]]]  # model, env


def profile(models: dict[str, Path], envs: Iterable[str], folder: Path) -> Profiles:
    """The documents of ``tinyfl profile``."""
    os.environ["TINYFL_BUILD"] = str(folder)
    found: Profiles = {}
    for name, path in models.items():
        artifacts = compile_artifacts(path)
        found[name] = {}
        for env in envs:
            print(f"{name} on {env}", file=sys.stderr)
            found[name][env] = profile_model(artifacts, env)
    return found


def ram(document: dict[str, Any]) -> int:
    """Arena and scratch."""
    return int(document["ram"]["arena"] + document["ram"]["scratch"])


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], words: int = 1) -> str:
    """Markdown; numbers to the right, behind the first columns of words."""
    line = "|" + "---|" * words + "---:|" * (len(heads) - words)
    cells = ([f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows)
    return "\n".join([f"| {' | '.join(heads)} |", line, *(f"| {' | '.join(row)} |" for row in cells), ""])


def bars(profiles: Profiles) -> str:
    """The goals and what was reached."""
    rows = []
    for what, model, env, theirs, must, aim in BARS:
        document = profiles[model][env if env in CPUS else "qemu-m4"]
        figures = {"ram": ram(document), "flash": document["flash"]["total"]}
        value = int(figures.get(env, document["instructions"]))
        verdict = "aim" if value <= aim else "must" if value <= must else "missed"
        rows.append((what, theirs, must, aim, value, f"{theirs / value:.2f}", verdict))
    return table(("what", "peer", "must", "aim", "tinyfl", "peer / tinyfl", "reached"), rows)


def layers(documents: dict[str, dict[str, Any]]) -> str:
    """Instructions by layer, and for each MAC where a layer has some."""
    heads = ["layer", "MACs", *(f"{CPUS[env]}, limit {LIMITS[env]}" for env in documents)]
    rows = []
    for at, layer in enumerate(next(iter(documents.values()))["layers"]):
        costs = [_cost(document["layers"][at]) for document in documents.values()]
        rows.append((f"{at} {layer['op']}", layer["macs"] or "-", *costs))
    first = next(iter(documents.values()))
    totals = (f"{d['instructions']:,} ({d['instructions'] / d['macs']:.2f})" for d in documents.values())
    return table(heads, [*rows, ("all", first["macs"], *totals)])


def _cost(layer: dict[str, Any]) -> str:
    each = layer["instructions_per_mac"]
    return f"{layer['instructions']:,}" + ("" if each is None else f" ({each:.2f})")


def zoo_rows(profiles: Profiles, models: dict[str, Path]) -> list[tuple[object, ...]]:
    """(name, MACs, M4, peer's estimate, ratio, RAM, peer's estimate, ratio) of each model."""
    rows: list[tuple[object, ...]] = []
    for name, documents in profiles.items():
        graph = read_tflite(models[name].read_bytes(), name)
        ours, theirs = documents["qemu-m4"], round(peer.instructions(graph))
        memory = (ram(ours), peer.arena(graph))
        ratios = theirs / ours["instructions"], memory[1] / memory[0]
        rows.append((name, ours["macs"], ours["instructions"], theirs, ratios[0], *memory, ratios[1]))
    return rows


def zoo_table(rows: list[tuple[object, ...]], profiles: Profiles) -> str:
    """The zoo's table, with the other CPUs' counts where they were taken."""
    others = [env for env in ("qemu-m3", "qemu-m0") if env in next(iter(profiles.values()))]
    heads = ("model", "MACs", "M4", "peer, M4", "peer / tinyfl", "RAM", "peer, RAM", "peer / tinyfl")
    cells = [
        (
            *(f"{cell:.2f}" if isinstance(cell, float) else cell for cell in row),
            *(profiles[str(row[0])][env]["instructions"] for env in others),
        )
        for row in rows
    ]
    return table((*heads, *(CPUS[env] for env in others)), cells)


def below(rows: list[tuple[object, ...]], column: int, bar: float) -> list[str]:
    """Zoo models of which a ratio is below the bar."""
    ratios = ((str(row[0]), row[column]) for row in rows)
    return [f"{name}: {ratio:.2f}" for name, ratio in ratios if isinstance(ratio, float) and ratio < bar]


def checks() -> str:
    """The estimate beside what was measured."""
    rows = []
    for name, (measured, memory) in peer.CHECKED.items():
        graph = read_tflite(MODELS[name].read_bytes(), name)
        estimate, arena = round(peer.instructions(graph)), peer.arena(graph)
        rows.append((TITLES[name], measured, estimate, memory, arena))
    return table(("model", "measured, M4", "estimate", "measured arena", "estimate"), rows)


def write_page(parts: dict[str, str]) -> None:
    """Puts each table between its marks."""
    page = PAGE.read_text()
    for name, text in parts.items():
        mark = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.S)
        page = mark.sub(lambda m, text=text: f"{m[1]}{text}{m[2]}", page)
    PAGE.write_text(page)


def main() -> int:
    """Prints the tables; 8 where a model of the zoo is too slow."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put the tables into docs/PERFORMANCE.md")
    parser.add_argument("--check", action="store_true", help="the zoo on a Cortex-M4 alone")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        animals = write_zoo(folder / "zoo")
        zoo = profile(animals, ("qemu-m4",) if arguments.check else ("qemu-m4", "qemu-m3", "qemu-m0"), folder)
        rows = zoo_rows(zoo, animals)
        parts = {"zoo": zoo_table(rows, zoo)}
        if not arguments.check:
            profiles = profile(MODELS, CPUS, folder)
            parts = {"bars": bars(profiles), **{key: layers(profiles[key]) for key in MODELS}, **parts}
            parts["estimate"] = checks()
    print("\n".join(parts.values()))
    if arguments.write:
        write_page(parts)
    slow, large = below(rows, 4, FASTER), below(rows, 7, SMALLER)
    print(f"too slow: {slow}\ntoo large: {large}", file=sys.stderr)
    return 8 if slow else 0


if __name__ == "__main__":
    sys.exit(main())

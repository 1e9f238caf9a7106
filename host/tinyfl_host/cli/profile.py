"""``tinyfl profile``: what inference costs, by layer."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import click

from tinyfl_host.cli import console


@click.command(
    epilog=console.examples(
        "tinyfl profile models/har --env qemu-m4",
        "tinyfl profile kws.tflite --env microbit --json",
        "tinyfl profile models/har --plot arena.svg",
    )
)
@click.argument("model", type=click.Path(path_type=Path))
@console.optimise_option
@click.option("--env", default="qemu-m4", show_default=True, help="An environment of platformio.ini.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the arena over time into this SVG file.")
@console.json_option
def command(model: Path, goal: str | None, env: str, plot: Path | None, as_json: bool) -> None:
    """Count instructions, RAM and flash of MODEL's inference on a board, by
    layer, in an image that holds inference alone. Where it does not fit, say
    by how much; nothing is flashed.
    """
    from tinyfl_host.artifacts import compile_artifacts
    from tinyfl_host.profile import draw_arena, profile_model

    artifacts = compile_artifacts(model, goal)
    if plot is not None:
        draw_arena(artifacts, plot)
    profile = profile_model(artifacts, env)
    if as_json:
        console.document(profile)
        return
    console.result(f"{profile['model']} on {env}, optimised for {profile['optimise']}\n")
    header = ("layer", "operator", "MACs", "instructions", "per MAC", "RAM B", "flash B")
    console.result(console.table(header, [_row(i, layer) for i, layer in enumerate(profile["layers"])]))
    for line in _reasons(profile["layers"]):
        console.result(line)
    ram, flash = profile["ram"], profile["flash"]
    guess = "" if profile["counted"] or profile["instructions"] is None else "; estimated"
    operators = sum(profile["code"].values())
    rows = [
        ("instructions", _number(profile["instructions"]), f"of the whole model, {profile['macs']:,} MACs{guess}"),
        ("RAM", _number(ram["arena"]), "arena: activations"),
        ("", _number(ram["scratch"]), "arena: more for the kernels' scratch"),
        ("", _number(ram["stack"]), "stack, measured"),
        ("flash", _number(flash["text"]), f"code, of it {operators:,} operators" if operators else "code"),
        ("", _number(flash["constants"]), "constants"),
        ("", _number(flash["total"]), "in all"),
    ]
    console.result("\n" + console.table(("total", "count", "what"), rows))
    for region, excess in profile["missing"].items():
        console.result(f"\ndoes not fit: {excess:,} bytes of {region.upper() if region == 'ram' else region} too many")


def _reasons(layers: list[dict[str, Any]]) -> list[str]:
    """Why each kernel was chosen, where there was a choice."""
    from tinyfl.compiler.demand import ALIAS
    from tinyfl.compiler.ops.operator import ONLY

    chosen: dict[tuple[str, str], list[str]] = {}
    for i, layer in enumerate(layers):
        if layer["reason"] not in (ONLY, ALIAS):
            chosen.setdefault((layer["kernel"].removeprefix("tfl_"), layer["reason"]), []).append(str(i))
    lines = [f"{name} ({', '.join(numbers)}): {reason}" for (name, reason), numbers in chosen.items()]
    return ["", *(textwrap.fill(line, console.WIDTH, subsequent_indent="  ") for line in lines)] if lines else []


def _row(index: int, layer: dict[str, Any]) -> tuple[Any, ...]:
    ratio = "-" if layer["instructions_per_mac"] is None else f"{layer['instructions_per_mac']:.2f}"
    kernel = layer["kernel"].removeprefix("tfl_")
    name = layer["op"] if kernel in (layer["op"], "none") else kernel
    return index, name, layer["macs"], _number(layer["instructions"]), ratio, layer["ram"], layer["flash"]


def _number(value: int | None) -> int | str:
    return "-" if value is None else value

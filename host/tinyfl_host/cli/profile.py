"""``tinyfl profile``: what inference costs, by layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tinyfl_host.cli import console


@click.command(
    epilog=console.examples("tinyfl profile models/har --env qemu-m4", "tinyfl profile kws.tflite --env microbit")
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--env", default="qemu-m4", show_default=True, help="An environment of platformio.ini.")
@console.json_option
def command(model: Path, env: str, as_json: bool) -> None:
    """Count instructions, RAM and flash of MODEL's inference on a board, by
    layer, in an image that holds inference alone. Where it does not fit, say
    by how much; nothing is flashed.
    """
    from tinyfl_host.artifacts import compile_artifacts
    from tinyfl_host.profile import profile_model

    profile = profile_model(compile_artifacts(model), env)
    if as_json:
        console.document(profile)
        return
    console.result(f"{profile['model']} on {env}\n")
    header = ("layer", "operator", "MACs", "instructions", "per MAC", "RAM B", "flash B")
    console.result(console.table(header, [_row(i, layer) for i, layer in enumerate(profile["layers"])]))
    ram, flash = profile["ram"], profile["flash"]
    rows = [
        ("instructions", _number(profile["instructions"]), f"of the whole model, {profile['macs']:,} MACs"),
        ("RAM", _number(ram["arena"]), "arena"),
        ("", _number(ram["stack"]), "stack, measured"),
        ("flash", _number(flash["text"]), "code and start-up"),
        ("", _number(flash["constants"]), "constants"),
        ("", _number(flash["total"]), "in all"),
    ]
    console.result("\n" + console.table(("total", "count", "what"), rows))
    for region, excess in profile["missing"].items():
        console.result(f"\ndoes not fit: {excess:,} bytes of {region.upper() if region == 'ram' else region} too many")


def _row(index: int, layer: dict[str, Any]) -> tuple[Any, ...]:
    count, macs = layer["instructions"], layer["macs"]
    ratio = f"{count / macs:.2f}" if count is not None and macs else "-"
    kernel = layer["kernel"].removeprefix("tfl_")
    name = layer["op"] if kernel in (layer["op"], "none") else kernel
    return index, name, macs, _number(count), ratio, layer["ram"], layer["flash"]


def _number(value: int | None) -> int | str:
    return "-" if value is None else value

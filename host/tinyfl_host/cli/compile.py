"""``tinyfl compile``: a recipe folder or any int8 ``.tflite`` to C."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinyfl_host.cli import console

if TYPE_CHECKING:
    from tinyfl_host.artifacts import Artifacts


@click.command(epilog=console.examples("tinyfl compile models/har", "tinyfl compile kws.tflite --out /tmp/kws --json"))
@click.argument("model", type=click.Path(path_type=Path))
@console.optimise_option
@click.option("--env", help="Check that it fits this environment of platformio.ini.")
@click.option("--out", type=click.Path(path_type=Path), help="Write below this folder, not below build (TINYFL_BUILD).")
@console.json_option
def command(model: Path, goal: str | None, env: str | None, out: Path | None, as_json: bool) -> None:
    """Compile MODEL, a recipe folder or a full-int8 .tflite, to readable C in
    build/<name>/c, with model.json beside it.

    A recipe's lab data gives the constants of a trainable head; a .tflite
    alone is compiled for inference. Instructions are estimates; tinyfl profile
    counts them.
    """
    from tinyfl_host.artifacts import compile_artifacts
    from tinyfl_host.boards import board
    from tinyfl_host.fit import require_fit

    spec = board(env) if env else None
    if out is not None:
        os.environ["TINYFL_BUILD"] = str(out)
    artifacts = compile_artifacts(model, goal, again=True)
    if as_json:
        console.document(artifacts.manifest)
    else:
        _print(artifacts)
    if spec is not None:
        require_fit(artifacts.manifest, spec, "node")


def _print(artifacts: Artifacts) -> None:
    manifest = artifacts.manifest
    console.result(f"{manifest['name']}: hash {manifest['hash'][:32]}, {manifest['macs']:,} MACs")
    console.result(f"optimised for {manifest['optimise']}\n")
    layers = manifest["layers"]
    rows = [
        (i, layer["op"], _shapes(layer), layer["macs"], layer["weight_bytes"], _part(manifest, i))
        for i, layer in enumerate(layers)
    ]
    console.result(console.table(("layer", "operator", "shapes", "MACs", "flash B", "part"), rows))
    console.result("\n" + console.table(("part", "flash B", "RAM B", "what"), _memory(manifest)))
    if manifest["estimate"]:
        guesses = [(f"Cortex-{family.upper()}", count) for family, count in manifest["estimate"].items()]
        console.result("\n" + console.table(("CPU", "instructions, estimated"), guesses))
    for line in _misfits(manifest):
        console.result(line)
    head = manifest["head"]
    if head["trainable"]:
        console.result(
            f"\ntrainable head: {head['features']} features to {head['classes']} classes, {head['count']} weights"
        )
    else:
        console.result(f"\nno trainable head: {head['reason']}")
    console.result(f"C in {artifacts.sources}, model.json in {artifacts.folder}")


def _memory(manifest: dict[str, Any]) -> list[tuple[str, int, int, str]]:
    """Constants and memory of the model by part; code and stack are what ``tinyfl profile`` measures."""
    split = manifest["backbone_layers"] if manifest["head"]["trainable"] else len(manifest["layers"])
    flash = [layer["weight_bytes"] for layer in manifest["layers"]]
    rows = [("backbone", sum(flash[:split]), manifest["arena_bytes"], "frozen; RAM is the arena of all layers")]
    if manifest["head"]["trainable"]:
        count, features = manifest["head"]["count"], manifest["head"]["features"]
        start = 2 * count + features  # initial weights int16, offsets int8
        rows.append(("head", sum(flash[split:]) + start, 6 * count, "trainable; RAM is int32 master + int16 copy"))
    return rows


def _misfits(manifest: dict[str, Any]) -> list[str]:
    """The boards of platformio.ini that the model cannot run on, before anything is built."""
    from tinyfl.errors import ConfigError
    from tinyfl_host.boards import boards
    from tinyfl_host.fit import shortage

    try:
        missing = {env: shortage(manifest, spec) for env, spec in boards().items()}
    except ConfigError:  # only the wheel is installed: there is no table
        return []
    parts = [(env, f"{count:,} bytes of {region}") for env, lack in missing.items() for region, count in lack.items()]
    return [f"\ndoes not fit {env}: at least {part} too many" for env, part in parts]


def _part(manifest: dict[str, Any], index: int) -> str:
    if not manifest["head"]["trainable"]:
        return "frozen"
    return "backbone" if index < manifest["backbone_layers"] else "head"


def _shapes(layer: dict[str, Any]) -> str:
    sides = [*(_shape(shape) for shape in layer["input_shapes"]), _shape(layer["output_shape"])]
    return " + ".join(sides[:-1]) + " > " + sides[-1]


def _shape(shape: list[int]) -> str:
    return "x".join(map(str, shape)) or "1"

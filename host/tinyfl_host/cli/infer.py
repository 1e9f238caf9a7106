"""``tinyfl infer``: a model on a board, .npy in, .npy out."""

from __future__ import annotations

from pathlib import Path

import click

from tinyfl_host.cli import console


@click.command(epilog=console.examples("tinyfl infer kws.tflite --on emu:qemu-m4 --input in.npy --output out.npy"))
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--on", required=True, metavar="LINK", help="emu:ENV, posix, twin, or the link of a board.")
@click.option("--input", "source", required=True, type=click.Path(path_type=Path), help="int8 (n, *input shape), .npy.")
@click.option("--output", "sink", required=True, type=click.Path(path_type=Path), help="int8 (n, *output shape), .npy.")
@console.json_option
def command(model: Path, on: str, source: Path, sink: Path, as_json: bool) -> None:
    """Run MODEL, a recipe folder or a .tflite, on every input of a .npy file
    and write the outputs. Counts instructions where the target does.
    """
    from tinyfl_host.artifacts import compile_artifacts
    from tinyfl_host.inference import check_input, infer, read_input, write_output

    artifacts = compile_artifacts(model)
    x = read_input(source)
    check_input(artifacts, x)
    inference = infer(artifacts, on, x.astype("int8"))
    write_output(sink, inference.output)
    if as_json:
        console.document({"samples": len(x), "output": str(sink), "instructions_per_inference": inference.instructions})
        return
    counted = "" if inference.instructions is None else f", {inference.instructions:,.0f} instructions each"
    console.result(f"{sink}: {len(x)} outputs of {artifacts.name} on {on}{counted}")

"""``tinyfl build``: firmware for one environment of platformio.ini."""

from __future__ import annotations

from pathlib import Path

import click

from tinyfl_host.cli import console


@click.command(
    epilog=console.examples("tinyfl build models/har --env qemu-m4", "tinyfl build kws.tflite --env microbit")
)
@click.argument("model", type=click.Path(path_type=Path))
@console.optimise_option
@click.option("--env", default="qemu-m4", show_default=True, help="An environment of platformio.ini.")
@console.json_option
def command(model: Path, goal: str | None, env: str, as_json: bool) -> None:
    """Build the node firmware of MODEL, a recipe folder or a .tflite, for a
    board. What does not fit is said by region and bytes.
    """
    from tinyfl_host.artifacts import compile_artifacts
    from tinyfl_host.boards import board
    from tinyfl_host.build import build_firmware, section_sizes

    spec = board(env)
    artifacts = compile_artifacts(model, goal)
    elf = build_firmware(artifacts, env)
    sizes = section_sizes(elf) if spec.cpu else {}
    flash = sum(sizes.get(name, 0) for name in (".text", ".rodata", ".data")) if sizes else None
    ram = sum(sizes.get(name, 0) for name in (".stack", ".noinit", ".data", ".bss")) if sizes else None
    if as_json:
        console.document({"elf": str(elf), "env": env, "flash": flash, "ram": ram, "hash": artifacts.manifest["hash"]})
        return
    console.result(f"{elf}: {spec.description}")
    if flash is not None and ram is not None:
        rows = [("flash", flash, spec.flash or 0), ("RAM with stack", ram, spec.ram or 0)]
        console.result("\n" + console.table(("memory", "used B", "board B"), rows))
    console.log(f"next: tinyfl {'emulate' if spec.emulated else 'flash'} {model} --env {env}")

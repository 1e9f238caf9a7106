"""``tinyfl flash``: firmware onto a real board."""

from __future__ import annotations

from pathlib import Path

import click

from tinyfl_host.cli import console


@click.command(epilog=console.examples("tinyfl flash models/har --env microbit --port /dev/ttyACM0"))
@click.argument("model", type=click.Path(path_type=Path))
@console.optimise_option
@click.option("--env", required=True, help="An environment of platformio.ini.")
@click.option("--port", default="", metavar="PORT", help="The board's serial port.")
@click.option("--probe", default="", metavar="ID", help="The debug probe's id, instead of a port.")
def command(model: Path, goal: str | None, env: str, port: str, probe: str) -> None:
    """Build MODEL's firmware for a board and write it there. For an emulated
    environment the emulator is started instead.
    """
    from tinyfl_host.artifacts import compile_artifacts
    from tinyfl_host.boards import board
    from tinyfl_host.cli.emulate import start
    from tinyfl_host.flash import flash_firmware

    if board(env).emulated:
        console.log(f"{env} is emulated: there is nothing to flash, starting the emulator")
        start(model, env, None, False)
        return
    elf = flash_firmware(compile_artifacts(model, goal), env, port, probe)
    console.result(f"{env}: runs {elf}")

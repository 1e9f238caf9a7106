"""``tinyfl emulate``: one board without hardware."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import click

from tinyfl_host.cli import console


@click.command(
    epilog=console.examples(
        "tinyfl emulate models/har --env qemu-m4 --user 5", "tinyfl device info unix:/tmp/tfl-.../line"
    )
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--env", default="qemu-m4", show_default=True, help="An environment of platformio.ini.")
@click.option("--user", metavar="NAME", help="Whose samples of the recipe the board holds [none].")
@console.json_option
def command(model: Path, env: str, user: str | None, as_json: bool) -> None:
    """Boot one emulated board with MODEL, print its link, and keep it running
    until Ctrl-C. With --user it holds that user's data.
    """
    start(model, env, user, as_json)


def start(model: Path, env: str, user: str | None, as_json: bool) -> None:
    """Boots, prints, and waits for the board's end or Ctrl-C."""
    from tinyfl.errors import LinkError, UsageError
    from tinyfl_host.artifacts import compile_artifacts
    from tinyfl_host.boards import board
    from tinyfl_host.build import build_firmware
    from tinyfl_host.emulate import boot
    from tinyfl_host.scenario import user_image

    if user is not None and not model.is_dir():
        raise UsageError("--user wants a recipe folder: a .tflite has no data", "give the recipe folder as MODEL")
    artifacts = compile_artifacts(model)
    image = None if user is None else user_image(model, artifacts, user)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends it as Ctrl-C does
    with boot(board(env), build_firmware(artifacts, env), image, name=env) as emulator:
        try:
            if as_json:
                console.event({"link": emulator.link, "env": env, "pid": emulator.pid})
            else:
                console.result(emulator.link)
            console.log(f"{env} runs until Ctrl-C; ask it: tinyfl device info {emulator.link}")
            while emulator.running:
                time.sleep(0.1)
        except KeyboardInterrupt:
            return
        raise LinkError(f"{env} ended: {emulator.complaint()}".rstrip(": "), "start it again")

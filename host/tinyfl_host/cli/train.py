"""``tinyfl train``: Keras model and the lab's data to an int8 ``.tflite``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tinyfl_host.cli import console


@click.command(epilog=console.examples("tinyfl train models/har", "tinyfl train plug --json"))
@click.argument("recipe", type=click.Path(path_type=Path))
@console.json_option
def command(recipe: Path, as_json: bool) -> None:
    """Train the Keras model of the folder RECIPE on the lab's users, prune it,
    make it int8, and write <name>.tflite and model.json there.

    The same recipe and seed give the same bytes. Needs the extra [train].
    """
    from tinyfl_host.recipe import load_recipe
    from tinyfl_host.training import train_recipe

    loaded = load_recipe(recipe)
    console.log(f"training {loaded.name}: TensorFlow takes a few seconds to start")
    with _Epochs() as epochs:
        report = train_recipe(loaded, epochs.show)
    if as_json:
        console.document(asdict(report))
        return
    zeros = report.sparsity.values()
    console.result(
        f"{loaded.tflite}: {report.sizes['weights']:,} weights, {console.kilobytes(report.sizes['tflite'])}\n"
        f"trained on {report.samples['train']:,} samples of the lab, tested on {report.samples['test']:,} others\n"
    )
    console.result(console.table(("stage", "accuracy"), [(k, f"{v:.1%}") for k, v in report.accuracy.items()]))
    if zeros:
        console.result(f"\nzero weights kept: {min(zeros):.0%} to {max(zeros):.0%} by layer, the head left out")
    console.log(f"next: tinyfl run {recipe} --on emu:qemu-m4 --boards 3")


class _Epochs:
    """Progress by epoch: one line that is drawn again on a terminal, else one line a stage."""

    def __init__(self) -> None:
        self._live: Any = None

    def __enter__(self) -> _Epochs:
        if console.interactive():
            from rich.console import Console
            from rich.status import Status

            self._live = Status("loading", console=Console(stderr=True))
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, stage: str, epoch: int, epochs: int, accuracy: float) -> None:
        line = f"{stage}: epoch {epoch} of {epochs}, training accuracy {accuracy:.1%}"
        if self._live is not None:
            self._live.update(line)
        if self._live is None and epoch == epochs:
            console.log(line)

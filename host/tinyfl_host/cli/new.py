"""``tinyfl new``: a recipe folder for a model and data of the user's own."""

from __future__ import annotations

from pathlib import Path

import click

from tinyfl_host.cli import console


@click.command(
    epilog=console.examples("tinyfl new plug", "tinyfl train plug", "tinyfl run plug --on emu:qemu-m4 --boards 3")
)
@click.argument("name", type=click.Path(path_type=Path))
def command(name: Path) -> None:
    """Make the recipe folder NAME: recipe.toml, model.py and data/*.csv.

    It runs as it comes, on a small made-up data set: which appliance hangs on
    a smart plug. Then change it into your own; its comments say how.
    """
    from tinyfl_host.scaffold import new_recipe

    folder = new_recipe(name)
    console.result(f"{folder}/recipe.toml  settings: classes, users, training, rounds")
    console.result(f"{folder}/model.py     the Keras model")
    console.result(f"{folder}/data/*.csv   samples, a file a user")
    console.log(f"next: tinyfl train {folder}")

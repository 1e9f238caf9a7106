"""``tinyfl new``: a recipe folder that runs as it comes, on a small data set made here."""

from __future__ import annotations

import tempfile
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np
import numpy.typing as npt

from tinyfl.errors import ConfigError, UsageError
from tinyfl_host.recipe import NAME

FILES = ("recipe.toml", "model.py")
LAB = ("lab1", "lab2", "lab3", "lab4")
HOMES = ("home1", "home2", "home3", "home4")
APPLIANCES = ("kettle", "fridge", "washer", "tv")
ROWS = 320  # of each appliance: 160 s at two rows a second

Float64 = npt.NDArray[np.float64]


def new_recipe(folder: Path) -> Path:
    """Writes the folder with recipe.toml, model.py and data/<user>.csv; returns it. The same bytes on every call.

    Raises UsageError for a name that cannot be used or is taken, ConfigError where the folder cannot be written.
    """
    name = folder.name
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot name a recipe", 'use letters, digits, "_" and "-", at most 40')
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"{folder} exists already", "choose another name, or remove it first")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder.parent) as whole:
            _fill(Path(whole) / name, name)
            (Path(whole) / name).rename(folder)
    except OSError as error:
        raise ConfigError(
            f"{error.filename or folder}: {error.strerror}", "name a folder that can be written"
        ) from error
    return folder


def _fill(folder: Path, name: str) -> None:
    (folder / "data").mkdir(parents=True)
    template = resources.files("tinyfl_host") / "templates" / "recipe"
    for file in FILES:
        text = (template / file).read_text(encoding="utf-8")
        (folder / file).write_text(Template(text).substitute(name=name), encoding="utf-8")
    for number, user in enumerate(LAB + HOMES):
        (folder / "data" / f"{user}.csv").write_text(_csv(user in HOMES, number), encoding="utf-8")


def _csv(at_home: bool, number: int) -> str:
    """One user's recordings: current in ampere, power factor, appliance."""
    rng = np.random.default_rng(number)
    lines = ["current,power_factor,label"]
    for appliance in APPLIANCES:
        signal = _recording(rng, appliance, at_home)
        lines += [f"{current:.3f},{factor:.3f},{appliance}" for current, factor in signal]
    return "\n".join(lines) + "\n"


def _recording(rng: np.random.Generator, appliance: str, at_home: bool) -> Float64:
    """(ROWS, 2): current and power factor. Homes differ from the lab's bench in level, and from each other in all."""
    t = np.arange(ROWS)
    level = rng.uniform(0.8, 1.2)
    period = rng.uniform(9, 14)
    wave = 2 * np.pi * t / period + rng.uniform(0, 6)
    if appliance == "kettle":  # a heater that switches
        current, factor = 5.0 * (np.sin(wave / 4) > -0.4), np.full(ROWS, 0.99)
    elif appliance == "fridge":  # a compressor that hums
        current, factor = 1.1 + 0.2 * np.sin(wave * 1.7), np.full(ROWS, 0.7)
    elif appliance == "washer":  # a drum that turns back and forth
        current, factor = 2.2 * np.abs(np.sin(wave / 2)), 0.6 + 0.1 * np.sin(wave)
    else:  # a picture that flickers
        current, factor = 0.9 + np.cumsum(rng.normal(0, 0.08, ROWS)) % 0.8, np.full(ROWS, 0.9)
    if at_home:  # other appliances share the plug, and the line drops
        current, factor = current * 0.8 + rng.uniform(0.4, 0.9), factor - rng.uniform(0.02, 0.1)
    noise = rng.normal(0, 1, (ROWS, 2)) * (0.25, 0.03)
    signal: Float64 = np.stack([current * level, factor], axis=1) + noise
    return signal

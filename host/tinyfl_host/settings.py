"""The settings of a run: option > TINYFL_* environment > recipe > default; what of them a resumed run may change."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from tinyfl.errors import ConfigError, UsageError
from tinyfl_host.recipe import Recipe

# They decide when a round counts and how often it is measured, never what it computes.
CHANGEABLE = ("quorum", "deadline", "evaluate_every")


@dataclass(frozen=True)
class Settings:
    """All that ``tinyfl run`` can be told but for the boards themselves; docs/RECIPES.md explains the keys."""

    on: str  # "emu:ENV", "posix", "twin", or "fleet" with a fleet.toml
    boards: int
    draw: int
    rounds: int
    epochs: int
    rate: float
    local_rate: float
    fraction: float
    quorum: float | int
    deadline: float
    local_only: bool
    seed: int
    evaluate_every: int

    def quorum_of(self, boards: int) -> int:
        """How many of ``boards`` must finish a round (at least 1): a fraction of them, or a count as it is."""
        return max(1, self.quorum if isinstance(self.quorum, int) else math.ceil(self.quorum * boards))


def settle(recipe: Recipe, on: str, boards: int, given: dict[str, Any]) -> Settings:
    """Settings of a new run: ``given`` (options and environment; None: not given) over the recipe's ``[run]``."""
    chosen = {key: value for key, value in given.items() if value is not None}
    values = {"draw": 0, "evaluate_every": 1, **dataclasses.asdict(recipe.run), **chosen, "on": on, "boards": boards}
    settings = Settings(**{field.name: values[field.name] for field in dataclasses.fields(Settings)})
    _check(settings)
    return settings


def resettle(kept: dict[str, Any], given: dict[str, Any], run: str) -> Settings:
    """Settings of a resumed run: the kept ones; UsageError naming both where ``given`` says something else."""
    chosen = {key: value for key, value in given.items() if value is not None}
    other = {key: value for key, value in chosen.items() if key not in CHANGEABLE and kept.get(key) != value}
    if other:
        key, value = next(iter(other.items()))
        raise UsageError(
            f"run {run} was started with {key} = {kept.get(key)}, now {key} = {value}",
            "leave the option out to go on with the run's own settings, or start a new run without --resume",
        )
    try:
        settings = Settings(**{**kept, **chosen})
    except TypeError as error:
        raise ConfigError(f"run {run}: settings of another version: {error}", "start a new run") from error
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    limits = {
        "rounds": (0, 100_000),
        "epochs": (1, 65_535),
        "rate": (1e-6, 100.0),
        "local_rate": (1e-6, 100.0),
        "fraction": (1e-6, 1.0),
        "quorum": (0, 1_000_000),
        "deadline": (0.1, 1e6),
        "seed": (0, 2**32 - 1),
        "evaluate_every": (1, 1_000_000),
    }
    for key, (least, most) in limits.items():
        value = getattr(settings, key)
        if not least <= value <= most:
            raise UsageError(f"{key} = {value}, expected {least} to {most}", "tinyfl run --help shows the options")

"""The settings of a run: option > TINYFL_* environment > recipe > default; what of them a resumed run may change."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from tinyfl.errors import ConfigError, UsageError
from tinyfl.settings import number
from tinyfl_host.recipe import Recipe, RunSettings

# They decide when a round counts and how often it is measured, never what it computes.
CHANGEABLE = ("quorum", "deadline", "evaluate_every")


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings):
    """All that ``tinyfl run`` can be told but for the boards themselves; docs/RECIPES.md explains the keys."""

    on: str  # "emu:ENV", "posix", "twin", or "fleet" with a fleet.toml
    boards: int
    draw: int = 0
    evaluate_every: int = number(1, 1, 1_000_000)


def settle(recipe: Recipe, on: str, boards: int, given: dict[str, Any]) -> Settings:
    """Settings of a new run: ``given`` (options and environment; None: not given) over the recipe's ``[run]``."""
    chosen = {key: value for key, value in given.items() if value is not None}
    values = {**dataclasses.asdict(recipe.run), **chosen, "on": on, "boards": boards}
    settings = Settings(**values)
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
    odd = set(kept) ^ {field.name for field in dataclasses.fields(Settings)}
    if odd:
        raise ConfigError(f"run {run}: settings of another version: {', '.join(sorted(odd))}", "start a new run")
    settings = Settings(**{**kept, **chosen})
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    for entry in dataclasses.fields(settings):
        value, limits = getattr(settings, entry.name), entry.metadata
        if "least" in limits and not limits["least"] <= value <= limits["most"]:
            raise UsageError(
                f"{entry.name} = {value}, expected {limits['least']} to {limits['most']}",
                "tinyfl run --help shows the options",
            )

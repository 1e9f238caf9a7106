"""The settings of a run: option > TINYFL_* environment > recipe > default; what of them a resumed run may change."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tinyfl.errors import ConfigError, UsageError
from tinyfl.settings import number
from tinyfl_host.recipe import (
    ClientSettings,
    ClusterSettings,
    PersonalSettings,
    ProxSettings,
    Recipe,
    RunSettings,
    ServerSettings,
    UpdateSettings,
)

# They decide when a round counts and how often it is measured, never what it computes.
CHANGEABLE = ("quorum", "deadline", "evaluate_every")

# What has a section of its own in recipes, and here.
SECTIONS: dict[str, type[Any]] = {
    "update": UpdateSettings,
    "server": ServerSettings,
    "clients": ClientSettings,
    "prox": ProxSettings,
    "clusters": ClusterSettings,
    "personal": PersonalSettings,
}

# Options that set a key of a section; all others are keys of [run], or of Settings itself.
OPTIONS: dict[str, tuple[str, str]] = {
    **{key.name: ("update", key.name) for key in dataclasses.fields(UpdateSettings)},
    **{key: ("server", key) for key in ("optimiser", "aggregate", "liars", "mixing")},
    **{f"server_{key}": ("server", key) for key in ("rate", "momentum", "decay", "floor")},
    "client_select": ("clients", "select"),
    "candidates": ("clients", "candidates"),
    "mu": ("prox", "mu"),
    "clusters": ("clusters", "count"),
    **{key: ("personal", key) for key in ("tune", "mix", "private")},
}


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings):
    """All that ``tinyfl run`` can be told but for the boards themselves; docs/RECIPES.md explains the keys."""

    on: str  # "emu:ENV", "posix", "sim:N", "twin", or "fleet" with a fleet.toml
    boards: int
    draw: int = 0
    evaluate_every: int = number(1, 1, 1_000_000)
    update: UpdateSettings = dataclasses.field(default_factory=UpdateSettings)
    server: ServerSettings = dataclasses.field(default_factory=ServerSettings)
    clients: ClientSettings = dataclasses.field(default_factory=ClientSettings)
    prox: ProxSettings = dataclasses.field(default_factory=ProxSettings)
    clusters: ClusterSettings = dataclasses.field(default_factory=ClusterSettings)
    personal: PersonalSettings = dataclasses.field(default_factory=PersonalSettings)


def settle(recipe: Recipe, on: str, boards: int, given: dict[str, Any]) -> Settings:
    """Settings of a new run: ``given`` (options and environment; None: not given) over the recipe's sections."""
    kept = {**_shallow(recipe.run), **{name: _shallow(getattr(recipe, name)) for name in SECTIONS}}
    return _over(kept, {**given, "on": on, "boards": boards})


def resettle(kept: dict[str, Any], given: dict[str, Any], run: str) -> Settings:
    """Settings of a resumed run: the kept ones; UsageError naming both where ``given`` says something else."""
    odd = set(_names(Settings)) ^ set(kept)
    odd |= {key for name, kind in SECTIONS.items() for key in set(_names(kind)) ^ set(kept.get(name, {}))}
    if odd:
        raise ConfigError(f"run {run}: settings of another version: {', '.join(sorted(odd))}", "start a new run")
    for option, value in given.items():
        before = _kept(kept, option)
        if value is not None and option not in CHANGEABLE and before != value:
            raise UsageError(
                f"run {run} was started with {option} = {before}, now {option} = {value}",
                "leave the option out to go on with the run's own settings, or start a new run without --resume",
            )
    return _over(kept, given)


def _names(kind: type[Any]) -> Iterable[str]:
    return (entry.name for entry in dataclasses.fields(kind))


def _shallow(settings: Any) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in _names(type(settings))}


def _kept(kept: Mapping[str, Any], option: str) -> Any:
    section, key = OPTIONS.get(option, (None, option))
    return (kept[section] if section else kept).get(key)


def _over(kept: Mapping[str, Any], given: Mapping[str, Any]) -> Settings:
    """Checked settings: what was given over what was kept, sections as mappings."""
    values: dict[str, Any] = {**kept, **{name: dict(kept[name]) for name in SECTIONS}}
    for option, value in given.items():
        if value is not None:
            section, key = OPTIONS.get(option, (None, option))
            (values[section] if section else values)[key] = value
    sections = {name: kind(**values[name]) for name, kind in SECTIONS.items()}
    settings = Settings(**{**values, **sections})
    for section, part in ((None, settings), *sections.items()):
        _check(part, {key: option for option, (name, key) in OPTIONS.items() if name == section})
    return settings


def _check(settings: Any, options: Mapping[str, str]) -> None:
    for entry in dataclasses.fields(settings):
        value, limits, option = getattr(settings, entry.name), entry.metadata, options.get(entry.name, entry.name)
        if "least" in limits and not limits["least"] <= value <= limits["most"]:
            raise UsageError(
                f"{option} = {value}, expected {limits['least']} to {limits['most']}",
                "tinyfl run --help shows the options",
            )
        if value not in limits.get("choices", (value,)):
            raise UsageError(f"{option} = {value!r}", f"expected one of {', '.join(limits['choices'])}")

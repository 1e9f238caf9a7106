"""A sweep: a run for each point of a grid, several at a time, kept in ``build/NAME/sweeps/0001/``.

``sweep.json`` there holds the grid and what each run was given; run 0007 is an ordinary run in the folder ``0007``.
Which runs are over is in their ledgers alone: so a sweep that was killed at any moment goes on.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from tinyfl.errors import ConfigError, TinyflError, UsageError
from tinyfl_host.artifacts import write_atomically
from tinyfl_host.compare import Comparison, compare
from tinyfl_host.events import Event, RunDone
from tinyfl_host.grid import Grid, Point, points, told, varied
from tinyfl_host.launch import Request, begin
from tinyfl_host.ledger import FILE as LEDGER
from tinyfl_host.ledger import ROOM, Ledger, lock, new_folder
from tinyfl_host.scenario import Model, load_model
from tinyfl_host.summary import summarise
from tinyfl_host.workers import Died, Failure, run_all

FILE = "sweep.json"
VERSION = 1
PLACES = ("on", "boards")  # keys that say where a run's boards are; all others are settings


@dataclass(frozen=True)
class Sweep:
    """A sweep as its file has it. ``base``: the settings of its first run, which a changed recipe would change."""

    folder: Path
    recipe: str
    model: str
    on: str
    target: float | None
    over: Grid
    base: Mapping[str, Any]
    version: int = VERSION
    failed: Mapping[str, str] = field(default_factory=dict)  # runs that ended with an error, and why

    @cached_property
    def runs(self) -> dict[str, Point]:
        """What each run was given, by its name: its number in the grid."""
        return {f"{number:04d}": point for number, point in enumerate(points(self.over), 1)}

    @property
    def keys(self) -> list[str]:
        """The keys that tell rows apart."""
        return varied(self.over)

    def told(self, name: str) -> str:
        """``run 0007 codec=int4 draw=2``: what tells it from the others."""
        own = {key: value for key, value in self.runs[name].items() if len(self.over[key]) > 1}
        return f"run {name} {told(own)}".rstrip()

    def request(self, recipe: Path, name: str) -> Request:
        """The run of this name, from its beginning or from where it is."""
        place = self.folder / name
        if (place / LEDGER).is_file():
            return Request(recipe, resume=str(place))
        return dataclasses.replace(_request(recipe, self.on, self.runs[name]), place=place)

    def is_over(self, name: str) -> bool:
        """True for a run that has all its rounds."""
        return (self.folder / name / LEDGER).is_file() and _result(self.folder / name) is not None


def start(recipe: Path, grid: Grid, on: str, target: float | None) -> Sweep:
    """A new sweep, with each of its points checked before anything runs. Raises what is wrong, naming the point."""
    check_target(target)
    if not grid:
        raise UsageError("a sweep over nothing", "for example: --over codec=int8,sign --over draw=0..4")
    chosen, model = points(grid), load_model(recipe)
    settings = [_settings(recipe, on, point, model) for point in chosen]
    sweeps = model[1].folder / "sweeps"
    sweep = Sweep(new_folder(sweeps), model[0].name, model[1].manifest["hash"], on, target, grid, settings[0])
    write(sweep)
    return sweep


def reopen(recipe: Path, name: str | None) -> Sweep:
    """A sweep to go on with: a folder, a name in ``build/NAME/sweeps``, or the last one; refused for another model."""
    model = load_model(recipe)
    sweep = read(_find(model[1].folder / "sweeps", name))
    where, first = f"sweep {sweep.folder.name}", next(iter(sweep.runs.values()))
    now = {"model": model[1].manifest["hash"], **_flat(_settings(recipe, sweep.on, first, model))}
    for key, kept in {"model": sweep.model, **_flat(sweep.base)}.items():
        if now.get(key) != kept:
            raise ConfigError(
                f"{where} was started with {key} {_short(kept)}, {recipe} now has {_short(now.get(key))}",
                "restore it, or start a new sweep without --resume",
            )
    return sweep


def run(
    sweep: Sweep, recipe: Path, jobs: int, tell: Callable[[str, Event | Died], None]
) -> Generator[tuple[str, RunDone | Failure], None, None]:
    """Each run that is not over, as it ends; what failed before is forgotten. Raises ConfigError where another process
    has this sweep.
    """
    failed: dict[str, str] = {}
    with lock(sweep.folder, "sweep"):
        write(dataclasses.replace(sweep, failed=failed))
        left = {name: partial(sweep.request, recipe, name) for name in sweep.runs if not sweep.is_over(name)}
        with closing(run_all(left, jobs, tell)) as outcomes:
            for name, outcome in outcomes:
                if isinstance(outcome, Failure):
                    failed[name] = outcome.message
                    write(dataclasses.replace(sweep, failed=failed))
                yield name, outcome


def result(sweep: Sweep, target: float | None = None) -> Comparison:
    """All runs that are over, compared. ConfigError where none is."""
    summaries, missing = [], {}
    for name in sweep.runs:
        if sweep.is_over(name):
            with Ledger(sweep.folder / name, write=False) as ledger:
                summaries.append(summarise(ledger))
        else:
            missing[sweep.told(name)] = sweep.failed.get(name, "not over")
    if not summaries:
        raise ConfigError(f"{sweep.folder}: no run is over", f"go on: tinyfl sweep RECIPE --resume {sweep.folder}")
    fixed = {key: values[0] for key, values in sweep.over.items() if len(values) == 1}
    return compare(summaries, sweep.keys, sweep.target if target is None else target, missing, fixed)


def check_target(target: float | None) -> None:
    """Raises UsageError for what is no accuracy."""
    if target is not None and not (math.isfinite(target) and 0 < target <= 1):
        raise UsageError(f"a target of {target:g}", "give a fraction of right answers: --target 0.8")


def is_sweep(folder: Path) -> bool:
    """True for a sweep's folder."""
    return (folder / FILE).is_file()


def write(sweep: Sweep) -> None:
    """Its file, whole. ConfigError where that cannot be."""
    document = dataclasses.asdict(sweep) | {"runs": sweep.runs}
    del document["folder"]
    try:
        write_atomically(sweep.folder / FILE, (json.dumps(document, indent=1) + "\n").encode())
    except OSError as error:
        raise ConfigError(f"{error.filename or sweep.folder}: {error.strerror}", ROOM) from error


def read(folder: Path) -> Sweep:
    """Raises ConfigError for a file that is none of ours."""
    path = folder / FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        runs, version = document.pop("runs"), document["version"]
        over = {str(key): tuple(values) for key, values in document.pop("over").items()}
        sweep = Sweep(folder=folder, over=over, **document)
        damaged = list(runs.values()) != points(over)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "name a sweep's folder: build/NAME/sweeps/0001") from error
    except (ValueError, TypeError, LookupError, AttributeError, UsageError) as error:
        raise ConfigError(f"{path}: damaged: {type(error).__name__}: {error}", "start a new sweep") from error
    if version != VERSION or damaged:
        seen = "its runs are not those of its grid" if damaged else f"version {version}, expected {VERSION}"
        raise ConfigError(f"{path}: {seen}", "start a new sweep")
    return sweep


def cores() -> int:
    """How many runs at a time, where nothing was said."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _find(sweeps: Path, name: str | None) -> Path:
    if name:
        found = next((folder for folder in (Path(name), sweeps / name) if is_sweep(folder)), None)
    else:
        found = max((path.parent for path in sweeps.glob(f"*/{FILE}")), default=None)
    if found is None:
        known = ", ".join(sorted(path.parent.name for path in sweeps.glob(f"*/{FILE}"))[-5:]) or "none"
        raise UsageError(f"no sweep {name or ''}; the last ones in {sweeps}: {known}".replace(" ;", ";"), "name one")
    return found


def _request(recipe: Path, on: str, point: Point) -> Request:
    """What each board learns alone is left out unless the grid names it: tables of sweeps do not show it."""
    given = {"local_only": False, **{key: value for key, value in point.items() if key not in PLACES}}
    boards = point.get("boards")
    return Request(recipe, on=str(point.get("on", on)), boards=None if boards is None else int(boards), given=given)


def _settings(recipe: Path, on: str, point: Point, model: Model) -> dict[str, Any]:
    """The settings of this point's run, as JSON has them; an error names the point."""
    try:
        _, plan = begin(_request(recipe, on, point), model)
    except TinyflError as error:
        raise type(error)(f"{told(point)}: {error.message}", error.hint) from error
    settings: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(plan.settings)))
    return settings


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= {f"{key}.{inner}": v for inner, v in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def _short(value: object) -> str:
    return str(value)[:16]


def _result(folder: Path) -> Mapping[str, Any] | None:
    with Ledger(folder, write=False) as ledger:
        return ledger.result()

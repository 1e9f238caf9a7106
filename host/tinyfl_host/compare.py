"""Runs side by side: those that differ in their draw or seed alone are one row, its figures with their spread."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinyfl_host.grid import REPEATS, shown
from tinyfl_host.settings import OPTIONS
from tinyfl_host.summary import RoundFigures, Summary

SILENT = (
    *REPEATS,
    "local_only",
    "quorum",
    "deadline",
    "evaluate_every",
)  # they make no difference to a round that counts


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (None of a single value)."""

    mean: float
    deviation: float | None
    count: int


@dataclass(frozen=True)
class Moment:
    """A row's runs after one round. Bytes: of one client's link from the start on, with frames (mean)."""

    round: int
    clients: Spread | None
    unseen: Spread | None
    up: float
    down: float


@dataclass(frozen=True)
class Row:
    """One configuration. ``up`` and ``down``: bytes of one board in one round."""

    name: str
    values: Mapping[str, Any]
    runs: Sequence[str]
    clients: Spread | None
    unseen: Spread | None
    up: float
    down: float
    framed: bool  # False where there was no link (twins): then ``up`` counts the deltas alone, and ``down`` nothing
    reached: Moment | None  # the first round in which the mean of the clients is at the target
    seconds: float
    dropped: int
    curve: Sequence[Moment]

    @property
    def last(self) -> Moment:
        """After the last round."""
        return self.curve[-1]


@dataclass(frozen=True)
class Comparison:
    """All rows; ``missing``: runs that were left out, with the reason; ``fixed``: what all rows were given."""

    recipe: str
    keys: Sequence[str]
    rows: Sequence[Row]
    target: float | None
    missing: Mapping[str, str]
    fixed: Mapping[str, Any]
    runs: Sequence[Summary]

    @property
    def framed(self) -> bool:
        """False where the bytes of a row are deltas alone."""
        return all(row.framed for row in self.rows)


def compare(
    runs: Sequence[Summary],
    keys: Sequence[str] | None = None,
    target: float | None = None,
    missing: Mapping[str, str] | None = None,
    fixed: Mapping[str, Any] | None = None,
) -> Comparison:
    """Rows in the order of their first runs, told apart by ``keys`` (None: all that differ)."""
    described = [describe(run) for run in runs]
    keys = differing(described) if keys is None else keys
    groups: dict[tuple[Any, ...], list[Summary]] = {}
    for run, values in zip(runs, described, strict=True):
        groups.setdefault(tuple(values.get(key) for key in keys), []).append(run)
    rows = [_row(dict(zip(keys, values, strict=True)), own, target) for values, own in groups.items()]
    recipe = " and ".join(dict.fromkeys(run.recipe for run in runs))
    return Comparison(recipe, keys, rows, target, missing or {}, fixed or {}, runs)


def describe(run: Summary) -> dict[str, Any]:
    """Recipe, model and settings of a run, each setting under the name of its option."""
    names = {place: option for option, place in OPTIONS.items()}
    flat = {"recipe": run.recipe, "model": run.model[:8]}
    for key, value in run.settings.items():
        inner = value if isinstance(value, dict) else None
        flat |= {key: value} if inner is None else {names.get((key, k), f"{key}.{k}"): v for k, v in inner.items()}
    return flat


def differing(described: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys that do not have the same value in all runs."""
    known = dict.fromkeys(key for values in described for key in values if key not in SILENT)
    return [key for key in known if any(values.get(key) != described[0].get(key) for values in described)]


def spread(values: Iterable[float | None]) -> Spread | None:
    """Of the values that are known; None where none is."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    mean = sum(known) / len(known)
    square = sum((value - mean) ** 2 for value in known)
    return Spread(mean, math.sqrt(square / (len(known) - 1)) if len(known) > 1 else None, len(known))


def front(rows: Sequence[Row]) -> list[Row]:
    """The rows that no other beats in both accuracy and bytes up."""

    def beaten(row: Row, by: Row) -> bool:
        ours, theirs = _score(row), _score(by)
        return ours != theirs and ours[0] <= theirs[0] and ours[1] >= theirs[1]

    return [row for row in rows if row.clients and not any(by.clients and beaten(row, by) for by in rows)]


def title(values: Mapping[str, Any]) -> str:
    """A row in a few words: ``int4, rate 0.25, no feedback``."""
    parts = []
    for key, value in values.items():
        name = key.replace("_", " ")
        if isinstance(value, bool):
            parts.append(name if value else f"no {name}")
        else:
            parts.append(value if isinstance(value, str) else f"{name} {shown(value)}")
    return ", ".join(parts) or "all runs"


def document(comparison: Comparison) -> dict[str, Any]:
    """As JSON has it, without the whole runs."""
    return dataclasses.asdict(dataclasses.replace(comparison, runs=())) | {"runs": [run.run for run in comparison.runs]}


def _score(row: Row) -> tuple[float, float]:
    assert row.clients is not None
    return row.clients.mean, row.last.up


def _row(values: dict[str, Any], runs: list[Summary], target: float | None) -> Row:
    rounds = [row for run in runs for row in run.rounds]
    asked = sum(row.selected for row in rounds) or 1
    framed = any(row.bytes_up for row in rounds)
    curve = _curve(runs)
    reached = [m for m in curve if target is not None and m.clients is not None and m.clients.mean >= target]
    return Row(
        name=title(values),
        values=values,
        runs=[run.run for run in runs],
        clients=spread(run.after.clients for run in runs),
        unseen=spread(run.after.unseen for run in runs),
        up=sum(_up(row) for row in rounds) / asked,
        down=sum(row.bytes_down for row in rounds) / asked,
        framed=framed,
        reached=reached[0] if reached else None,
        seconds=sum(row.seconds for row in rounds) / len(runs),
        dropped=sum(len(run.drops) for run in runs),
        curve=curve,
    )


def _curve(runs: Sequence[Summary]) -> list[Moment]:
    clients = [sum(board.role == "client" for board in run.boards) or 1 for run in runs]
    up, down, moments = 0.0, 0.0, []
    for rows in zip(*(run.rounds for run in runs), strict=False):
        up += sum(_up(row) / count for row, count in zip(rows, clients, strict=True)) / len(rows)
        down += sum(row.bytes_down / count for row, count in zip(rows, clients, strict=True)) / len(rows)
        scores = [row.accuracy for row in rows]
        moments.append(
            Moment(rows[0].round, spread(s.clients for s in scores), spread(s.unseen for s in scores), up, down)
        )
    return moments


def _up(row: RoundFigures) -> int:
    return row.bytes_up or row.payload_up

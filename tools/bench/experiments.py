"""Runs of docs/METHODS.md: each a row of methods.toml on one draw, kept in build/methods under a hash of what it is.

The rounds are those of ``tinyfl run --on sim``. What is kept is not run again: a new row costs its own runs alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from har import Task, task
from liars import lying

from tinyfl.errors import TinyflError
from tinyfl.reference import float_fedavg
from tinyfl_host import artifacts, scenario
from tinyfl_host.artifacts import build_root, write_atomically
from tinyfl_host.dataset import Dataset, load_samples
from tinyfl_host.launch import Request, begin, launch
from tinyfl_host.ledger import FILE as LEDGER
from tinyfl_host.ledger import Ledger
from tinyfl_host.recipe import Recipe, draw_users, load_recipe
from tinyfl_host.scenario import Model
from tinyfl_host.settings import settle
from tinyfl_host.summary import Summary, summarise

ROOT = Path(__file__).parents[2]
TABLES = Path(__file__).with_name("methods.toml")
FLOAT = "float"  # the figures of a row: federated averaging in float64 instead of a run on boards
LOCAL = "local"  # those of the heads that the clients of the run learned alone
PERSONAL = "personal"  # those of the heads that they keep for themselves
BOTH = "both"  # on their own data those of the heads that they keep, on all else those of the common head
PRIVATE = "private"  # weights that no other board has: on the boards' own data alone
FIGURES = "figures.json"
SCHEDULE = ("rounds", "epochs", "rate")  # of the settings, what a table's caption says


@dataclass(frozen=True)
class Row:
    """One configuration; ``given``: what differs from the recipe. ``attack``: the share of clients that lie;
    ``adapter``: features of a group of the recipe's adapter (0: none).

    Goals: ``saving``, the least one; ``loss``, the most points below the table's first row. 0: none.
    """

    title: str
    given: Mapping[str, Any] = field(default_factory=dict)
    figures: str = "federated"
    attack: float = 0.0
    adapter: int = 0
    saving: float = 0.0
    loss: float = 0.0


@dataclass(frozen=True)
class Table:
    """One table. ``classes``: of a board, where not all ([users] classes_per_board)."""

    name: str
    recipe: str
    draws: range
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    on: str = "sim"
    classes: int = 0


@dataclass(frozen=True)
class Outcome:
    """A run's accuracies at the end (all clients' samples, never-seen users', mean of the boards on their own data),
    that of the clients from round 0 on, and the bytes of one board from round 1 on: none in float64 and alone."""

    schedule: Mapping[str, Any]
    clients: float | None
    unseen: float | None
    own: float | None
    accuracy: Sequence[float]
    payload: Sequence[float] = ()
    up: Sequence[float] = ()
    down: Sequence[float] = ()


@dataclass(frozen=True)
class Job:
    """One row on one draw."""

    recipe: Path
    on: str
    row: Row
    draw: int

    @property
    def given(self) -> dict[str, Any]:
        """All that differs from the recipe."""
        return {"local_only": self.row.figures == LOCAL, **self.row.given, "draw": self.draw}

    @property
    def place(self) -> Path:
        """Its folder, named by all that decides its figures but the code."""
        names = sorted(path for kind in ("*.py", "*.toml", "*.tflite") for path in self.recipe.glob(kind))
        files = [hashlib.sha256(path.read_bytes()).hexdigest() for path in names]
        what = [files, self.on, self.row.figures, self.row.attack, self.given]
        return build_root() / "methods" / hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:20]

    @property
    def is_over(self) -> bool:
        """Whether its figures are there."""
        return (self.place / FIGURES).is_file()

    def run(self) -> str | None:
        """From where it is to its end; what went wrong."""
        try:
            outcome = _float(self) if self.row.figures == FLOAT else self._boards()
        except TinyflError as error:
            return f"{self.row.title}, draw {self.draw}: {error.message} ({error.hint})"
        self.place.mkdir(parents=True, exist_ok=True)
        write_atomically(self.place / FIGURES, json.dumps(dataclasses.asdict(outcome)).encode())
        return None

    def check(self, model: Model) -> None:
        """Raises what ``tinyfl run`` would, before anything is started."""
        begin(Request(self.recipe, on=self.on, given=self.given), model)

    def outcome(self) -> Outcome:
        """Its figures, once it is over."""
        return Outcome(**json.loads((self.place / FIGURES).read_text()))

    def _boards(self) -> Outcome:
        with lying(self.row.attack), patch.multiple(artifacts, **READ), patch.multiple(scenario, **READ):
            launch(self._request(), lambda event: None)
        with Ledger(self.place, write=False) as ledger:
            return _outcome(summarise(ledger), self.row.figures)

    def _request(self) -> Request:
        if (self.place / LEDGER).is_file():
            try:
                with Ledger(self.place, write=False) as ledger:
                    if ledger.result() is None:
                        return Request(self.recipe, resume=str(self.place))
            except TinyflError:  # of an older version
                pass
            shutil.rmtree(self.place)
        return Request(self.recipe, on=self.on, place=self.place, given=self.given)


def read_tables() -> list[Table]:
    """methods.toml; a table's ``given`` holds for each of its rows."""
    tables = []
    for entry in tomllib.loads(TABLES.read_text())["table"]:
        first, last = map(int, entry.pop("draws").split(".."))
        common, columns = entry.pop("given", {}), tuple(entry.pop("columns"))
        rows = tuple(_row(row, common) for row in entry.pop("row"))
        tables.append(Table(draws=range(first, last + 1), columns=columns, rows=rows, **entry))
    return tables


def _row(entry: dict[str, Any], common: Mapping[str, Any]) -> Row:
    own = {key: entry.pop(key) for key in ("title", "figures", "attack", "adapter", "saving", "loss") if key in entry}
    return Row(given={**common, **entry}, **own)


def jobs(table: Table, row: Row) -> list[Job]:
    """The row on each draw."""
    return [Job(folder(table, row), table.on, row, draw) for draw in table.draws]


def folder(table: Table, row: Row) -> Path:
    """The recipe; where boards have some of the classes alone, or there is an adapter, a copy of it that says so.

    Another model has another name: what it is compiled to is beside the recipe's own.
    """
    recipe = ROOT / "models" / table.recipe
    if not table.classes and not row.adapter:
        return recipe
    name = f"{table.recipe}-adapter{row.adapter}" if row.adapter else table.recipe
    copy = build_root() / "methods" / (f"{name}-{table.classes}" if table.classes else name)
    copy.mkdir(parents=True, exist_ok=True)
    for path in recipe.iterdir():
        if path.is_file():
            target = f"{name}.tflite" if path.suffix == ".tflite" else path.name
            write_atomically(copy / target, path.read_bytes())
    said = (recipe / "recipe.toml").read_text().replace(f'name = "{table.recipe}"', f'name = "{name}"')
    if table.classes:
        said = said.replace("[users]", f"[users]\nclasses_per_board = {table.classes}")
    if row.adapter:
        said += f"\n[compile]\nadapter = {row.adapter}\n"
    write_atomically(copy / "recipe.toml", said.encode())
    return copy


def _outcome(run: Summary, kind: str) -> Outcome:
    clients = sum(board.role == "client" for board in run.boards)
    schedule = {key: run.settings[key] for key in SCHEDULE} | {"clients": clients}
    if kind == LOCAL:
        alone = run.local_only
        return Outcome(schedule, alone.accuracy.clients, alone.accuracy.unseen, alone.own, [run.before.clients or 0.0])
    ends = (run.after.clients, run.after.unseen, _own(run))
    if kind == PERSONAL and run.personal is not None:
        ends = (run.personal.accuracy.clients, run.personal.accuracy.unseen, run.personal.own)
    if kind == BOTH and run.personal is not None:
        ends = (run.after.clients, run.after.unseen, run.personal.own)
    if kind == PRIVATE:
        ends = (None, run.after.unseen, _own(run))
    rounds = [(row, max(1, row.selected)) for row in run.rounds[1:]]
    return Outcome(
        schedule,
        *ends,
        [row.accuracy.clients or 0.0 for row in run.rounds],
        [row.payload_up / boards for row, boards in rounds],
        [row.bytes_up / boards for row, boards in rounds],
        [row.bytes_down / boards for row, boards in rounds],
    )


def _own(run: Summary) -> float:
    own = [board.after for board in run.boards if board.role == "client" and board.after is not None]
    return float(np.mean(own))


_tasks: dict[Path, Task] = {}
_samples: dict[Path, Dataset] = {}


def _read_once(recipe: Recipe) -> Dataset:
    """``load_samples``, which each launch calls twice: a process that does many need not."""
    if recipe.folder not in _samples:
        _samples[recipe.folder] = load_samples(recipe)
    return _samples[recipe.folder]


READ: dict[str, Any] = {"load_samples": _read_once}


def _float(job: Job) -> Outcome:
    recipe = load_recipe(job.recipe)
    if job.recipe not in _tasks:
        _tasks[job.recipe] = task(recipe, recipe.tflite.read_bytes())
    known, run = _tasks[job.recipe], settle(recipe, "twin", 1, job.given)
    users = draw_users(recipe, job.draw)
    clients = [known.users[user].client(board) for board, user in enumerate(users.clients)]
    trajectory = float_fedavg.trajectory(known.head, clients, run.epochs, run.rate, run.seed)
    each = list(islice(trajectory, run.rounds + 1))
    return Outcome(
        {key: getattr(run, key) for key in SCHEDULE} | {"clients": len(clients)},
        known.share(each[-1], users.clients),
        known.share(each[-1], users.unseen) if users.unseen else None,
        float(np.mean([known.share(each[-1], [user]) for user in users.clients])),
        [known.share(weights, users.clients) for weights in each],
    )


def forget(tables: Sequence[Table]) -> None:
    """Their runs are made again."""
    for table in tables:
        for row in table.rows:
            for job in jobs(table, row):
                shutil.rmtree(job.place, ignore_errors=True)


def missing(tables: Sequence[Table]) -> Iterator[Job]:
    """Jobs that are not over, each once."""
    seen = set()
    for table in tables:
        for row in table.rows:
            for job in jobs(table, row):
                if job.place not in seen and not job.is_over:
                    seen.add(job.place)
                    yield job

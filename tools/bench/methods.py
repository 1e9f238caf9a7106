"""The tables of docs/METHODS.md: learning methods on the boards' own arithmetic, several draws each.

    python tools/bench/methods.py              the tables; runs what is not in build/methods yet
    python tools/bench/methods.py --write      into docs/METHODS.md too
    python tools/bench/methods.py codecs       one table
    python tools/bench/methods.py --check      only whether each row could be run, and has its place on the page
    python tools/bench/methods.py --fresh      all its runs again, after the code changed

tools/bench/methods.toml says what is compared, experiments.py how it is run. Goals that are missed are named below
their table.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from experiments import ROOT, Job, Row, Table, folder, forget, jobs, missing, read_tables

from tinyfl.errors import TinyflError
from tinyfl_host.compare import Spread, spread
from tinyfl_host.scenario import Model, load_model
from tinyfl_host.sweep import cores

PAGE = ROOT / "docs" / "METHODS.md"
FLOAT_BYTES = 4  # of a weight that a float32 delta sends
POINT = 0.01
CURVES = ("accuracy", "payload", "up", "down")
EARLY = 6  # rounds in which the lowest accuracy is looked for

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Figures:
    """A row over its draws. Bytes: of one board in each round (mean), from round 1 on; accuracies: from round 0 on."""

    clients: Spread | None
    unseen: Spread | None
    own: Spread | None
    curve: Floats
    payload: Floats
    up: Floats
    down: Floats


@dataclass(frozen=True)
class Goal:
    """What a table's rows are measured against: ``end``, the first row's final accuracy; an accuracy to reach, and in
    which round and with how many bytes float32 deltas do: once, and to stay."""

    end: float
    accuracy: float
    first: int | None
    stays: int | None
    bytes: int  # of one float32 update


def figures(table: Table, row: Row) -> Figures:
    """Means over the draws."""
    runs = [job.outcome() for job in jobs(table, row)]
    clients, unseen, own = (spread(getattr(run, name) for run in runs) for name in ("clients", "unseen", "own"))
    accuracy, payload, up, down = (np.mean([getattr(run, name) for run in runs], axis=0) for name in CURVES)
    return Figures(clients, unseen, own, accuracy, payload, up, down)


def reached(accuracies: Floats, goal: float) -> int | None:
    """The first round after which the mean is at the goal; None where none is."""
    return next((r for r in range(1, len(accuracies)) if accuracies[r] >= goal), None)


def stays(accuracies: Floats, goal: float) -> int | None:
    """The first round after which the mean is at the goal to the end; None where the end is below it."""
    below = max(r for r in range(len(accuracies)) if r == 0 or accuracies[r] < goal)
    return below + 1 if below + 1 < len(accuracies) else None


def goal_of(first: Figures, weights: int) -> Goal:
    """The first row's final accuracy, and less a point."""
    accuracy = float(first.curve[-1]) - POINT
    assert first.clients is not None
    return Goal(
        first.clients.mean,
        accuracy,
        reached(first.curve, accuracy),
        stays(first.curve, accuracy),
        FLOAT_BYTES * weights,
    )


def saving(row: Figures, goal: Goal, how: Callable[[Floats, float], int | None]) -> float | None:
    """How many times fewer bytes of deltas than float32's to the goal."""
    theirs, ours = goal.first if how is reached else goal.stays, how(row.curve, goal.accuracy)
    if theirs is None or ours is None or not len(row.payload):
        return None
    return theirs * goal.bytes / float(row.payload[:ours].sum())


def loss(row: Figures, goal: Goal) -> float:
    """Points of the clients' accuracy below the first row's."""
    assert row.clients is not None
    return 100 * (goal.end - row.clients.mean)


def misses(table: Table, rows: Sequence[Figures], goal: Goal) -> list[str]:
    """Goals that were not reached."""
    found = []
    for row, figures in zip(table.rows, rows, strict=True):
        factor = saving(figures, goal, reached)
        if row.saving and (factor is None or factor < row.saving):
            found.append(f"{row.title}: saves {0.0 if factor is None else factor:.1f} x, the goal is {row.saving:g} x")
        if row.loss and loss(figures, goal) > row.loss:
            found.append(f"{row.title}: loses {loss(figures, goal):.1f} points, the goal is {row.loss:g} at most")
    return found


def _percent(value: Spread | None) -> str:
    if value is None:
        return ""
    return f"{100 * value.mean:.1f}" + (f" ± {100 * value.deviation:.1f}" if value.deviation is not None else "")


def _count(values: Floats) -> str:
    return f"{values.mean():,.0f}" if len(values) else ""


def _lowest(row: Figures, goal: Goal) -> str:
    return f"{100 * row.curve[1 : EARLY + 1].min():.1f}"


def _round(row: Figures, goal: Goal) -> str:
    found = reached(row.curve, goal.accuracy)
    return "" if len(row.curve) == 1 else "never" if found is None else str(found)


def _until(row: Figures, goal: Goal) -> str:
    found = reached(row.curve, goal.accuracy)
    if found is None:
        return ""
    return f"{row.payload[:found].sum() if len(row.payload) else found * goal.bytes:,.0f}"


def _saving(how: Callable[[Floats, float], int | None]) -> Callable[[Figures, Goal], str]:
    def cell(row: Figures, goal: Goal) -> str:
        value = saving(row, goal, how)
        return "" if value is None else f"{value:.1f}"

    return cell


COLUMNS: dict[str, tuple[str, Callable[[Figures, Goal], str]]] = {
    "clients": ("clients, %", lambda row, goal: _percent(row.clients)),
    "unseen": ("never seen, %", lambda row, goal: _percent(row.unseen)),
    "loss": ("loss, points", lambda row, goal: f"{loss(row, goal):+.1f}"),
    "own": ("own data, %", lambda row, goal: _percent(row.own)),
    "lowest": (f"lowest of rounds 1-{EARLY}, %", _lowest),
    "deltas": ("deltas, B", lambda row, goal: _count(row.payload)),
    "up": ("up, B", lambda row, goal: _count(row.up)),
    "down": ("down, B", lambda row, goal: _count(row.down)),
    "round": ("round", _round),
    "until": ("deltas until then, B", _until),
    "saving": ("saving, x", _saving(reached)),
    "stays": ("to stay, x", _saving(stays)),
}


def text(table: Table) -> tuple[str, list[str]]:
    """The table as Markdown, under a line that says its schedule, draws and goal; and the goals that were missed."""
    rows = [figures(table, row) for row in table.rows]
    goal = goal_of(rows[0], weights_of(table))
    chosen = [COLUMNS[name] for name in table.columns]
    heads = " | ".join(head for head, _ in chosen)
    lines = [caption(table, goal), "", f"| | {heads} |", "|---" + "|---:" * len(chosen) + "|"]
    for row, found in zip(table.rows, rows, strict=True):
        lines.append(f"| {row.title} | {' | '.join(cell(found, goal) for _, cell in chosen)} |")
    missed = misses(table, rows, goal)
    if any(row.saving or row.loss for row in table.rows):
        lines += ["", f"Goals missed: {'; '.join(missed)}." if missed else "All goals of these rows are reached."]
    return "\n".join([*lines, ""]), missed


def caption(table: Table, goal: Goal) -> str:
    """Recipe, schedule, draws; the goal."""
    first = [job.outcome() for job in jobs(table, table.rows[0])]
    run, start = first[0].schedule, float(np.mean([run.accuracy[0] for run in first]))
    schedule = f"{run['rounds']} rounds of {run['epochs']} epochs, rate {run['rate']:g}"
    said = f"`models/{table.recipe}`, {run['clients']} clients, {schedule}, "
    said += f"draws {table.draws[0]} to {table.draws[-1]}; the compiled head has {100 * start:.1f} %"
    if "saving" in table.columns:
        said += f"; the goal is {100 * goal.accuracy:.1f} %, which float32 reaches in round {goal.first}"
        said += "" if goal.stays == goal.first else f" and keeps from round {goal.stays} on"
    return said.replace(" 1 epochs", " 1 epoch") + "."


def weights_of(table: Table) -> int:
    """Weights of the recipe's head."""
    return int(load_model(folder(table, table.rows[0]))[2].initial.size)


def run_missing(tables: Sequence[Table], workers: int) -> list[str]:
    """Runs what is not there yet; what went wrong."""
    left = list(missing(tables))
    if not left:
        return []
    spawn = multiprocessing.get_context("spawn")
    wrong = []
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        for done, error in enumerate(pool.map(Job.run, left), 1):
            print(f"\r{done} of {len(left)} runs", end="", file=sys.stderr, flush=True)
            if error:
                wrong.append(error)
                print(f"\nerror: {error}", file=sys.stderr)
    print(file=sys.stderr)
    return wrong


def check(tables: Sequence[Table]) -> None:
    """Raises what a row's first run would, before it starts anything; SystemExit where a table has no place."""
    page = PAGE.read_text()
    for table in tables:
        if not marks(table.name).search(page):
            raise SystemExit(f"{PAGE}: no <!-- {table.name} --> ... <!-- end -->")
        models: dict[int, Model] = {}
        for row in table.rows:
            if row.adapter not in models:
                models[row.adapter] = load_model(folder(table, row))
            jobs(table, row)[0].check(models[row.adapter])


def marks(name: str) -> re.Pattern[str]:
    """Where a table is on the page."""
    return re.compile(f"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)


def write(name: str, table: str) -> None:
    """Puts a table between its marks on the page."""
    PAGE.write_text(marks(name).sub(lambda mark: f"{mark[1]}{table}{mark[2]}", PAGE.read_text()))


def main() -> int:
    """Prints the tables."""
    known = read_tables()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"of {', '.join(t.name for t in known)} [all]")
    parser.add_argument("--jobs", type=int, default=cores(), help="runs at a time [one a core]")
    parser.add_argument("--fresh", action="store_true", help="forget their runs first")
    parser.add_argument("--check", action="store_true", help="run nothing: only whether each row could be")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/METHODS.md")
    arguments: Any = parser.parse_args()
    if odd := set(arguments.tables) - {table.name for table in known}:
        parser.error(f"no table {', '.join(sorted(odd))}")
    chosen = [table for table in known if not arguments.tables or table.name in arguments.tables]
    try:
        check(chosen)
    except TinyflError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return error.exit_code
    if arguments.check:
        return 0
    if arguments.fresh:
        forget(chosen)
    wrong, missed = run_missing(chosen, arguments.jobs), []
    for table in chosen:
        if any(True for _ in missing([table])):
            continue
        markdown, own = text(table)
        missed += own
        print(markdown)
        if arguments.write:
            write(table.name, markdown)
    print("\n".join(missed), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

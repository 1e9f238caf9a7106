"""``tinyfl sweep``: a run for each point of a grid, and one table of what came out."""

from __future__ import annotations

import signal
import textwrap
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinyfl_host.cli import console

if TYPE_CHECKING:
    from tinyfl_host.compare import Comparison, Moment, Row, Spread

INDENT = "    "


@click.command(
    epilog=console.examples(
        "tinyfl sweep models/har --over codec=int8,int4,sign --over draw=0..4",
        "tinyfl sweep models/har --over rate=0.25,0.5 --over rounds=5 --on sim:100",
        "tinyfl sweep models/har --resume",
        "tinyfl report build/har/sweeps/0001",
    )
)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--over", multiple=True, metavar="KEY=VALUES", help="A key of a run with its values: a,b or 0..4.")
@click.option("--grid", type=click.Path(path_type=Path), metavar="FILE", help="Keys from a file [RECIPE/sweep.toml].")
@click.option("--on", metavar="LINK", help="What to boot: sim, sim:N, twin, posix or emu:ENV [sim].")
@click.option("--jobs", type=click.IntRange(1, 1024), metavar="N", help="Runs at a time [one a core].")
@click.option("--target", type=float, metavar="ACC", help="Also show the bytes until the clients are at ACC.")
@click.option("--resume", is_flag=False, flag_value="", metavar="[SWEEP]", help="Go on with a sweep [the last one].")
@console.json_option
def command(
    recipe: Path,
    over: tuple[str, ...],
    grid: Path | None,
    on: str | None,
    jobs: int | None,
    target: float | None,
    resume: str | None,
    as_json: bool,
) -> int:
    """Run every combination of some settings, several at a time, and compare.

    KEY is any option of tinyfl run. Runs that differ in draw or seed alone are
    one row, with mean and spread; a key with one value holds for all runs.
    Without --over the grid comes from sweep.toml beside the recipe.
    """
    from tinyfl.errors import Interrupted, UsageError
    from tinyfl_host import sweep
    from tinyfl_host.cli.sweeping import display
    from tinyfl_host.compare import document
    from tinyfl_host.grid import FILE, GridFile, read_file, read_over
    from tinyfl_host.workers import Failure

    signal.signal(signal.SIGTERM, _interrupt)
    if resume is not None:
        if over or grid or on:
            raise UsageError("--resume goes on with the sweep's own grid", "leave --over, --grid and --on out")
        sweep.check_target(target)
        work = sweep.reopen(recipe, resume)
    else:
        given = read_over(over)
        default = recipe / FILE
        file = grid or (default if not over and default.is_file() else None)
        read = read_file(file) if file else GridFile()
        places = (on or read.on or "sim", target if target is not None else read.target)
        work = sweep.start(recipe, {**read.over, **given}, *places)
    failures: dict[str, Failure] = {}
    with display(work) as show:
        try:
            with closing(sweep.run(work, recipe, jobs or sweep.cores(), show.event)) as outcomes:
                for name, outcome in outcomes:
                    show.done(name, outcome)
                    if isinstance(outcome, Failure):
                        failures[name] = outcome
        except KeyboardInterrupt as error:
            over_now = sum(work.is_over(name) for name in work.runs)
            raise Interrupted(
                f"interrupted: {over_now} of {len(work.runs)} runs are over",
                f"go on: tinyfl sweep {recipe} --resume {work.folder.name}",
            ) from error
    if len(failures) < len(work.runs):
        compared = sweep.result(sweep.read(work.folder), target)
        if as_json:
            console.document({"sweep": str(work.folder), **document(compared)})
        else:
            console.result(f"{table(compared)}\n\n{where(work.folder)}")
    return _failed(recipe, work.folder.name, len(work.runs), failures)


def _interrupt(number: int, frame: object) -> None:
    """A polite end is Ctrl-C."""
    raise KeyboardInterrupt


def _failed(recipe: Path, sweep: str, runs: int, failures: dict[str, Any]) -> int:
    """The exit code: 0, or that of the first run that failed, after all were named."""
    if not failures:
        return 0
    first = failures[min(failures)]
    console.problem(
        f"{len(failures)} of {runs} runs failed; the first, {min(failures)}: {first.message}",
        f"{first.hint}\ntry them again: tinyfl sweep {recipe} --resume {sweep}".strip(),
    )
    return int(first.code)


def where(folder: Path) -> str:
    """Where the sweep is."""
    return f"sweep  {console.visible(str(folder))}\nreport tinyfl report {console.visible(str(folder))}"


def table(compared: Comparison) -> str:
    """All rows in 80 columns: the keys in columns, or above the figures where they are too wide."""
    target = compared.target
    figures = (
        "runs",
        "clients",
        "never seen",
        "up",
        "down",
        *([f"up to {100 * target:g} %"] if target else []),
        "time",
    )
    cells = [_cells(row, target is not None) for row in compared.rows]
    keys = [tuple(_plain(row.values[key]) for key in compared.keys) for row in compared.rows]
    names = tuple(compared.keys)
    whole = console.table((*names, *figures), [(*k, *c) for k, c in zip(keys, cells, strict=True)])
    if max(len(line) for line in whole.split("\n")) > console.WIDTH:
        head, *lines = console.table(figures, cells).split("\n")
        whole = INDENT + head
        for row, line in zip(compared.rows, lines, strict=True):
            words = console.visible(row.name)
            whole += "\n" + textwrap.fill(words, console.WIDTH, subsequent_indent="  ") + "\n" + INDENT + line
    return "\n\n".join([_head(compared), whole, "\n".join(_notes(compared))])


def _head(compared: Comparison) -> str:
    fixed = ", ".join(f"{key} {_plain(value)}" for key, value in compared.fixed.items())
    text = f"{compared.recipe}: {len(compared.runs)} runs{', ' + fixed if fixed else ''}"
    return textwrap.fill(console.visible(text), console.WIDTH, subsequent_indent="  ")


def _cells(row: Row, aimed: bool) -> tuple[Any, ...]:
    reached = [_reached(row.reached)] if aimed else []
    down = console.kilobytes(round(row.down)) if row.framed else "-"
    accuracies = (_share(row.clients), _share(row.unseen))
    return (
        len(row.runs),
        *accuracies,
        console.kilobytes(round(row.up)),
        down,
        *reached,
        f"{row.seconds:.{1 if row.seconds >= 1 else 2}f} s",
    )


def _share(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    return f"{100 * spread.mean:.1f}" + ("" if spread.deviation is None else f" ±{100 * spread.deviation:.1f}")


def _reached(moment: Moment | None) -> str:
    return "-" if moment is None else f"{console.kilobytes(round(moment.up))}, r{moment.round}"


def _plain(value: Any) -> str:
    from tinyfl_host.grid import shown

    return "-" if value is None else shown(value)


def _notes(compared: Comparison) -> list[str]:
    bytes_ = "up, down: of one board in one round, with frames"
    if not compared.framed:
        bytes_ = "up: of one board in one round, deltas alone (twins have no link)"
    notes = [f"clients, never seen: % right, mean ± deviation over draws and seeds; {bytes_}"]
    if compared.target:
        notes.append("up to the target: of one board, until the mean of the clients is there (r: round)")
    dropped = sum(row.dropped for row in compared.rows)
    notes += [f"boards were dropped {dropped} times: tinyfl report RUN says why"] if dropped else []
    notes += [f"missing: {name}: {reason}" for name, reason in compared.missing.items()]
    return [
        textwrap.fill(console.visible(note), console.WIDTH, subsequent_indent="  ", break_on_hyphens=False)
        for note in notes
    ]

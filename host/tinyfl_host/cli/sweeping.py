"""A sweep's progress for people: a bar of runs and one for each that goes on; without a terminal a line a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from tinyfl_host import events
from tinyfl_host.cli import console
from tinyfl_host.cli.progress import figures
from tinyfl_host.events import Event, RunDone
from tinyfl_host.sweep import Sweep
from tinyfl_host.workers import Died, Failure

NAME_WIDTH = 32


class Show(Protocol):
    """What a sweep tells while it goes on."""

    def event(self, name: str, event: Event | Died) -> None:
        """Of the run ``name``."""

    def done(self, name: str, outcome: RunDone | Failure) -> None:
        """A run is over."""


@contextmanager
def display(sweep: Sweep) -> Iterator[Show]:
    """Draws on stderr."""
    if not console.interactive():
        yield Lines(sweep, console.log)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    screen = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen) as progress:
        yield Bars(sweep, progress)


class Lines:
    """One line for each run that is over."""

    def __init__(self, sweep: Sweep, say: Any) -> None:
        self._sweep, self._count, self._say = sweep, len(sweep.runs), say
        self._over = sum(sweep.is_over(name) for name in sweep.runs)
        say(f"{self._count} runs in {sweep.folder}" + (f", {self._over} of them over" if self._over else ""))

    def event(self, name: str, event: Event | Died) -> None:
        """Only what went wrong."""
        if isinstance(event, Died):
            self._say(f"{self._sweep.told(name)}: its worker died ({event.reason}): trying again")

    def done(self, name: str, outcome: RunDone | Failure) -> None:
        """Its figures."""
        self._over += isinstance(outcome, RunDone)
        self._say(f"{self._over}/{self._count} {self._sweep.told(name)}: {end(outcome)}")


class Bars:
    """A bar of runs, and below it one of rounds for each run that goes on."""

    def __init__(self, sweep: Sweep, progress: Any) -> None:
        self._sweep, self._progress = sweep, progress
        over = sum(sweep.is_over(name) for name in sweep.runs)
        self._all = progress.add_task("runs".ljust(NAME_WIDTH), total=len(sweep.runs), completed=over)
        self._tasks: dict[str, Any] = {}

    def event(self, name: str, event: Event | Died) -> None:
        """Moves the run's bar."""
        if isinstance(event, events.RunStart):
            text = console.visible(self._sweep.told(name).removeprefix("run "))
            short = text if len(text) <= NAME_WIDTH else text[: NAME_WIDTH - 1] + "…"
            total = event.settings["rounds"]
            self._tasks[name] = self._progress.add_task(short.ljust(NAME_WIDTH), total=total, completed=event.round)
        elif isinstance(event, events.RoundDone) and name in self._tasks:
            self._progress.update(self._tasks[name], completed=event.round)
        elif isinstance(event, Died):
            self._remove(name)
            self._warn(f"{self._sweep.told(name)}: its worker died ({event.reason}): trying again")

    def done(self, name: str, outcome: RunDone | Failure) -> None:
        """The run's bar goes; of a failure a line stays."""
        self._remove(name)
        self._progress.update(self._all, advance=isinstance(outcome, RunDone))
        if isinstance(outcome, Failure):
            self._warn(f"{self._sweep.told(name)}: {end(outcome)}")

    def _remove(self, name: str) -> None:
        if name in self._tasks:
            self._progress.remove_task(self._tasks.pop(name))

    def _warn(self, text: str) -> None:
        self._progress.console.print(console.visible(text), style="yellow", markup=False)


def end(outcome: RunDone | Failure) -> str:
    """How a run ended."""
    return f"failed: {outcome.message}" if isinstance(outcome, Failure) else figures(outcome.after)

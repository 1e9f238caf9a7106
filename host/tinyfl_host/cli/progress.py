"""A run's events for people: a progress bar on a terminal, else a line a round; and as JSON Lines for scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tinyfl_host import events
from tinyfl_host.cli import console
from tinyfl_host.crew import SHOWN
from tinyfl_host.events import Emit, Event


def json_lines(event: Event) -> None:
    """One line of JSON on stdout."""
    console.event(events.as_document(event))


@contextmanager
def display() -> Iterator[Emit]:
    """What to give a run as ``emit``: draws on stderr."""
    if not console.interactive():
        yield Lines(console.log).show
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    screen = Console(stderr=True)
    columns = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}", style="bold"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=screen) as progress:
        yield Bar(progress).show


class Lines:
    """One line for each thing that a person wants to know."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._rounds = 0
        self._drops = Drops()

    def show(self, event: Event) -> None:
        """Says what happened."""
        if isinstance(event, events.RunStart):
            self._rounds = event.settings["rounds"]
        for text in (self._drops.rest(event), sentence(event, self._rounds) if self._drops.shown(event) else ""):
            if text:
                self._say(text)


class Bar:
    """A bar of rounds with the figures so far; what went wrong is said above it."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=None, figures="")
        self._drops = Drops()
        self._bytes = 0
        self._rounds = 0

    def show(self, event: Event) -> None:
        """Draws what happened."""
        rest = self._drops.rest(event)
        if rest:
            self._warn(rest)
        update = {
            events.Step: self._step,
            events.RunStart: self._start,
            events.Simulated: self._simulated,
            events.BoardDropped: self._dropped,
            events.RoundDone: self._round,
            events.Evaluated: self._evaluated,
            events.LocalOnly: self._local,
        }.get(type(event))
        if update is not None:
            update(event)

    def _step(self, event: Any) -> None:
        self._progress.update(self._task, description=console.visible(event.text))

    def _start(self, event: Any) -> None:
        self._rounds = event.settings["rounds"]
        self._progress.update(self._task, total=self._rounds, completed=event.round)

    def _simulated(self, event: Any) -> None:
        self._progress.console.print(sentence(event, self._rounds), markup=False)

    def _dropped(self, event: Any) -> None:
        if self._drops.shown(event):
            self._warn(sentence(event, self._rounds))

    def _warn(self, text: str) -> None:
        self._progress.console.print(console.visible(text), style="yellow", markup=False)

    def _evaluated(self, event: Any) -> None:
        self._progress.update(self._task, description="rounds", figures=figures(event.accuracy))

    def _round(self, event: Any) -> None:
        self._bytes += event.bytes.up + event.bytes.down
        score = f"{figures(event.accuracy)}, " if event.accuracy else ""
        shown = f"{score}{console.kilobytes(self._bytes)}"
        description = "alone" if event.round == self._rounds else f"{event.boards} boards"
        self._progress.update(self._task, completed=event.round, description=description, figures=shown)

    def _local(self, event: Any) -> None:
        self._progress.update(self._task, description="done")


class Drops:
    """Of the boards that are dropped one after the other, the first dozen are worth a line each."""

    def __init__(self) -> None:
        self._count = 0

    def shown(self, event: Event) -> bool:
        """False for a drop that is only counted."""
        self._count += isinstance(event, events.BoardDropped)
        return not isinstance(event, events.BoardDropped) or self._count <= SHOWN

    def rest(self, event: Event) -> str:
        """How many were only counted, said before the first event that is something else."""
        if isinstance(event, events.BoardDropped | events.BoardJoined):
            return ""
        more, self._count = self._count - SHOWN, 0
        return f"and {more} more boards dropped" if more > 0 else ""


def sentence(event: Event, rounds: int) -> str:
    """The event in a line, empty where nobody needs to know."""
    if isinstance(event, events.Step):
        return event.text
    if isinstance(event, events.RunStart) and event.round:
        return f"going on with {event.run} after round {event.round}"
    if isinstance(event, events.Simulated):
        each = [event.board_bytes, event.cache_bytes // event.boards, event.sample_bytes // event.boards]
        own, embeddings, samples = map(console.kilobytes, each)
        return f"{event.boards} boards in this process: {own} each, {embeddings} of embeddings, {samples} of samples"
    if isinstance(event, events.BoardDropped):
        return f"round {event.round}: {event.board} dropped in {event.phase}: {event.reason}"
    if isinstance(event, events.Evaluated):
        return f"before: {figures(event.accuracy)}"
    if isinstance(event, events.RoundDone):
        score = f"{figures(event.accuracy)}, " if event.accuracy else ""
        size = console.kilobytes(event.bytes.up + event.bytes.down)
        return f"round {event.round}/{rounds}: {score}{event.boards} boards, {size}, {event.seconds:.1f} s"
    if isinstance(event, events.LocalOnly):
        return f"each board alone: {figures(event.accuracy)}"
    if isinstance(event, events.Personal):
        own = "no test samples" if event.own is None else f"{100 * event.own:.1f} % on own data"
        return f"heads of their own: {event.tuned} of {event.boards} boards keep a tuned one, {own}"
    return ""


def figures(accuracy: events.Accuracy) -> str:
    """``clients 78.3 %, never seen 72.1 %``."""
    parts = [("clients", accuracy.clients), ("never seen", accuracy.unseen)]
    return ", ".join(f"{name} {100 * value:.1f} %" for name, value in parts if value is not None) or "no test samples"

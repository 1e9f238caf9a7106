"""Drives the boards of a run concurrently: a deadline for all, and the reason for each that fails.

A board behind a line has a thread of its own, which waits most of the time. Boards in this process (sim) share as many
threads as there are cores.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, Self, TypeVar

from tinyfl.errors import DeadlineError, LinkError, MismatchError, TinyflError
from tinyfl.wire.messages import Welcome
from tinyfl_host.events import BoardDropped, BoardJoined, Emit
from tinyfl_host.fleet import Board, Fleet, Member
from tinyfl_host.history import History
from tinyfl_host.traffic import Traffic

T = TypeVar("T")

HELLO_PATIENCE = 5.0  # seconds until a silent board counts as not there
RETURN_PATIENCE = 5.0  # seconds that a board whose link was lost, or that was reset, has to come back
RETURNS = 8  # of one board in one piece of work: one that is reset at every try never gets done
FIRST_PAUSE, MOST_PAUSE = 0.05, 1.0  # seconds between tries
SHOWN = 12  # drops that a message names
GRACE = 0.3  # seconds for a call that ends at the deadline to say why
MAX_WAIT = 1e9  # seconds; a thread cannot be joined for much longer


class Deadline:
    """A point in time that several phases share."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._start = time.monotonic()

    def left(self, share: float = 1.0) -> float:
        """Seconds until ``share`` of the time is over, at least 0."""
        return max(0.0, self._start + self.seconds * share - time.monotonic())

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start


@dataclass
class Seat:
    """A member's place in the run, with the connection to its board while there is one.

    A seat whose board was dropped is given up and replaced: a thread that still hangs in it can do no harm.
    """

    member: Member
    fleet: Fleet
    traffic: Traffic
    patience: float = RETURN_PATIENCE
    board: Board | None = None
    welcome: Welcome | None = None
    greetings: int = 0
    joined: bool = False  # said hello, and the run has not announced it yet
    phase: str = "hello"
    given_up: bool = False
    deadline: Deadline = field(default_factory=lambda: Deadline(HELLO_PATIENCE))

    def left(self) -> float:
        """Seconds that the board's next call may take."""
        return self.deadline.left()

    def greeted(self) -> Board:
        """The board, after hello: connected now if it was not."""
        if self.board is None:
            self.phase = "hello"
            self.board = self.fleet.open(self.member, self.traffic)
            self.welcome = self.board.hello(deadline=min(HELLO_PATIENCE, self.left()))
            check_device(self.member, self.welcome)
            self.greetings += 1
            self.joined = True
        return self.board

    def enter(self, phase: str) -> Board:
        """The board, at the start of a phase: what fails from now on failed in this phase."""
        board = self.greeted()
        self.phase = phase
        return board

    def insist(self, work: Callable[[Seat], T]) -> T:
        """``work``, from its start again whenever the link was lost or the board was reset and came back in time.

        What boards compute depends on nothing but seeds and data, so work that is done twice gives the same twice.
        """
        pause, last = FIRST_PAUSE, Deadline(0)
        for _ in range(RETURNS):
            before = self.greetings if self.board is None else -1
            try:
                return work(self)
            except LinkError as error:
                self.disconnect()
                if isinstance(error, DeadlineError) or self.given_up or self.fleet.is_gone(self.member):
                    raise
                if self.greetings != before:  # it was there until now
                    pause, last = FIRST_PAUSE, Deadline(self.patience)
                if pause >= min(last.left(), self.left()):
                    raise
            time.sleep(pause)
            pause = min(2 * pause, MOST_PAUSE)
        return work(self)

    def disconnect(self) -> None:
        """Lets the board go; a thread that is waiting for it gets an error."""
        board, self.board = self.board, None
        if board is not None:
            with contextlib.suppress(TinyflError, OSError):  # it may be gone already
                board.close()


def check_device(member: Member, welcome: Welcome) -> None:
    """Raises MismatchError where another board is at the link than the fleet file says."""
    if member.device and welcome.device.hex() != member.device:
        raise MismatchError(
            f"{member.link}: the board is device {welcome.device.hex()}, the fleet file says {member.device}",
            "connect the right board, or change its device in the fleet file",
        )


@dataclass
class Task(Generic[T]):
    """One board's work in a thread, and what came of it."""

    seat: Seat
    work: Callable[[Seat], T]
    result: list[T] = field(default_factory=list)
    error: BaseException | None = None
    over: bool = False
    threads: Sequence[threading.Thread] = ()  # one of them does it

    def finished(self, until: Deadline) -> bool:
        """True when the work is over, ``until`` then."""
        for thread in self.threads:
            thread.join(until.left())
        return self.over

    def run(self) -> None:
        """Does the work in the calling thread."""
        try:
            self.result.append(self.seat.insist(self.work))
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            self.error = error
        finally:
            if self.seat.given_up:
                self.seat.disconnect()
            self.over = True


def start(tasks: Iterable[Task[T]]) -> list[threading.Thread]:
    """Runs each task in a thread, those of boards in this process one after the other in a thread a core: these.

    No thread keeps the process alive.
    """
    waiting: deque[Task[T]] = deque()
    for task in tasks:
        if task.seat.member.simulated:
            waiting.append(task)
        else:
            task.threads = [threading.Thread(target=task.run, name=f"board {task.seat.member.name}", daemon=True)]
            task.threads[0].start()
    count = min(os.cpu_count() or 1, len(waiting))
    cores = [threading.Thread(target=_drain, args=(waiting,), daemon=True) for _ in range(count)]
    for task in waiting:
        task.threads = cores
    for core in cores:
        core.start()
    return cores


def _drain(waiting: deque[Task[T]]) -> None:
    with contextlib.suppress(IndexError):  # another thread took the last one
        while True:
            task = waiting.popleft()
            if not task.seat.given_up:
                task.run()


class Crew:
    """All boards of a run. ``drops`` collects who was dropped and why; ``with`` closes all connections."""

    def __init__(self, fleet: Fleet, emit: Emit, patience: float = RETURN_PATIENCE) -> None:
        self._fleet, self._emit, self._patience = fleet, emit, patience
        self._traffic = {member.name: Traffic() for member in fleet.members}
        self.seats = {member.name: self._seat(member) for member in fleet.members}
        self.clients = [member for member in fleet.members if member.trains]  # in the order of the fleet
        self._cores: list[threading.Thread] = []  # that drive boards in this process
        self.round = 0
        self.history = History()
        self.drops: list[BoardDropped] = []
        self.welcomes: dict[str, Welcome] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for seat in self.seats.values():
            seat.given_up = True
            seat.disconnect()
        for thread in self._cores:
            thread.join(GRACE)

    @property
    def members(self) -> tuple[Member, ...]:
        """All boards, in the order of the fleet."""
        return self._fleet.members

    def start_round(self, round: int) -> None:
        """Forgets the drops of the round before."""
        self.round = round
        self.drops = []

    def each(self, members: Iterable[Member], work: Callable[[Seat], T], seconds: float) -> dict[str, T]:
        """``work`` on all boards at once; results by name, in the order of ``members``.

        A board that fails, or is not done after ``seconds``, is missing from the results and stands in ``drops``.
        An exception that no board can cause is raised.
        """
        tasks = [Task(self.seats[member.name], work) for member in members]
        deadline = Deadline(min(seconds, MAX_WAIT))
        for task in tasks:
            task.seat.deadline = deadline
        self._cores = start(tasks)
        until = Deadline(deadline.seconds + GRACE)
        results: dict[str, T] = {}
        for task in tasks:
            done = task.finished(until)
            self._announce(task.seat)
            if done and task.error is None:
                results[task.seat.member.name] = task.result[0]
            else:
                late = DeadlineError(f"not done when the deadline came, after {seconds:.3g} s")
                self._drop(task.seat, task.error if done and task.error is not None else late)
        return results

    def traffic(self) -> dict[str, Traffic]:
        """Bytes of each board so far."""
        return {name: dataclasses.replace(traffic) for name, traffic in self._traffic.items()}

    def dropped(self) -> set[str]:
        """Names of the boards that were dropped in this round."""
        return {drop.board for drop in self.drops}

    def reasons(self) -> str:
        """A line for each board that was dropped in this round, for an error's message; of many, the first."""
        lines = [f"\n{drop.board}, {drop.phase}: {drop.reason}" for drop in self.drops[:SHOWN]]
        more = len(self.drops) - len(lines)
        return "".join(lines) + (f"\nand {more} more" if more else "")

    def _announce(self, seat: Seat) -> None:
        if seat.joined and seat.welcome is not None:
            seat.joined = False
            welcome = self.welcomes[seat.member.name] = seat.welcome
            self._emit(BoardJoined(self.round, seat.member.name, welcome.train_samples, welcome.test_samples))

    def _drop(self, seat: Seat, error: BaseException) -> None:
        if not isinstance(error, TinyflError | OSError):
            raise error
        reason = error.message if isinstance(error, TinyflError) else str(error)
        name = seat.member.name
        drop = BoardDropped(self.round, name, seat.phase, reason.removeprefix(f"{name}: "))
        self.seats[name] = self._seat(seat.member)
        seat.given_up = True
        seat.disconnect()
        self.drops.append(drop)
        self._emit(drop)

    def _seat(self, member: Member) -> Seat:
        return Seat(member, self._fleet, self._traffic[member.name], self._patience)


def instructions(welcome: Welcome | None, ticks: int) -> int | None:
    """Ticks of a board as instructions; None where its target does not count them."""
    if welcome is None or welcome.tick_numerator == 0 or welcome.tick_denominator == 0:
        return None
    return ticks * welcome.tick_numerator // welcome.tick_denominator

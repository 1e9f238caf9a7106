"""Runs in processes of their own, several at a time: each worker does one after the other until there are no more.

Workers end with the process that started them, however that ends. A run survives its worker: its ledger goes on.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from tinyfl.errors import Interrupted, TinyflError
from tinyfl_host.events import Event, RoundDone, RunDone, RunStart
from tinyfl_host.launch import Request, launch

ATTEMPTS = 2  # of a run whose worker died
GRACE = 15.0  # seconds for a worker that was asked to end
SPAWN = multiprocessing.get_context("spawn")  # no thread and no lock of ours goes along


@dataclass(frozen=True)
class Failure:
    """A run that did not come to its end: what ``launch`` raised, or that its worker died."""

    message: str
    hint: str
    code: int


@dataclass(frozen=True)
class Died:
    """A worker that ended in the middle of a run, which is tried again."""

    reason: str


Tell = Callable[[str, Event | Died], None]
HEARD = RunStart, RoundDone  # of a run's events


class Worker:
    """One process. ``name``: the run that it works on."""

    def __init__(self) -> None:
        self.connection, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=_serve, args=(theirs,))
        self.process.start()
        theirs.close()
        self.name = ""

    def begin(self, name: str, request: Request) -> None:
        """Gives it a run; that it died meanwhile shows when it is asked."""
        self.name = name
        with suppress(OSError):
            self.connection.send(request)

    def reply(self) -> Any:
        """An event, how the run ended, or Died."""
        with suppress(EOFError, OSError):
            return self.connection.recv()
        self.process.join()
        code = self.process.exitcode or 0
        return Died(signal.Signals(-code).name if code < 0 else f"exit code {code}")

    def close(self, seconds: float) -> None:
        """Lets it end within ``seconds``, or ends it."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.connection.close()


def run_all(
    requests: Mapping[str, Callable[[], Request]], jobs: int, tell: Tell
) -> Generator[tuple[str, RunDone | Failure], None, None]:
    """How each run ended, in the order in which they do. A request is made when its run is begun, or begun again.

    ``tell`` gets what is HEARD of them. What ends the loop (Ctrl-C, an error of the caller's) ends the workers.
    """
    waiting, attempts = deque(requests), dict.fromkeys(requests, 0)
    workers: list[Worker] = []
    try:
        while waiting or workers:
            while waiting and len(workers) < jobs:
                workers.append(Worker())
                _next(workers[-1], waiting, requests)
            for connection in wait([worker.connection for worker in workers]):
                worker = next(one for one in workers if one.connection is connection)
                name, reply = worker.name, worker.reply()
                if isinstance(reply, Died):
                    workers.remove(worker)
                    worker.close(0)
                    attempts[name] += 1
                    if attempts[name] < ATTEMPTS:
                        tell(name, reply)
                        waiting.appendleft(name)
                        continue
                    yield name, Failure(f"its worker died {ATTEMPTS} times: {reply.reason}", "try fewer --jobs", 1)
                elif isinstance(reply, RunDone | Failure):
                    if waiting:
                        _next(worker, waiting, requests)
                    else:
                        workers.remove(worker)
                        worker.connection.close()
                        worker.process.join()
                    yield name, reply
                else:
                    tell(name, reply)
    finally:
        _end(workers)


def _next(worker: Worker, waiting: deque[str], requests: Mapping[str, Callable[[], Request]]) -> None:
    name = waiting.popleft()
    worker.begin(name, requests[name]())


def _end(workers: list[Worker]) -> None:
    """Asks all to end, so that boards are let go and ledgers closed; a second Ctrl-C does not wait for that."""
    for worker in workers:
        worker.process.terminate()
    try:
        for worker in workers:
            worker.process.join(GRACE)
    finally:
        for worker in workers:
            worker.close(0)


def _serve(connection: Connection) -> None:
    """A worker's life. Ctrl-C reaches it too, but to end it is for the one that started it to say."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    turn = threading.Lock()

    def send(message: Event | Failure) -> None:
        with turn:
            connection.send(message)

    def emit(event: Event) -> None:
        if isinstance(event, HEARD):
            send(event)

    with suppress(EOFError, KeyboardInterrupt, BrokenPipeError, ConnectionResetError):
        while True:
            send(_outcome(connection.recv(), emit))


def _outcome(request: Request, emit: Callable[[Event], None]) -> RunDone | Failure:
    try:
        return launch(request, emit)
    except Interrupted as error:
        raise KeyboardInterrupt from error
    except TinyflError as error:
        return Failure(error.message, error.hint, error.exit_code)
    except OSError as error:
        if isinstance(error, BrokenPipeError | ConnectionResetError):
            raise
        return Failure(str(error), "mend that, then go on", 3)
    except Exception as error:  # noqa: BLE001 - a bug in one point must not cost the others
        return Failure(f"unexpected {type(error).__name__}: {error}", "this is a bug in tinyfl: please report it", 1)


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)

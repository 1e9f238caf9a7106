"""A fleet of numpy twins of a small model for tests of rounds, and boards that fail where they are told."""

from __future__ import annotations

import dataclasses
import json
import threading
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from support_tflite import small_classifier

from tinyfl.compiler import CompiledModel, compile_model
from tinyfl.errors import LinkError
from tinyfl.federated.server import Lab
from tinyfl.graph import HeadFormat
from tinyfl.image import build_image
from tinyfl.reference import embed
from tinyfl.reference.board import TwinBoard
from tinyfl_host.artifacts import Artifacts
from tinyfl_host.boards import board
from tinyfl_host.crew import Crew
from tinyfl_host.emulate import Emulator, boot
from tinyfl_host.events import Event, RunDone
from tinyfl_host.fleet import Board, Fleet, Member
from tinyfl_host.ledger import Ledger
from tinyfl_host.links import Link
from tinyfl_host.links.trace import Trace
from tinyfl_host.node import Node
from tinyfl_host.plan import Plan
from tinyfl_host.runs import run_rounds
from tinyfl_host.settings import Settings
from tinyfl_host.traffic import Traffic

RANDOM = np.random.default_rng(4)
X = RANDOM.integers(-128, 128, (240, 10, 1, 3)).astype(np.int8)
DATA = small_classifier()
MODEL = compile_model(DATA, "small", X)
ADAPTED = compile_model(DATA, "adapted", X, adapter=5)  # the same with an adapter, in groups of 5, 5 and 2 features
Y = np.argsort(np.argsort(embed(MODEL.graph, X).sum(axis=1), kind="stable")) * 5 // len(X)  # a class: a range of norms


class Failing:
    """A board whose ``fail`` is called with (method, round) before each request; what it does is the fault."""

    def __init__(self, board: Board, fail: Callable[[str, int], None]) -> None:
        self._board, self._fail, self._round = board, fail, 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._board, name)
        if name == "close":
            return method

        def call(*arguments: Any, **named: Any) -> Any:
            if name in ("load", "offer", "train", "collect"):
                self._round = arguments[0]
            self._fail(name, self._round)
            return method(*arguments, **named)

        return call


class ProcessFleet(Fleet):
    """Posix processes or QEMU machines with a model; ``faults`` by the member's name.

    ``flash``: a folder for the memory that outlives processes; without it they have none.
    """

    model = MODEL

    def __init__(
        self,
        env: str,
        firmware: Path,
        members: Sequence[Member],
        model: CompiledModel = MODEL,
        trace: Trace | None = None,
        flash: Path | None = None,
    ) -> None:
        self.model = model
        self.faults: dict[str, Callable[[str, int], None]] = {}

        def started(member: Member) -> Emulator:
            store = None if flash is None else flash / member.name
            return boot(board(env), firmware, image(member), name=member.name, store=store)

        def node(member: Member, connect: Callable[[], Link], traffic: Traffic) -> Node:
            return Node(connect(), model.manifest, member.name, reopen=connect, patience=1.0, traffic=traffic)

        link = "posix" if env == "posix" else f"emu:{env}"
        super().__init__([dataclasses.replace(m, link=link) for m in members], started, node, twin, trace)

    def open(self, member: Member, traffic: Traffic) -> Board:
        """See Fleet."""
        opened = super().open(member, traffic)
        if member.name not in self.faults:
            return opened
        return typing.cast(Board, Failing(opened, self.faults[member.name]))


class TwinFleet:
    """Members with twins; ``faults`` by the member's name."""

    model = MODEL

    def __init__(
        self,
        members: Sequence[Member],
        faults: dict[str, Callable[[str, int], None]] | None = None,
        model: CompiledModel = MODEL,
    ) -> None:
        self.members, self.model = tuple(members), model
        self.faults = faults or {}
        self.opened: list[str] = []

    def open(self, member: Member, traffic: Traffic) -> Board:
        """A fresh board: it forgets what it trained, as after a reset."""
        self.opened.append(member.name)
        board = twin(member, self.model)
        return typing.cast(Board, Failing(board, self.faults[member.name])) if member.name in self.faults else board

    def is_gone(self, member: Member) -> bool:
        """A twin can always be opened again."""
        return False

    def close(self) -> None:
        """Nothing was booted."""


def artifacts(folder: Path, model: CompiledModel = MODEL) -> Artifacts:
    """A small model as ``tinyfl compile`` writes it, into an empty folder."""
    (folder / "c").mkdir()
    for name, text in model.sources.items():
        (folder / "c" / name).write_text(text)
    (folder / "model.tflite").write_bytes(DATA)
    (folder / "model.json").write_text(json.dumps(model.manifest))
    return Artifacts("small", folder, folder)


def head_format(model: CompiledModel = MODEL) -> HeadFormat:
    """The model's head."""
    assert model.head is not None
    return model.head


def samples(index: int) -> tuple[Any, Any, Any, Any]:
    """What board ``index`` holds: 20 samples to train on, and 12 to test; boards 2, 8 and 9 have seven, one and none,
    board 7 of a single class.
    """
    own = slice(index * 32 % 208, index * 32 % 208 + 32)
    x, y, train = X[own], Y[own], {2: 7, 8: 1, 9: 0}.get(index, 20)
    single = (Y[own][0] == Y) & (index == 7)
    if single.any():
        return X[single][:20], Y[single][:20], x[20:], y[20:]
    return x[:train], y[:train], x[20:], y[20:]


def twin(member: Member, model: CompiledModel = MODEL) -> TwinBoard:
    """The member's board in numpy."""
    return TwinBoard(model.graph, head_format(model), *samples(member.index), name=member.name)


def image(member: Member) -> bytes:
    """The member's samples for a board that is emulated."""
    return build_image(*samples(member.index), member.name)


def members(clients: int = 4, unseen: int = 1) -> list[Member]:
    """``b0``, ``b1``, ...: the clients first."""
    roles = ["client"] * clients + ["unseen"] * unseen
    return [Member(f"b{i}", i, "twin", f"u{i}", role) for i, role in enumerate(roles)]


def settings(**changes: Any) -> Settings:
    """Three rounds of two epochs with seed 3."""
    base = Settings(
        on="twin",
        boards=5,
        rounds=3,
        epochs=2,
        rate=0.5,
        local_rate=0.25,
        fraction=1.0,
        quorum=0.5,
        deadline=20.0,
        local_only=True,
        seed=3,
        evaluate_every=1,
    )
    return dataclasses.replace(base, **changes)


@dataclasses.dataclass
class Outcome:
    """What a run came to."""

    done: RunDone | None
    events: list[Event]
    ledger: Path
    fleet: Any

    def of(self, kind: type[Any]) -> list[Any]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]


def run(
    folder: Path,
    fleet: Any = None,
    plan: Settings | None = None,
    *,
    resume: bool = False,
    stop: Callable[[Event], None] | None = None,
    patience: float = 0.0,
    lab: Lab | None = None,
) -> Outcome:
    """A run in ``folder``; ``stop`` sees each event and may raise; ``patience`` for boards whose link was lost.

    ``lab``: the server's own samples, for FLTrust.
    """
    fleet, plan = fleet or TwinFleet(members()), plan or settings()
    events: list[Event] = []

    def emit(event: Event) -> None:
        events.append(event)
        if stop:
            stop(event)

    documents = [dataclasses.asdict(member) for member in fleet.members]
    if resume:
        ledger = Ledger(folder / "0001")
    else:
        ledger = Ledger.create(folder, {"recipe": "small", "model": "00"}, dataclasses.asdict(plan), documents)
    with ledger, Crew(fleet, emit, patience) as crew:
        done = run_rounds(crew, Plan(head_format(fleet.model), plan, lab), ledger, emit)
    return Outcome(done, events, ledger.folder, fleet)


def raising(method: str, *rounds: int) -> Callable[[str, int], None]:
    """A fault: the link is gone in ``method`` of these rounds."""

    def fail(name: str, round: int) -> None:
        if name == method and round in rounds:
            raise LinkError("the cable is out")

    return fail


def resets(
    fleet: ProcessFleet, name: str, when: set[tuple[int, str]], asked: list[int] | None = None
) -> Callable[[str, int], None]:
    """A fault: the board is reset before these requests ("training": in the middle of a TRAIN), each once and then no
    longer in ``when``; ``asked`` gets the rounds that it is to train."""

    def fail(method: str, round: int) -> None:
        reset = fleet.emulators[name].reset
        if (round, method) in when:
            when.remove((round, method))
            reset()
        if method == "train" and (round, "training") in when:
            when.remove((round, "training"))
            threading.Timer(0.05, reset).start()
        if method == "train" and asked is not None:
            asked.append(round)

    return fail


def hanging(method: str, *rounds: int) -> Callable[[str, int], None]:
    """A fault: ``method`` never returns in these rounds."""

    def fail(name: str, round: int) -> None:
        if name == method and round in rounds:
            threading.Event().wait()

    return fail


def final(folder: Path) -> bytes:
    """The master weights of the run in ``folder``."""
    with Ledger(folder / "0001", write=False) as ledger:
        last = ledger.last_round()
        assert last is not None
        return last.masters.tobytes()


def contents(folder: Path) -> dict[str, Any]:
    """All that boards decide of a run: weights, deltas, samples, losses, accuracies; no times, no bytes of links."""
    with Ledger(folder / "0001", write=False) as ledger:
        return {
            "masters": [(row.round, row.shifts, row.selected, row.masters.tobytes()) for row in ledger.rounds()],
            "updates": [(n, u.board, u.samples, u.loss, u.max_delta, u.deltas.tobytes()) for n, u in ledger.updates()],
            "metrics": ledger.metrics(),
            "clusters": [(n, u.board, u.cluster) for n, u in ledger.updates()],
            "own": {name: (weights.tobytes(), tuned) for name, (weights, tuned) in ledger.own_heads().items()},
            "alone": {name: weights.tobytes() for name, weights in ledger.local_heads().items()},
        }

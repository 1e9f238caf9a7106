"""One federated round over boards: start reading tinyfl here.

``runs`` repeats it, keeps the ledger and measures before, after and each board alone. The arithmetic is in
``tinyfl.reference.head``, what a board is in ``fleet.Board``, how boards are driven at the same time in ``crew``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyfl.errors import QuorumError
from tinyfl.federated.selection import select
from tinyfl.federated.update import Update, check_trained, check_update
from tinyfl.graph import HeadFormat
from tinyfl.reference import head
from tinyfl.reference.fixed import mix
from tinyfl.wire.messages import Trained
from tinyfl_host import events
from tinyfl_host.crew import Crew, Deadline, Seat
from tinyfl_host.events import Emit
from tinyfl_host.settings import Settings

COLLECT_STREAM = 0xFFFF  # the "epoch" of the deltas' rounding in mix()
TRAIN_SHARE = 0.75  # of a round's deadline; the rest is kept to collect

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """What the rounds of one run have in common."""

    format: HeadFormat
    settings: Settings

    @property
    def rate(self) -> tuple[int, int]:
        """The learning rate as the boards take it: (factor, shift)."""
        return head.rate(self.settings.rate, self.format.r2, self.format.fw)

    @property
    def local_rate(self) -> tuple[int, int]:
        """The same of boards that learn alone."""
        return head.rate(self.settings.local_rate, self.format.r2, self.format.fw)

    @property
    def initial(self) -> npt.NDArray[np.int16]:
        """The head as it was compiled, in wire order."""
        return head.to_wire(self.format.initial).astype(np.int16)


@dataclass(frozen=True)
class Round:
    """What one round came to."""

    round: int
    selected: list[str]
    master: Int64  # after it, in wire order
    shift: int
    trained: Mapping[str, Trained]
    updates: Mapping[str, Update]
    seconds: float

    @property
    def loss(self) -> float:
        """Mean of 1 - p[label] in the last epoch, weighted by samples."""
        total = sum(update.samples for update in self.updates.values())
        weighted = sum(self.trained[name].loss * update.samples for name, update in self.updates.items())
        return weighted / (head.ONE * total) if total else 0.0


def federated_round(crew: Crew, plan: Plan, master: Int64, round: int, emit: Emit) -> Round:
    """Select, broadcast, train on the boards, announce one shift, collect int8 deltas, aggregate.

    A board that was reset trains again and comes to the same weights. One that fails or is late is dropped, with the
    reason; QuorumError where too few are left. The round waits for all boards that live, until the deadline: which
    boards count must not depend on which are fast.
    """
    settings, deadline = plan.settings, Deadline(plan.settings.deadline)
    chosen = [crew.clients[i] for i in select(len(crew.clients), settings.fraction, settings.seed, round)]
    emit(events.RoundStart(round, [member.name for member in chosen]))
    weights = head.broadcast(master)
    lives: dict[str, int] = {}  # in which greeting of its seat each board trained

    def train(seat: Seat) -> Trained:
        order = (settings.seed, seat.member.index, settings.epochs)
        reply = seat.enter("train").train(round, *order, *plan.rate, weights, deadline=seat.left())
        lives[seat.member.name] = seat.greetings
        return check_trained(reply)

    def collect(seat: Seat) -> Update:
        seed = mix(settings.seed, round, COLLECT_STREAM, seat.member.index)
        board = seat.enter("collect")
        if seat.greetings != lives[seat.member.name]:  # reset since, perhaps: what it trained may be gone
            train(seat)
        delta = board.collect(round, shift, seed, deadline=seat.left())
        return check_update(Update(delta.samples, delta.deltas), len(weights), trained[seat.member.name].samples)

    trained = crew.each(chosen, train, deadline.left(TRAIN_SHARE))
    require_quorum(crew, plan, round, len(chosen), len(trained))
    shift = head.fleet_shift([reply.max_delta for reply in trained.values()])
    ready = [member for member in chosen if member.name in trained]
    updates = crew.each(ready, collect, deadline.left())
    require_quorum(crew, plan, round, len(chosen), len(updates))
    deltas, samples = [u.deltas for u in updates.values()], [u.samples for u in updates.values()]
    master = head.aggregate(master, deltas, samples, shift)
    return Round(round, [member.name for member in chosen], master, shift, trained, updates, deadline.elapsed())


def require_quorum(crew: Crew, plan: Plan, round: int, asked: int, left: int) -> None:
    """Raises QuorumError, with the reasons of all that were dropped, where too few of ``asked`` boards are left."""
    wanted = min(plan.settings.quorum_of(asked), asked)
    if left >= wanted:
        return
    reasons = "".join(f"\n{drop.board}, {drop.phase}: {drop.reason}" for drop in crew.drops)
    raise QuorumError(
        f"round {round}: {left} of {asked} boards are left, the quorum is {wanted}{reasons}",
        "mend the boards and go on with --resume; --quorum asks for less",
    )

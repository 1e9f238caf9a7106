"""One federated round over boards: start reading tinyfl here.

``runs`` repeats it, keeps the ledger and measures before, after and each board alone. Whom the server asks and what it
makes of the answers is in ``serving``, the boards' arithmetic in ``tinyfl.reference.head``, how deltas are coded in
``tinyfl.reference.codec`` and read in ``tinyfl.federated.codecs``, what a board is in ``fleet.Board``, what it is asked
in ``plan``, how boards are driven at the same time in ``crew``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinyfl.errors import QuorumError
from tinyfl.federated.optimisers import State
from tinyfl.federated.update import Update
from tinyfl.reference import head
from tinyfl.wire.messages import Trained
from tinyfl_host import events, serving
from tinyfl_host.crew import Crew, Deadline, Seat
from tinyfl_host.events import Emit
from tinyfl_host.history import Past
from tinyfl_host.learning import learn, send
from tinyfl_host.plan import Plan

TRAIN_SHARE = 0.75  # of a round's deadline; the rest is kept to collect


@dataclass(frozen=True)
class Round:
    """What one round came to."""

    round: int
    selected: list[str]
    models: Sequence[State]  # the server's after it, one a cluster: shared master weights in wire order, moments
    shifts: Sequence[int]  # of each shared tensor
    trained: Mapping[str, Trained]
    updates: Mapping[str, Update]
    seconds: float

    @property
    def loss(self) -> float:
        """Mean of 1 - p[label] in the last epoch, weighted by samples."""
        total = sum(update.samples for update in self.updates.values())
        weighted = sum(self.trained[name].loss * update.samples for name, update in self.updates.items())
        return weighted / (head.ONE * total) if total else 0.0


def federated_round(crew: Crew, plan: Plan, models: Sequence[State], round: int, emit: Emit) -> Round:
    """Select, broadcast, train on the boards, announce one shift a tensor, collect coded deltas, aggregate.

    There is one model, or one for each cluster of boards: a board then gets all heads and trains the one that fits it.
    Of a tensor that is private nothing is sent, either way (``plan.shared``).

    A board that was reset trains again and comes to the same weights. One that fails or is late is dropped, with the
    reason; QuorumError where too few are left. The round waits for all boards that live, until the deadline: which
    boards count must not depend on which are fast.
    """
    deadline = Deadline(plan.settings.deadline)
    chosen = serving.choose(plan, crew.clients, crew.history, round)
    require_offers(crew, plan, round)
    emit(events.RoundStart(round, [member.name for member in chosen]))
    heads = [plan.broadcast(model.master) for model in models]
    lives: dict[str, int] = {}  # in which greeting of its seat each board trained

    def train(seat: Seat) -> Trained:
        reply = learn(seat, plan, crew.history, round, heads)
        lives[seat.member.name] = seat.greetings
        return reply

    def collect(seat: Seat) -> Update:
        name = seat.member.name
        seat.enter("collect")
        if seat.greetings != lives[name]:  # reset since, perhaps: what it trained may be gone
            train(seat)
        return send(seat, plan, round, shifts, trained[name].samples)

    trained = crew.each(chosen, train, deadline.left(TRAIN_SHARE))
    require_quorum(crew, plan, round, len(chosen), len(trained))
    shifts = serving.shifts(plan, round, list(trained.values()))
    ready = [member for member in chosen if member.name in trained]
    updates = crew.each(ready, collect, deadline.left())
    require_quorum(crew, plan, round, len(chosen), len(updates))
    past = Past(round, heads, shifts, serving.took(plan, heads, shifts, trained, updates))
    models = serving.step(plan, models, past, updates)
    crew.history.add(past)
    return Round(round, [member.name for member in chosen], models, shifts, trained, updates, deadline.elapsed())


def require_offers(crew: Crew, plan: Plan, round: int) -> None:
    """Raises MismatchError where a client that was greeted already does not offer what every round asks for."""
    for member in crew.clients:
        if member.name in crew.welcomes:
            plan.check_offer(crew.welcomes[member.name], round, member.name)


def require_quorum(crew: Crew, plan: Plan, round: int, asked: int, left: int) -> None:
    """Raises QuorumError, with the reasons of all that were dropped, where too few of ``asked`` boards are left."""
    wanted = min(plan.settings.quorum_of(asked), asked)
    if left >= wanted:
        return
    raise QuorumError(
        f"round {round}: {left} of {asked} boards are left, the quorum is {wanted}{crew.reasons()}",
        "mend the boards and go on with --resume; --quorum asks for less",
    )

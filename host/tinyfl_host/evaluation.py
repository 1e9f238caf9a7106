"""How good a head is, measured on the boards' own test data; and what each client would learn alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tinyfl.errors import BoardError
from tinyfl_host.crew import Crew, Seat
from tinyfl_host.events import Accuracy, Emit, LocalOnly
from tinyfl_host.fleet import Member
from tinyfl_host.history import History
from tinyfl_host.learning import choose, remembering
from tinyfl_host.ledger import DropRow, Ledger, MetricRow
from tinyfl_host.plan import Plan

FEDERATED = "federated"
LOCAL = "local:"
TEST, BROADCAST = 1, 0  # EVALUATE's split and source
FEW = 100  # boards; what measures each board's own head on every board goes with their square

Int16 = npt.NDArray[np.int16]


def measure(crew: Crew, plan: Plan, heads: Sequence[Int16], round: int, *, keep: bool = False) -> list[MetricRow]:
    """Right answers on every board that was not dropped in this round, of the head of its cluster.

    That is the one of its last update; a board that has none, as one that never trains, chooses by its own training
    samples. Boards with a store may ``keep`` it.
    """

    def count(seat: Seat) -> MetricRow:
        seat.enter("evaluate")
        cluster = choose(seat, plan, crew.history, round, heads)
        counts = score(seat, plan, crew.history, heads[cluster], round, keep=keep)
        return MetricRow(round, FEDERATED, seat.member.name, *counts, cluster)

    return list(crew.each(_left(crew), count, plan.settings.deadline).values())


def score(
    seat: Seat,
    plan: Plan,
    history: History,
    weights: Int16,
    round: int,
    *,
    keep: bool = False,
    whole: bool = False,
) -> tuple[int, int]:
    """(samples, right) of shared weights, or ``whole`` of weights of all tensors, on a board's test data.

    Raises BoardError for a board that says it knows more.
    """
    board = seat.enter("evaluate")
    adapting, downlink = (plan.local, "int16") if whole else (plan.adapting, plan.settings.update.downlink)

    def load(taken: int) -> None:
        board.load(round, weights, keep=keep, taken=taken, downlink=downlink, adapting=adapting, deadline=seat.left())

    remembering(seat, plan, history, load)
    reply = board.evaluate(TEST, BROADCAST, deadline=seat.left())
    if reply.correct > reply.samples:
        raise BoardError(f"counted {reply.correct} right answers of {reply.samples} samples")
    return reply.samples, reply.correct


def everywhere(
    crew: Crew, plan: Plan, models: Sequence[Int16], round: int, seconds: float
) -> dict[str, list[tuple[int, int]]]:
    """(samples, right) on each board of each of these models, which are of all tensors."""

    def count(seat: Seat) -> list[tuple[int, int]]:
        return [score(seat, plan, crew.history, weights, round, whole=True) for weights in models]

    return crew.each(_left(crew), count, seconds)


def _left(crew: Crew) -> list[Member]:
    dropped = crew.dropped()
    return [member for member in crew.members if member.name not in dropped]


def accuracy(members: Sequence[Member], metrics: Sequence[MetricRow]) -> Accuracy:
    """Right answers over samples: of all clients together, of all never-seen users together; None without samples."""
    roles = {member.name: member.role for member in members}
    return Accuracy(
        share([row for row in metrics if roles[row.board] == "client"]),
        share([row for row in metrics if roles[row.board] == "unseen"]),
    )


def share(metrics: Sequence[MetricRow]) -> float | None:
    """Right answers over samples; None without samples."""
    samples = sum(row.samples for row in metrics)
    return sum(row.correct for row in metrics) / samples if samples else None


def boards_alone(crew: Crew, plan: Plan, ledger: Ledger, emit: Emit) -> None:
    """Each client trains all tensors alone from the initial ones, for as many epochs as in the rounds, and is measured
    on all boards."""
    settings, adapting = plan.settings, plan.local
    known = {row.model for row in ledger.metrics()}
    missing = [member for member in crew.clients if LOCAL + member.name not in known]
    crew.start_round(settings.rounds)

    def learn(seat: Seat) -> Int16:
        board = seat.enter("local")
        board.load(0, plan.whole, adapting=adapting, deadline=seat.left())
        for round in range(1, settings.rounds + 1):
            order = round, settings.seed, seat.member.index, settings.epochs
            board.train(*order, *plan.local_rate, adapting=adapting, deadline=seat.left())
        return board.pull(deadline=seat.left())

    patience = settings.deadline * max(1, settings.rounds)
    heads = crew.each(missing, learn, patience)
    counts = everywhere(crew, plan, list(heads.values()), 0, patience)
    for i, (name, weights) in enumerate(heads.items()):
        rows = [MetricRow(settings.rounds, LOCAL + name, board, *rows[i]) for board, rows in counts.items()]
        ledger.put_local(name, weights, rows)
    ledger.put_drops([DropRow(settings.rounds, d.board, d.phase, d.reason) for d in crew.drops])
    emit(local_accuracy(crew.members, ledger))


def local_accuracy(members: Sequence[Member], ledger: Ledger) -> LocalOnly:
    """Means over the clients: of the accuracy of each one's head on everybody's data, and on its own."""
    return LocalOnly(*own_accuracy(members, ledger.metrics(), LOCAL))


def own_accuracy(members: Sequence[Member], metrics: Sequence[MetricRow], prefix: str) -> tuple[Accuracy, float | None]:
    """Of heads of the clients' own, named prefix + board: means of their accuracies on everybody's data, on its own."""
    models: dict[str, list[MetricRow]] = defaultdict(list)
    for row in metrics:
        if row.model.startswith(prefix):
            models[row.model].append(row)
    scores = [accuracy(members, rows) for rows in models.values()]
    own = [share([row for row in rows if row.model == prefix + row.board]) for rows in models.values()]
    return Accuracy(_mean([s.clients for s in scores]), _mean([s.unseen for s in scores])), _mean(own)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None

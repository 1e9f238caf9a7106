"""How good a head is, measured on the boards' own test data; and what each client would learn alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tinyfl.errors import BoardError
from tinyfl_host.crew import Crew, Seat
from tinyfl_host.events import Accuracy, Emit, LocalOnly
from tinyfl_host.fleet import Member
from tinyfl_host.ledger import DropRow, Ledger, MetricRow
from tinyfl_host.settings import Settings

FEDERATED = "federated"
LOCAL = "local:"
TEST, BROADCAST = 1, 0  # EVALUATE's split and source

Int16 = npt.NDArray[np.int16]


def measure(crew: Crew, weights: Int16, round: int, seconds: float, *, keep: bool = False) -> list[MetricRow]:
    """Right answers of one head on every board that was not dropped in this round; boards with a store may keep it."""
    counts = _count(crew, [weights], round, seconds, keep)
    return [MetricRow(round, FEDERATED, name, *rows[0]) for name, rows in counts.items()]


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


def boards_alone(
    crew: Crew, settings: Settings, rate: tuple[int, int], initial: Int16, ledger: Ledger, emit: Emit
) -> None:
    """Each client trains alone from the initial head, for as many epochs as in the rounds, and is measured on all."""
    known = {row.model for row in ledger.metrics()}
    missing = [member for member in crew.clients if LOCAL + member.name not in known]
    crew.start_round(settings.rounds)

    def learn(seat: Seat) -> Int16:
        board = seat.enter("local")
        board.load(0, initial, deadline=seat.left())
        for round in range(1, settings.rounds + 1):
            board.train(round, settings.seed, seat.member.index, settings.epochs, *rate, deadline=seat.left())
        return board.pull(deadline=seat.left())

    patience = settings.deadline * max(1, settings.rounds)
    heads = crew.each(missing, learn, patience)
    counts = _count(crew, list(heads.values()), 0, patience)
    for i, (name, weights) in enumerate(heads.items()):
        rows = [MetricRow(settings.rounds, LOCAL + name, board, *rows[i]) for board, rows in counts.items()]
        ledger.put_local(name, weights, rows)
    ledger.put_drops([DropRow(settings.rounds, d.board, d.phase, d.reason) for d in crew.drops])
    emit(local_accuracy(crew.members, ledger))


def local_accuracy(members: Sequence[Member], ledger: Ledger) -> LocalOnly:
    """Means over the clients: of the accuracy of each one's head on everybody's data, and on its own."""
    rows = [row for row in ledger.metrics() if row.model.startswith(LOCAL)]
    models = list(dict.fromkeys(row.model for row in rows))
    scores = [accuracy(members, [row for row in rows if row.model == model]) for model in models]
    own = [share([row for row in rows if row.model == model == LOCAL + row.board]) for model in models]
    return LocalOnly(Accuracy(_mean([s.clients for s in scores]), _mean([s.unseen for s in scores])), _mean(own))


def _count(
    crew: Crew, heads: Sequence[Int16], round: int, seconds: float, keep: bool = False
) -> dict[str, list[tuple[int, int]]]:
    """(samples, right) of each head on each board."""

    def count(seat: Seat) -> list[tuple[int, int]]:
        rows = []
        for weights in heads:
            board = seat.enter("evaluate")
            board.load(round, weights, keep=keep, deadline=seat.left())
            reply = board.evaluate(TEST, BROADCAST, deadline=seat.left())
            if reply.correct > reply.samples:
                raise BoardError(f"counted {reply.correct} right answers of {reply.samples} samples")
            rows.append((reply.samples, reply.correct))
        return rows

    dropped = crew.dropped()
    return crew.each([member for member in crew.members if member.name not in dropped], count, seconds)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None

"""A head of each board's own: the final one, tuned on the board's samples after the last round, where that helps.

Whether it does must be asked neither of samples that were trained on, nor of the test split. The first epoch of the
tuning meets each sample before it learns from it, so its mean loss is an honest estimate of what tuning brings, and no
sample has to be left out (progressive validation: Blum, Kalai, Langford, Beating the Hold-Out, COLT 1999). Only where
it is below the common head's loss on the same samples does the board tune on and keep the result. This is careful, as
the learner of the first epoch is worse than the one that is kept; windows that overlap make it less so, as a neighbour
may have been learned already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyfl_host.crew import Crew, Seat
from tinyfl_host.evaluation import BROADCAST, FEW, everywhere, own_accuracy, score
from tinyfl_host.events import Accuracy, Emit, Personal
from tinyfl_host.fleet import Member
from tinyfl_host.learning import choose
from tinyfl_host.ledger import DropRow, Ledger, MetricRow
from tinyfl_host.plan import Plan

OWN = "own:"
TRAIN = 0  # EVALUATE's split

Int16 = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Own:
    """What a board keeps, the cluster that it came from, and whether it is tuned."""

    weights: Int16
    cluster: int
    tuned: bool


def boards_own(crew: Crew, plan: Plan, ledger: Ledger, emit: Emit) -> None:
    """Each client tunes its cluster's head, keeps it (over a reset, where it has a store) or the common one, and both
    are measured: on the board itself, and of few boards on everybody's data. Boards that the ledger knows are done."""
    done, rounds = ledger.own_heads(), plan.settings.rounds
    last = ledger.last_round()
    assert last is not None
    heads = [plan.broadcast(master) for master in last.masters.astype(np.int64)]
    crew.start_round(rounds)
    patience = plan.settings.deadline * max(1, plan.settings.personal.tune)
    missing = [member for member in crew.clients if member.name not in done]
    own = crew.each(missing, lambda seat: _tune(seat, crew, plan, heads), patience)
    few = len(crew.members) <= FEW
    counts = everywhere(crew, plan, [one.weights for one in own.values()], rounds, patience) if few else {}

    def keep(seat: Seat) -> tuple[int, int]:
        return score(seat, plan, crew.history, own[seat.member.name].weights, rounds, keep=True, whole=True)

    ready = [member for member in missing if member.name in own and member.name not in crew.dropped()]
    kept = crew.each(ready, keep, patience)
    for i, (name, one) in enumerate(own.items()):
        scores = {board: rows[i] for board, rows in counts.items()} | ({name: kept[name]} if name in kept else {})
        rows = [MetricRow(rounds, OWN + name, board, *row, one.cluster) for board, row in scores.items()]
        ledger.put_own(name, one.weights, one.tuned, rows)
    ledger.put_drops([DropRow(rounds, drop.board, drop.phase, drop.reason) for drop in crew.drops])
    found = personal(crew.members, ledger)
    if found is not None:
        emit(found)


def personal(members: Sequence[Member], ledger: Ledger) -> Personal | None:
    """What the clients keep for themselves, and how good it is; None where nobody keeps anything."""
    heads = ledger.own_heads()
    if not heads:
        return None
    accuracy, own = own_accuracy(members, ledger.metrics(), OWN)
    tuned = sum(one for _, one in heads.values())
    return Personal(accuracy if len(members) <= FEW else Accuracy(None, None), own, tuned, len(heads))


def _tune(seat: Seat, crew: Crew, plan: Plan, heads: list[Int16]) -> Own:
    settings, history = plan.settings, crew.history
    board = seat.enter("tune")
    cluster = choose(seat, plan, history, settings.rounds, heads)
    common, taken = heads[cluster], history.taken(seat.member.name)

    def train(after: int, epochs: int, weights: Int16 | None) -> int:
        order = (settings.rounds + after, settings.seed, seat.member.index, epochs)
        return board.train(
            *(*order, *plan.local_rate, weights), taken=taken, adapting=plan.local, deadline=seat.left()
        ).loss

    progressive = train(1, 1, common)
    if progressive >= board.evaluate(TRAIN, BROADCAST, deadline=seat.left()).loss:
        return Own(common, cluster, False)
    if settings.personal.tune > 1:
        train(2, settings.personal.tune - 1, None)
    return Own(mixed(common, board.pull(deadline=seat.left()), settings.personal.mix), cluster, True)


def mixed(common: Int16, tuned: Int16, mix: float) -> Int16:
    """The head (P,) that lies so far from the common to the tuned one."""
    way = tuned.astype(np.float64) - common
    return np.asarray(common + np.rint(mix * way), np.int16)

"""What a board does in a round: it chooses among the heads of clusters, and trains, also where it lost its residual."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tinyfl.errors import BoardError
from tinyfl.federated.clusters import best, check_chosen
from tinyfl.wire.messages import Status, Trained
from tinyfl_host.crew import Seat
from tinyfl_host.history import History
from tinyfl_host.plan import Plan

Int16 = npt.NDArray[np.int16]


def learn(seat: Seat, plan: Plan, history: History, round: int, heads: Sequence[Int16]) -> Trained:
    """One board's training in a round; where it lost its residual, the rounds that made that first.

    Raises BoardError for a board that chose a cluster that was not offered.
    """
    board, member = seat.enter("train"), seat.member
    if seat.welcome is not None:
        plan.check_offer(seat.welcome, round, member.name)
    try:
        return _train(seat, plan, round, heads, history.kept(member.name, seat.welcome))
    except BoardError as error:
        if error.status != Status.ERROR_RESIDUAL:
            raise
    taken = 0
    for past in history.of(member.name):
        plan.train(board, member, past.round, past.weights(member.name), taken, seat.left())
        plan.collect(board, member, past.round, past.shift, seat.left())
        taken = past.round
    history.known(member.name)
    return _train(seat, plan, round, heads, taken)


def choose(seat: Seat, plan: Plan, history: History, round: int, heads: Sequence[Int16]) -> int:
    """The cluster of a board that does not train now: that of its last update, else the one that it would choose."""
    known = history.cluster(seat.member.name)
    if len(heads) == 1 or known is not None:
        return known or 0
    return best(_losses(seat, plan, round, heads, history.taken(seat.member.name)))


def _train(seat: Seat, plan: Plan, round: int, heads: Sequence[Int16], taken: int) -> Trained:
    board = seat.greeted()
    if len(heads) == 1:
        return plan.train(board, seat.member, round, heads[0], taken, seat.left())
    _losses(seat, plan, round, heads, taken)
    reply = plan.train(board, seat.member, round, None, taken, seat.left())
    check_chosen(reply.cluster, len(heads))
    return reply


def _losses(seat: Seat, plan: Plan, round: int, heads: Sequence[Int16], taken: int) -> list[int]:
    """Of each head on the board's own training samples."""
    board = seat.greeted()
    return [plan.offer(board, round, c, weights, taken, seat.left()).loss for c, weights in enumerate(heads)]

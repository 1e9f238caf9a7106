"""What a board does in a round: it chooses among the heads of clusters, trains, and sends what it learned.

Where it lost what it keeps from round to round (its residual, or a private tensor), it does its old rounds again first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tinyfl.errors import BoardError
from tinyfl.federated.clusters import best, check_chosen
from tinyfl.federated.update import Update, check_trained, joined, read_update
from tinyfl.reference import tensors
from tinyfl.reference.codec import stream
from tinyfl.wire.messages import Status, Trained
from tinyfl_host.crew import Seat
from tinyfl_host.history import History
from tinyfl_host.plan import Plan

T = TypeVar("T")
Int16 = npt.NDArray[np.int16]


def learn(seat: Seat, plan: Plan, history: History, round: int, heads: Sequence[Int16]) -> Trained:
    """One board's training in a round. Raises BoardError for a board that chose a cluster that was not offered, or
    reports what no board can have learned.
    """
    seat.enter("train")
    if seat.welcome is not None:
        plan.check_offer(seat.welcome, round, seat.member.name)
    reply = remembering(seat, plan, history, lambda taken: _train(seat, plan, round, heads, taken))
    return check_trained(reply, len(tensors.numbers(plan.format)))


def send(seat: Seat, plan: Plan, round: int, shifts: Sequence[int], samples: int) -> Update:
    """What one board learned from so many samples: the deltas of each shared tensor in units of 2^its shift.

    Raises BoardError as ``read_update`` does.
    """
    board, parts = seat.greeted(), []
    for tensor, shift in zip(plan.tensors, shifts, strict=True):
        delta = plan.collect(board, seat.member, round, tensor, shift, seat.left())
        random = stream(plan.settings.seed, round, tensor)
        parts.append(read_update(plan.codec(round, tensor), delta, plan.learns[tensor], samples, random))
    return joined(parts)


def choose(seat: Seat, plan: Plan, history: History, round: int, heads: Sequence[Int16]) -> int:
    """The cluster of a board that does not train now: that of its last update, else the one that it would choose."""
    known = history.cluster(seat.member.name)
    if len(heads) == 1 or known is not None:
        return known or 0
    return best(_losses(seat, plan, round, heads, history.taken(seat.member.name)))


def remembering(seat: Seat, plan: Plan, history: History, ask: Callable[[int], T]) -> T:
    """What ``ask`` returns, given the last round that took the board's update.

    A board that says that it lost what that round left to it does all rounds again that took its updates. Where a
    deadline interrupts that, it goes on in the next round from where it was.
    """
    name = seat.member.name
    with _unless_lost():
        return ask(history.kept(name, seat.welcome))
    with _unless_lost():
        return ask(_do_again(seat, plan, history, history.done_again(name)))
    return ask(_do_again(seat, plan, history, 0))


@contextmanager
def _unless_lost() -> Iterator[None]:
    """Ends where the board does not hold what the round left to it that it was told."""
    try:
        yield
    except BoardError as error:
        if error.status != Status.ERROR_RESIDUAL:
            raise


def _do_again(seat: Seat, plan: Plan, history: History, since: int) -> int:
    """The rounds behind ``since`` that took the board's update; returns the last one."""
    board, member = seat.greeted(), seat.member
    for past in history.of(member.name, since):
        plan.train(board, member, past.round, past.weights(member.name), since, seat.left())
        for tensor, shift in zip(plan.tensors, past.shifts, strict=True):
            plan.collect(board, member, past.round, tensor, shift, seat.left())
        since = past.round
        history.does_again(member.name, since)
    history.known(member.name)
    return since


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

"""Rounds of an adapter and the head behind it, of which some tensors are shared and the others stay on their board.

All shared is federated averaging of both layers. With the head private it is FedPer (Arivazhagan et al. 2019,
arXiv:1912.00818, algorithms 1 and 2); with the adapter private LG-FedAvg (Liang et al. 2020, arXiv:2001.01523). Boards
train both layers in one step (``reference/adapter.py``). What is private is in no update: nothing here reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tinyfl.reference.adapter import AdapterFormat, TwinAdapter
from tinyfl.reference.fixed import Int64, mix
from tinyfl.reference.head import TwinHead, aggregate, broadcast, fleet_shift, round_delta, to_wire

HEAD, ADAPTER = 0, 1  # tensors' numbers
STREAMS = {HEAD: 0xFFFF, ADAPTER: 0xFFFB}  # the "epoch" of their deltas' rounding in mix()


@dataclass
class Learner:
    """A board: embeddings (n, N) of the backbone with labels (n,), and both layers; ``board``: its number in seeds."""

    format: AdapterFormat
    embeddings: npt.NDArray[np.int8]
    labels: Sequence[int]
    board: int
    head: TwinHead = field(init=False)
    adapter: TwinAdapter = field(init=False)

    def __post_init__(self) -> None:
        self.head, self.adapter = TwinHead(self.format.head), TwinAdapter(self.format)

    def tensor(self, number: int) -> TwinHead | TwinAdapter:
        """The layer HEAD or ADAPTER."""
        return self.head if number == HEAD else self.adapter

    def train(self, schedule: Schedule, round: int) -> int:
        """From where it is; returns the last epoch's mean of 1 - p[label], Q15."""
        stream = schedule.seed, round, self.board
        return self.adapter.train(
            self.head, self.embeddings, self.labels, stream, schedule.epochs, schedule.rate, schedule.adapter_rate
        )

    def accuracy(self, embeddings: npt.NDArray[np.int8], labels: Sequence[int]) -> float:
        """Share of right answers of its trained layers; n >= 1."""
        right, _ = self.head.evaluate(self.adapter.forward(embeddings), labels, trained=True)
        return right / len(labels)


@dataclass(frozen=True)
class Schedule:
    """What each round trains: rates as the boards take them, (factor, shift)."""

    epochs: int
    rate: tuple[int, int]
    adapter_rate: tuple[int, int]
    seed: int


def initial(format: AdapterFormat, private: Sequence[int] = ()) -> dict[int, Int64]:
    """The server's master weights of the shared tensors at the start: the compiled head, an adapter of zeros."""
    masters = {HEAD: to_wire(format.head.initial).astype(np.int64) << 16, ADAPTER: np.zeros(format.size, np.int64)}
    return {number: masters[number] for number in masters if number not in private}


def personal_round(
    learners: Sequence[Learner], masters: Mapping[int, Int64], round: int, schedule: Schedule
) -> dict[int, Int64]:
    """One round of the tensors in ``masters``: each has its own fleet shift and int8 deltas. Returns the new masters.

    A private tensor goes on from where its board's last round ended, rounded as a broadcast is: so it has the same two
    copies, and a board whose update did not count goes back to the one before.
    """
    for learner in learners:
        for number in (HEAD, ADAPTER):
            tensor = learner.tensor(number)
            tensor.load(broadcast(masters[number]) if number in masters else tensor.pull())
        learner.train(schedule, round)
    samples = [len(learner.labels) for learner in learners]
    return {
        number: _collected(learners, number, master, samples, round, schedule.seed)
        for number, master in masters.items()
    }


def _collected(
    learners: Sequence[Learner], number: int, master: Int64, samples: list[int], round: int, seed: int
) -> Int64:
    deltas = [learner.tensor(number).delta() for learner in learners]
    shift = fleet_shift([int(np.abs(delta).max()) for delta in deltas])
    sent = [
        round_delta(delta, shift, mix(seed, round, STREAMS[number], learner.board))
        for delta, learner in zip(deltas, learners, strict=True)
    ]
    return aggregate(master, sent, samples, shift)

"""The rounds of a run that counted, as far as boards depend on them that keep something from round to round.

A residual (error feedback) or a private tensor is a board's alone: nobody else can compute it without its data. It
follows from nothing but seeds, data and the weights and shifts of the rounds that took the board's update. So a board
that lost it, by a reset without a store or because the host that simulates it was restarted, gets it back by doing
those rounds again.

So does, in a run that is resumed, a board of which nothing proves that it was in no other run since: what that left on
it may have the right round's number. The proof is in its WELCOME: at COLLECT its store kept the head that it had
trained from, and from round 2 on no other run has that one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyfl.federated.selection import UNHEARD
from tinyfl.wire.messages import Welcome

LOST = 2**32 - 1  # no round's number: no board holds what is left of it


@dataclass(frozen=True)
class Took:
    """What a board's update said beside its deltas: the byte of loss; and the cluster that it went to."""

    loss: int
    cluster: int = 0


@dataclass(frozen=True)
class Past:
    """A round that counted: the weights that its boards trained from, one vector a cluster; the shift of each shared
    tensor; and whose updates were taken."""

    round: int
    heads: Sequence[npt.NDArray[np.int16]]
    shifts: Sequence[int]
    boards: Mapping[str, Took]

    def weights(self, board: str) -> npt.NDArray[np.int16]:
        """The head that it trained from. Where there was one for all, the clusters came after the training."""
        return self.heads[self.boards[board].cluster if len(self.heads) > 1 else 0]


class History:
    """All of them, in their order."""

    def __init__(self) -> None:
        self._rounds: list[Past] = []
        self._taken: dict[str, int] = {}
        self._losses: dict[str, int] = {}
        self._clusters: dict[str, int] = {}
        self._again: dict[str, int] = {}  # the last of the rounds that a board did again
        self._strange: set[str] = set()  # boards that may have been in another run since
        self._proofs: set[tuple[int, int]] = set()  # round and CRC-32 of a head that none but this run's boards keep

    def add(self, past: Past) -> None:
        """A round that counts from now on."""
        self._rounds.append(past)
        self._taken.update(dict.fromkeys(past.boards, past.round))
        self._losses.update({name: took.loss for name, took in past.boards.items()})
        clusters = {name: took.cluster for name, took in past.boards.items()}
        if len(past.heads) > 1 or any(clusters.values()):
            self._clusters.update(clusters)

    def resume(self, heads: Sequence[npt.NDArray[np.int16]]) -> None:
        """No board was seen since these rounds, and the next one, from ``heads``, may have begun."""
        self._strange = set(self._taken)
        begun = [(past.round, past.heads) for past in self._rounds]
        if begun:
            begun.append((begun[-1][0] + 1, heads))
        self._proofs = {(round, zlib.crc32(w.astype("<i2").tobytes())) for round, of in begun[1:] for w in of}

    def does_again(self, board: str, round: int) -> None:
        """It did this round again, and all before."""
        self._again[board] = round

    def done_again(self, board: str) -> int:
        """The last round that it did again; 0: none."""
        return self._again.get(board, 0)

    def known(self, board: str) -> None:
        """It did its rounds again: what it keeps is this run's."""
        self._strange.discard(board)

    def kept(self, board: str, welcome: Welcome | None) -> int:
        """The last round that took this board's update; LOST where what that left on the board may be another run's."""
        head = (0, 0) if welcome is None else (welcome.round, welcome.head_digest)
        if head in self._proofs and head[0] >= self.taken(board):
            self.known(board)
        return LOST if board in self._strange else self.taken(board)

    def taken(self, board: str) -> int:
        """The last round that took this board's update; 0: none."""
        return self._taken.get(board, 0)

    def loss(self, board: str) -> int:
        """What it reported last, 0 to 255."""
        return self._losses.get(board, UNHEARD)

    def cluster(self, board: str) -> int | None:
        """That of its last update; None where it is not known."""
        return self._clusters.get(board)

    def of(self, board: str, since: int = 0) -> Iterator[Past]:
        """The rounds behind ``since`` that did."""
        return (past for past in self._rounds if board in past.boards and past.round > since)

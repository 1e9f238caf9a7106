"""Boards that lie: with every update they send -4 times what they learned, and say that it is as large as that.

Their answers are changed on the way to the server: what a board with firmware of its own could send.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast
from unittest.mock import patch

import numpy as np

from tinyfl.wire import messages as wire
from tinyfl_host import scenario
from tinyfl_host.fleet import Board, Fleet, Member
from tinyfl_host.traffic import Traffic

FACTOR = 4
MOST = 127  # of an int8


class Liar:
    """Sends -FACTOR times the update of ``board``, which must be int8 of all weights; all else is as it is."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def __getattr__(self, name: str) -> Any:
        return getattr(self._board, name)

    def train(self, *args: Any, **options: Any) -> wire.Trained:
        """Larger deltas than there are."""
        reply = self._board.train(*args, **options)
        larger = {name: FACTOR * getattr(reply, name) for name in ("max_delta", "mean_delta")}
        return dataclasses.replace(reply, **larger)

    def collect(self, *args: Any, **options: Any) -> wire.Delta:
        """The other way, as far as int8 goes."""
        delta = self._board.collect(*args, **options)
        turned = -FACTOR * np.asarray(delta.deltas, np.uint8).view(np.int8).astype(np.int64)
        return dataclasses.replace(delta, deltas=np.clip(turned, -MOST, MOST).astype(np.int8).view(np.uint8))


def liars(members: tuple[Member, ...], share: float) -> list[str]:
    """Which boards lie: ``share`` of the clients, evenly spread over the fleet."""
    clients = [member.name for member in members if member.trains]
    return [clients[int(place / share)] for place in range(round(share * len(clients)))]


@contextmanager
def lying(share: float) -> Iterator[None]:
    """Within, ``share`` of the clients of each run lie; 0: none does."""

    class Deceived(Fleet):
        def open(self, member: Member, traffic: Traffic) -> Board:
            board = super().open(member, traffic)
            return cast(Board, Liar(board)) if member.name in liars(self.members, share) else board

    if not share:
        yield
        return
    with patch.object(scenario, "Fleet", Deceived):
        yield

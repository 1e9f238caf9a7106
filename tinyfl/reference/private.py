"""What is private moves on with the rounds that count, as a residual does: the twin of ``firmware/core/private.c``.

A private tensor has two copies as any other: ``broadcast``, where the last round that counted ended, rounded as the
server would, and ``master``, what was trained since. docs/DESIGN.md, "Adapter", says why.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tinyfl.graph import HeadFormat
from tinyfl.reference.adapter import TwinAdapter
from tinyfl.reference.head import TwinHead
from tinyfl.reference.tensors import ALL, initial

Int16 = npt.NDArray[np.int16]

NEVER = 0xFFFFFFFF  # no round that counted


class Private:
    """The tensors of a board that the server has not: ``shared`` is the mask of those that it has."""

    def __init__(self, format: HeadFormat, tensors: Sequence[TwinHead | TwinAdapter]) -> None:
        self._format, self._tensors = format, tensors
        self.shared = ALL
        self._round = NEVER  # after which the private broadcast weights stand
        self._trained = 0  # the round that made the private master weights; 0: none

    @property
    def any(self) -> bool:
        """Whether there are some."""
        return self.shared != ALL

    def settle(self, shared: int, taken: int) -> bool:
        """Before weights of the tensors in ``shared`` are loaded: the others stand as after round ``taken``.

        False where this board does not know how that was.
        """
        if shared == ALL:
            return True
        if shared != self.shared:
            self._round, self._trained = NEVER, 0
        counted, self._trained = 0 < self._trained == taken, 0
        for number, tensor in enumerate(self._tensors):
            if not shared >> number & 1:
                tensor.load(self._start(number, taken, counted))
        if counted or taken == 0:
            self._round = taken
        return self._round == taken != NEVER

    def _start(self, number: int, taken: int, counted: bool) -> Int16:
        """The weights that a private tensor trains from."""
        if taken == 0:
            return initial(self._format, 1 << number)
        return self._tensors[number].pull() if counted else self._tensors[number].sent()

    def loaded(self, shared: int) -> None:
        """Weights of the tensors in ``shared`` have come."""
        self.shared = shared
        if shared == ALL:
            self._round, self._trained = NEVER, 0

    def trained(self, round: int) -> None:
        """All tensors were trained in a round."""
        self._trained = round if self.any else 0

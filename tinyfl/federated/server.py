"""The server's step: what the updates of a round make of the master weights. One ``State`` for each model it keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyfl.federated.codecs import trained_of
from tinyfl.federated.optimisers import Optimiser, State, advance
from tinyfl.federated.robust import Rule, combine
from tinyfl.federated.update import Update
from tinyfl.graph import HeadFormat
from tinyfl.reference.fixed import Int64
from tinyfl.reference.head import TwinHead
from tinyfl.wire.messages import Trained

SERVER = 0xFFFFFFFF  # its number in seeds, where a board has its index


@dataclass(frozen=True)
class Server:
    """How updates become one delta, and what it does to the weights. ``unit``, one for all or (P,): master units in
    1 / R."""

    optimiser: Optimiser
    rule: Rule
    unit: npt.NDArray[np.float64] | float

    def believed(self, replies: Sequence[Trained], tensor: int = 0) -> list[Trained]:
        """The boards that the fleet's shift of a tensor is made of: all; of a robust rule without the loudest that may
        be wrong.

        One board that shouts would round all others to nothing, whatever the rule does then.
        """
        quietest = sorted(replies, key=lambda reply: trained_of(reply, tensor)[0])
        return quietest[: len(quietest) - self.rule.wrong(len(quietest))] if self.rule.name != "mean" else quietest

    def step(
        self,
        state: State,
        updates: Sequence[Update],
        shifts: Sequence[int],
        slices: Sequence[slice],
        reference: Int64 | None = None,
    ) -> State:
        """The state after a round with these updates; itself where nobody had samples.

        Each tensor, one of the ``slices`` of the weights, is combined by itself and has a shift of its own.
        ``reference`` (P,), in master units: the server's own update. Raises QuorumError as ``combine`` does.
        """
        samples = np.array([update.samples for update in updates], np.int64)
        if not samples.any():
            return state
        if not self.optimiser.weighs_samples:
            samples = np.minimum(samples, 1)
        deltas, whole = np.stack([update.deltas for update in updates]), np.zeros(state.master.shape, np.int64)
        for part, shift in zip(slices, shifts, strict=True):
            own = None if reference is None else reference[part]
            whole[part] = combine(self.rule, deltas[:, part], samples, shift, own)
        return advance(self.optimiser, state, whole, self.unit)


@dataclass(frozen=True)
class Lab:
    """Samples of the server's own, for FLTrust: embeddings (n, N) with labels (n,)."""

    embeddings: npt.NDArray[np.int8]
    labels: tuple[int, ...]

    def learn(
        self,
        format: HeadFormat,
        weights: npt.NDArray[np.int16],
        stream: tuple[int, int],
        epochs: int,
        rate: tuple[int, int],
    ) -> Int64:
        """The delta (P,) in master units that a board with these samples would learn; ``stream``: seed and round."""
        head = TwinHead(format)
        head.load(weights)
        head.train(self.embeddings, self.labels, (*stream, SERVER), epochs, rate)
        return head.delta()

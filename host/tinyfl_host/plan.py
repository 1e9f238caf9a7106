"""What the rounds of one run have in common, and how it asks a board to train and to send its update."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tinyfl.errors import ConfigError
from tinyfl.federated.codecs import broadcast
from tinyfl.federated.server import Lab
from tinyfl.federated.update import check_offer, count_of
from tinyfl.graph import HeadFormat
from tinyfl.reference import adapter, head, tensors
from tinyfl.reference.codec import Codec
from tinyfl.reference.fixed import Int64, mix
from tinyfl.reference.tensors import HEAD, Adapting
from tinyfl.wire.messages import Delta, Offered, Trained, Welcome
from tinyfl_host.fleet import Board, Member
from tinyfl_host.settings import Settings

Int16 = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Plan:
    """What is trained, the settings, and the server's own samples where its rule needs some.

    A model without an adapter has one tensor, the head. With one the adapter is the second, and either may be private:
    it stays on its board, and the weights that the server has are those of the other.
    """

    format: HeadFormat
    settings: Settings
    lab: Lab | None = None

    @cached_property
    def rate(self) -> tuple[int, int]:
        """The head's learning rate as the boards take it: (factor, shift)."""
        return head.rate(self.settings.rate, self.format.r2, self.format.fw)

    @cached_property
    def local_rate(self) -> tuple[int, int]:
        """The same of boards that learn alone."""
        return head.rate(self.settings.local_rate, self.format.r2, self.format.fw)

    @property
    def shared(self) -> int:
        """Which tensors the server has, as a mask."""
        private = self.settings.personal.private
        return tensors.ALL & ~(1 << tensors.NAMES.index(private)) if self.private else tensors.ALL

    @property
    def private(self) -> bool:
        """Whether a tensor stays on its board."""
        return self.settings.personal.private != "none"

    @cached_property
    def tensors(self) -> tuple[int, ...]:
        """The shared ones, in the order in which they lie in the server's weights."""
        return tensors.numbers(self.format, self.shared)

    @cached_property
    def adapting(self) -> Adapting | None:
        """What goes with shared weights; None where there is no adapter."""
        return self._adapting(self.shared, self.settings.adapter_rate)

    @cached_property
    def local(self) -> Adapting | None:
        """The same of boards that learn alone: all tensors, and the adapter's rate in the same ratio to the head's."""
        return self._adapting(tensors.ALL, self.settings.adapter_rate * self.settings.local_rate / self.settings.rate)

    def _adapting(self, shared: int, rate: float) -> Adapting | None:
        return None if self.format.adapter is None else Adapting(shared, adapter.rate(rate, self.format))

    @cached_property
    def initial(self) -> Int16:
        """The shared weights as they were compiled, in wire order."""
        return tensors.initial(self.format, self.shared)

    @cached_property
    def whole(self) -> Int16:
        """The same of all weights."""
        return tensors.initial(self.format)

    @cached_property
    def learns(self) -> Mapping[int, head.Learns]:
        """Of each shared tensor, which weights learn, in wire order: those that a pruned head holds do not."""
        return {tensor: tensors.learns(self.format, 1 << tensor) for tensor in self.tensors}

    def codec(self, round: int, tensor: int = HEAD) -> Codec:
        """How the boards code the updates of a tensor in a round. Raises ConfigError where that does not fit it."""
        update, count = self.settings.update, 0
        if update.select != "all":
            count = count_of(update.share, update.count, int(self.learns[tensor].sum()))
        elif update.count != -1:
            raise ConfigError(f"count = {update.count}, but all weights are sent", 'set select = "top" or "random"')
        if round <= update.dense_rounds:
            level = "int4" if update.codec == "int4" else "int8"
            return Codec(level, entropy=update.entropy, feedback=update.feedback)
        return Codec(update.codec, update.select, update.entropy, count, update.feedback)

    @cached_property
    def pull(self) -> int:
        """FedProx's share of the way back, as the boards take it."""
        return head.pull(self.settings.rate, self.settings.prox.mu)

    def check_offer(self, welcome: Welcome, round: int, board: str) -> None:
        """Raises MismatchError where a board does not offer what a round asks for."""
        downlink, clusters = self.settings.update.downlink, self.settings.clusters.count > 1
        for tensor in self.tensors:
            codec = self.codec(round, tensor)
            check_offer(welcome, codec, downlink, board, proximal=self.pull > 0, clusters=clusters)

    def broadcast(self, master: Int64) -> Int16:
        """What the boards get of these master weights, in wire order."""
        return broadcast(master, self.settings.update.downlink)

    def offer(self, board: Board, round: int, cluster: int, weights: Int16, taken: int, seconds: float) -> Offered:
        """Asks how well a cluster's head fits; ``taken`` as in ``train``."""
        downlink, adapting = self.settings.update.downlink, self.adapting
        return board.offer(round, cluster, weights, taken=taken, downlink=downlink, adapting=adapting, deadline=seconds)

    def train(
        self, board: Board, member: Member, round: int, weights: Int16 | None, taken: int, seconds: float
    ) -> Trained:
        """Asks for a round's training, from ``weights``, or from the best of the heads that were offered.

        ``taken``: the last round that took this board's update.
        """
        update, order = self.settings.update, (self.settings.seed, member.index, self.settings.epochs)
        return board.train(
            *(round, *order, *self.rate, weights),
            taken=taken,
            feedback=update.feedback,
            pull=self.pull,
            downlink=update.downlink,
            adapting=self.adapting,
            deadline=seconds,
        )

    def collect(self, board: Board, member: Member, round: int, tensor: int, shift: int, seconds: float) -> Delta:
        """Asks for what a tensor learned, in units of 2^shift."""
        seed = mix(self.settings.seed, round, tensors.STREAMS[tensor], member.index)
        return board.collect(round, shift, seed, codec=self.codec(round, tensor), tensor=tensor, deadline=seconds)

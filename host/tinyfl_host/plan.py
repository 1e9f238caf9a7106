"""What the rounds of one run have in common, and how it asks a board to train and to send its update."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyfl.errors import ConfigError
from tinyfl.federated.codecs import broadcast
from tinyfl.federated.server import Lab
from tinyfl.federated.update import check_offer, count_of
from tinyfl.graph import HeadFormat
from tinyfl.reference import head
from tinyfl.reference.codec import Codec
from tinyfl.reference.fixed import Int64, mix
from tinyfl.wire.messages import Delta, Offered, Trained, Welcome
from tinyfl_host.fleet import Board, Member
from tinyfl_host.settings import Settings

COLLECT_STREAM = 0xFFFF  # the "epoch" of the deltas' rounding in mix()

Int16 = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Plan:
    """The head that is trained, the settings, and the server's own samples where its rule needs some."""

    format: HeadFormat
    settings: Settings
    lab: Lab | None = None

    @property
    def rate(self) -> tuple[int, int]:
        """The learning rate as the boards take it: (factor, shift)."""
        return head.rate(self.settings.rate, self.format.r2, self.format.fw)

    @property
    def local_rate(self) -> tuple[int, int]:
        """The same of boards that learn alone."""
        return head.rate(self.settings.local_rate, self.format.r2, self.format.fw)

    @property
    def initial(self) -> Int16:
        """The head as it was compiled, in wire order."""
        return head.to_wire(self.format.initial).astype(np.int16)

    @property
    def learns(self) -> head.Learns:
        """Which weights learn, in wire order: those that a pruned head holds do not."""
        return head.learning(self.format)

    def codec(self, round: int) -> Codec:
        """How the boards code their updates in a round. Raises ConfigError where the settings do not fit the head."""
        update, count = self.settings.update, 0
        if update.select != "all":
            count = count_of(update.share, update.count, int(self.learns.sum()))
        elif update.count != -1:
            raise ConfigError(f"count = {update.count}, but all weights are sent", 'set select = "top" or "random"')
        if round <= update.dense_rounds:
            level = "int4" if update.codec == "int4" else "int8"
            return Codec(level, entropy=update.entropy, feedback=update.feedback)
        return Codec(update.codec, update.select, update.entropy, count, update.feedback)

    @property
    def pull(self) -> int:
        """FedProx's share of the way back, as the boards take it."""
        return head.pull(self.settings.rate, self.settings.prox.mu)

    def check_offer(self, welcome: Welcome, round: int, board: str) -> None:
        """Raises MismatchError where a board does not offer what a round asks for."""
        downlink, clusters = self.settings.update.downlink, self.settings.clusters.count > 1
        check_offer(welcome, self.codec(round), downlink, board, proximal=self.pull > 0, clusters=clusters)

    def broadcast(self, master: Int64) -> Int16:
        """The head that the boards get of these master weights, in wire order."""
        return broadcast(master, self.settings.update.downlink)

    def offer(self, board: Board, round: int, cluster: int, weights: Int16, taken: int, seconds: float) -> Offered:
        """Asks how well a cluster's head fits; ``taken`` as in ``train``."""
        downlink = self.settings.update.downlink
        return board.offer(round, cluster, weights, taken=taken, downlink=downlink, deadline=seconds)

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
            deadline=seconds,
        )

    def collect(self, board: Board, member: Member, round: int, shift: int, seconds: float) -> Delta:
        """Asks for what it learned, in units of 2^shift."""
        seed = mix(self.settings.seed, round, COLLECT_STREAM, member.index)
        return board.collect(round, shift, seed, codec=self.codec(round), deadline=seconds)

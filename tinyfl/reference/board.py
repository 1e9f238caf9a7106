"""The numpy twin of a board: docs/DESIGN.md's Board without a link; ``firmware/core/node.c`` in Python."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from tinyfl.errors import BoardError, DataError
from tinyfl.graph import Graph, HeadFormat
from tinyfl.image import MAX_SAMPLES
from tinyfl.reference import embed, run
from tinyfl.reference.head import MAX_DELTA_SHIFT, MAX_WEIGHT, RATE_SHIFTS, TwinHead, round_delta
from tinyfl.wire.messages import PROTOCOL, SCHEMA, STATUS_TEXT, Delta, Evaluated, Status, Trained, Welcome

Int8 = npt.NDArray[np.int8]
Int16 = npt.NDArray[np.int16]


class TwinBoard:
    """A board that holds the int8 samples (n, *input shape) of both splits with their labels (n,).

    ``digest`` is the first 16 bytes of the model's hash. Each call takes a ``deadline`` as a Node does, and ignores it.
    Raises DataError for labels that the head does not have, BoardError where the firmware would reply ERROR.
    """

    def __init__(
        self,
        graph: Graph,
        head: HeadFormat,
        x_train: Int8,
        y_train: npt.ArrayLike,
        x_test: Int8,
        y_test: npt.ArrayLike,
        name: str = "twin",
        digest: bytes = bytes(16),
    ) -> None:
        self._graph, self._head, self._name, self._digest = graph, TwinHead(head), name, digest
        self._labels = tuple(_labels(head, x, y) for x, y in ((x_train, y_train), (x_test, y_test)))
        self._embeddings = (embed(graph, x_train), embed(graph, x_test))
        self._round, self._trained, self._embedded = 0, False, False

    def hello(self, deadline: float | None = None) -> Welcome:
        """Who the board is."""
        sizes = [self._graph.tensor(i).size for i in (self._graph.input, self._graph.output)]
        train, test = (len(labels) for labels in self._labels)
        format = self._head.format
        return Welcome(
            protocol=PROTOCOL,
            schema=SCHEMA,
            boot=0,
            device=hashlib.sha256(self._name.encode()).digest()[:8],
            model=self._digest,
            name=self._name,
            features=0,
            chunk=0,
            window=0,
            tick_numerator=0,
            tick_denominator=0,
            head_features=format.features,
            head_classes=format.classes,
            input_bytes=sizes[0],
            output_bytes=sizes[1],
            body_bytes=0,
            cache=train + test,
            train_samples=train,
            test_samples=test,
            round=0,
            head_digest=0,
            nonce=bytes(16),
            proof=bytes(16),
        )

    def load(self, round: int, weights: Int16, *, keep: bool = False, deadline: float | None = None) -> None:
        """Takes a head (P,) in wire order; without a store there is nothing to ``keep`` it in."""
        self._check_weights(weights)
        self._head.load(weights)
        self._round, self._trained = round, False

    def train(
        self,
        round: int,
        seed: int,
        board: int,
        epochs: int,
        rate: int,
        shift: int,
        weights: Int16 | None = None,
        *,
        deadline: float | None = None,
    ) -> Trained:
        """Trains the master weights on the training split, from ``weights`` if they are given."""
        if epochs < 1 or not 1 << 14 <= rate <= 1 << 15 or not RATE_SHIFTS[0] <= shift <= RATE_SHIFTS[1]:
            raise _refusal(Status.ERROR_ARGUMENT)
        if weights is not None and weights.size:
            self._check_weights(weights)
            self._head.load(weights)
        labels = self._labels[0]
        loss = self._head.train(self._embeddings[0], labels, (seed, round, board), epochs, (rate, shift))
        self._round, self._trained = round, True
        embeddings, self._embedded = 0 if self._embedded else len(labels), True
        return Trained(
            samples=len(labels),
            max_delta=self._head.max_delta(),
            loss=loss,
            embeddings=embeddings,
            embed_ticks=0,
            steps=epochs * len(labels),
            step_ticks=0,
        )

    def collect(self, round: int, shift: int, seed: int, *, deadline: float | None = None) -> Delta:
        """The trained head's delta in units of 2^shift."""
        if not 0 <= shift <= MAX_DELTA_SHIFT or seed == 0:
            raise _refusal(Status.ERROR_ARGUMENT)
        if not self._trained or round != self._round:
            raise _refusal(Status.ERROR_STATE)
        return Delta(round, len(self._labels[0]), round_delta(self._head.delta(), shift, seed))

    def evaluate(self, split: int, source: int, *, deadline: float | None = None) -> Evaluated:
        """Right answers on a split (0 train, 1 test) of the broadcast (source 0) or the trained head (1)."""
        if split not in (0, 1) or source not in (0, 1):
            raise _refusal(Status.ERROR_ARGUMENT)
        right, loss = self._head.evaluate(self._embeddings[split], self._labels[split], source == 1)
        return Evaluated(len(self._labels[split]), right, loss)

    def pull(self, *, deadline: float | None = None) -> npt.NDArray[np.int16]:
        """The trained head (P,), rounded as the server would, in wire order."""
        return self._head.pull()

    def infer(self, x: Int8, *, deadline: float | None = None) -> tuple[int, Int8]:
        """(0: nothing is counted, the model's output) of one input of any shape with the right number of bytes."""
        if x.size != self._graph.tensor(self._graph.input).size:
            raise _refusal(Status.ERROR_LENGTH)
        return 0, run(self._graph, x.reshape(1, *self._graph.tensor(self._graph.input).shape[1:])).ravel()

    def close(self) -> None:
        """Nothing to let go."""

    def _check_weights(self, weights: Int16) -> None:
        format = self._head.format
        if weights.shape != ((format.features + 1) * format.classes,):
            raise _refusal(Status.ERROR_LENGTH)
        if np.any(np.abs(weights.astype(np.int64)) > MAX_WEIGHT):
            raise _refusal(Status.ERROR_ARGUMENT)


def _labels(head: HeadFormat, x: Int8, y: npt.ArrayLike) -> list[int]:
    labels = np.asarray(y, np.int64)
    if labels.shape != (len(x),) or len(x) > MAX_SAMPLES:
        raise DataError(f"{len(x)} samples with labels {labels.shape}, expected one each and at most {MAX_SAMPLES}")
    if len(labels) and not (labels.min() >= 0 and labels.max() < head.classes):
        raise DataError(f"labels {labels.min()}..{labels.max()}, the head has {head.classes} classes")
    return [int(label) for label in labels]


def _refusal(status: Status) -> BoardError:
    return BoardError(f"{status.name}: {STATUS_TEXT[status]}", status=status)

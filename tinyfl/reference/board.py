"""The numpy twin of a board: docs/DESIGN.md's Board without a link; ``firmware/core/node.c`` in Python."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from tinyfl.errors import BoardError, DataError
from tinyfl.graph import Graph, HeadFormat
from tinyfl.image import MAX_SAMPLES
from tinyfl.reference import adapter as adapters
from tinyfl.reference import codec as coding
from tinyfl.reference import embed, run, tensors
from tinyfl.reference.adapter import TwinAdapter
from tinyfl.reference.codec import DENSE, Codec
from tinyfl.reference.fixed import Int64
from tinyfl.reference.head import MAX_WEIGHT, RATE_SHIFTS, TwinHead, spread
from tinyfl.reference.private import Private
from tinyfl.reference.tensors import ALL, HEAD, Adapting
from tinyfl.wire.messages import (
    PROTOCOL,
    SCHEMA,
    STATUS_TEXT,
    Delta,
    Evaluated,
    Feature,
    Offered,
    Status,
    Trained,
    Welcome,
)

Int8 = npt.NDArray[np.int8]
Int16 = npt.NDArray[np.int16]


class TwinBoard:
    """A board that holds the int8 samples (n, *input shape) of both splits with their labels (n,).

    ``digest`` is the first 16 bytes of the model's hash. Each call takes a ``deadline`` as a Node does, and ignores it.
    Weights are those of the tensors in ``adapting.shared``, in wire order; None: the model has no adapter.
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
        self._adapter = None if head.adapter is None else TwinAdapter(head)
        self._private = Private(head, self._tensors)
        self._labels = tuple(_labels(head, x, y) for x, y in ((x_train, y_train), (x_test, y_test)))
        self._embeddings = (embed(graph, x_train), embed(graph, x_test))
        self._round, self._trained, self._embedded = 0, False, False
        self._feedback, self._seed = False, 1
        self._best: tuple[int, int, list[Int64]] | None = None  # loss, cluster, master weights of what was offered
        self._cluster = 0  # of the offered head that was trained; 0 of any other
        self._residual: Int64 = np.zeros(head.initial.size, np.int64)
        self._residual_round = 0  # the residual is the one after this round; 0: zeros
        self._pending: tuple[int, Int64] | None = None  # the round of the last update, and what it left of v

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
            features=int(self._features),
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

    @property
    def _features(self) -> Feature:
        """With an adapter there is no error feedback."""
        every = Feature.CODECS | Feature.PROXIMAL | Feature.CLUSTERS
        return every if self._adapter else every | Feature.FEEDBACK

    def load(
        self,
        round: int,
        weights: Int16,
        *,
        keep: bool = False,
        taken: int = 0,
        downlink: str = "int16",
        adapting: Adapting | None = None,
        deadline: float | None = None,
    ) -> None:
        """Takes weights to measure; without a store there is nothing to ``keep`` them in."""
        shared = self._shared(adapting)
        self._settle(taken)
        self._load(weights, shared, taken)
        self._round, self._trained = round, False

    def offer(
        self,
        round: int,
        cluster: int,
        weights: Int16,
        *,
        taken: int = 0,
        downlink: str = "int16",
        adapting: Adapting | None = None,
        deadline: float | None = None,
    ) -> Offered:
        """Measures a cluster's weights on the training split; ``train`` without weights starts from the best ones."""
        shared = self._shared(adapting)
        if shared != ALL:
            raise _refusal(Status.ERROR_ARGUMENT)
        self._settle(taken)
        best = self._best if round == self._round else None
        self._load(weights, shared, taken)
        _, loss = self._measure(0, False)
        if best is None or loss < best[0]:
            best = loss, cluster, [tensor.master for tensor in self._tensors]
        self._best = best
        for tensor, master in zip(self._tensors, best[2], strict=True):
            tensor.master = master
        self._round, self._trained = round, False
        return Offered(len(self._labels[0]), loss)

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
        taken: int = 0,
        feedback: bool = False,
        pull: int = 0,
        downlink: str = "int16",
        adapting: Adapting | None = None,
        deadline: float | None = None,
    ) -> Trained:
        """Trains the master weights on the training split, from ``weights`` if they are given.

        ``taken``: the last round in which this board's update counted. ``feedback``: with the residual after it.
        ``pull``: of FedProx (``reference.head.pull``).
        """
        shared = self._shared(adapting)
        if epochs < 1 or not 1 << 14 <= rate <= 1 << 15 or not RATE_SHIFTS[0] <= shift <= RATE_SHIFTS[1]:
            raise _refusal(Status.ERROR_ARGUMENT)
        if not 0 <= pull < 1 << 16 or (feedback and round == 0):
            raise _refusal(Status.ERROR_ARGUMENT)
        if adapting and (feedback or pull or not _legal(adapting.rate)):
            raise _refusal(Status.ERROR_ARGUMENT)
        self._settle(taken)
        if feedback:
            self._recall(taken)
        if weights is not None and weights.size:
            self._load(weights, shared, taken)
        elif self._best is not None:
            self._cluster = self._best[1]
            for tensor in self._tensors:
                tensor.choose()
        self._best, labels, stream = None, self._labels[0], (seed, round, board)
        if self._adapter and adapting:
            given = self._head, self._embeddings[0], labels, stream
            loss = self._adapter.train(*given, epochs, (rate, shift), adapting.rate)
        else:
            loss = self._head.train(self._embeddings[0], labels, stream, epochs, (rate, shift), pull)
        self._private.trained(round)
        self._round, self._trained = round, True
        self._feedback, self._seed = feedback, seed
        embeddings, self._embedded = 0 if self._embedded else len(labels), True
        (most, mean), *more = [self._magnitudes(number) for number in range(len(self._tensors))]
        return Trained(
            samples=len(labels),
            max_delta=most,
            mean_delta=mean,
            loss=loss,
            first_loss=self._head.first_loss,
            embeddings=embeddings,
            embed_ticks=0,
            steps=epochs * len(labels),
            step_ticks=0,
            cluster=self._cluster,
            more=np.array(more, "<u4").ravel().view(np.uint8),
        )

    def collect(
        self,
        round: int,
        shift: int,
        seed: int,
        *,
        codec: Codec = DENSE,
        tensor: int = HEAD,
        deadline: float | None = None,
    ) -> Delta:
        """The update of a tensor in units of 2^shift; ``codec.feedback`` is what TRAIN said."""
        if tensor not in range(len(self._tensors)):
            raise _refusal(Status.ERROR_ARGUMENT)
        learns = tensors.learns(self._head.format, 1 << tensor)
        known = coding.from_code(codec.code, codec.count, int(learns.sum()), self._feedback)
        if known is None or not 0 <= shift <= coding.MAX_SHIFTS[known.level] or seed == 0:
            raise _refusal(Status.ERROR_ARGUMENT)
        if not self._trained or round != self._round or not self._private.shared >> tensor & 1:
            raise _refusal(Status.ERROR_STATE)
        sent = coding.encode(known, self._values(tensor), shift, seed, coding.stream(self._seed, round, tensor))
        if self._feedback:
            self._pending = round, spread(sent.rest, learns)
        return Delta(round, len(self._labels[0]), sent.payload)

    @property
    def residual(self) -> Int64:
        """What the updates that counted left out (P,), in master units."""
        return self._residual.copy()

    def delta(self, tensor: int = HEAD) -> Int64:
        """What a tensor learned since the last broadcast, in master units."""
        return self._tensors[tensor].delta()

    @property
    def _tensors(self) -> tuple[TwinHead | TwinAdapter, ...]:
        """By their numbers."""
        return (self._head,) if self._adapter is None else (self._head, self._adapter)

    def _values(self, tensor: int) -> Int64:
        """v of the weights of a tensor that learn."""
        delta = self.delta(tensor)
        v = coding.values(delta, self._residual) if self._feedback else delta
        return v[tensors.learns(self._head.format, 1 << tensor)]

    def _magnitudes(self, tensor: int) -> tuple[int, int]:
        """max and mean of |v|; nothing of a private tensor."""
        if not self._private.shared >> tensor & 1:
            return 0, 0
        v = self._values(tensor)
        return int(np.abs(v).max()), coding.mean_magnitude(v)

    def _settle(self, taken: int) -> None:
        """The residual moves on if the last update is the one that the server took; else it is forgotten."""
        if self._pending is not None and self._pending[0] == taken:
            self._residual_round, self._residual = self._pending
        self._pending = None

    def _recall(self, taken: int) -> None:
        if taken == 0:
            self._residual, self._residual_round = np.zeros_like(self._residual), 0
        if taken != self._residual_round:
            raise _refusal(Status.ERROR_RESIDUAL)

    def evaluate(self, split: int, source: int, *, deadline: float | None = None) -> Evaluated:
        """Right answers on a split (0 train, 1 test) of the broadcast (source 0) or the trained head (1)."""
        if split not in (0, 1) or source not in (0, 1):
            raise _refusal(Status.ERROR_ARGUMENT)
        return Evaluated(len(self._labels[split]), *self._measure(split, source == 1))

    def _measure(self, split: int, trained: bool) -> tuple[int, int]:
        """(right answers, mean of 1 - p[label] in Q15)."""
        seen = self._embeddings[split]
        if self._adapter is not None:
            seen = self._adapter.forward(seen, trained)
        return self._head.evaluate(seen, self._labels[split], trained)

    def pull(self, *, deadline: float | None = None) -> npt.NDArray[np.int16]:
        """The trained weights of all tensors (W,), rounded as the server would, in wire order."""
        if self._private.any:
            raise _refusal(Status.ERROR_STATE)
        return np.concatenate([tensor.pull() for tensor in self._tensors])

    def infer(self, x: Int8, *, deadline: float | None = None) -> tuple[int, Int8]:
        """(0: nothing is counted, the model's output) of one input of any shape with the right number of bytes."""
        if x.size != self._graph.tensor(self._graph.input).size:
            raise _refusal(Status.ERROR_LENGTH)
        return 0, run(self._graph, x.reshape(1, *self._graph.tensor(self._graph.input).shape[1:])).ravel()

    def close(self) -> None:
        """Nothing to let go."""

    def _shared(self, adapting: Adapting | None) -> int:
        """The mask of the tensors whose weights a message brings."""
        if (adapting is None) != (self._adapter is None):
            raise _refusal(Status.ERROR_LENGTH)
        if adapting is not None and not 1 <= adapting.shared <= ALL:
            raise _refusal(Status.ERROR_ARGUMENT)
        return ALL if adapting is None else adapting.shared

    def _load(self, weights: Int16, shared: int, taken: int) -> None:
        format = self._head.format
        if not self._private.settle(shared, taken):
            raise _refusal(Status.ERROR_RESIDUAL)
        if weights.shape != (tensors.count(format, shared),):
            raise _refusal(Status.ERROR_LENGTH)
        if np.any(np.abs(weights.astype(np.int64)) > MAX_WEIGHT):
            raise _refusal(Status.ERROR_ARGUMENT)
        for number, part in zip(tensors.numbers(format, shared), tensors.slices(format, shared), strict=True):
            self._tensors[number].load(weights[part])
        self._private.loaded(shared)
        self._best, self._cluster = None, 0


def _legal(rate: tuple[int, int]) -> bool:
    """Whether an adapter's rate is one."""
    factor, shift = rate
    return 1 << 14 <= factor <= 1 << 15 and adapters.RATE_SHIFTS[0] <= shift <= adapters.RATE_SHIFTS[1]


def _labels(head: HeadFormat, x: Int8, y: npt.ArrayLike) -> list[int]:
    labels = np.asarray(y, np.int64)
    if labels.shape != (len(x),) or len(x) > MAX_SAMPLES:
        raise DataError(f"{len(x)} samples with labels {labels.shape}, expected one each and at most {MAX_SAMPLES}")
    if len(labels) and not (labels.min() >= 0 and labels.max() < head.classes):
        raise DataError(f"labels {labels.min()}..{labels.max()}, the head has {head.classes} classes")
    return [int(label) for label in labels]


def _refusal(status: Status) -> BoardError:
    return BoardError(f"{status.name}: {STATUS_TEXT[status]}", status=status)

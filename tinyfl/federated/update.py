"""One board's update of a round, and what the server checks before it believes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyfl.errors import BoardError, ConfigError, MismatchError
from tinyfl.federated.codecs import decode, trained_of
from tinyfl.image import MAX_SAMPLES
from tinyfl.reference.codec import Codec
from tinyfl.reference.fixed import Int64
from tinyfl.reference.head import Learns, spread
from tinyfl.wire.messages import Delta, Feature, Trained, Welcome

MAX_DELTA = 2**31  # |master| <= 2^30, and so is the broadcast weight * 2^16; with a residual |v| saturates below it
MORE_BYTES = 8  # of TRAINED for each tensor behind the first


@dataclass(frozen=True)
class Update:
    """Deltas of what is shared, in wire order, each tensor's in units of its 2^shift master LSB; how many samples they
    were learned from; what was sent."""

    samples: int
    deltas: Int64
    payload: npt.NDArray[np.uint8]


def read_update(codec: Codec, delta: Delta, learns: Learns, samples: int, random: int) -> Update:
    """A tensor's update in a DELTA; BoardError where no board that trained on ``samples`` could have sent it.

    ``learns``: which weights of the tensor do (P,); the deltas of the others are zero.
    ``random``: where the round's random selection starts (``reference.codec.stream``).
    """
    if delta.samples != samples:
        raise BoardError(f"sent deltas of {delta.samples} samples after training on {samples}")
    deltas = decode(codec, delta.deltas, int(learns.sum()), random)
    return Update(delta.samples, spread(deltas, learns), delta.deltas)


def joined(updates: Sequence[Update]) -> Update:
    """A board's update of several tensors as one."""
    if len(updates) == 1:
        return updates[0]
    deltas, payloads = zip(*((update.deltas, update.payload) for update in updates), strict=True)
    return Update(updates[0].samples, np.concatenate(deltas), np.concatenate(payloads))


def check_trained(reply: Trained, tensors: int = 1) -> Trained:
    """The reply itself; BoardError where no board can be right: it would spoil the whole fleet's shift or weights.

    ``tensors``: how many the model has.
    """
    if len(reply.more) != MORE_BYTES * (tensors - 1):
        raise BoardError(f"reported {len(reply.more)} bytes of further tensors, expected {MORE_BYTES * (tensors - 1)}")
    for tensor in range(tensors):
        most, mean = trained_of(reply, tensor)
        if most > MAX_DELTA:
            raise BoardError(f"reported a delta of {most}, at most {MAX_DELTA} is possible")
        if mean > most:
            raise BoardError(f"reported a mean delta of {mean}, above its largest, {most}")
    if reply.samples > MAX_SAMPLES:
        raise BoardError(f"reported {reply.samples} samples, at most {MAX_SAMPLES} are believed")
    return reply


def count_of(share: float, count: int, weights: int) -> int:
    """How many of the ``weights`` weights that learn are sent: ``count``, or ceil(``share`` of them) where that is -1.

    Raises ConfigError where that is none of them, or more than there are.
    """
    if count == -1:
        return -int(-share * weights // 1)
    if not 1 <= count <= weights:
        raise ConfigError(
            f"count = {count}: the head has {weights} weights that learn", f"give 1 to {weights}, or a share"
        )
    return count


def check_offer(
    welcome: Welcome, codec: Codec, downlink: str, board: str, *, proximal: bool = False, clusters: bool = False
) -> None:
    """Raises MismatchError where the board does not offer what the recipe asks of it."""
    features, asked = Feature(welcome.features), codec.code != 0 or downlink != "int16"
    if asked and Feature.CODECS not in features:
        what = f"codec {codec.level}, select {codec.selection}, downlink {downlink}"
        raise MismatchError(f"{board}: the board only knows int8 of all weights, not {what}", 'use codec = "int8"')
    if codec.feedback and Feature.FEEDBACK not in features:
        raise MismatchError(
            f"{board}: the board has no memory for error feedback",
            "build its firmware with TFL_FEEDBACK=1, or set feedback = false",
        )
    for wanted, feature, what, remedy in (
        (proximal, Feature.PROXIMAL, "FedProx", "set mu = 0"),
        (clusters, Feature.CLUSTERS, "clusters", "set [clusters] count = 1"),
    ):
        if wanted and feature not in features:
            raise MismatchError(f"{board}: the board does not know {what}", f"build its firmware anew, or {remedy}")

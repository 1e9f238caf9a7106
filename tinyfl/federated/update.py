"""One board's update of a round, and what the server checks before it believes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyfl.errors import BoardError
from tinyfl.wire.messages import Trained

MAX_DELTA = 2**31  # |master| <= 2^30, and so is the broadcast weight * 2^16
MAX_SAMPLES = 2**24  # more fit no microcontroller, and int64 sums stay exact


@dataclass(frozen=True)
class Update:
    """int8 deltas in wire order, in units of 2^shift master LSB, and the samples that they were learned from."""

    samples: int
    deltas: npt.NDArray[np.int8]


def check_update(update: Update, weights: int, samples: int) -> Update:
    """The update itself; BoardError where it is not what a board that trained on ``samples`` could have sent."""
    if len(update.deltas) != weights:
        raise BoardError(f"sent {len(update.deltas)} deltas, the head has {weights} weights")
    if update.samples != samples:
        raise BoardError(f"sent deltas of {update.samples} samples after training on {samples}")
    if len(update.deltas) and int(update.deltas.min()) < -127:
        raise BoardError("sent a delta of -128, the range is -127..127")
    return update


def check_trained(reply: Trained) -> Trained:
    """The reply itself; BoardError where no board can be right: it would spoil the whole fleet's shift or weights."""
    if reply.max_delta > MAX_DELTA:
        raise BoardError(f"reported a delta of {reply.max_delta}, at most {MAX_DELTA} is possible")
    if reply.samples > MAX_SAMPLES:
        raise BoardError(f"reported {reply.samples} samples, at most {MAX_SAMPLES} are believed")
    return reply

"""The twin of ``firmware/core/ops``: each module's ``run(graph, layer, *inputs)`` maps int8 batches (n, *shape)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tinyfl.reference.ops import (
    add,
    average_pool,
    conv2d,
    dense,
    depthwise_conv2d,
    max_pool,
    mean,
    pad,
    quantize,
    reshape,
    softmax,
)

Int8 = npt.NDArray[np.int8]

RUN: dict[str, Callable[..., Int8]] = {
    "conv2d": conv2d.run,
    "depthwise_conv2d": depthwise_conv2d.run,
    "dense": dense.run,
    "average_pool": average_pool.run,
    "max_pool": max_pool.run,
    "mean": mean.run,
    "add": add.run,
    "reshape": reshape.run,
    "softmax": softmax.run,
    "pad": pad.run,
    "quantize": quantize.run,
}

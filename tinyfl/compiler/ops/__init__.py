"""The table of operators: a new one is a module here, in ``reference/ops`` and in ``firmware/core/ops``, and a row."""

from __future__ import annotations

from tinyfl.compiler.ops import (
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
from tinyfl.compiler.ops.operator import Operator

OPERATORS: dict[str, Operator] = {
    "conv2d": conv2d,
    "depthwise_conv2d": depthwise_conv2d,
    "dense": dense,
    "average_pool": average_pool,
    "max_pool": max_pool,
    "mean": mean,
    "add": add,
    "reshape": reshape,
    "softmax": softmax,
    "pad": pad,
    "quantize": quantize,
}

# Keras writes a Conv1D as a CONV_2D between these: only the shape changes.
RESHAPES = ("EXPAND_DIMS", "SQUEEZE")

BY_BUILTIN: dict[str, str] = {
    **{operator.BUILTIN: name for name, operator in OPERATORS.items()},
    **dict.fromkeys(RESHAPES, "reshape"),
}

"""Pruned layers: when their zeros are left out of the flash, and how the rest is packed (docs/OPERATORS.md).

Weights come in groups of eight: a byte that tells which are not zero, the first one in bit 7, and then these. A
convolution has the groups of each output channel, a dense layer for eight outputs at a time a group for each input and
an empty one behind the last.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinyfl.compiler.ops.operator import FULL, HALF, LEAST
from tinyfl.compiler.ops.weighted import filters, padded_rows
from tinyfl.graph import Graph, Layer

Rows = npt.NDArray[np.int8]

GROUP = 8
BOUND = 2**22  # of a sum: firmware/core/ops/sparse_v7m.h has two of them in 64 bits
LARGE = 20_000  # bytes saved by a model's dense layers
PIXELS = 8  # at a time, where the CPU can
LANES = {FULL: 4, HALF: 4, LEAST: 2}  # words of scratch for each weight of a filter

# The most that the stream may take of the dense weights, and the most instructions of a Cortex-M4 against dense ones.
LIMITS = {"speed": (0.9, 0.7), "balanced": (0.7, 1.4), "size": (0.9, 2.0)}


def pack(groups: Rows) -> Rows:
    """The stream of groups (n, 8)."""
    kept = groups != 0
    masks = np.packbits(kept, axis=1).view(np.int8)
    stream: Rows = np.hstack([masks, groups])[np.hstack([np.ones_like(masks, bool), kept])]
    return stream


def conv2d_stream(rows: Rows) -> Rows:
    """Weights (channels, window), channel by channel."""
    return pack(padded_rows(rows, GROUP).reshape(-1, GROUP))


def dense_stream(rows: Rows) -> Rows:
    """Weights (outputs, inputs), eight outputs at a time."""
    outputs, inputs = rows.shape
    columns = np.zeros((-(-outputs // GROUP), inputs + 1, GROUP), np.int8)
    for first in range(0, outputs, GROUP):
        block = rows[first : first + GROUP]
        columns[first // GROUP, :inputs, : len(block)] = block.T
    return pack(columns.reshape(-1, GROUP))


def chosen(graph: Graph, layer: Layer) -> bool:
    """Whether a CONV_2D or FULLY_CONNECTED is kept sparse.

    Both forms are counted as they lie in flash; instructions by estimates of a Cortex-M4's inner loops.
    """
    rows = filters(graph, layer, axis=0)
    bytes_limit, work_limit = LIMITS[graph.goal]
    if stream_bytes(layer.op, rows) > bytes_limit * padded_rows(rows).size:
        return False
    pixels = _pixels(graph, layer)
    if layer.op == "conv2d" and pixels == 1:
        return False
    work = _dense_work(rows) if layer.op == "dense" else _conv2d_work(rows, pixels)
    return work <= work_limit and 128 * int(np.abs(rows.astype(np.int64)).sum(axis=1).max()) < BOUND


def stream_bytes(op: str, rows: Rows) -> int:
    """How long the stream of a layer's weights is."""
    outputs, weights = rows.shape
    groups = -(-outputs // GROUP) * (weights + 1) if op == "dense" else outputs * -(-weights // GROUP)
    return groups + int(np.count_nonzero(rows))


def dense_kernel(graph: Graph) -> str:
    """One with 9 KB more of code where the model's dense layers save far more than that."""
    rows = [filters(graph, layer, axis=0) for layer in graph.layers if layer.op == "dense" and chosen(graph, layer)]
    saved = sum(padded_rows(weights).size - stream_bytes("dense", weights) for weights in rows)
    return "tfl_sparse_dense_large" if graph.goal != "size" and saved >= LARGE else "tfl_sparse_dense"


def reason(graph: Graph, layer: Layer) -> str:
    """Why a layer is kept sparse."""
    rows = filters(graph, layer, axis=0)
    zeros = 1 - np.count_nonzero(rows) / rows.size
    return f"{zeros:.0%} of the weights are zero, {stream_bytes(layer.op, rows)} bytes for {padded_rows(rows).size}"


def _pixels(graph: Graph, layer: Layer) -> int:
    return int(np.prod(graph.tensor(layer.outputs[0]).shape[1:-1]))


def _conv2d_work(rows: Rows, pixels: int) -> float:
    """Per turn and weight 2.3 instructions, and 7 more where it is not zero; dense 0.85 for each pixel."""
    turns, fours = -(-pixels // PIXELS), -(-pixels // 4)
    return turns * (2.3 * rows.size + 7.0 * np.count_nonzero(rows)) / (fours * 4 * 0.85 * rows.size)


def _dense_work(rows: Rows) -> float:
    """4.5 for each group and two for each weight that is not zero; dense 1.05 for any."""
    return float((4.5 * -(-len(rows) // GROUP) * rows.shape[1] + 2.0 * np.count_nonzero(rows)) / (1.05 * rows.size))

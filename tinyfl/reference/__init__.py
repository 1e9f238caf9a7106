"""The bit-exact numpy twin of the firmware: int8 batches (n, *shape) through a ``Graph``."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinyfl.errors import DataError
from tinyfl.graph import Graph
from tinyfl.reference.ops import RUN

Int8 = npt.NDArray[np.int8]

BATCH = 64  # samples at a time: bounds the memory of a large data set


def run_layers(graph: Graph, x: Int8, layers: int | None = None) -> dict[int, Int8]:
    """All activations by tensor index after the first ``layers`` layers (default: all); x (n, *input shape) int8."""
    values = {graph.input: _checked(graph, x)}
    for layer in graph.layers[:layers]:
        operands = [values[index] for index in layer.inputs if index in values]
        values[layer.outputs[0]] = RUN[layer.op](graph, layer, *operands)
    return values


def run(graph: Graph, x: Int8, layers: int | None = None) -> Int8:
    """The output (n, *shape) of the whole model, or of its first ``layers`` layers; x (n, *input shape) int8."""
    x = _checked(graph, x)
    result = graph.layers[layers - 1].outputs[0] if layers else graph.output if layers is None else graph.input
    shape = graph.tensor(result).shape[1:]
    parts = [run_layers(graph, x[i : i + BATCH], layers)[result] for i in range(0, len(x), BATCH)]
    return np.concatenate(parts) if parts else np.empty((0, *shape), np.int8)


def embed(graph: Graph, x: Int8) -> Int8:
    """Embeddings (n, features): what the head reads. Raises ModelError where the model has no head."""
    from tinyfl.compiler.split import split

    backbone = split(graph)
    head = graph.layers[backbone]
    values = [run_layers(graph, x[i : i + BATCH], backbone)[head.inputs[0]] for i in range(0, len(x), BATCH)]
    features = graph.tensor(head.inputs[0]).size
    return np.concatenate(values).reshape(-1, features) if values else np.empty((0, features), np.int8)


def quantize_input(graph: Graph, x: npt.ArrayLike) -> Int8:
    """Real inputs (n, *input shape) as int8: x / scale, rounded half away from zero, plus the zero point, clipped."""
    quantization = graph.tensor(graph.input).quantization
    assert quantization is not None
    ratio = np.asarray(x, np.float64) / quantization.scale
    if not np.all(np.isfinite(ratio)):
        raise DataError("samples hold values that are no finite numbers")
    rounded = np.copysign(np.floor(np.abs(ratio) + 0.5), ratio)
    return np.clip(rounded + quantization.zero_point, -128, 127).astype(np.int8)


def dequantize(graph: Graph, y: Int8) -> npt.NDArray[np.float64]:
    """Real values of the model's int8 output."""
    quantization = graph.tensor(graph.output).quantization
    assert quantization is not None
    return quantization.scale * (y.astype(np.float64) - quantization.zero_point)


def _checked(graph: Graph, x: Int8) -> Int8:
    shape = graph.tensor(graph.input).shape[1:]
    if x.dtype != np.int8 or x.shape[1:] != shape:
        raise DataError(f"input is {x.dtype} {x.shape}, expected int8 (n, {', '.join(map(str, shape))})")
    return x

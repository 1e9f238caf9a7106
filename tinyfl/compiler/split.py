"""Where the frozen backbone ends, and the constants of the trainable head behind it (docs/DESIGN.md)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tinyfl.errors import ModelError
from tinyfl.graph import Graph, HeadFormat, Layer
from tinyfl.reference.scaling import quantization

MAX_FEATURES = 256  # proved range of the head's arithmetic
MAX_CLASSES = 256  # labels are one byte
MAX_WEIGHT = 16383
KEEPS_SIGN = ("average_pool", "max_pool", "mean", "pad", "quantize", "reshape")  # of values that are not negative
PRUNED = 0.25  # of a head's weights are zero: from here on it is taken for a pruned one


def split(graph: Graph) -> int:
    """How many layers the backbone has: all before the last dense layer. ModelError says why there is no head."""
    ops = [layer.op for layer in graph.layers]
    at = len(ops) - (2 if ops[-1:] == ["softmax"] else 1)
    if at < 0 or ops[at] != "dense":
        raise ModelError(f"the model ends in {ops[-1] if ops else 'nothing'}, a head is a dense layer (and a softmax)")
    layer = graph.layers[at]
    if layer.options["activation"] != "none":
        raise ModelError(f"the last dense layer has a fused {layer.options['activation']}, a head has none")
    classes, features = graph.tensor(layer.inputs[1]).shape
    if features > MAX_FEATURES or classes > MAX_CLASSES or classes < 2:
        raise ModelError(
            f"a head of {features} features and {classes} classes, expected at most {MAX_FEATURES} and 2..{MAX_CLASSES}"
        )
    return at


def fold_head(graph: Graph, layer: Layer, embeddings: npt.NDArray[np.int8]) -> HeadFormat:
    """The head's constants from calibration embeddings (n, features); raises ModelError where they do not fit."""
    x = quantization(graph.tensor(layer.inputs[0]))
    classes, features = graph.tensor(layer.inputs[1]).shape
    centred = embeddings.reshape(-1, features).astype(np.int64) - x.zero_point
    squares = float((centred**2).sum()) / len(centred)  # E[sum x_i^2]
    bias_value = _bias_value(squares / features)
    r2 = squares + bias_value**2
    fw = 9 + math.floor(math.log2(math.sqrt(r2)))
    if not 5 <= fw <= 20:
        raise ModelError(f"embeddings of norm {math.sqrt(r2):.3g} need {fw} fraction bits, outside 5..20")
    offset = np.full(features, x.zero_point, np.int8)
    initial = initial_weights(graph, layer, bias_value, fw)
    return HeadFormat(features, classes, offset, bias_value, r2, fw, initial, held_weights(graph, layer))


def rectified(graph: Graph, tensor: int) -> bool:
    """Whether no value of a tensor can lie below its zero point: it comes from a ReLU, or int8 has nothing below."""
    made = {output: layer for layer in graph.layers for output in layer.outputs}
    while quantization(graph.tensor(tensor)).zero_point > -128:
        layer = made.get(tensor)
        if layer is None:
            return False
        if layer.options.get("activation", "none") != "none":
            return True
        if layer.op not in KEEPS_SIGN:
            return False
        tensor = layer.inputs[0]
    return True


def held_weights(graph: Graph, layer: Layer) -> npt.NDArray[np.bool_] | None:
    """The zeros (N + 1, C) of a pruned head, which stay zero; None for any other. The bias always learns."""
    data = graph.tensor(layer.inputs[1]).data
    assert data is not None
    zeros = data.T == 0
    return np.vstack([zeros, np.zeros((1, zeros.shape[1]), bool)]) if zeros.mean() >= PRUNED else None


def _bias_value(mean_square: float) -> int:
    """The power of two under the features' root mean square, 1..128."""
    if mean_square < 1.0:
        return 1
    return int(min(128, 2 ** math.floor(math.log2(math.sqrt(mean_square)))))


def initial_weights(graph: Graph, layer: Layer, bias_value: int, fw: int) -> npt.NDArray[np.int16]:
    """The compiled weights in units of 2^-fw, the features' scale folded in."""
    scale = quantization(graph.tensor(layer.inputs[0])).scale
    weights = graph.tensor(layer.inputs[1])
    assert weights.data is not None
    w_scale = np.array(quantization(weights).scales)  # (1,) or (classes,)
    bias = graph.tensor(layer.inputs[2]).data if len(layer.inputs) > 2 else None
    w_real = weights.data.astype(np.float64).T * w_scale * scale
    b_real = (np.zeros(weights.shape[0]) if bias is None else bias.astype(np.float64)) * w_scale * scale
    rows = np.vstack([w_real, b_real / bias_value])
    return np.asarray(np.clip(np.floor(rows * 2.0**fw + 0.5), -MAX_WEIGHT, MAX_WEIGHT), np.int16)

"""From float32 scales to integer multipliers and clamps, exactly as TFLite prepares its reference kernels."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tinyfl.graph import Graph, Layer, Quantization, Tensor
from tinyfl.reference.fixed import quantize_multiplier


def quantization(tensor: Tensor) -> Quantization:
    """The quantisation of an activation or weight tensor, which ``read_tflite`` has made sure of."""
    assert tensor.quantization is not None, tensor.name
    return tensor.quantization


def activation_range(output: Quantization, activation: str) -> tuple[int, int]:
    """Smallest and largest int8 output after a fused activation: "none", "relu" or "relu6"."""
    if activation == "none":
        return -128, 127
    low = max(-128, output.zero_point)
    if activation == "relu":
        return low, 127
    six = math.floor(float(np.float32(6) / np.float32(output.scale)) + 0.5)
    return low, min(127, output.zero_point + six)


def weight_multipliers(graph: Graph, layer: Layer) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(multipliers, shifts) of a layer with weights: one each per output channel, or one for all (length 1).

    TFLite multiplies the scales of a per-tensor FULLY_CONNECTED as float32 (GetQuantizedConvolutionMultipler), all
    others as double (PopulateConvolutionQuantizationParams).
    """
    x = quantization(graph.tensor(layer.inputs[0]))
    w = quantization(graph.tensor(layer.inputs[1]))
    y = quantization(graph.tensor(layer.outputs[0]))
    products = [x.scale * scale for scale in w.scales]
    if layer.op == "dense" and len(products) == 1:
        products = [float(np.float32(products[0]))]
    pairs = [quantize_multiplier(product / y.scale) for product in products]
    return np.array([m for m, _ in pairs], np.int64), np.array([s for _, s in pairs], np.int64)


def output_multiplier(graph: Graph, layer: Layer) -> tuple[int, int]:
    """(multiplier, shift) from the scale of the first input to that of the output."""
    x = quantization(graph.tensor(layer.inputs[0]))
    y = quantization(graph.tensor(layer.outputs[0]))
    return quantize_multiplier(x.scale / y.scale)

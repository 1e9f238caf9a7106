"""What the layers with weights have in common: checks, the folded input offset and the requantisation fields."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyfl.compiler.ops.operator import Array, Folded, activations, expect
from tinyfl.graph import Graph, Layer, Tensor
from tinyfl.reference.scaling import activation_range, quantization, weight_multipliers
from tinyfl.reference.window import leaves_input, windows

Fields = tuple[tuple[str, int | str], ...]
Accumulators = npt.NDArray[np.int64]


def check_weights(graph: Graph, layer: Layer, channels: int, axis: int) -> Tensor:
    """The weight tensor; raises ValueError unless weights, bias and scales fit ``channels`` outputs."""
    weights = graph.tensor(layer.inputs[1])
    expect(weights.dtype == "int8" and weights.data is not None, f"weights '{weights.name}' are no int8 constant")
    expect(weights.shape[axis] == channels, f"{weights.shape[axis]} filters for {channels} output channels")
    scales = quantization(weights)
    expect(len(scales.scales) in (1, channels), f"{len(scales.scales)} weight scales for {channels} channels")
    expect(len(scales.scales) == 1 or scales.axis == axis, f"weight scales along axis {scales.axis}, expected {axis}")
    if len(layer.inputs) > 2:
        bias = graph.tensor(layer.inputs[2])
        expect(bias.dtype == "int32" and bias.data is not None, f"bias '{bias.name}' is no int32 constant")
        expect(bias.shape == (channels,), f"bias of shape {bias.shape} for {channels} channels")
    weight_multipliers(graph, layer)
    assert weights.data is not None
    biases(graph, layer, np.moveaxis(weights.data, axis, 0).reshape(channels, -1).sum(axis=1, dtype=np.int64))
    return weights


def biases(graph: Graph, layer: Layer, sums: npt.NDArray[np.int64]) -> tuple[Accumulators, Accumulators]:
    """(bias, bias with the input's zero point folded in) per output channel; ``sums``: the weights' sums per channel.

    Raises ValueError where a folded bias leaves 32 bits.
    """
    bias = np.zeros(len(sums), np.int64)
    if len(layer.inputs) > 2:
        data = graph.tensor(layer.inputs[2]).data
        assert data is not None
        bias = data.astype(np.int64)
    folded = bias - quantization(graph.tensor(layer.inputs[0])).zero_point * sums
    expect(bool(np.all(np.abs(folded) < 2**31)), "a bias with the input's zero point folded in leaves 32 bits")
    return bias, folded


def window_fields(x: Tensor, y: Tensor, kernel: tuple[int, int], options: dict[str, Any]) -> Fields:
    """Fields of ``struct tfl_window``."""
    _, _, top, left = windows(x.shape, kernel, options)
    names = ("in_h", "in_w", "in_c", "out_h", "out_w", "out_c", "kernel_h", "kernel_w", "stride_h", "stride_w")
    values = (*x.shape[1:], *y.shape[1:], *kernel, options["stride_h"], options["stride_w"])
    pairs = (*zip(names, values, strict=True), ("top", top), ("left", left))
    return tuple((f"window.{name}", value) for name, value in pairs)


def convolution(
    graph: Graph, layer: Layer, kernel: tuple[int, int], data: npt.NDArray[Any], sums: Accumulators
) -> Folded:
    """The fields that both convolutions have; the bias without the folded offset serves windows beyond the border."""
    x, y = activations(graph, layer)
    bias, folded = biases(graph, layer, sums)
    padded = leaves_input(x.shape, y.shape, kernel, layer.options)
    scaling, arrays = scaling_fields(graph, layer)
    constants = [Array("weights", "int8_t", data), Array("bias", "int32_t", folded), *arrays]
    if padded:
        constants.append(Array("border_bias", "int32_t", bias))
    fields: Fields = (
        *window_fields(x, y, kernel, layer.options),
        ("in_zero_point", quantization(x).zero_point),
        ("weights", "weights"),
        ("bias", "bias"),
        ("border_bias", "border_bias" if padded else 0),
        *scaling,
    )
    return Folded(fields, tuple(constants))


def scaling_fields(graph: Graph, layer: Layer) -> tuple[Fields, tuple[Array, ...]]:
    """Fields of ``struct tfl_scaling`` and its arrays."""
    multipliers, shifts = weight_multipliers(graph, layer)
    output = quantization(graph.tensor(layer.outputs[0]))
    low, high = activation_range(output, layer.options["activation"])
    arrays = (Array("multiplier", "int32_t", multipliers), Array("shift", "int8_t", shifts))
    fields: Fields = (
        ("scaling.multiplier", "multiplier"),
        ("scaling.shift", "shift"),
        ("scaling.step", int(len(multipliers) > 1)),
        ("scaling.zero_point", output.zero_point),
        ("scaling.low", low),
        ("scaling.high", high),
    )
    return fields, arrays

"""DEPTHWISE_CONV_2D: weights [1, kh, kw, O], each input channel feeds O / I outputs (the depth multiplier)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import tflite

from tinyfl.compiler.ops import depthwise_pixels
from tinyfl.compiler.ops.operator import (
    FULL,
    HALF,
    LEAST,
    Array,
    Folded,
    Overlap,
    RawOperator,
    activations,
    expect,
    expect_image,
    expect_shape,
    read_window,
    refuse_dilation,
    share,
)
from tinyfl.compiler.ops.weighted import Fields, check_weights, filters, folded_bias, scaling_fields
from tinyfl.graph import Graph, Layer
from tinyfl.reference.scaling import quantization
from tinyfl.reference.window import windows

BUILTIN = "DEPTHWISE_CONV_2D"
ACTIVATIONS = 1
CONSTANTS = 2

SCRATCH = {FULL: 1024, HALF: 512, LEAST: 0}  # bytes for bands; the first is enough for a layer to be fast


def read(raw: RawOperator) -> dict[str, Any]:
    """Strides, padding, fused activation; the depth multiplier follows from the shapes."""
    options = raw.options(tflite.DepthwiseConv2DOptions)
    refuse_dilation(raw, options)
    return read_window(raw, options)


def check(graph: Graph, layer: Layer) -> None:
    """Shapes of input, weights, bias and output fit together."""
    x, y = activations(graph, layer)
    expect_image(x, y, graph.tensor(layer.inputs[1]))
    weights = check_weights(graph, layer, y.shape[3], axis=3)
    expect(weights.shape[0] == 1, f"weights of shape {weights.shape}, expected 1 x kh x kw x channels")
    taps = weights.shape[1] * weights.shape[2]
    expect(taps < 2**15, f"{taps} weights a filter; sums of 2^15 and more may leave 32 bits")
    expect(y.shape[3] % x.shape[3] == 0, f"{y.shape[3]} output channels from {x.shape[3]} input channels")
    out_h, out_w, _, _ = windows(x.shape, (weights.shape[1], weights.shape[2]), layer.options)
    expect_shape(y, (1, out_h, out_w, y.shape[3]))


def fold(graph: Graph, layer: Layer) -> Folded:
    """``struct tfl_depthwise_conv2d``."""
    if depthwise_pixels.suits(graph, layer):
        return depthwise_pixels.fold(graph, layer)
    x, y = activations(graph, layer)
    plane = _plane(graph, layer)
    rows = filters(graph, layer, axis=3)
    scaling, channels = scaling_fields(graph, layer, rows, folded_bias(graph, layer, rows))
    weights = rows.reshape(-1, *graph.tensor(layer.inputs[1]).shape[1:3])
    fields: Fields = (
        *_axis_fields("lines", plane.lines),
        *_axis_fields("along", plane.along),
        ("channels", x.shape[3]),
        ("fan_out", y.shape[3] // x.shape[3]),
        ("band", plane.band),
        ("pitch", plane.pitch),
        ("in_zero_point", quantization(x).zero_point),
        ("weights", "weights"),
        *scaling,
    )
    weights = weights.swapaxes(1, 2) if plane.turned else weights
    return Folded(fields, (Array("weights", "int8_t", weights), channels))


def scratch(graph: Graph, layer: Layer) -> int:
    """A filter, the sums of an output line and a band of one channel's plane."""
    if depthwise_pixels.suits(graph, layer):
        return depthwise_pixels.scratch(graph, layer)
    plane = _plane(graph, layer)
    return plane.fixed + 2 * plane.pitch * plane.depth


def kernel(graph: Graph, layer: Layer) -> tuple[str, str]:
    """Channel by channel, or pixel by pixel."""
    if depthwise_pixels.suits(graph, layer):
        return "tfl_depthwise_pixels", "pixel by pixel, four channels at a time"
    plane = _plane(graph, layer)
    nine = plane.lines.kernel == plane.along.kernel == 3 and plane.along.stride == 1
    filters_ = "3x3 filters at stride 1" if nine else "filters of any size"
    whole = "planes at once" if plane.band == plane.lines.out else f"planes in bands of {plane.band}"
    return "tfl_depthwise_conv2d", f"{filters_}, {whole}, along {'columns' if plane.turned else 'rows'}"


def overlap(graph: Graph, layer: Layer) -> Overlap | None:
    """In place, channel by channel; a line's output is never ahead of the input lines that are not in scratch yet."""
    if depthwise_pixels.suits(graph, layer):
        return depthwise_pixels.overlap(graph, layer)
    x, y = activations(graph, layer)
    return Overlap(exact=True) if x.shape[3] == y.shape[3] and y.size <= x.size else None


@dataclass(frozen=True)
class _Axis:
    """``struct tfl_axis``."""

    size: int
    out: int
    kernel: int
    stride: int
    before: int
    in_step: int
    out_step: int

    @property
    def reach(self) -> int:
        """Values from the first that a window meets to the last, padding included."""
        return (self.out - 1) * self.stride + self.kernel


@dataclass(frozen=True)
class _Plane:
    """How a channel's plane lies in scratch."""

    lines: _Axis
    along: _Axis
    band: int
    turned: bool  # lines are the image's columns

    @property
    def outputs(self) -> int:
        """Of a line: kernels do four at a time."""
        return -(-self.along.out // 4) * 4

    @property
    def pitch(self) -> int:
        """Values of a line: of those outputs, and an even number, since kernels may read pairs."""
        needed = (self.outputs - 1) * self.along.stride + self.along.kernel + 1
        return -(-needed // 2) * 2

    @property
    def fixed(self) -> int:
        """Bytes before the lines."""
        return 4 * (self.lines.kernel * self.along.kernel + 1 + self.outputs)

    @property
    def depth(self) -> int:
        """Lines of a band."""
        return (self.band - 1) * self.lines.stride + self.lines.kernel

    def fitted(self, room: int) -> _Plane:
        """With as many output lines in a band as so many bytes of scratch allow, at least one."""
        lines = (room - self.fixed) // (2 * self.pitch)
        band = (lines - self.lines.kernel) // self.lines.stride + 1
        return replace(self, band=max(1, min(band, self.lines.out)))


def _plane(graph: Graph, layer: Layer) -> _Plane:
    """Lines are rows; columns where those are longer and a whole plane fits: what a band of columns writes may not lie
    where the input has the same columns."""
    x, y = activations(graph, layer)
    shape = graph.tensor(layer.inputs[1]).shape
    _, _, top, left = windows(x.shape, (shape[1], shape[2]), layer.options)
    strides = layer.options["stride_h"], layer.options["stride_w"]
    down = _Axis(x.shape[1], y.shape[1], shape[1], strides[0], top, x.shape[2] * x.shape[3], y.shape[2] * y.shape[3])
    right = _Axis(x.shape[2], y.shape[2], shape[2], strides[1], left, x.shape[3], y.shape[3])
    if down.out > right.out:
        turned = _Plane(right, down, 1, True).fitted(SCRATCH[FULL])  # short lines cost more than any band saves
        if turned.band == right.out:
            return turned
    return _Plane(down, right, 1, False).fitted(SCRATCH[share(layer)])


def _axis_fields(name: str, axis: _Axis) -> Fields:
    used = min(axis.size, axis.reach - axis.before)
    values = (used, axis.out, axis.kernel, axis.stride, axis.before, axis.in_step, axis.out_step)
    names = ("in", "out", "kernel", "stride", "before", "in_step", "out_step")
    return tuple((f"{name}.{field}", value) for field, value in zip(names, values, strict=True))


def macs(graph: Graph, layer: Layer) -> int:
    """Output pixels times weights."""
    y = graph.tensor(layer.outputs[0])
    return y.shape[1] * y.shape[2] * graph.tensor(layer.inputs[1]).size

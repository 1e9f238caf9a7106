"""What average and maximum pools have in common."""

from __future__ import annotations

from typing import Any

import tflite

from tinyfl.compiler.ops.operator import (
    Folded,
    Overlap,
    RawOperator,
    activations,
    expect,
    expect_image,
    expect_shape,
    read_window,
)
from tinyfl.compiler.ops.weighted import window_fields
from tinyfl.graph import Graph, Layer
from tinyfl.reference.scaling import activation_range, quantization
from tinyfl.reference.window import windows


def read(raw: RawOperator) -> dict[str, Any]:
    """Filter, strides, padding, fused activation."""
    options = raw.options(tflite.Pool2DOptions)
    kernel_h, kernel_w = options.FilterHeight(), options.FilterWidth()
    if not (1 <= kernel_h <= 255 and 1 <= kernel_w <= 255):
        raise raw.fail(f"filter {kernel_h}x{kernel_w} is outside 1..255")
    return {**read_window(raw, options), "kernel_h": kernel_h, "kernel_w": kernel_w}


def check(graph: Graph, layer: Layer) -> None:
    """Shapes fit and the scale does not change."""
    x, y = activations(graph, layer)
    expect_image(x, y)
    kernel = (layer.options["kernel_h"], layer.options["kernel_w"])
    out_h, out_w, _, _ = windows(x.shape, kernel, layer.options)
    expect_shape(y, (1, out_h, out_w, x.shape[3]))
    expect(x.quantization == y.quantization, "input and output are quantised differently")


def fold(graph: Graph, layer: Layer) -> Folded:
    """``struct tfl_pool``."""
    x, y = activations(graph, layer)
    kernel = (layer.options["kernel_h"], layer.options["kernel_w"])
    low, high = activation_range(quantization(y), layer.options["activation"])
    return Folded((*window_fields(x, y, kernel, layer.options), ("low", low), ("high", high)), struct="tfl_pool")


def overlap(graph: Graph, layer: Layer) -> Overlap:
    """A pixel is written when its window has been read, channel by channel."""
    return windows_overlap(graph, layer, (layer.options["kernel_h"], layer.options["kernel_w"]))


def windows_overlap(graph: Graph, layer: Layer, kernel: tuple[int, int]) -> Overlap:
    """The most pixels by which the output is ahead of the first input pixel that a window still needs."""
    x, y = activations(graph, layer)
    _, out_h, out_w, channels = y.shape
    options = layer.options
    _, _, top, left = windows(x.shape, kernel, options)
    ahead, needed = 0, x.shape[1] * x.shape[2]
    for pixel in reversed(range(out_h * out_w)):
        row, column = divmod(pixel, out_w)
        first_row, first_column = row * options["stride_h"] - top, column * options["stride_w"] - left
        needed = min(needed, max(0, first_row) * x.shape[2] + max(0, first_column))
        ahead = max(ahead, pixel - needed)
    return Overlap(ahead * channels)


def macs(graph: Graph, layer: Layer) -> int:
    """A pool multiplies nothing."""
    return 0

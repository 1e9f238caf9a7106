"""The windows of a convolution or pool, one slice of the batch per position in the kernel."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tinyfl.graph import Layer, Tensor
from tinyfl.reference.window import windows


def pad_images(
    x: npt.NDArray[np.int64], y: Tensor, kernel: tuple[int, int], layer: Layer, fill: int
) -> npt.NDArray[np.int64]:
    """x (n, H, W, C) with ``fill`` around it, as far as any window reaches."""
    _, _, top, left = windows(x.shape, kernel, layer.options)
    bottom = max((y.shape[1] - 1) * layer.options["stride_h"] + kernel[0] - top - x.shape[1], 0)
    right = max((y.shape[2] - 1) * layer.options["stride_w"] + kernel[1] - left - x.shape[2], 0)
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)


def taps(
    padded: npt.NDArray[np.int64], y: Tensor, kernel: tuple[int, int], layer: Layer
) -> Iterator[tuple[int, int, npt.NDArray[np.int64]]]:
    """(ky, kx, the (n, out height, out width, C) inputs that meet this tap of the kernel)."""
    stride_h, stride_w = layer.options["stride_h"], layer.options["stride_w"]
    for ky in range(kernel[0]):
        for kx in range(kernel[1]):
            rows = slice(ky, ky + (y.shape[1] - 1) * stride_h + 1, stride_h)
            columns = slice(kx, kx + (y.shape[2] - 1) * stride_w + 1, stride_w)
            yield ky, kx, padded[:, rows, columns]

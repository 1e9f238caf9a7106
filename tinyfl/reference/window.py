"""Where a sliding window stands: output size and padding of convolutions and pools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def window(size: int, kernel: int, stride: int, padding: str) -> tuple[int, int]:
    """(output size, padding before) along one dimension; padding "same" or "valid". <= 0: none fits."""
    if padding == "valid":
        return (size - kernel) // stride + 1, 0
    out = -(-size // stride)
    return out, max((out - 1) * stride + kernel - size, 0) // 2


def windows(shape: tuple[int, ...], kernel: tuple[int, int], options: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """(output height, output width, padding above, padding left) of a (1, H, W, C) input."""
    out_h, top = window(shape[1], kernel[0], options["stride_h"], options["padding"])
    out_w, left = window(shape[2], kernel[1], options["stride_w"], options["padding"])
    return out_h, out_w, top, left


def leaves_input(
    shape: tuple[int, ...], out: tuple[int, ...], kernel: tuple[int, int], options: Mapping[str, Any]
) -> bool:
    """Whether some window reaches beyond the input."""
    last_h = (out[1] - 1) * options["stride_h"] + kernel[0]
    last_w = (out[2] - 1) * options["stride_w"] + kernel[1]
    return bool(last_h > shape[1] or last_w > shape[2])

"""Windows over a recorded signal, split in time so that training and test never share a sample of the signal."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

TEST_SHARE = 0.3  # the last part of each recording

Float32 = npt.NDArray[np.float32]


def windows(signal: Float32, length: int, step: int) -> Float32:
    """Every ``step``-th window: signal (t, channels) -> (n, length, channels); n is 0 where the signal is too short."""
    starts = range(0, len(signal) - length + 1, step)
    return np.stack([signal[i : i + length] for i in starts]) if starts else signal[:0, None].repeat(length, axis=1)


def split_windows(signal: Float32, length: int, step: int) -> tuple[Float32, Float32]:
    """(training windows of the first 70 %, test windows of the last 30 %); windows over the border are left out."""
    border = len(signal) - round(len(signal) * TEST_SHARE)
    return windows(signal[:border], length, step), windows(signal[border:], length, step)

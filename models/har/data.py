"""Shoulder exercises of ten people (PyPI seglearn, ``watch_dataset.npy``): wrist accelerometer and gyroscope, 50 Hz."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyfl.errors import DataError
from tinyfl.windows import split_windows

SHA256 = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"
INSTALL = "pip install --no-deps seglearn==1.2.5"
LENGTH, STEP = 50, 25  # 2 s and 1 s at 25 Hz

Float32 = npt.NDArray[np.float32]


def samples() -> Iterator[tuple[Float32, str, str, str]]:
    """(window (50, 1, 6), exercise, subject, split): the last 30 % of each recording are for test."""
    data = _recordings()
    for signal, label, subject in zip(data["X"], data["y"], data["subject"], strict=True):
        parts = split_windows(_halved(signal), LENGTH, STEP)
        for split, part in zip(("train", "test"), parts, strict=True):
            for window in part:
                yield window[:, None, :], data["y_labels"][label], str(subject), split


def _halved(signal: npt.NDArray[np.float64]) -> Float32:
    """50 Hz to 25 Hz: the mean of each pair of rows; (t, 6) -> (t // 2, 6)."""
    pairs = signal[: len(signal) // 2 * 2].reshape(-1, 2, signal.shape[1])
    return pairs.mean(axis=1).astype(np.float32)


def _recordings() -> dict[str, Any]:
    """The package's file, found by path: importing the package would need pandas. The hash makes unpickling safe."""
    spec = importlib.util.find_spec("seglearn")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("the HAR data comes with the Python package seglearn, which is not installed", INSTALL)
    file = Path(spec.submodule_search_locations[0]) / "data" / "watch_dataset.npy"
    if not file.is_file():
        raise DataError(f"{file}: no such file", INSTALL)
    seen = hashlib.sha256(file.read_bytes()).hexdigest()
    if seen != SHA256:
        raise DataError(f"{file}: SHA-256 is {seen}, expected {SHA256}", INSTALL)
    contents: dict[str, Any] = np.load(file, allow_pickle=True).item()
    return contents

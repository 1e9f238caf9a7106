"""From a Keras model and samples to a full-int8 ``.tflite``: fit, prune, train with fake quantisation, export.

The only package that knows TensorFlow, and it imports it late: ``import tinyfl.train`` costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyfl.errors import CheckError
from tinyfl.settings import TrainSettings
from tinyfl.train.check import check_model, int8_accuracy, layer_sparsity
from tinyfl.train.export import export
from tinyfl.train.fit import Progress, Samples, accuracy, fit, silent
from tinyfl.train.prune import prune
from tinyfl.train.qat import quantise
from tinyfl.train.setup import load_tensorflow, versions

__all__ = ["Progress", "TrainResult", "silent", "train"]

SLACK = 0.01  # a layer of few weights cannot be pruned to the exact share


@dataclass(frozen=True)
class TrainResult:
    """A trained model and what became of it on the way; accuracies are fractions on the validation samples."""

    tflite: bytes
    accuracy: dict[str, float]  # "float", "pruned", "int8"
    sparsity: dict[str, float]  # share of zero weights by layer of the .tflite, the head left out
    sizes: dict[str, int]  # "tflite" in bytes, "weights" in numbers, biases included
    versions: dict[str, str]  # of the packages that decide the bytes


def train(
    build_model: Callable[[], Any],
    x: npt.NDArray[np.float32],
    y: npt.NDArray[np.uint8],
    x_val: npt.NDArray[np.float32],
    y_val: npt.NDArray[np.uint8],
    classes: int,
    settings: TrainSettings,
    progress: Progress = silent,
) -> TrainResult:
    """Trains on x (n, *shape) with labels y (n,); the same seed gives the same bytes.

    Raises ConfigError where TensorFlow is missing or the model does not fit the data, CheckError where pruned weights
    came back.
    """
    tf = load_tensorflow(settings.seed)
    samples = Samples(x, y, x_val, y_val)
    model = build_model()
    check_model(model, x.shape[1:], classes)
    fit(tf, model, samples, settings.batch, settings.epochs, settings.learning_rate, "fit", progress)
    scores = {"float": accuracy(model, samples)}
    if settings.sparsity:
        model = prune(tf, model, samples, settings, progress)
    scores["pruned"] = accuracy(model, samples)
    weights = int(model.count_params())
    tflite = export(tf, quantise(tf, model, samples, settings, progress), x)
    scores["int8"] = int8_accuracy(tflite, x_val, y_val)
    sparsity = layer_sparsity(tflite)
    _check_sparsity(sparsity, settings.sparsity)
    return TrainResult(tflite, scores, sparsity, {"tflite": len(tflite), "weights": weights}, versions())


def _check_sparsity(sparsity: dict[str, float], wanted: float) -> None:
    for layer, share in sparsity.items():
        if share < wanted - SLACK:
            raise CheckError(
                f"layer {layer} kept {share:.1%} zeros, expected {wanted:.0%}: training brought pruned weights back",
                "report the model; sparsity = 0 in [train] leaves pruning out",
            )

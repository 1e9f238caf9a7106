"""``tinyfl train``: a recipe's model trained on the lab's samples, written beside the recipe with its record."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tinyfl.errors import ConfigError, DataError
from tinyfl.train import Progress, TrainResult, silent, train
from tinyfl_host.dataset import lab_samples, load_samples
from tinyfl_host.recipe import Recipe, call, load_function


@dataclass(frozen=True)
class TrainReport:
    """What ``model.json`` says of a trained model; accuracies are fractions of the lab's test samples."""

    name: str
    sha256: str  # of the .tflite
    seed: int
    samples: dict[str, int]  # the lab's "train" and "test"
    accuracy: dict[str, float]  # "float", "pruned", "int8"
    sparsity: dict[str, float]  # share of zero weights by layer, the head left out
    sizes: dict[str, int]  # "tflite" in bytes, "weights" in numbers
    versions: dict[str, str]  # of the packages that made it


def train_recipe(recipe: Recipe, progress: Progress = silent) -> TrainReport:
    """Trains and writes ``<recipe>/<name>.tflite`` and ``<recipe>/model.json``; the same recipe gives the same bytes.

    Raises ConfigError where the recipe, its model, its data or TensorFlow cannot be used; nothing is written then.
    """
    training, test = lab_samples(recipe, load_samples(recipe))
    if len(set(training.y.tolist())) < 2:
        only = recipe.classes[training.y[0]]
        raise DataError(f"{recipe.source}: the lab's training samples are all of class {only}", "training needs two")

    def build() -> Any:  # called once TensorFlow is set up, which the recipe's own import would undo
        return call(recipe, recipe.function, load_function(recipe, recipe.function))

    result = train(build, training.x, training.y, test.x, test.y, len(recipe.classes), recipe.train, progress)
    report = _report(recipe, result, {"train": len(training.x), "test": len(test.x)})
    _replace(recipe.tflite, result.tflite)
    _replace(recipe.manifest, (json.dumps(asdict(report), indent=2) + "\n").encode())
    return report


def _report(recipe: Recipe, result: TrainResult, samples: dict[str, int]) -> TrainReport:
    return TrainReport(
        recipe.name,
        hashlib.sha256(result.tflite).hexdigest(),
        recipe.train.seed,
        samples,
        {stage: round(share, 4) for stage, share in result.accuracy.items()},
        {layer: round(share, 4) for layer, share in result.sparsity.items()},
        result.sizes,
        result.versions,
    )


def _replace(file: Path, data: bytes) -> None:
    """Writes the file whole or not at all."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        beside.replace(file)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ConfigError(f"{file}: {error.strerror}", "make the recipe folder writable, or free some space") from error

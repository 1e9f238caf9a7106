"""Fitting a Keras model, with progress by epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Progress = Callable[[str, int, int, float], None]  # stage, epoch from 1, epochs, training accuracy


@dataclass(frozen=True)
class Samples:
    """Training samples x (n, *shape), y (n,), and validation samples, which no step of training sees."""

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.uint8]
    x_val: npt.NDArray[np.float32]
    y_val: npt.NDArray[np.uint8]


def silent(stage: str, epoch: int, epochs: int, accuracy: float) -> None:
    """Progress that nobody watches."""


def fit(
    tf: Any,
    model: Any,
    samples: Samples,
    batch: int,
    epochs: int,
    rate: float,
    stage: str,
    progress: Progress,
    callbacks: Sequence[Any] = (),
) -> None:
    """Trains ``model`` in place with Adam on the cross-entropy."""
    model.compile(tf.keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", ["accuracy"])
    tell = tf.keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: progress(stage, epoch + 1, epochs, float(logs["accuracy"]))
    )
    model.fit(samples.x, samples.y, batch, epochs, verbose=0, callbacks=[*callbacks, tell])


def accuracy(model: Any, samples: Samples) -> float:
    """Share of the validation samples that the model gets right."""
    predicted = np.argmax(model.predict(samples.x_val, verbose=0), axis=1)
    return float(np.mean(predicted == samples.y_val))

"""Magnitude pruning with a rising share of zeros (Zhu and Gupta, arXiv:1710.01878), the head left dense."""

from __future__ import annotations

import math
from typing import Any

from tinyfl.settings import TrainSettings
from tinyfl.train.fit import Progress, Samples, fit
from tinyfl.train.setup import load_optimization

RAMP = 0.8  # share of the epochs over which the zeros grow; the rest recovers accuracy


def prune(tf: Any, model: Any, samples: Samples, settings: TrainSettings, progress: Progress) -> Any:
    """A copy of ``model`` with ``settings.sparsity`` zeros in every layer with a kernel but the last."""
    sparsity = load_optimization().sparsity.keras
    steps = math.ceil(len(samples.x) / settings.batch) * settings.prune_epochs
    schedule = sparsity.PolynomialDecay(0.0, settings.sparsity, 0, max(1, int(RAMP * steps)), frequency=1)
    pruned_layers = {layer.name for layer in kernels(model)[:-1]}

    def wrap(layer: Any) -> Any:
        return sparsity.prune_low_magnitude(layer, schedule) if layer.name in pruned_layers else layer

    wrapped = tf.keras.models.clone_model(model, clone_function=wrap)
    callbacks = [sparsity.UpdatePruningStep()]
    epochs, rate = settings.prune_epochs, settings.learning_rate
    fit(tf, wrapped, samples, settings.batch, epochs, rate, "prune", progress, callbacks)
    return sparsity.strip_pruning(wrapped)


def kernels(model: Any) -> list[Any]:
    """The layers that own weights of more than one axis, in order; the last one is the head."""
    return [layer for layer in model.layers if any(len(weight.shape) > 1 for weight in layer.get_weights())]

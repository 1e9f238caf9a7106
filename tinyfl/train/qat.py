"""Training with fake quantisation that keeps the zeros of pruning."""

from __future__ import annotations

from typing import Any

from tinyfl.settings import TrainSettings
from tinyfl.train.fit import Progress, Samples, fit
from tinyfl.train.setup import load_optimization


def quantise(tf: Any, model: Any, samples: Samples, settings: TrainSettings, progress: Progress) -> Any:
    """``model`` with fake quantisation on weights and activations, trained on until it has adapted."""
    tfmot = load_optimization()
    annotated = tfmot.quantization.keras.quantize_annotate_model(model)
    scheme = tfmot.experimental.combine.Default8BitPrunePreserveQuantizeScheme()
    # The plain scheme would train the zeros away.
    keeping = (scheme,) if settings.sparsity else ()
    quantised = tfmot.quantization.keras.quantize_apply(annotated, *keeping)
    fit(tf, quantised, samples, settings.batch, settings.qat_epochs, settings.qat_learning_rate, "qat", progress)
    return quantised

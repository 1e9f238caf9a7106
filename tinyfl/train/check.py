"""What must hold of a model before training, and what came out of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyfl.compiler import read_tflite
from tinyfl.errors import ConfigError
from tinyfl.reference import quantize_input, run

WEIGHTED = ("conv2d", "depthwise_conv2d", "dense")


def check_model(model: Any, shape: tuple[int, ...], classes: int) -> None:
    """ConfigError where the Keras model does not take the samples or does not end in softmax over the classes."""
    if not hasattr(model, "input_shape"):
        raise ConfigError(
            f"build() returned {type(model).__name__}, expected a Keras model", "docs/RECIPES.md shows one"
        )
    seen_in, seen_out = tuple(model.input_shape[1:]), tuple(model.output_shape[1:])
    if seen_in != shape:
        raise ConfigError(f"the model takes {seen_in}, the samples are {shape}", "mend the model's Input or the data")
    if seen_out != (classes,):
        raise ConfigError(f"the model gives {seen_out}, the recipe has {classes} classes", f"end in Dense({classes})")
    last = model.layers[-1]
    activation = getattr(getattr(last, "activation", None), "__name__", "")
    if activation != "softmax" and type(last).__name__ != "Softmax":
        raise ConfigError(f"the last layer {last.name} is no softmax", "end in Dense(classes, activation='softmax')")


def int8_accuracy(tflite: bytes, x: npt.NDArray[np.float32], y: npt.NDArray[np.uint8]) -> float:
    """Accuracy of the exported model on real inputs, by the bit-exact twin; ModelError where it is not full int8."""
    graph = read_tflite(tflite, "trained")
    return float(np.mean(np.argmax(run(graph, quantize_input(graph, x)), axis=1) == y))


def layer_sparsity(tflite: bytes) -> dict[str, float]:
    """Share of weights that are exactly zero, by "index op", for every layer with weights but the last."""
    graph = read_tflite(tflite, "trained")
    weights = [
        (f"{layer.index} {layer.op}", graph.tensor(layer.inputs[1]).data)
        for layer in graph.layers
        if layer.op in WEIGHTED
    ]
    return {name: float(np.mean(data == 0)) for name, data in weights[:-1] if data is not None}

"""A quantisation-aware Keras model as a full-int8 ``.tflite``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

CALIBRATION = 256  # representative samples, spread over the data


def export(tf: Any, model: Any, x: npt.NDArray[np.float32]) -> bytes:
    """The flatbuffer, int8 from input to output, batch 1; ``x`` (n, *shape) gives ranges where the model has none."""
    spec = tf.TensorSpec((1, *x.shape[1:]), tf.float32, "input")
    function = tf.function(lambda batch: model(batch, training=False)).get_concrete_function(spec)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: _representative(x)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with _quiet():
        return bytes(converter.convert())


def _representative(x: npt.NDArray[np.float32]) -> Iterator[list[npt.NDArray[np.float32]]]:
    for i in np.linspace(0, len(x) - 1, min(CALIBRATION, len(x))).astype(int):
        yield [x[i : i + 1]]


@contextmanager
def _quiet() -> Iterator[None]:
    """Closes the process's stderr to the converter's C++ side, whose notes obey no log level; errors are exceptions."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)

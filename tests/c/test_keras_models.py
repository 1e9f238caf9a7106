"""Models as TensorFlow's converter writes them, three ways: Conv1D, residuals, pads, pools, dynamic batches."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support_runner import build_runner, run_models
from support_tflite import edge_inputs, run_oracle

from tinyfl.compiler import compile_model
from tinyfl.reference import run

pytestmark = pytest.mark.slow


def one_dimensional(layers):
    inputs = layers.Input((50, 6))
    x = layers.Conv1D(8, 5, strides=2, activation="relu", padding="same")(inputs)
    x = layers.Flatten()(layers.MaxPool1D(2)(x))
    return inputs, layers.Dense(5, activation="softmax")(x)


def residual(layers):
    inputs = layers.Input((20, 12, 2))
    x = layers.Conv2D(8, 3, activation="relu")(layers.ZeroPadding2D(1)(inputs))
    y = layers.DepthwiseConv2D(3, padding="same", activation="relu6")(x)
    x = layers.AveragePooling2D(2)(layers.ReLU()(layers.Add()([x, y])))
    return inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(x))


def mean_over_time(layers):
    inputs = layers.Input((30, 4))
    x = layers.Conv1D(8, 3, activation="relu")(inputs)
    return inputs, layers.Dense(3)(layers.Dropout(0.5)(layers.GlobalAveragePooling1D()(x)))


def convert(build) -> bytes:
    """Post-training full-int8 quantisation of an untrained model."""
    tf = pytest.importorskip("tensorflow", reason="TensorFlow is in the extra [train]")
    tf.keras.utils.set_random_seed(1)
    model = tf.keras.Model(*build(tf.keras.layers))
    rng = np.random.default_rng(0)

    def samples() -> Iterator[list[np.ndarray]]:
        for _ in range(20):
            yield [rng.normal(size=(1, *model.input_shape[1:])).astype("f4")]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


@pytest.mark.parametrize("build", [one_dimensional, residual, mean_over_time])
def test_converted_model_is_bit_exact(build, tmp_path: Path) -> None:
    data = convert(build)
    model = compile_model(data, build.__name__, None)
    x = edge_inputs(np.random.default_rng(1), model.graph.tensor(model.graph.input).shape[1:], 40)
    expected = run_oracle(data, x)
    np.testing.assert_array_equal(run(model.graph, x), expected)
    np.testing.assert_array_equal(run_models(build_runner("gcc", [model], tmp_path / "gcc"), [model], [x])[0], expected)

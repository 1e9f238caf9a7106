"""The network of ${name}. Change it as you like, as long as it ends in Dense(classes, activation="softmax").

What the boards can run: Conv2D, DepthwiseConv2D, Conv1D, Dense, pooling, Add, padding, ReLU, ReLU6, Flatten, Reshape
(docs/OPERATORS.md). The layer before the last gives the features that the boards train on: at most 256 of them.
"""

from typing import Any


def build() -> Any:
    """An untrained Keras model: (32 rows, 1, 2 channels) -> 4 probabilities. CSV windows have this shape."""
    from tensorflow import keras  # here, not on top: only `tinyfl train` needs TensorFlow

    conv = keras.layers.Conv2D
    return keras.Sequential(
        [
            keras.Input((32, 1, 2)),
            conv(8, (5, 1), strides=(2, 1), padding="same", activation="relu"),
            conv(16, (5, 1), strides=(2, 1), padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(24, activation="relu"),
            keras.layers.Dense(4, activation="softmax"),  # the head: what the boards train
        ]
    )

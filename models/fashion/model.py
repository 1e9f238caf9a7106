"""The Fashion-MNIST network: three convolutions and two dense layers, 17,378 weights."""

from __future__ import annotations

from typing import Any


def build() -> Any:
    """An untrained Keras model: (28, 28, 1) -> 10 probabilities."""
    from tensorflow import keras

    conv = keras.layers.Conv2D
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            conv(8, 3, strides=2, padding="same", activation="relu"),
            conv(16, 3, strides=2, padding="same", activation="relu"),
            conv(24, 3, strides=2, padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )

"""The HAR network: three convolutions over time and two dense layers, 12,207 weights."""

from __future__ import annotations

from typing import Any


def build() -> Any:
    """An untrained Keras model: (50, 1, 6) -> 7 probabilities."""
    from tensorflow import keras

    conv = keras.layers.Conv2D
    return keras.Sequential(
        [
            keras.Input((50, 1, 6)),
            conv(16, (5, 1), strides=(2, 1), padding="same", activation="relu"),
            conv(24, (5, 1), strides=(2, 1), padding="same", activation="relu"),
            conv(32, (3, 1), strides=(2, 1), padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(7, activation="softmax"),
        ]
    )

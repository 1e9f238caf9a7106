"""Data images: what goes in comes out, and damage is named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyfl.errors import DataError
from tinyfl.image import HEADER, build_image, read_image

X = np.arange(-60, 60, dtype=np.int8).reshape(10, 4, 3)
Y = np.arange(10) % 7
IMAGE = build_image(X[:7], Y[:7], X[7:], Y[7:], "board-1")


def test_layout_is_the_documented_one() -> None:
    assert IMAGE[:8] == b"TFLD\x01\x00\x30\x00" and HEADER.size == 48
    assert np.frombuffer(IMAGE, "<u4", 3, 8).tolist() == [12, 7, 3]
    assert IMAGE[24:32] == bytes(8) and IMAGE[32:48] == b"board-1".ljust(16, b"\0")
    assert IMAGE[48:60] == bytes(Y.tolist()) + b"\0\0"
    assert IMAGE[60:] == X.tobytes()


@given(
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(1, 5),
    st.text(st.characters(codec="ascii", min_codepoint=33), max_size=16),
)
def test_round_trip(train: int, test: int, size: int, name: str) -> None:
    rng = np.random.default_rng(train)
    x = rng.integers(-128, 128, (train + test, size)).astype(np.int8)
    y = rng.integers(0, 256, train + test)
    image = read_image(build_image(x[:train], y[:train], x[train:], y[train:], name) + b"\xff" * 5)
    np.testing.assert_array_equal(image.x_train, x[:train])
    np.testing.assert_array_equal(image.x_test, x[train:])
    assert (image.y_train.tolist(), image.y_test.tolist()) == (y[:train].tolist(), y[train:].tolist())
    assert image.name == name


@given(st.integers(0, len(IMAGE) - 1), st.integers(1, 255))
def test_any_changed_byte_but_reserved_ones_and_the_name_is_found(position: int, flip: int) -> None:
    damaged = bytearray(IMAGE)
    damaged[position] ^= flip
    if 24 <= position < 48:
        assert read_image(bytes(damaged)).x_train.size == 84
    else:
        with pytest.raises(DataError):
            read_image(bytes(damaged))


@pytest.mark.parametrize("length", range(0, len(IMAGE), 13))
def test_a_cut_image_is_refused(length: int) -> None:
    with pytest.raises(DataError):
        read_image(IMAGE[:length])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X.astype(np.int16), Y, X, Y, "b"), "int16"),
        ((X, Y[:-1], X, Y, "b"), "labels"),
        ((X, Y, X[:, :2], Y, "b"), "test inputs"),
        ((X, Y + 250, X, Y, "b"), "0..255"),
        ((X, Y - 1, X, Y, "b"), "0..255"),
        ((X, Y / 2, X, Y, "b"), "float64"),
        ((X, Y, X, Y, "a name of 17 bytes"), "at most 16"),
        ((np.zeros((131_073, 1), np.int8), np.zeros(131_073, int), X[:0, 0, :1], [], "b"), "131072"),
    ],
)
def test_what_does_not_fit_is_named(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        build_image(*arguments)  # type: ignore[arg-type]

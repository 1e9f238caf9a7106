"""Windows over a signal: which rows they hold, and that training and test share none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyfl.windows import split_windows, windows


def ramp(rows: int) -> np.ndarray:
    return np.stack([np.arange(rows), -np.arange(rows)], axis=1).astype(np.float32)


def test_every_step_th_window_in_order() -> None:
    cut = windows(ramp(10), 4, 3)
    assert cut.shape == (3, 4, 2)
    assert cut[:, 0, 0].tolist() == [0, 3, 6]
    assert cut[1, :, 1].tolist() == [-3, -4, -5, -6]


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_short_signal_gives_no_window_of_the_right_shape(rows: int) -> None:
    assert windows(ramp(rows), 4, 2).shape == (0, 4, 2)


@given(st.integers(0, 200), st.integers(1, 60), st.integers(1, 60))
def test_training_and_test_share_no_row(rows: int, length: int, step: int) -> None:
    training, test = split_windows(ramp(rows), length, step)
    seen, kept = set(training[..., 0].ravel().tolist()), set(test[..., 0].ravel().tolist())
    assert not seen & kept
    assert all(row < rows - round(0.3 * rows) for row in seen)
    assert all(row >= rows - round(0.3 * rows) for row in kept)
    for part in (training, test):
        assert np.array_equal(np.diff(part[..., 0], axis=1), np.ones((len(part), length - 1)))

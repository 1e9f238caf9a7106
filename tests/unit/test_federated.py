"""Selection of boards, and what the server checks before it believes an update."""

import numpy as np
import pytest

from tinyfl.errors import BoardError
from tinyfl.federated.selection import select
from tinyfl.federated.update import MAX_DELTA, MAX_SAMPLES, Update, check_trained, check_update
from tinyfl.wire.messages import Trained


def test_selection_is_a_function_of_seed_and_round() -> None:
    drawn = [select(10, 0.3, 7, round) for round in range(50)]
    assert drawn == [select(10, 0.3, 7, round) for round in range(50)]
    assert drawn != [select(10, 0.3, 8, round) for round in range(50)]
    assert all(len(chosen) == 3 and list(chosen) == sorted(set(chosen)) for chosen in drawn)


def test_every_board_is_selected_about_equally_often() -> None:
    counts = np.zeros(10, int)
    for round in range(2000):
        counts[list(select(10, 0.3, 1, round))] += 1
    assert counts.sum() == 6000 and abs(counts - 600).max() < 100  # five standard deviations


@pytest.mark.parametrize(
    ("boards", "fraction", "count"),
    [(4, 1.0, 4), (4, 1e-6, 1), (10, 0.3, 3), (10, 0.31, 4), (1, 0.5, 1), (3, 2 / 3, 2)],
)
def test_the_fraction_is_rounded_up_and_at_least_one(boards: int, fraction: float, count: int) -> None:
    assert len(select(boards, fraction, 1, 1)) == count


def trained(samples: int, max_delta: int) -> Trained:
    return Trained(samples, max_delta, loss=0, embeddings=0, embed_ticks=0, steps=0, step_ticks=0)


def test_a_board_that_lies_is_refused() -> None:
    deltas = np.zeros(6, np.int8)
    assert check_update(Update(5, deltas), 6, 5).samples == 5
    with pytest.raises(BoardError, match="5 deltas, the head has 6"):
        check_update(Update(5, deltas[:5]), 6, 5)
    with pytest.raises(BoardError, match="of 500 samples after training on 5"):
        check_update(Update(500, deltas), 6, 5)
    with pytest.raises(BoardError, match="-128"):
        check_update(Update(5, np.full(6, -128, np.int8)), 6, 5)


def test_training_replies_that_would_spoil_the_fleet_are_refused() -> None:
    assert check_trained(trained(MAX_SAMPLES, MAX_DELTA)).samples == MAX_SAMPLES
    with pytest.raises(BoardError, match="delta of"):
        check_trained(trained(1, MAX_DELTA + 1))
    with pytest.raises(BoardError, match="samples"):
        check_trained(trained(MAX_SAMPLES + 1, 1))

"""Selection of boards, and what the server checks before it believes an update."""

import numpy as np
import pytest

from tinyfl.errors import BoardError
from tinyfl.federated.selection import UNHEARD, by_link, by_power, select
from tinyfl.federated.update import MAX_DELTA, MAX_SAMPLES, check_trained, read_update
from tinyfl.reference.codec import Codec
from tinyfl.wire.messages import Delta, Trained


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


def trained(samples: int, max_delta: int, mean_delta: int = 0) -> Trained:
    return Trained(samples, max_delta, mean_delta, *[0] * 7)


def test_a_board_that_lies_is_refused() -> None:
    deltas, all_learn = np.zeros(6, np.uint8), np.ones(6, bool)
    assert read_update(Codec(), Delta(1, 5, deltas), all_learn, 5, 1).samples == 5
    for wrong in (deltas[:5], np.zeros(7, np.uint8)):
        with pytest.raises(BoardError, match=f"sent {len(wrong)} bytes of deltas"):
            read_update(Codec(), Delta(1, 5, wrong), all_learn, 5, 1)
    with pytest.raises(BoardError, match="of 500 samples after training on 5"):
        read_update(Codec(), Delta(1, 500, deltas), all_learn, 5, 1)
    with pytest.raises(BoardError, match="-128"):
        read_update(Codec(), Delta(1, 5, np.full(6, 128, np.uint8)), all_learn, 5, 1)


def test_what_a_pruned_head_holds_is_not_sent() -> None:
    learns = np.array([1, 0, 0, 1, 1, 0], bool)
    update = read_update(Codec(), Delta(1, 5, np.array([3, 0xFF, 7], np.uint8)), learns, 5, 1)
    assert update.deltas.tolist() == [3, 0, 0, -1, 7, 0]
    with pytest.raises(BoardError, match="sent 6 bytes of deltas"):
        read_update(Codec(), Delta(1, 5, np.zeros(6, np.uint8)), learns, 5, 1)


def test_training_replies_that_would_spoil_the_fleet_are_refused() -> None:
    assert check_trained(trained(MAX_SAMPLES, MAX_DELTA)).samples == MAX_SAMPLES
    with pytest.raises(BoardError, match="delta of"):
        check_trained(trained(1, MAX_DELTA + 1))
    with pytest.raises(BoardError, match="mean delta of 8, above its largest, 7"):
        check_trained(trained(1, 7, 8))
    with pytest.raises(BoardError, match="samples"):
        check_trained(trained(MAX_SAMPLES + 1, 1))


def test_boards_whose_link_is_too_slow_are_left_out() -> None:
    rates = [None, 100.0, 9.9, 10.0]
    assert by_link(rates, 100, 10.0, 1.0, 1, 1) == (0, 1, 3)
    drawn = [by_link(rates, 100, 10.0, 0.3, 1, round) for round in range(60)]
    assert {board for chosen in drawn for board in chosen} == {0, 1, 3} and {len(chosen) for chosen in drawn} == {1}
    assert by_link([1.0], 100, 10.0, 1.0, 1, 1) == ()


def test_power_of_choice_takes_the_worst_of_the_candidates() -> None:
    losses = [10, 200, 30, 180, 20]
    assert by_power(losses, 0.4, 1.0, 1, 1) == (1, 3)
    some = [by_power(losses, 0.2, 0.4, 1, round) for round in range(60)]
    assert len(set(some)) > 2 and all(len(chosen) == 1 for chosen in some)
    assert some == [by_power(losses, 0.2, 0.4, 1, round) for round in range(60)]
    first = {by_power([UNHEARD] * 5, 0.2, 1.0, 1, round) for round in range(60)}
    assert len(first) == 5  # nobody is known: it is a random share

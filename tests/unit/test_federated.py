"""Selection of boards, and what the server checks before it believes an update."""

import numpy as np
import pytest

from tinyfl.errors import BoardError
from tinyfl.federated.codecs import fleet_shift, trained_of
from tinyfl.federated.optimisers import Optimiser, start
from tinyfl.federated.robust import Rule
from tinyfl.federated.selection import UNHEARD, by_link, by_power, select
from tinyfl.federated.server import Server
from tinyfl.federated.update import MAX_DELTA, MAX_SAMPLES, Update, check_trained, joined, read_update
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
    return Trained(samples, max_delta, mean_delta, *[0] * 7, np.zeros(0, np.uint8))


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


def more(*told: int) -> Trained:
    return Trained(5, 9, 3, *[0] * 7, np.array(told, "<u4").view(np.uint8))


def test_what_is_said_of_further_tensors_is_checked_too() -> None:
    reply = more(8, 2, 2**31, 7)
    assert check_trained(reply, 3) is reply
    assert [trained_of(reply, tensor) for tensor in range(3)] == [(9, 3), (8, 2), (2**31, 7)]
    for wrong, tensors in ((more(8, 2), 1), (more(8), 2), (trained(5, 1), 2)):
        with pytest.raises(BoardError, match="bytes of further tensors"):
            check_trained(wrong, tensors)
    with pytest.raises(BoardError, match="mean delta of 9, above its largest, 8"):
        check_trained(more(8, 9), 2)
    with pytest.raises(BoardError, match="delta of"):
        check_trained(more(MAX_DELTA + 1, 0), 2)


def test_each_tensor_has_the_shift_of_its_own_deltas() -> None:
    replies = [more(300, 20), more(40, 10)]
    assert [fleet_shift(Codec(), replies, tensor) for tensor in (0, 1)] == [0, 2]
    assert fleet_shift(Codec("sign"), replies, 1) == 4
    quiet = Server(Optimiser(), Rule("median"), 1.0).believed([*replies, more(7, 7)], 1)
    assert [trained_of(reply, 1)[0] for reply in quiet] == [7, 40]


def test_tensors_are_joined_and_stepped_by_themselves() -> None:
    parts = [[update(1, [1, 2]), update(1, [4])], [update(3, [5, -2]), update(3, [0])]]
    whole = [joined(own) for own in parts]
    assert [own.deltas.tolist() for own in whole] == [[1, 2, 4], [5, -2, 0]]
    assert whole[0].payload.tolist() == [1, 2, 4]
    rules = Server(Optimiser(), Rule(), np.ones(3))
    state = start(rules.optimiser, np.array([100, 200, 300]))
    after = rules.step(state, whole, (2, 10), (slice(0, 2), slice(2, 3)))
    assert after.master.tolist() == [100 + 16, 200 - 4, 300 + 1024]
    adam = Server(Optimiser("fedadam"), Rule(), np.array([1.0, 1.0, 2.0]))
    steps = adam.step(start(adam.optimiser, np.zeros(3, np.int64)), whole, (20, 20), (slice(0, 2), slice(2, 3)))
    alone = Server(adam.optimiser, Rule(), 2.0)
    last = alone.step(start(adam.optimiser, np.zeros(1, np.int64)), [own[1] for own in parts], (20,), (slice(0, 1),))
    assert steps.master[2] == last.master[0] != 0


def update(samples: int, deltas: list[int]) -> Update:
    return Update(samples, np.array(deltas, np.int64), np.array(deltas, np.int64).astype(np.uint8))


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

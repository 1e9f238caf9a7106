"""Robust aggregation: what each rule is, that the order of boards is nothing to it, and that liars do not steer it."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyfl.errors import ConfigError, QuorumError
from tinyfl.federated.robust import RULES, Rule, combine, krum_order, mixed
from tinyfl.reference.head import aggregate

Int64 = npt.NDArray[np.int64]


def honest(boards: int = 10, weights: int = 40, seed: int = 1) -> Int64:
    random = np.random.default_rng(seed)
    return np.clip(random.integers(-90, 90, weights) + random.integers(-30, 31, (boards, weights)), -127, 127)


def ones(count: int) -> Int64:
    return np.full(count, 7, np.int64)


@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(0, 20), st.sampled_from(RULES))
@settings(max_examples=150, deadline=None)
def test_order_and_repetition(seed: int, boards: int, shift: int, name: str) -> None:
    random = np.random.default_rng(seed)
    updates, samples = random.integers(-127, 128, (boards, 12)), random.integers(0, 300, boards)
    reference = random.integers(-(2**20), 2**20, 12)
    order = random.permutation(boards)
    try:
        delta = combine(Rule(name), updates, samples, shift, reference)
    except QuorumError:
        assert (samples > 0).sum() < 3
        return
    if name not in ("krum", "multi-krum"):  # equal scores there fall to the lower index
        assert np.array_equal(delta, combine(Rule(name), updates[order], samples[order], shift, reference))
    assert np.abs(delta).max() <= (127 << shift) + 1 or name == "fltrust"


def test_mean_is_the_heads_own() -> None:
    updates, samples = honest(), np.arange(10)
    expected = aggregate(np.zeros(40, np.int64), list(updates.astype(np.int8)), samples.tolist(), 9)
    assert np.array_equal(combine(Rule(), updates, samples, 9), expected)


def test_median_and_trimmed_mean() -> None:
    column = np.array([[-100], [1], [2], [4], [120]])
    assert combine(Rule("median"), column, ones(5), 0)[0] == 2
    assert combine(Rule("median"), column[:4], ones(4), 1)[0] == 3  # (1 + 2) / 2, in units of 2
    assert combine(Rule("trimmed", liars=0.2), column, ones(5), 3)[0] == (7 * 8 * 2 + 3) // 6
    assert combine(Rule("trimmed", liars=0.0), column, ones(5), 0)[0] == 5


def test_krum_takes_the_one_in_the_crowd() -> None:
    updates = np.array([[10, 10], [11, 10], [10, 11], [-100, 90], [12, 12]])
    assert krum_order(updates, 1)[0] in (0, 1, 2) and krum_order(updates, 1)[-1] == 3
    assert np.abs(combine(Rule("krum"), updates, ones(5), 0) - 10).max() <= 1
    assert np.array_equal(combine(Rule("multi-krum"), updates, ones(5), 0), [11, 11])


def test_clip_makes_the_loud_as_loud_as_the_median() -> None:
    updates = np.array([[3, 4], [0, 5], [60, 80]])
    assert combine(Rule("clip"), updates, ones(3), 10).tolist() == [6 * 1024 // 3, 13 * 1024 // 3]


def test_mixing_makes_each_update_the_mean_of_its_nearest() -> None:
    updates = np.array([[10, 10], [11, 10], [10, 11], [-100, 90], [12, 12]])
    assert mixed(updates, 1)[[0, 1, 2, 4]].tolist() == 4 * [[43, 43]]
    assert mixed(updates, 0).tolist() == 5 * [updates.sum(axis=0).tolist()]
    for name in ("median", "trimmed", "krum", "multi-krum"):  # the mean of the four, rounded once
        assert combine(Rule(name, mixing=True), updates, ones(5), 3).tolist() == [86, 86]
    apart = np.array([[90, 0], [88, 1], [0, 90], [1, 88], [60, 60], [-127, -127]])  # nobody is near everybody
    plain, mild = (combine(Rule("krum", mixing=mixing), apart, ones(6), 0) for mixing in (False, True))
    middle = apart[:5].mean(axis=0)
    assert np.linalg.norm(mild - middle) < 0.5 * np.linalg.norm(plain - middle)


@given(st.integers(0, 2**32), st.integers(3, 9), st.integers(0, 20), st.sampled_from(RULES[1:]))
@settings(max_examples=100, deadline=None)
def test_mixed_updates_stay_within_those_that_there_are(seed: int, boards: int, shift: int, name: str) -> None:
    random = np.random.default_rng(seed)
    updates, samples = random.integers(-127, 128, (boards, 12)), random.integers(1, 300, boards)
    reference = random.integers(-(2**20), 2**20, 12)
    delta = combine(Rule(name, mixing=True), updates, samples, shift, reference)
    longest = np.sqrt((updates**2).sum(axis=1).max())
    assert np.linalg.norm(delta / 2**shift) <= longest + 12
    if name != "fltrust":  # it turns and stretches them
        assert np.all(delta <= updates.max(axis=0).clip(0) << shift)
        assert np.all(delta >= updates.min(axis=0).clip(None, 0) << shift)
    once = combine(Rule(name, mixing=True), updates, np.ones_like(samples), shift, reference)
    assert np.array_equal(delta, once)  # who lies about its samples gains nothing


def test_fltrust_hears_who_agrees_with_the_server() -> None:
    reference = np.array([300, 400])
    updates = np.array([[6, 8], [-6, -8], [8, -6]])
    assert np.abs(combine(Rule("fltrust"), updates, ones(3), 4, reference) - reference).max() <= 1
    assert not combine(Rule("fltrust"), updates[1:2], ones(1), 4, reference).any()
    assert not combine(Rule("fltrust"), updates, ones(3), 4, np.zeros(2, np.int64)).any()
    with pytest.raises(ConfigError, match="of the server's own"):
        combine(Rule("fltrust"), updates, ones(3), 4)


@pytest.mark.parametrize("mixing", [False, True])
@pytest.mark.parametrize("name", [rule for rule in RULES if rule != "mean"])
def test_a_fifth_of_liars_does_not_steer(name: str, mixing: bool) -> None:
    updates = honest()
    truth = combine(Rule(), updates, ones(10), 10)
    attacked = updates.copy()
    attacked[:2] = np.clip(-4 * updates[:2], -127, 127)
    far = np.linalg.norm(combine(Rule(), attacked, ones(10), 10) - truth)
    rule = Rule(name, mixing=mixing)
    near = np.linalg.norm(combine(rule, attacked, ones(10), 10, truth) - truth)
    assert near < (0.75 if name == "clip" else 0.6) * far  # clip only makes them as loud as the others


def test_boards_without_samples_do_not_count() -> None:
    updates = np.array([[9], [9], [9], [-127]])
    for name in RULES:
        assert combine(Rule(name), updates, np.array([5, 5, 5, 0]), 0, np.array([9]))[0] == 9
    assert not combine(Rule("krum"), updates, np.zeros(4, np.int64), 3).any()


def test_too_few_boards_and_odd_constants_are_refused() -> None:
    with pytest.raises(QuorumError, match="krum needs 3 updates with samples, there are 2"):
        combine(Rule("krum"), honest(2), ones(2), 0)
    with pytest.raises(ConfigError, match=r"liars is 0\.5"):
        Rule("trimmed", liars=0.5)
    with pytest.raises(QuorumError, match="clip needs 3 updates with samples, there are 2"):
        combine(Rule("clip", mixing=True), honest(2), ones(2), 0)
    with pytest.raises(ConfigError, match="no aggregation is called 'average'"):
        Rule("average")

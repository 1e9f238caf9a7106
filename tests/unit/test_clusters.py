"""Clusters of boards from their first deltas."""

import numpy as np
import numpy.typing as npt
import pytest

from tinyfl.errors import BoardError, ConfigError
from tinyfl.federated.clusters import bootstrap, check_chosen, parted, similarity
from tinyfl.federated.update import Update

Int64 = npt.NDArray[np.int64]


def planted(concepts: int, boards: int, seed: int, noise: float = 1.0) -> tuple[Int64, list[int]]:
    """Deltas of boards that learn one of some concepts each, in random order and of random length."""
    random = np.random.default_rng(seed)
    truth = random.permutation([board % concepts for board in range(boards)]).tolist()
    centres = random.normal(size=(concepts, 200))
    deltas = (centres[truth] + noise * random.normal(size=(boards, 200))) * random.uniform(100, 10_000, (boards, 1))
    return np.rint(deltas).astype(np.int64), truth


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("concepts", "boards"), [(2, 6), (3, 20), (5, 60)])
def test_planted_concepts_are_found(seed: int, concepts: int, boards: int) -> None:
    deltas, truth = planted(concepts, boards, seed)
    found = bootstrap(deltas, concepts)
    assert len(set(zip(found, truth, strict=True))) == concepts == len(set(found))
    assert found[0] == 0


def test_one_cluster_and_one_for_each() -> None:
    deltas, _ = planted(2, 7, 0)
    assert set(bootstrap(deltas, 1)) == {0} and bootstrap(deltas, 7) == tuple(range(7))


def test_a_board_that_learned_nothing_is_close_to_none() -> None:
    deltas = np.array([[3, 4], [0, 0], [-3, -4]])
    assert np.allclose(similarity(deltas), [[1, 0, -1], [0, 0, 0], [-1, 0, 1]])
    assert len(set(bootstrap(deltas, 3))) == 3


def test_tensors_are_compared_in_the_same_units() -> None:
    """Two tensors with shifts 0 and 4: what is small in units of the second shift is large in master units."""
    raw = {"a": [9, 0, 0, 9], "b": [9, 0, 9, 0], "c": [0, 9, 0, 9], "d": [0, 9, 9, 0]}
    updates = {name: Update(1, np.array(deltas), np.zeros(0, np.uint8)) for name, deltas in raw.items()}
    apart = {scale: parted(updates, {}, 1, 2, np.array([1, 1, *[scale] * 2])) for scale in (1, 16)}
    assert apart[16] == {"a": 0, "c": 0, "b": 1, "d": 1} and parted(updates, {}, 1, 2) == apart[1] != apart[16]


@pytest.mark.parametrize("clusters", [0, -1, 5, 9])
def test_an_impossible_number_is_refused(clusters: int) -> None:
    with pytest.raises(ConfigError, match=f"{clusters} clusters of 4 boards, expected 1 to 4"):
        bootstrap(planted(2, 4, 0)[0], clusters)


def test_a_choice_that_was_not_offered_is_refused() -> None:
    assert check_chosen(1, 2) == 1
    for cluster in (2, 255, -1):
        with pytest.raises(BoardError, match=f"chose cluster {cluster}, 2 were offered"):
            check_chosen(cluster, 2)

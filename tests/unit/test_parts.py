"""Which boards a recipe gives for ``--on sim:N``, and what of a user's data each of several boards holds."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tinyfl.errors import UsageError
from tinyfl_host.fleet import Member
from tinyfl_host.parts import LEAST, deal, recipe_members, shares
from tinyfl_host.recipe import Recipe, UserSettings


def recipe() -> Recipe:
    users = UserSettings((), ("5", "6", "7", "8", "9", "10"), 2)
    return Recipe("r", Path("r"), ("a", "b"), "model.py:build", users=users)


def test_a_thousand_boards_share_the_users_evenly() -> None:
    members = recipe_members(recipe(), "sim:1000", None, 0)
    assert [member.index for member in members] == list(range(1000)) and {member.link for member in members} == {"sim"}
    assert len({member.name for member in members}) == 1000 and max(len(member.name) for member in members) <= 16
    shared = Counter(member.user for member in members)
    assert sorted(shared.values()) == [166, 166, 167, 167, 167, 167] and all(m.parts == shared[m.user] for m in members)
    assert members[0].name == "user-7.0" and [m.role for m in members] == ["client"] * 668 + ["unseen"] * 332
    assert shares(members) == "1000 boards share the samples of 6 users, 166-167 boards those of each"


def test_sim_alone_is_a_board_a_user_and_fewer_are_as_elsewhere() -> None:
    assert [m.parts for m in recipe_members(recipe(), "sim", None, 0)] == [1] * 6
    few = recipe_members(recipe(), "sim:3", None, 0)
    assert [m.user for m in few] == [m.user for m in recipe_members(recipe(), "twin", 3, 0)] and shares(few) == ""


REFUSED = ["sim:0", "sim:", "sim:x", "sim:-1", "sim:1.5", "sim:10000001", "sims"]


@pytest.mark.parametrize(("on", "boards"), [*((on, None) for on in REFUSED), ("sim:10", 5), ("sim", 7)])
def test_what_cannot_be_simulated_is_refused(on: str, boards: int | None) -> None:
    with pytest.raises(UsageError) as error:
        recipe_members(recipe(), on, boards, 0)
    assert error.value.hint


def cards(train: int, test: int, parts: int) -> list[tuple[list[int], list[int]]]:
    """The numbers of the samples that each of the boards gets."""
    x = [np.arange(n, dtype=np.float32).reshape(-1, 1) for n in (train, test)]
    y = [np.arange(n).astype(np.uint8) for n in (train, test)]
    members = [Member(f"b{i}", i, "sim", "7", part=i, parts=parts) for i in range(parts)]
    dealt = [deal((x[0], y[0], x[1], y[1]), member) for member in members]
    assert all(np.array_equal(d[0][:, 0].astype(np.uint8), d[1]) for d in dealt)
    return [(d[0][:, 0].astype(int).tolist(), d[2][:, 0].astype(int).tolist()) for d in dealt]


def every(lists: list[list[int]]) -> list[int]:
    return sorted(number for numbers in lists for number in numbers)


def test_samples_are_dealt_so_that_no_two_boards_have_the_same() -> None:
    dealt = cards(200, 30, 4)
    assert [len(train) for train, _ in dealt] == [50] * 4
    assert every([train for train, _ in dealt]) == list(range(200))
    assert every([test for _, test in dealt]) == list(range(30))


def test_where_they_are_too_few_each_board_draws_its_own() -> None:
    dealt = cards(200, 30, 100)
    assert all(len(set(train)) == LEAST for train, _ in dealt) and len({tuple(train) for train, _ in dealt}) == 100
    assert every([test for _, test in dealt]) == list(range(30))
    assert cards(200, 30, 100) == dealt
    assert [len(train) for train, _ in cards(5, 0, 3)] == [5, 5, 5] and [len(t) for t, _ in cards(0, 0, 2)] == [0, 0]


def skewed(classes: int, per_board: int) -> Recipe:
    users = UserSettings((), ("5", "6", "7", "8", "9", "10"), 2, per_board)
    return Recipe("r", Path("r"), tuple("abcdefg"[:classes]), "model.py:build", users=users)


def test_each_client_gets_some_of_the_classes_others_in_each_draw() -> None:
    members = recipe_members(skewed(7, 3), "twin", None, 0)
    drawn = [member.classes for member in members]
    assert all(len(classes.split(",")) == 3 for classes in drawn[:4]) and len(set(drawn[:4])) > 1
    assert drawn[4:] == ["", ""]  # who is never seen keeps them all
    assert drawn == [member.classes for member in recipe_members(skewed(7, 3), "sim", None, 0)]
    assert drawn != [member.classes for member in recipe_members(skewed(7, 3), "twin", None, 1)]
    for all_of_them in (0, 7):
        assert {member.classes for member in recipe_members(skewed(7, all_of_them), "twin", None, 0)} == {""}


def test_a_board_holds_samples_of_its_classes_alone() -> None:
    x, y = np.arange(21, dtype=np.float32).reshape(-1, 1), (np.arange(21) % 7).astype(np.uint8)
    for parts in (1, 2):
        x_train, y_train, x_test, y_test = deal((x, y, x, y), Member("b", 0, "sim", "7", parts=parts, classes="1,6"))
        assert set(y_train.tolist()) == {1, 6} >= set(y_test.tolist())
        assert np.array_equal(x_train[:, 0] % 7, y_train) and np.array_equal(x_test[:, 0] % 7, y_test)
        assert len(y_train) == 6 and len(y_test) == 6 // parts

"""Rounds of an adapter and the head on boards in C: the twin's byte for byte, whatever is private, reset or dropped."""

from pathlib import Path
from typing import Any

import pytest
from support_board import build_board
from support_rounds import ADAPTED, ProcessFleet, TwinFleet, contents, members, raising, resets, run, settings
from support_sim import SimFleet, library

from tinyfl_host.events import BoardDropped
from tinyfl_host.recipe import ClusterSettings, PersonalSettings, UpdateSettings
from tinyfl_host.settings import Settings

pytestmark = pytest.mark.slow

PRIVATE = ("none", "head", "adapter")
INT8 = UpdateSettings()
TOP = UpdateSettings(codec="int4", select="top", share=0.3, entropy=True, downlink="difference")
RANDOM = UpdateSettings(codec="int2", select="random", share=0.5)
SIGNS = UpdateSettings(codec="sign", dense_rounds=1, entropy=True)
UPDATES = {"int8": INT8, "top": TOP, "random": RANDOM, "sign": SIGNS}


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_board("gcc", ADAPTED, tmp_path_factory.mktemp("board"))


def plan(private: str, update: UpdateSettings = INT8, **changes: Any) -> Settings:
    """Four rounds, and each board alone."""
    return settings(**{"rounds": 4, "personal": PersonalSettings(private=private), "update": update, **changes})


@pytest.mark.parametrize("private", PRIVATE)
@pytest.mark.parametrize("update", UPDATES)
def test_processes_boards_in_this_process_and_twins_are_the_same(
    tmp_path: Path, firmware: Path, private: str, update: str
) -> None:
    own = plan(private, UPDATES[update])
    with ProcessFleet("posix", firmware, members(), ADAPTED) as fleet:
        run(tmp_path / "posix", fleet, own)
    run(tmp_path / "sim", SimFleet(library(ADAPTED), members(), ADAPTED), own)
    run(tmp_path / "twin", TwinFleet(members(), None, ADAPTED), own)
    assert contents(tmp_path / "posix") == contents(tmp_path / "twin")
    assert contents(tmp_path / "sim") == contents(tmp_path / "twin")


@pytest.mark.parametrize("private", PRIVATE)
def test_boards_with_one_sample_none_or_a_single_class_are_the_twins(tmp_path: Path, private: str) -> None:
    own, odd = plan(private, TOP, local_only=False), members(11, 0)
    outcome = run(tmp_path / "sim", SimFleet(library(ADAPTED), odd, ADAPTED), own)
    run(tmp_path / "twin", TwinFleet(odd, None, ADAPTED), own)
    assert not outcome.of(BoardDropped) and contents(tmp_path / "sim") == contents(tmp_path / "twin")


def test_clusters_and_heads_of_their_own_are_the_twins(tmp_path: Path) -> None:
    own = plan("none", TOP, clusters=ClusterSettings(2), personal=PersonalSettings(tune=2))
    run(tmp_path / "sim", SimFleet(library(ADAPTED), members(), ADAPTED), own)
    run(tmp_path / "twin", TwinFleet(members(), None, ADAPTED), own)
    assert contents(tmp_path / "sim") == contents(tmp_path / "twin")


@pytest.mark.parametrize("private", ["head", "adapter"])
@pytest.mark.parametrize("stored", [True, False], ids=["store", "no store"])
def test_a_board_that_is_reset_goes_on_with_what_is_private(
    tmp_path: Path, firmware: Path, private: str, stored: bool
) -> None:
    """Before it trains, before it sends, before it is measured; another board is dropped twice. With a store it never
    has to do old rounds again."""
    own, left, asked = plan(private, TOP, rounds=6, local_only=False), {(2, "train"), (3, "collect"), (4, "load")}, []
    faults = {"b2": raising("collect", 3, 4)}
    (tmp_path / "flash").mkdir()
    flash = tmp_path / "flash" if stored else None
    with ProcessFleet("posix", firmware, members(), ADAPTED, flash=flash) as fleet:
        fleet.faults = {**faults, "b1": resets(fleet, "b1", left, asked)}
        outcome = run(tmp_path / "posix", fleet, own, patience=5.0)
    run(tmp_path / "twin", TwinFleet(members(), faults, ADAPTED), own)
    assert not left and {(drop.round, drop.board) for drop in outcome.of(BoardDropped)} == {(3, "b2"), (4, "b2")}
    assert contents(tmp_path / "posix") == contents(tmp_path / "twin")
    assert (asked == sorted(asked)) == stored
    assert asked.count(1) == (1 if stored else 4)


@pytest.mark.parametrize("private", ["head", "adapter"])
def test_a_run_goes_on_with_what_its_boards_stored(tmp_path: Path, firmware: Path, private: str) -> None:
    """The host is interrupted after round 3, and all boards lose their power."""
    own, asked = plan(private, rounds=5, local_only=False), [0]

    def stop(event: Any) -> None:
        if type(event).__name__ == "RoundDone" and event.round == 3:
            raise KeyboardInterrupt

    (tmp_path / "flash").mkdir()

    def fleet() -> ProcessFleet:
        return ProcessFleet("posix", firmware, members(), ADAPTED, flash=tmp_path / "flash")

    with fleet() as first, pytest.raises(KeyboardInterrupt):
        run(tmp_path / "posix", first, own, stop=stop)
    with fleet() as second:
        second.faults = {"b1": resets(second, "b1", set(), asked)}
        run(tmp_path / "posix", second, own, resume=True)
    run(tmp_path / "twin", TwinFleet(members(), None, ADAPTED), own)
    assert contents(tmp_path / "posix") == contents(tmp_path / "twin")
    assert asked == [0, 4, 5]

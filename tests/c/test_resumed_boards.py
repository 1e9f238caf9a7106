"""A resumed run with error feedback, on boards that another run used in between: the weights are as if none had."""

from pathlib import Path
from typing import Any

import pytest
from support_board import build_board
from support_rounds import MODEL, ProcessFleet, TwinFleet, final, members, raising, run, settings

from tinyfl_host.events import RoundDone
from tinyfl_host.recipe import ClusterSettings, UpdateSettings

pytestmark = pytest.mark.slow

SPARSE = UpdateSettings(codec="int4", select="top", share=0.2, feedback=True, downlink="difference")
STOP = 3  # the run is interrupted after this round


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_board("gcc", MODEL, tmp_path_factory.mktemp("board"))


def plan(**changes: Any) -> Any:
    return settings(**{"rounds": 5, "local_only": False, "update": SPARSE, **changes})


def interrupt(event: object) -> None:
    if isinstance(event, RoundDone) and event.round == STOP:
        raise KeyboardInterrupt


def interrupted(folder: Path, fleet: ProcessFleet, **changes: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(folder, fleet, plan(**changes), stop=interrupt)


def trained(fleet: ProcessFleet, name: str) -> list[int]:
    """Gets the rounds that a board trains from now on."""
    rounds: list[int] = []
    fleet.faults[name] = lambda method, round: rounds.append(round) if method == "train" else None
    return rounds


def other(folder: Path, fleet: ProcessFleet, rounds: int) -> None:
    """Another run with the same seed on the same boards."""
    run(folder, fleet, plan(rounds=rounds, epochs=1, rate=0.25))


@pytest.mark.parametrize("flash", [False, True])
@pytest.mark.parametrize("rounds", [1, STOP, STOP + 1])
def test_a_board_that_was_in_another_run_does_its_rounds_again(
    tmp_path: Path, firmware: Path, flash: bool, rounds: int
) -> None:
    run(tmp_path / "twin", plan=plan())
    with ProcessFleet("posix", firmware, members(), flash=tmp_path if flash else None) as fleet:
        interrupted(tmp_path / "run", fleet)
        other(tmp_path / "other", fleet, rounds)
        again = trained(fleet, "b1")
        run(tmp_path / "run", fleet, plan(), resume=True)
    assert again == [4, 1, 2, 3, 4, 5]  # refused, then from the start
    assert final(tmp_path / "run") == final(tmp_path / "twin")


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("clusters", [1, 2])
def test_a_board_that_was_in_no_other_goes_on(tmp_path: Path, firmware: Path, reset: bool, clusters: int) -> None:
    """With a store that says so; also one whose update of the last round was not taken."""
    parts = {"clusters": ClusterSettings(clusters)}
    run(tmp_path / "whole", TwinFleet(members(), {"b2": raising("collect", STOP)}), plan(**parts))
    with ProcessFleet("posix", firmware, members(), flash=tmp_path) as fleet:
        fleet.faults["b2"] = raising("collect", STOP)
        interrupted(tmp_path / "run", fleet, **parts)
        if reset:
            for machine in fleet.emulators.values():
                machine.reset()
        again = {name: trained(fleet, name) for name in ("b1", "b2")}
        run(tmp_path / "run", fleet, plan(**parts), resume=True)
    assert again == {"b1": [4, 5], "b2": [4, 5]}
    assert final(tmp_path / "run") == final(tmp_path / "whole")

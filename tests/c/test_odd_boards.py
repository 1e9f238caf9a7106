"""Boards with one sample, none or a single class, under each rule: the same on boards and twins, and sane."""

from pathlib import Path

import numpy as np
import pytest
from support_board import build_board
from support_rounds import MODEL, ProcessFleet, TwinFleet, contents, head_format, members, run, samples, settings
from support_sim import SimFleet, library

from tinyfl_host.history import History
from tinyfl_host.ledger import Ledger
from tinyfl_host.plan import Plan
from tinyfl_host.recipe import ClientSettings, ServerSettings, UpdateSettings
from tinyfl_host.serving import choose, round_bytes
from tinyfl_host.settings import Settings

ODD = members(11, 0)  # b2 has seven samples, b7 a single class, b8 one sample, b9 none
SIGNS = UpdateSettings(codec="sign", entropy=True, feedback=True)
SPARSE = UpdateSettings(codec="int4", select="random", share=0.3, downlink="int8")
PLANS = {
    "mean": settings(local_only=False),
    "adam-median": settings(server=ServerSettings("fedadam", aggregate="median"), update=SPARSE, local_only=False),
    "yogi-krum": settings(server=ServerSettings("fedyogi", aggregate="krum"), local_only=False),
    "reptile-trimmed": settings(server=ServerSettings("reptile", aggregate="trimmed"), update=SIGNS, local_only=False),
    "momentum-clip-power": settings(
        server=ServerSettings("fedavgm", aggregate="clip"), fraction=0.5, clients=ClientSettings("power"), rounds=6
    ),
}


@pytest.fixture(scope="module")
def small() -> Path:
    return library(MODEL)


def test_they_are_odd() -> None:
    assert [len(samples(board)[1]) for board in (2, 7, 8, 9)] == [7, 20, 1, 0] and len(set(samples(7)[1])) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANS)
def test_the_same_in_this_process_as_on_twins(tmp_path: Path, small: Path, name: str) -> None:
    run(tmp_path / "sim", SimFleet(small, ODD), PLANS[name])
    run(tmp_path / "twin", TwinFleet(ODD), PLANS[name])
    assert contents(tmp_path / "sim") == contents(tmp_path / "twin")
    with Ledger(tmp_path / "sim/0001", write=False) as ledger:
        assert not ledger.drops()
        updates = [update for _, update in ledger.updates()]
        counts = {update.board: (update.samples, update.first_loss) for update in updates}
        assert counts["b8"][0] == 1 and counts["b9"] == (0, 0)
        masters = [row.masters for row in ledger.rounds()]
    assert all(np.abs(master).max() < 2**30 for master in masters)
    assert len({master.tobytes() for master in masters}) == len(masters)  # each round learned something


def test_the_same_on_processes_and_no_more_bytes_than_the_choice_by_link_reckons_with(tmp_path: Path) -> None:
    few = [ODD[board] for board in (0, 1, 7, 8, 9)]
    plan: Settings = PLANS["adam-median"]
    with ProcessFleet("posix", build_board("gcc", MODEL, tmp_path / "board"), few) as fleet:
        run(tmp_path / "process", fleet, plan)
    run(tmp_path / "twin", TwinFleet(few), plan)
    assert contents(tmp_path / "process") == contents(tmp_path / "twin")
    assert len(choose(Plan(head_format(), plan), few, History(), 1)) == 5
    with Ledger(tmp_path / "process/0001", write=False) as ledger:
        for round, update in ledger.updates():
            assert update.bytes_up + update.bytes_down < 2 * round_bytes(Plan(head_format(), plan), round)

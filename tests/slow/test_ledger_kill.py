"""kill -9 of the host before each statement that it gives to the ledger: --resume ends with the same weights."""

import os
import signal
import sys
from pathlib import Path

import pytest
from support_rounds import ADAPTED, MODEL, Outcome, TwinFleet, final, members, run, settings

from tinyfl_host.ledger import Ledger
from tinyfl_host.recipe import ClientSettings, PersonalSettings, ServerSettings, UpdateSettings
from tinyfl_host.settings import Settings

SPARSE = UpdateSettings(codec="int4", select="top", share=0.2, feedback=True, downlink="difference")
POWER = ClientSettings("power", candidates=1.0)
PLANS = {
    "dense": settings(rounds=2),
    "feedback": settings(rounds=3, local_only=False, update=SPARSE),
    "adam": settings(rounds=4, local_only=False, fraction=0.75, server=ServerSettings("fedadam"), clients=POWER),
    "momentum": settings(rounds=3, local_only=False, server=ServerSettings("fedavgm", aggregate="median")),
    "private": settings(rounds=3, local_only=False, personal=PersonalSettings(private="head")),
}


def done(folder: Path, plan: Settings, resume: bool = False) -> Outcome:
    """A run on new boards, which have an adapter where something is private."""
    model = MODEL if plan.personal.private == "none" else ADAPTED
    return run(folder, TwinFleet(members(), None, model), plan, resume=resume)


def statements(folder: Path, plan: Settings) -> int:
    """How many statements a whole run gives to its ledger, reading included."""
    count = [0]
    traced(lambda: count.__setitem__(0, count[0] + 1), folder, plan)
    return count[0]


def traced(each: object, folder: Path, plan: Settings) -> None:
    """A run whose ledger calls ``each`` before every statement."""
    original = Ledger.__init__

    def traced_init(self: Ledger, *arguments: object, **named: object) -> None:
        original(self, *arguments, **named)  # type: ignore[arg-type]
        self._db.set_trace_callback(lambda _: each())  # type: ignore[operator]

    Ledger.__init__ = traced_init  # type: ignore[method-assign]
    try:
        done(folder, plan)
    finally:
        Ledger.__init__ = original  # type: ignore[method-assign]


def killed_at(number: int, folder: Path, plan: Settings) -> int:
    """A child that runs and kills itself before statement ``number``; its wait status."""
    child = os.fork()
    if child == 0:
        left = [number]

        def countdown() -> None:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 - this process ends here
        traced(countdown, folder, plan)
        os._exit(0)
    return os.waitpid(child, 0)[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANS)
def test_a_host_that_is_killed_between_any_two_writes_resumes_to_the_same_weights(tmp_path: Path, name: str) -> None:
    """The boards are new after that, and have lost what their updates left out, or what was private."""
    plan = PLANS[name]
    count = statements(tmp_path / "whole", plan)
    expected = final(tmp_path / "whole")
    assert count > 40
    for number in range(1, count + 1):
        folder = tmp_path / str(number)
        assert os.WIFSIGNALED(killed_at(number, folder, plan))
        outcome = done(folder, plan, resume=True)
        assert outcome.done is not None and outcome.done.rounds == plan.rounds
        assert final(folder) == expected, number

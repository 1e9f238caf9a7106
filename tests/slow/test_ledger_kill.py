"""kill -9 of the host before each statement that it gives to the ledger: --resume ends with the same weights."""

import os
import signal
import sys
from pathlib import Path

import pytest
from support_rounds import final, run, settings

from tinyfl_host.ledger import Ledger

PLAN = settings(rounds=2)


def statements(folder: Path) -> int:
    """How many statements a whole run gives to its ledger, reading included."""
    count = [0]
    traced(lambda: count.__setitem__(0, count[0] + 1), folder)
    return count[0]


def traced(each: object, folder: Path) -> None:
    """A run whose ledger calls ``each`` before every statement."""
    original = Ledger.__init__

    def traced_init(self: Ledger, *arguments: object, **named: object) -> None:
        original(self, *arguments, **named)  # type: ignore[arg-type]
        self._db.set_trace_callback(lambda _: each())  # type: ignore[operator]

    Ledger.__init__ = traced_init  # type: ignore[method-assign]
    try:
        run(folder, plan=PLAN)
    finally:
        Ledger.__init__ = original  # type: ignore[method-assign]


def killed_at(number: int, folder: Path) -> int:
    """A child that runs and kills itself before statement ``number``; its wait status."""
    child = os.fork()
    if child == 0:
        left = [number]

        def countdown() -> None:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 - this process ends here
        traced(countdown, folder)
        os._exit(0)
    return os.waitpid(child, 0)[1]


@pytest.mark.slow
def test_a_host_that_is_killed_between_any_two_writes_resumes_to_the_same_weights(tmp_path: Path) -> None:
    count = statements(tmp_path / "whole")
    expected = final(tmp_path / "whole")
    assert count > 40
    for number in range(1, count + 1):
        folder = tmp_path / str(number)
        assert os.WIFSIGNALED(killed_at(number, folder))
        outcome = run(folder, plan=PLAN, resume=True)
        assert outcome.done is not None and outcome.done.rounds == 2
        assert final(folder) == expected, number

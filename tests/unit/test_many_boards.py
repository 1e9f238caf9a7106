"""What people see of a run with more boards than lines on a screen."""

import pytest

from tinyfl.errors import QuorumError
from tinyfl_host import events
from tinyfl_host.cli.progress import Lines
from tinyfl_host.cli.run import EACH, spread
from tinyfl_host.crew import SHOWN, Crew
from tinyfl_host.summary import BoardFigures

LIVE = events.Bytes(1, 1, 1)


def drop(number: int) -> events.BoardDropped:
    return events.BoardDropped(1, f"b{number}", "train", "late")


def test_of_many_drops_the_first_dozen_are_said_and_the_rest_is_counted() -> None:
    said: list[str] = []
    lines = Lines(said.append)
    for number in range(1000):
        lines.show(drop(number))
        lines.show(events.BoardJoined(1, "other", 1, 1))
    lines.show(events.RoundDone(1, None, 5, 0, 0.0, LIVE, 1.0))
    assert len(said) == SHOWN + 2 and said[-2] == f"and {1000 - SHOWN} more boards dropped"
    for number in range(SHOWN):
        lines.show(drop(number))
    lines.show(events.RoundDone(2, None, 5, 0, 0.0, LIVE, 1.0))
    assert len(said) == 2 * SHOWN + 3 and "more" not in said[-2]


def test_the_memory_of_boards_in_this_process() -> None:
    said: list[str] = []
    Lines(said.append).show(events.Simulated(1000, 2672, 95_000, 906_000))
    assert said == ["1000 boards in this process: 2.7 kB each, 95 B of embeddings, 906 B of samples"]


def figures(number: int, role: str = "client") -> BoardFigures:
    share = None if role == "unseen" else number / 100
    return BoardFigures(f"b{number}", "7", role, "sim", number, share, share, None, 1, number, 2 * number, 0)


def test_many_boards_are_three_lines_a_role() -> None:
    rows = spread([figures(n) for n in range(101)] + [figures(n, "unseen") for n in range(3)])
    assert EACH < 101 and [row[:3] for row in rows[:3]] == [
        ("client", 101, "lowest"), ("client", 101, "median"), ("client", 101, "highest")
    ]  # fmt: skip
    assert [row[3] for row in rows[:3]] == [0, 50, 100] and rows[1][4] == "50.0 %" and rows[4][4] == "-"


def test_an_error_names_the_first_dozen() -> None:
    crew = Crew.__new__(Crew)
    crew.drops = [drop(number) for number in range(1000)]
    lines = str(QuorumError(f"too few{crew.reasons()}", "")).splitlines()
    assert len(lines) == SHOWN + 2 and lines[1] == "b0, train: late" and lines[-1] == f"and {1000 - SHOWN} more"
    crew.drops = crew.drops[:SHOWN]
    assert "more" not in crew.reasons()


@pytest.mark.parametrize("count", [1, 2, 13])
def test_quantiles_of_few(count: int) -> None:
    assert len(spread([figures(n) for n in range(count)])) == 3

"""Grids: what can be typed after --over or stand in sweep.toml, and what is refused in one sentence."""

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyfl.errors import ConfigError, UsageError
from tinyfl_host.grid import MOST, keys, points, read_file, read_over, shown, told, varied
from tinyfl_host.settings import OPTIONS, SECTIONS, Settings


def test_every_key_of_a_run_can_be_swept() -> None:
    known = keys()
    plain = {field.name for field in dataclasses.fields(Settings)} - set(SECTIONS)
    assert set(known) == plain | set(OPTIONS) and {"on", "boards", "codec", "draw", "feedback"} <= set(known)


def test_values_have_the_type_of_their_key() -> None:
    grid = read_over(["codec=int8, sign", "rate=0.25,1", "draw=0..2,7", "feedback=true,no", "quorum=3,0.5", "on=sim:3"])
    assert grid == {
        "codec": ("int8", "sign"),
        "rate": (0.25, 1.0),
        "draw": (0, 1, 2, 7),
        "feedback": (True, False),
        "quorum": (3, 0.5),
        "on": ("sim:3",),
    }
    assert [type(value) for value in grid["quorum"]] == [int, float] and type(grid["rate"][1]) is float


def test_names_that_people_use() -> None:
    names = ["participation=0.5", "clients=3", "update.codec=int4", "run.rounds=2", "dense-rounds=1"]
    assert list(read_over(names)) == ["fraction", "boards", "codec", "rounds", "dense_rounds"]


def test_points_keep_repeats_together() -> None:
    grid = read_over(["seed=1,2", "codec=int8,sign", "rounds=3", "draw=0,1"])
    made = points(grid)
    assert len(made) == 8 and [point["codec"] for point in made] == ["int8"] * 4 + ["sign"] * 4
    assert told(made[1]) == "codec=int8 rounds=3 seed=1 draw=1" and varied(grid) == ["codec"]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("codec", "--over codec: no values", "VALUE,VALUE"),
        ("", "--over : no values", "KEY=VALUE"),
        ("codex=int8", "no such key: codex", "did you mean codec"),
        ("update=1", "no such key: update", ""),
        ("__class__=1", "no such key", ""),
        ("codec=", "'' is not a value of codec", "a text"),
        ("draw=0,,1", "'' is not a value of draw", "whole numbers"),
        ("rounds=1.5", "'1.5' is not a value of rounds", "whole numbers"),
        ("rounds=" + "9" * 30, "is not a value of rounds", "whole numbers"),
        ("rate=nan", "'nan' is not a value of rate", "numbers"),
        ("rate=inf", "'inf' is not a value of rate", "numbers"),
        ("feedback=2", "'2' is not a value of feedback", "true or false"),
        ("draw=4..0", "a range of -3 values", "first..last"),
        ("draw=0..99999999999", "a range of 100000000000 values", "first..last"),
        ("draw=1,1", "1 is there twice", "once"),
        ("rate=0.5,0.50", "0.5 is there twice", "once"),
        ("on=sim\x1b[2J", "is not a value of on", "a text"),
    ],
)
def test_what_is_refused(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as error:
        read_over([text])
    assert message in error.value.message and hint in error.value.hint


def test_a_key_has_one_place_and_a_grid_a_size() -> None:
    with pytest.raises(UsageError, match="draw is swept twice"):
        read_over(["draw=0", "draws=1"])
    with pytest.raises(UsageError, match="at most 4,096"):
        points(read_over([f"seed=1..{MOST}", "draw=0,1"]))


@given(st.text(max_size=40))
def test_no_text_breaks_it(text: str) -> None:
    for line in (text, f"rate={text}", f"draw={text}", f"quorum={text}", f"codec={text}"):
        with contextlib.suppress(UsageError):
            assert all(read_over([line]).values())


@given(st.one_of(st.booleans(), st.integers(0, 10**9), st.floats(1e-6, 1e6)))
def test_what_is_shown_can_be_typed(value: bool | int | float) -> None:
    key = {bool: "feedback", int: "seed", float: "rate"}[type(value)]
    (back,) = read_over([f"{key}={shown(value)}"])[key]
    assert back == pytest.approx(value, rel=1e-5)


def grid_file(folder: Path, text: str) -> Any:
    path = folder / "sweep.toml"
    path.write_text(text)
    return read_file(path)


def test_a_file_says_the_same_as_options(tmp_path: Path) -> None:
    text = (
        'on = "twin"\ntarget = 0.75\n[over]\ncodec = ["int8", "sign"]\nrate = 0.5\ndraw = "0..2"\nfeedback = [true]\n'
    )
    read = grid_file(tmp_path, text)
    assert read.over == read_over(["codec=int8,sign", "rate=0.5", "draw=0..2", "feedback=true"])
    assert (read.on, read.target) == ("twin", 0.75) and grid_file(tmp_path, "").over == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("over = [", "not TOML"),
        ("over = 3", "expected a table"),
        ("on = 3", "expected a table"),
        ("target = true", "expected a fraction"),
        ('target = "high"', "expected a fraction"),
        ("jobs = 3", "unknown key: jobs"),
        ("[over]\ncodec = [[1]]", "codec = [1]"),
        ("[over]\ncodec = {a = 1}", "codec = {'a': 1}"),
        ("[over]\ncodec = []", "'' is not a value"),
        ("[over]\ncodex = 1", "no such key: codex"),
        ("[over]\nrate = nan", "'nan' is not a value"),
        ("[over]\nrounds = 1979-05-27", "rounds = datetime.date"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        grid_file(tmp_path, text)
    assert message in error.value.message and str(tmp_path / "sweep.toml") in error.value.message
    with pytest.raises(ConfigError, match="none"):
        read_file(tmp_path / "none.toml")

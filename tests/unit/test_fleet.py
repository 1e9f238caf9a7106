"""fleet.toml, the boards of a recipe, and the settings of a run: what is legal, and what is said of the rest."""

import dataclasses
from pathlib import Path

import pytest

from tinyfl.errors import ConfigError, UsageError
from tinyfl_host.fleet import Member, read_fleet
from tinyfl_host.parts import recipe_members
from tinyfl_host.recipe import Recipe, RunSettings, UserSettings
from tinyfl_host.settings import resettle, settle

GOOD = """
[[board]]
name = "kitchen"
link = "emu:qemu-m4"
user = "7"

[[board]]
name = "hall"
link = "serial:/dev/ttyACM0,115200"
env = "microbit"
role = "unseen"

[[board]]
name = "lab"
link = "posix"
data = "lab.bin"
"""


def fleet(tmp_path: Path, text: str) -> list[Member]:
    path = tmp_path / "fleet.toml"
    path.write_text(text)
    return read_fleet(path)


def test_a_fleet_file_names_its_boards(tmp_path: Path) -> None:
    kitchen, hall, lab = fleet(tmp_path, GOOD)
    assert kitchen == Member("kitchen", 0, "emu:qemu-m4", "7") and kitchen.env == "qemu-m4" and kitchen.needs_data
    assert (hall.index, hall.role, hall.trains, hall.env, hall.needs_data) == (1, "unseen", False, None, False)
    assert fleet(tmp_path, GOOD.replace('user = "7"', 'user = "7"\nrate = 960', 1))[0].rate == 960.0
    assert (lab.env, lab.data) == ("posix", str(tmp_path / "lab.bin"))


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ('link = "posix"', 'lnk = "posix"', "board 3: unknown key: lnk", "did you mean link?"),
        ('[[board]]\nname = "lab"', '[[bord]]\nname = "lab"', "unknown section: bord", "did you mean board?"),
        ('role = "unseen"', 'role = "client"\nuser = 5', "board 2: user = 5, expected a text", "write user"),
        ('role = "unseen"', "rate = -1", "board 2: rate = -1", "bytes a second"),
        ('role = "unseen"', "rate = nan", "board 2: rate = nan", "bytes a second"),
        ('role = "unseen"', 'rate = "fast"', "board 2: rate = 'fast'", "bytes a second"),
        ('role = "unseen"', "rate = true", "board 2: rate = True", "bytes a second"),
        ('role = "unseen"', 'role = "boss"', "board 2: role = 'boss'", "client or unseen"),
        ('name = "hall"', 'name = "kitchen"', "two boards are named 'kitchen'", "once"),
        ('name = "hall"', 'name = "a name of seventeen"', "at most 16", "shorten"),
        ('user = "7"', 'user = "7"\ndata = "x.bin"', "board 1: both user and data", "one of them"),
        ('user = "7"', "", "board 1: neither user and data", "one of them"),
        ('name = "lab"\n', "", "board 3: name is missing", "name ="),
        (GOOD, "", "no boards", "[[board]]"),
        (GOOD, "[[board]\n", "not TOML", "mend"),
        (GOOD, 'board = "x"', "no boards", "[[board]]"),
        (GOOD, '[[board]]\nname = "a"\nlink = "tcp:h:1"\nrole = "unseen"', "no board trains", "client"),
    ],
)
def test_mistakes_in_a_fleet_file_are_named(tmp_path: Path, old: str, new: str, message: str, hint: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as error:
        fleet(tmp_path, GOOD.replace(old, new))
    assert message in error.value.message and hint in error.value.hint


def test_a_fleet_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_fleet(tmp_path / "none.toml")


def recipe(users: tuple[str, ...] = ("5", "6", "7", "8", "9", "10"), unseen: int = 2) -> Recipe:
    return Recipe("r", Path("r"), ("a", "b"), "model.py:build", users=UserSettings((), users, unseen))


def names(members: list[Member], role: str) -> list[str]:
    return [member.user for member in members if member.role == role]


def test_boards_hold_one_user_each_clients_first() -> None:
    members = recipe_members(recipe(), "twin", None, 0)
    assert [member.index for member in members] == list(range(6))
    assert names(members, "client") == ["7", "8", "9", "10"] and names(members, "unseen") == ["5", "6"]
    assert members[0].name == "user-7" and len({member.name for member in members}) == 6


@pytest.mark.parametrize(("boards", "clients", "unseen"), [(6, 4, 2), (5, 3, 2), (3, 1, 2), (2, 1, 1), (1, 1, 0)])
def test_fewer_boards_leave_out_clients_first(boards: int, clients: int, unseen: int) -> None:
    members = recipe_members(recipe(), "twin", boards, 0)
    assert (len(names(members, "client")), len(names(members, "unseen"))) == (clients, unseen)


@pytest.mark.parametrize("boards", [0, -1, 7])
def test_more_boards_than_users_is_an_error(boards: int) -> None:
    with pytest.raises(UsageError, match="6 users") as error:
        recipe_members(recipe(), "twin", boards, 0)
    assert "--boards 1 to 6" in error.value.hint


@pytest.mark.parametrize("on", ["serial:/dev/ttyACM0", "emu:nothing", "qemu-m4", "emu:"])
def test_what_cannot_be_booted_is_refused(on: str) -> None:
    with pytest.raises(UsageError):
        recipe_members(recipe(), on, None, 0)


def test_hostile_users_get_names_that_fit_a_board() -> None:
    users = ("a" * 40, "a" * 41, "é/../x", "\n", "5")
    members = recipe_members(recipe(users, 0), "twin", None, 0)
    made = [member.name for member in members]
    assert len(set(made)) == 5 and all(0 < len(name.encode()) <= 16 and name.isprintable() for name in made)
    assert all("/" not in name for name in made)


def test_an_option_wins_over_the_recipe_and_the_recipe_over_the_default() -> None:
    base = Recipe("r", Path("r"), ("a",), "f", run=RunSettings(rounds=7, epochs=2))
    settings = settle(base, "twin", 4, {"rounds": 9, "epochs": None})
    assert (settings.rounds, settings.epochs, settings.rate, settings.draw) == (9, 2, 0.5, 0)
    with pytest.raises(UsageError, match=r"fraction = 1\.5"):
        settle(base, "twin", 4, {"fraction": 1.5})


def test_resuming_with_other_settings_names_both() -> None:
    kept = dataclasses.asdict(settle(recipe(), "twin", 6, {}))
    assert resettle(kept, {"rounds": None, "rate": 0.5}, "0001").rate == 0.5
    assert resettle(kept, {"quorum": 1, "deadline": 5.0}, "0001").quorum == 1
    with pytest.raises(UsageError, match=r"run 0001 was started with rounds = 20, now rounds = 9"):
        resettle(kept, {"rounds": 9}, "0001")
    with pytest.raises(UsageError, match=r"run 0001 was started with codec = int8, now codec = sign"):
        resettle(kept, {"codec": "sign"}, "0001")
    del kept["update"]["entropy"]
    with pytest.raises(ConfigError, match=r"settings of another version: entropy"):
        resettle(kept, {}, "0001")

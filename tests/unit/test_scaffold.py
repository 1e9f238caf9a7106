"""``tinyfl new``: a folder that loads as it comes, the same on every call, and nothing half-made."""

from pathlib import Path

import pytest

from tinyfl.errors import ConfigError, UsageError
from tinyfl_host.dataset import board_data, lab_samples, load_samples
from tinyfl_host.recipe import draw_users, load_recipe
from tinyfl_host.scaffold import APPLIANCES, HOMES, LAB, new_recipe


def test_the_template_loads(tmp_path: Path) -> None:
    recipe = load_recipe(new_recipe(tmp_path / "plug"))
    data = load_samples(recipe)
    assert recipe.name == "plug" and recipe.classes == APPLIANCES
    assert recipe.users.lab == LAB and recipe.users.federated == HOMES
    assert data.x.shape[1:] == (32, 1, 2)
    train, test = lab_samples(recipe, data)
    assert set(train.y) == {0, 1, 2} and len(test.y) > 50  # the lab knows no tv
    for user in HOMES:
        assert set(board_data(data, user)[1]) == {0, 1, 2, 3}
    assert len(draw_users(recipe, 0).clients) == 3


def test_the_same_bytes_on_every_call(tmp_path: Path) -> None:
    first, second = (new_recipe(tmp_path / side / "plug") for side in ("a", "b"))
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert len(files) == 2 + len(LAB + HOMES)
    assert all((first / file).read_bytes() == (second / file).read_bytes() for file in files)


def test_nothing_of_the_template_is_left_open(tmp_path: Path) -> None:
    folder = new_recipe(tmp_path / "my-plug")
    for file in ("recipe.toml", "model.py"):
        assert "my-plug" in (folder / file).read_text() and "$" not in (folder / file).read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["my-plug"]  # the half-made folder is gone


@pytest.mark.parametrize("name", ["pl ug", "é", ".plug", "x" * 41, "pl\nug", "-plug"])
def test_a_name_that_cannot_be_used(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a recipe"):
        new_recipe(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "plug").mkdir()
    (tmp_path / "plug" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        new_recipe(tmp_path / "plug")
    assert (tmp_path / "plug" / "mine.txt").read_text() == "mine"


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file"):
        new_recipe(tmp_path / "file" / "plug")

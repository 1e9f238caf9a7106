"""Recipe folders: what is read, and that each mistake is named with its file, key and remedy."""

import dataclasses
import itertools
import re
from pathlib import Path

import pytest

from tinyfl.errors import ConfigError, DataError, UsageError
from tinyfl_host.recipe import SECTIONS, RunSettings, call, draw_users, load_function, load_recipe

HAR = Path("models/har")
CLASSES = '[model]\nclasses = ["a", "b"]\n'


def write(folder: Path, text: str, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "recipe.toml").write_text(text, encoding="utf-8")
    for name, content in files.items():
        (folder / f"{name}.py").write_text(content)
    return folder


def test_har_recipe() -> None:
    recipe = load_recipe(HAR)
    assert (recipe.name, len(recipe.classes), recipe.data.normalise) == ("har", 7, "lab")
    assert recipe.tflite.is_file() and recipe.manifest.is_file() and recipe.has_data
    assert recipe.users.lab == ("1", "2", "3", "4")
    assert (recipe.run.rounds, recipe.run.epochs, recipe.run.rate, recipe.run.local_rate) == (20, 5, 0.5, 0.25)


def test_defaults_and_the_folder_s_name(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path / "plug", "\ufeff" + CLASSES))  # a BOM, as some editors write it
    assert recipe.name == "plug" and recipe.classes == ("a", "b")
    assert recipe.run == RunSettings() and recipe.data.source == "data.py"
    assert not recipe.has_data


def test_a_folder_with_one_tflite_is_a_recipe_without_data(tmp_path: Path) -> None:
    (tmp_path / "kws.tflite").write_bytes(b"")
    recipe = load_recipe(tmp_path)
    assert (recipe.name, recipe.has_data, recipe.tflite) == ("kws", False, tmp_path / "kws.tflite")
    (tmp_path / "other.tflite").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"recipe\.toml: no such file") as caught:
        load_recipe(tmp_path)
    assert "tinyfl new" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[model\n", "recipe.toml: not TOML: .*line 1", "mend that line"),
        ("[modle]\n", r"unknown section: \[modle\]", r"did you mean \[model\]"),
        ("model = 3\n", "model is a value, expected a section", r"write \[model\]"),
        (CLASSES + "[train]\nepoch = 3\n", r"unknown key in \[train\]: epoch", "did you mean epochs"),
        (CLASSES + "[run]\nzzz = 3\n", r"unknown key in \[run\]: zzz", "known: rounds, epochs"),
        (CLASSES + "[train]\nepochs = 2.5\n", r"\[train\] epochs = 2.5, expected a whole number", "RECIPES"),
        (CLASSES + "[train]\nepochs = true\n", r"\[train\] epochs = True, expected a whole number", "RECIPES"),
        (CLASSES + "[train]\nepochs = 0\n", r"\[train\] epochs = 0, expected 1 to", "RECIPES"),
        (CLASSES + "[train]\nsparsity = 1.0\n", r"sparsity = 1.0, expected 0.0 to 0.95", "RECIPES"),
        (CLASSES + "[run]\nrate = nan\n", r"\[run\] rate = nan, expected", "RECIPES"),
        (CLASSES + "[run]\nrate = 1e400\n", r"\[run\] rate = inf, expected", "RECIPES"),
        (CLASSES + '[run]\nrate = "fast"\n', r"rate = 'fast', expected a number", "RECIPES"),
        (CLASSES + "[run]\nquorum = 1.5\n", r"\[run\] quorum = 1.5", "fraction up to 1.0"),
        (CLASSES + "[users]\nlab = [1, 2]\n", r"lab = \[1, 2\], expected a list of texts", "RECIPES"),
        (CLASSES + '[users]\nlab = ["1"]\nfederated = ["2", "1"]\n', "name '1' twice", "once"),
        (CLASSES + '[users]\nfederated = ["2"]\nunseen_per_draw = 1\n', "unseen_per_draw = 1 of 1", "at least one"),
        ("", r"\[model\] classes is missing", "add classes"),
        ('[model]\nclasses = ["a"]\n', "1 classes, expected 2 to 256", "add or merge"),
        ('[model]\nclasses = ["a", "a"]\n', "classes name 'a' twice", "once"),
        (f"[model]\nclasses = {[str(i) for i in range(257)]}\n", "257 classes, expected 2 to 256", "merge"),
        ('[model]\nname = "../x"\nclasses = ["a", "b"]\n', "name is '../x'", r"set \[model\] name"),
        (CLASSES + '[data]\nlab_classes = ["c"]\n', "lab_classes has 'c'", "class's name"),
        (CLASSES + '[data]\nnormalise = "max"\n', "normalise = 'max'", '"none" or "lab"'),
        (CLASSES + '[data]\nsource = "d.csv"\nshape = [3, 0]\n', r"shape = \[3, 0\]", "at least 1"),
        (CLASSES + "[data]\nwindow = 3\n", "are for CSV, source is data.py", "remove"),
        (CLASSES + '[data]\nsource = "d.csv"\nstep = 3\n', "step = 3 without window", "set window"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_recipe(write(tmp_path, text))
    assert re.search(hint, caught.value.hint)
    assert str(tmp_path / "recipe.toml") in caught.value.message
    assert caught.value.exit_code == 3


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_bytes(b"\xff\xfe[\x00")
    with pytest.raises(ConfigError, match="not TOML"):
        load_recipe(tmp_path)


def test_draws_rotate_and_never_repeat() -> None:
    recipe = load_recipe(HAR)
    draws = [draw_users(recipe, k) for k in range(15)]
    assert {len(draw.clients) for draw in draws} == {4} and {len(draw.unseen) for draw in draws} == {2}
    assert all(sorted(draw.clients + draw.unseen) == sorted(recipe.users.federated) for draw in draws)
    assert {draw.unseen for draw in draws} == set(itertools.combinations(recipe.users.federated, 2))
    left_out = [user for draw in draws[:6] for user in draw.unseen]  # the first six: each user is left out twice
    assert all(left_out.count(user) == 2 for user in recipe.users.federated)
    for outside in (-1, 15):
        with pytest.raises(UsageError, match=f"draw {outside} does not exist") as caught:
            draw_users(recipe, outside)
        assert "0 to 14" in caught.value.hint


@pytest.mark.parametrize(("quorum", "boards", "needed"), [(0.5, 5, 3), (0.0, 4, 1), (1.0, 4, 4), (1, 4, 1), (9, 4, 9)])
def test_quorum(quorum: float, boards: int, needed: int) -> None:
    assert RunSettings(quorum=quorum).quorum_of(boards) == needed


def test_functions_of_the_recipe(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, CLASSES, model="def build():\n    return 42\n\nlimit = 3\n"))
    assert load_function(recipe, "model.py:build")() == 42
    for target, message in [("none.py:build", "no such file"), ("model.py:limit", "no function limit")]:
        with pytest.raises(ConfigError, match=message):
            load_function(recipe, target)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import tinyfl_absent\n", "line 1 of model.py: ModuleNotFoundError"),
        ("x = 1\nx.y\n", "line 2 of model.py: AttributeError"),
        ("def build(:\n", "SyntaxError"),
    ],
)
def test_a_file_that_does_not_load(tmp_path: Path, source: str, message: str) -> None:
    recipe = load_recipe(write(tmp_path, CLASSES, model=source))
    with pytest.raises(ConfigError, match=message):
        load_function(recipe, "model.py:build")


def test_a_function_that_fails_is_named_with_its_line(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, CLASSES, model="def build():\n    return 1 / 0\n"))
    function = load_function(recipe, "model.py:build")
    with pytest.raises(ConfigError, match=r"model\.py:build failed: line 2 of model.py: ZeroDivisionError"):
        call(recipe, "model.py:build", function)

    def told() -> None:
        raise DataError("seen", "do")

    with pytest.raises(DataError, match=r"^seen$"):
        call(recipe, "data.py:samples", told)


def test_the_manual_lists_every_key_with_its_default_and_range() -> None:
    rows = dict(re.findall(r"^\| `(\[\w+\] \w+)` \| (.*) \|$", Path("docs/RECIPES.md").read_text(), re.MULTILINE))
    expected = {
        f"[{section}] {entry.name}": entry for section, kind in SECTIONS.items() for entry in dataclasses.fields(kind)
    }
    assert set(rows) == set(expected)
    for key, entry in expected.items():
        default, legal = (cell.strip() for cell in rows[key].split("|")[:2])
        assert default == f"`{toml(entry.default)}`", key
        if "least" in entry.metadata:
            least, most = (float(end) for end in legal.split(" to "))
            assert (least, most) == (entry.metadata["least"], entry.metadata["most"]), key


def toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    return str(list(value)) if isinstance(value, tuple) else str(value)

"""Samples of a recipe: who owns which, what normalisation does, and that bad ones are named."""

from pathlib import Path

import numpy as np
import pytest

from tinyfl.errors import ConfigError, DataError
from tinyfl_host.dataset import Dataset, board_data, calibration_inputs, lab_samples, load_samples
from tinyfl_host.recipe import Recipe, load_recipe

HEAD = '[model]\nclasses = ["b", "a", "2"]\n[users]\nlab = ["lu"]\n'


def recipe(folder: Path, rows: str, extra: str = "") -> Recipe:
    (folder / "recipe.toml").write_text(HEAD + extra)
    (folder / "data.py").write_text(f"import numpy as np\ndef samples():\n    {rows}\n")
    return load_recipe(folder)


def table(folder: Path, text: str, extra: str = "") -> Recipe:
    (folder / "recipe.toml").write_text(HEAD + '[data]\nsource = "t.csv"\n' + extra)
    (folder / "t.csv").write_text(text)
    return load_recipe(folder)


def test_har_has_the_users_classes_and_windows_it_says() -> None:
    har = load_recipe(Path("models/har"))
    data = load_samples(har)
    training, test = lab_samples(har, data)
    assert data.x.shape[1:] == (50, 1, 6) and data.x.dtype == np.float32
    assert sorted(set(data.user.tolist()), key=int) == [str(i) for i in range(1, 11)]
    assert set(training.y.tolist()) == set(test.y.tolist()) == {0, 1, 2, 3, 4}  # TRAP and ROW are new to the boards
    assert (len(training.x), len(test.x)) == (859, 336)
    assert np.allclose(training.x.mean(axis=(0, 1, 2)), 0, atol=1e-4)
    assert np.allclose(training.x.std(axis=(0, 1, 2)), 1, atol=1e-4)
    for user in har.users.federated:
        x, y, x_test, y_test = board_data(data, user)
        assert len(x) == len(y) > 300 and len(x_test) == len(y_test) > 100
        assert set(y.tolist()) == set(y_test.tolist()) == set(range(7))


def test_rows_of_python(tmp_path: Path) -> None:
    data = load_samples(recipe(tmp_path, 'yield [1, 2], "a", "lu", "test"; yield np.array([3, 4]), 0, 7, None'))
    assert data.x.tolist() == [[1, 2], [3, 4]]
    assert (data.y.tolist(), data.user.tolist(), data.test.tolist()) == ([1, 0], ["lu", "7"], [True, False])
    x, y, x_test, y_test = board_data(data, "7")
    assert (x.tolist(), y.tolist(), x_test.shape, y_test.shape) == ([[3, 4]], [0], (0, 2), (0,))


def test_the_last_30_percent_of_each_user_and_class_are_for_test(tmp_path: Path) -> None:
    data = load_samples(
        recipe(tmp_path, 'yield from (([i], "ab"[i % 2], "lu" if i < 20 else "bo") for i in range(40))')
    )
    assert np.flatnonzero(data.test).tolist() == [14, 15, 16, 17, 18, 19, 34, 35, 36, 37, 38, 39]


def test_normalisation_comes_from_the_lab_s_training_samples_alone(tmp_path: Path) -> None:
    rows = 'yield [1, 5], "a", "lu", "train"; yield [3, 5], "b", "lu", "train"; yield [9, 7], "b", "lu", "test"'
    built = recipe(tmp_path, f'{rows}; yield [7, 6], "a", "bo", "train"', '[data]\nnormalise = "lab"\n')
    data = load_samples(built)
    assert (data.mean.tolist(), data.deviation.tolist()) == ([2, 5], [1, 1])  # a channel that never moves divides by 1
    assert data.x.tolist() == [[-1, 0], [1, 0], [7, 2], [5, 1]]
    assert calibration_inputs(built, data).tolist() == [[-1, 0], [1, 0]]


def test_a_csv_label_is_a_class_s_name_before_it_is_an_index(tmp_path: Path) -> None:
    data = load_samples(table(tmp_path, "v,label,user\n1,2,lu\n1,1,lu\n1,a,lu\n"))
    assert data.y.tolist() == [2, 1, 1]


BAD_ROWS = [
    ("return 3", "samples.. returned int, expected an iterable"),
    ("yield from ()", "data.py: no samples"),
    ('yield [1], "a"', "data.py, sample 0: no tuple"),
    ('yield [1], "c", "lu"', "data.py, sample 0: class 'c', expected one of b, a, 2"),
    ('yield [1], 3, "lu"', "sample 0: class 3"),
    ('yield [1], -1, "lu"', "sample 0: class -1"),
    ('yield [1], 1.0, "lu"', "sample 0: class 1.0"),
    ('yield [1], "a", "lu"; yield [1, 2], "a", "lu"', r"sample 1: shape \(2,\), the first sample has \(1,\)"),
    ('yield [[1], [2, 3]], "a", "lu"', "sample 0: not numeric"),
    ('yield ["x"], "a", "lu"', "sample 0: not numeric"),
    ('yield 1.0, "a", "lu"', r"sample 0: shape \(\), expected at least one axis"),
    ('yield [], "a", "lu"', r"sample 0: shape \(0,\), expected"),
    ('yield [1], "a", "lu"; yield [np.nan], "a", "lu"', "sample 1: a value is no finite float32"),
    ('yield [1e300], "a", "lu"', "sample 0: a value is no finite float32"),
    ('yield [1], "a", "lu", "both"', "sample 0: split 'both'"),
    ('yield [1], "a", "bo"', "no samples of user 'lu'; the data knows bo"),
]


@pytest.mark.parametrize(("rows", "message"), BAD_ROWS)
def test_bad_samples_are_named(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_samples(recipe(tmp_path, rows))
    assert caught.value.hint and caught.value.exit_code == 3


def test_values_that_normalisation_blows_up(tmp_path: Path) -> None:
    rows = 'yield [0, 1e-30], "a", "lu", "train"; yield [0, 0], "b", "lu", "train"; yield [0, 1e30], "a", "bo"'
    with pytest.raises(DataError, match="sample 2: a value is out of float32's range"):
        load_samples(recipe(tmp_path, rows, '[data]\nnormalise = "lab"\n'))


def test_a_fault_in_the_user_s_file_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.py:samples failed: line 3 of data.py: ZeroDivisionError"):
        load_samples(recipe(tmp_path, "yield 1 / 0"))


def test_bad_csv_labels_name_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.csv, line 3: class 'c', expected one of b, a, 2"):
        load_samples(table(tmp_path, "v,label,user\n1,a,lu\n1,c,lu\n"))
    with pytest.raises(DataError, match=r"t\.csv, line 2: split 'x'"):
        load_samples(table(tmp_path, "v,label,user,split\n1,a,lu,x\n"))
    with pytest.raises(DataError, match=r"t\.csv: no samples"):
        load_samples(table(tmp_path, "v,label,user\n"))


def test_other_sources(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(HEAD + '[data]\nsource = "t.npy"\n')
    built = load_recipe(tmp_path)
    with pytest.raises(DataError, match=r"t\.npy: no such data"):
        load_samples(built)
    (tmp_path / "t.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match=r"expected a \.py file, a \.csv file or a folder"):
        load_samples(built)


def one_user(**parts: list[bool]) -> Dataset:
    n = len(parts["test"])
    ones = np.ones(1, np.float32)
    return Dataset(
        np.ones((n, 1), np.float32), np.ones(n, np.uint8), np.array(["lu"] * n), np.array(parts["test"]), ones, ones
    )


def test_a_lab_without_training_or_test_samples(tmp_path: Path) -> None:
    built = recipe(tmp_path, "pass")
    for test, missing in [([True, True], "training"), ([False], "test")]:
        with pytest.raises(DataError, match=f"the lab has no {missing} samples"):
            lab_samples(built, one_user(test=test))


def test_an_unknown_user(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no samples of user 'bo'; the data knows lu"):
        board_data(one_user(test=[False]), "bo")

"""CSV files: what a sample is, and that each broken cell is named with its file, line and column."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyfl.errors import DataError
from tinyfl_host.csvdata import Sample, read_csv
from tinyfl_host.recipe import DataSettings


def samples(folder: Path, text: str | bytes, settings: DataSettings | None = None) -> list[Sample]:
    file = folder / "ann.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_csv(file, settings or DataSettings()))


def test_each_row_is_a_sample(tmp_path: Path) -> None:
    text = '\ufefflabel, x ,user,split,y\r\nwave,1,bo,test,-2.5e1\r\n\r\n"0",3, ,,"4"\r\n'
    first, second = samples(tmp_path, text)
    assert (first.label, first.user, first.split, first.x.tolist()) == ("wave", "bo", "test", [1.0, -25.0])
    assert (second.label, second.user, second.split, second.x.tolist()) == ("0", "ann", None, [3.0, 4.0])
    assert second.where.endswith("ann.csv, line 4")


def test_shape_folds_the_features(tmp_path: Path) -> None:
    (sample,) = samples(tmp_path, "a,b,c,d,label\n1,2,3,4,x\n", DataSettings(shape=(2, 1, 2)))
    assert sample.x.tolist() == [[[1, 2]], [[3, 4]]]
    with pytest.raises(DataError, match=r"ann\.csv, line 2: a sample has 4 values, \[data\] shape = \[3\]"):
        samples(tmp_path, "a,b,c,d,label\n1,2,3,4,x\n", DataSettings(shape=(3,)))


def test_windows_keep_to_one_user_class_and_split(tmp_path: Path) -> None:
    lines = [f"{i},{'x' if i < 20 else 'y'},{'test' if i >= 30 else ''}" for i in range(40)]
    cut = samples(tmp_path, "\n".join(["v,label,split", *lines]), DataSettings(window=4))
    assert all(sample.x.shape == (4, 1, 1) for sample in cut)
    firsts = {
        (s.label, s.split): [int(o.x[0, 0, 0]) for o in cut if (o.label, o.split) == (s.label, s.split)] for s in cut
    }
    assert firsts == {
        ("x", "train"): [0, 2, 4, 6, 8, 10],
        ("x", "test"): [14, 16],
        ("y", "train"): [20, 22],
        ("y", "test"): [30, 32, 34, 36],  # said by the file: no share of them is for training; 27..29 are too short
    }


def test_a_folder_in_the_order_of_its_names(tmp_path: Path) -> None:
    for name, value in [("b", 2), ("a", 1)]:
        (tmp_path / f"{name}.csv").write_text(f"v,label\n{value},x\n")
    (tmp_path / "notes.txt").write_text("no table")
    assert [(s.user, s.x.tolist()) for s in read_csv(tmp_path, DataSettings())] == [("a", [1.0]), ("b", [2.0])]
    (tmp_path / "c.csv").write_text("label,w\nx,3\n")
    with pytest.raises(DataError, match=r"c\.csv, line 1: features w, the first file has v"):
        list(read_csv(tmp_path, DataSettings()))


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", r"ann\.csv, line 1: no column label among \[\]", "RECIPES"),
        ("a,b\n1,2\n", r"line 1: no column label among \['a', 'b'\]", "RECIPES"),
        ("a;label\n1;x\n", "line 1: no column label", "separate columns by commas"),
        ("label,user\nx,bo\n", "line 1: no columns but label, user: no features", "RECIPES"),
        ("a,a,label\n1,2,x\n", "line 1: 2 columns are named 'a'", "a name of its own"),
        ("a,label\n1,x\n1\n", "line 3: 1 columns, the header has 2", "RECIPES"),
        ("a,label\n1,x\n1,x,2\n", "line 3: 3 columns, the header has 2", "RECIPES"),
        ("a,label\nnan,x\n", "line 2: column a holds 'nan', expected a finite", "RECIPES"),
        ("a,label\n-inf,x\n", "line 2: column a holds '-inf'", "RECIPES"),
        ("a,label\n1e39,x\n", "line 2: column a holds '1e39'", "RECIPES"),
        ("a,label\n1,x\nfour,x\n", "line 3: column a holds 'four'", "RECIPES"),
        ("a,label\n1_0,x\n", "line 2: column a holds '1_0'", "RECIPES"),
        ("a,label\n,x\n", "line 2: column a holds ''", "RECIPES"),
        ("a,label\n" + "9" * 200_000 + ",x\n", "line 2: field larger than field limit", "RECIPES"),
        (b"a,label\n\xff\xfe,x\n", "byte 8 is not UTF-8 text", "UTF-8"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, text: str | bytes, message: str, hint: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        samples(tmp_path, text)
    assert hint in caught.value.hint and str(tmp_path / "ann.csv") in caught.value.message


def test_an_empty_folder_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \.csv files"):
        list(read_csv(tmp_path, DataSettings()))
    with pytest.raises(DataError, match=r"gone\.csv: No such file"):
        list(read_csv(tmp_path / "gone.csv", DataSettings()))


@given(st.binary(max_size=200), st.integers(0, 3))
def test_any_bytes_give_samples_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, window: int
) -> None:
    folder = tmp_path_factory.mktemp("noise")
    try:
        found = samples(folder, b"a,label\n" + noise, DataSettings(window=window))
    except DataError as error:
        assert "ann.csv" in error.message
        return
    assert all(np.isfinite(sample.x).all() for sample in found)

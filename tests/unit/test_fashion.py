"""The Fashion-MNIST recipe: who has which images, and what it says where they are missing."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyfl.errors import DataError
from tinyfl_host.dataset import Dataset, board_data, lab_samples, load_samples
from tinyfl_host.recipe import draw_users, load_function, load_recipe

ROOT = Path(__file__).parents[2]
FASHION = load_recipe(ROOT / "models/fashion")
FOLDERS: tuple[Path, ...] = load_function(FASHION, "data.py:samples").__globals__["FOLDERS"]

needs_images = pytest.mark.skipif(
    not any(folder.is_dir() for folder in FOLDERS), reason="Fashion-MNIST: apt-get install dataset-fashion-mnist"
)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_samples(FASHION)


@needs_images
def test_each_user_has_200_images_and_50_to_test(data: Dataset) -> None:
    users = Counter(zip(data.user.tolist(), data.test.tolist(), strict=True))
    assert users == {
        ("lab", False): 10_000,
        ("lab", True): 2000,
        **{(str(user), test): 50 if test else 200 for user in range(1, 25) for test in (False, True)},
    }
    training, test = lab_samples(FASHION, data)
    assert (len(training.x), len(test.x)) == (5000, 1000)  # of the five classes that the lab knows
    assert set(training.y.tolist()) == set(range(5))


@needs_images
def test_users_are_uneven_and_together_have_all_classes(data: Dataset) -> None:
    shares = []
    for user in FASHION.users.federated:
        _, y, _, y_test = board_data(data, user)
        shares.append(np.bincount(y, minlength=10) / 200)
        assert np.abs(shares[-1] - np.bincount(y_test, minlength=10) / 50).max() <= 0.03  # tested on what it sees
    assert np.median(np.max(shares, axis=1)) > 0.35
    assert (np.mean(shares, axis=0) > 0.02).all()


@needs_images
def test_no_image_has_two_users(data: Dataset) -> None:
    seen = Counter(hashlib.sha256(x.tobytes()).digest() for x in data.x)
    assert sum(count - 1 for count in seen.values()) <= 10  # the source itself has a few twins


def test_a_draw_leaves_four_of_24_users_out() -> None:
    draw = draw_users(FASHION, 3)
    assert (len(draw.clients), len(draw.unseen)) == (20, 4)


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    samples = load_function(FASHION, "data.py:samples")
    monkeypatch.setitem(samples.__globals__, "FOLDERS", (tmp_path,))
    with pytest.raises(DataError, match="not installed") as caught:
        list(samples())
    assert "apt-get install dataset-fashion-mnist" in str(caught.value.hint)


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"\x1f\x8b\x08\x00"], ids=["empty", "cut", "cut later"])
def test_a_damaged_file_is_named(content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    samples = load_function(FASHION, "data.py:samples")
    monkeypatch.setitem(samples.__globals__, "FOLDERS", (tmp_path,))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(DataError, match="train-images-idx3-ubyte"):
        list(samples())


def test_the_record_belongs_to_the_committed_model() -> None:
    record: dict[str, Any] = json.loads(FASHION.manifest.read_text())
    assert record["sha256"] == hashlib.sha256(FASHION.tflite.read_bytes()).hexdigest()

"""The samples of a recipe: from ``data.py`` or CSV to arrays, and each user's and the lab's part of them."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyfl.errors import DataError
from tinyfl.windows import TEST_SHARE
from tinyfl_host.csvdata import Sample, read_csv
from tinyfl_host.recipe import Recipe, load_function

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

FORMAT = "docs/RECIPES.md shows the format"


@dataclass(frozen=True)
class Dataset:
    """All samples of a recipe, in the order of its source."""

    x: Float32  # (n, *shape), normalised
    y: UInt8  # (n,), index into the recipe's classes
    user: npt.NDArray[np.str_]  # (n,)
    test: npt.NDArray[np.bool_]  # (n,)
    mean: Float32  # (channels,): what normalisation subtracted
    deviation: Float32  # (channels,): what it divided by


@dataclass(frozen=True)
class Part:
    """Samples with their classes: x (n, *shape), y (n,)."""

    x: Float32
    y: UInt8


def load_samples(recipe: Recipe) -> Dataset:
    """Reads and checks all samples. Raises DataError naming the file and, for CSV, the line."""
    rows = list(_rows(recipe))
    if not rows:
        raise DataError(f"{recipe.source}: no samples", FORMAT)
    x = _stack(recipe, rows)
    y = np.array([_class(recipe, i, row[1]) for i, row in enumerate(rows)], np.uint8)
    user = np.array([str(row[2]) for row in rows])
    test = _split(recipe, rows, y, user)
    mean, deviation = _normalisation(recipe, x[_lab(recipe, y, user) & ~test])
    return Dataset((x - mean) / deviation, y, user, test, mean, deviation)


def board_data(dataset: Dataset, user: str) -> tuple[Float32, UInt8, Float32, UInt8]:
    """(x_train, y_train, x_test, y_test) of one user; either part may be empty. DataError for an unknown user."""
    own = dataset.user == user
    if not own.any():
        known = ", ".join(sorted(set(dataset.user.tolist())))
        raise DataError(f"no samples of user {user!r}; the data knows {known}", "mend [users] in recipe.toml")
    train, test = own & ~dataset.test, own & dataset.test
    return dataset.x[train], dataset.y[train], dataset.x[test], dataset.y[test]


def lab_samples(recipe: Recipe, dataset: Dataset) -> tuple[Part, Part]:
    """(training, test) samples of the lab's users and classes. Raises DataError where either is empty."""
    lab = _lab(recipe, dataset.y, dataset.user)
    masks = {"training": lab & ~dataset.test, "test": lab & dataset.test}
    for name, mask in masks.items():
        if not mask.any():
            raise DataError(f"{recipe.source}: the lab has no {name} samples", "mend [users] lab in recipe.toml")
    train, test = (Part(dataset.x[mask], dataset.y[mask]) for mask in masks.values())
    return train, test


def calibration_inputs(recipe: Recipe, dataset: Dataset) -> Float32:
    """The lab's training inputs (n, *shape), from which the compiler folds the head's constants."""
    return lab_samples(recipe, dataset)[0].x


def _rows(recipe: Recipe) -> Iterator[Sample]:
    if not recipe.has_data:
        raise DataError(f"{recipe.source}: no such data", f"write it or mend [data] source; {FORMAT}")
    if recipe.source.suffix == ".py":
        return _python_rows(recipe)
    return read_csv(recipe.source, recipe.data)


def _python_rows(recipe: Recipe) -> Iterator[Sample]:
    """(x, y, user, split or None) from ``samples()`` of the recipe's own file."""
    function = load_function(recipe, f"{recipe.data.source}:samples")
    for i, row in enumerate(_checked_iteration(recipe, function())):
        if not isinstance(row, tuple) or len(row) not in (3, 4):
            raise DataError(f"{recipe.source}: sample {i} is no tuple (x, y, user) or (x, y, user, split)", FORMAT)
        yield row[0], row[1], str(row[2]), row[3] if len(row) == 4 else None


def _checked_iteration(recipe: Recipe, samples: Any) -> Iterable[Any]:
    if not isinstance(samples, Iterable):
        raise DataError(f"{recipe.source}: samples() returned {type(samples).__name__}, expected an iterable", FORMAT)
    return samples


def _stack(recipe: Recipe, rows: list[Sample]) -> Float32:
    """All inputs as one finite float32 array."""
    shape = np.shape(rows[0][0])
    for i, row in enumerate(rows):
        if np.shape(row[0]) != shape:
            raise DataError(f"{recipe.source}: sample {i} has shape {np.shape(row[0])}, sample 0 has {shape}", FORMAT)
    try:
        x = np.stack([np.asarray(row[0], np.float32) for row in rows])
    except (TypeError, ValueError) as error:
        raise DataError(f"{recipe.source}: a sample is not numeric: {error}", FORMAT) from error
    finite = np.isfinite(x).reshape(len(x), -1).all(axis=1)
    if not finite.all():
        raise DataError(f"{recipe.source}: sample {int(np.argmin(finite))} holds a value that is no finite number")
    return x


def _class(recipe: Recipe, i: int, label: Any) -> int:
    """The class's index, from its name or from the index itself."""
    if isinstance(label, str) and label in recipe.classes:
        return recipe.classes.index(label)
    if isinstance(label, int | np.integer) and 0 <= label < len(recipe.classes):
        return int(label)
    names = ", ".join(recipe.classes)
    raise DataError(f"{recipe.source}: sample {i} has class {label!r}, expected one of {names}", "mend [model] classes")


def _split(recipe: Recipe, rows: list[Sample], y: UInt8, user: npt.NDArray[np.str_]) -> npt.NDArray[np.bool_]:
    """True for test samples: as the source says, else the last 30 % of each user's samples of each class."""
    test = np.zeros(len(rows), np.bool_)
    unsplit: dict[tuple[str, int], list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        if row[3] is None:
            unsplit[str(user[i]), int(y[i])].append(i)
        elif row[3] in ("train", "test"):
            test[i] = row[3] == "test"
        else:
            raise DataError(f"{recipe.source}: sample {i} has split {row[3]!r}", 'expected "train" or "test"')
    last = (group[len(group) - round(len(group) * TEST_SHARE) :] for group in unsplit.values())
    test[list(itertools.chain.from_iterable(last))] = True
    return test


def _lab(recipe: Recipe, y: UInt8, user: npt.NDArray[np.str_]) -> npt.NDArray[np.bool_]:
    """True for samples of the lab's users and classes."""
    classes = [recipe.classes.index(name) for name in recipe.data.lab_classes] or range(len(recipe.classes))
    return np.isin(user, list(recipe.users.lab)) & np.isin(y, list(classes))


def _normalisation(recipe: Recipe, x: Float32) -> tuple[Float32, Float32]:
    """(mean, standard deviation) of each channel (last axis) of the lab's training inputs; (0, 1) for "none"."""
    if recipe.data.normalise == "none":
        return np.zeros(1, np.float32), np.ones(1, np.float32)
    if not len(x):
        raise DataError(f'{recipe.source}: normalise = "lab", but the lab has no training samples', "mend [users] lab")
    rows = x.reshape(-1, x.shape[-1]).astype(np.float64)
    deviation = rows.std(axis=0)
    return rows.mean(axis=0).astype(np.float32), np.where(deviation > 0, deviation, 1.0).astype(np.float32)

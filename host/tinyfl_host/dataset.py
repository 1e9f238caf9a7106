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
from tinyfl_host.recipe import Recipe, call, load_function

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
    x = _stack(rows)
    y = np.array([_class(recipe, row) for row in rows], np.uint8)
    user = np.array([row.user for row in rows])
    _check_lab(recipe, user)
    test = _split(rows, y)
    mean, deviation = _normalisation(recipe, x[_lab(recipe, y, user) & ~test])
    with np.errstate(over="ignore"):
        normalised = (x - mean) / deviation
    _check_finite(normalised, rows, "is out of float32's range once normalised")
    return Dataset(normalised, y, user, test, mean, deviation)


def board_data(dataset: Dataset, user: str) -> tuple[Float32, UInt8, Float32, UInt8]:
    """(x_train, y_train, x_test, y_test) of one user; either part may be empty. DataError for an unknown user."""
    own = dataset.user == user
    if not own.any():
        raise _unknown_user(user, dataset.user)
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
    source = recipe.source
    if not recipe.has_data:
        raise DataError(f"{source}: no such data", f"write it or mend [data] source; {FORMAT}")
    if source.suffix == ".py":
        return _python_rows(recipe)
    if not source.is_dir() and source.suffix.lower() != ".csv":
        raise DataError(f"{source}: expected a .py file, a .csv file or a folder of .csv files", FORMAT)
    return read_csv(source, recipe.data)


def _python_rows(recipe: Recipe) -> Iterator[Sample]:
    """What ``samples()`` of the recipe's own file yields: (x, y, user) or (x, y, user, split)."""
    target = f"{recipe.data.source}:samples"
    function = load_function(recipe, target)
    for i, row in enumerate(call(recipe, target, lambda: _collect(recipe, function()))):
        where = f"{recipe.source}, sample {i}"
        if not isinstance(row, tuple) or len(row) not in (3, 4):
            raise DataError(f"{where}: no tuple (x, y, user) or (x, y, user, split)", FORMAT)
        yield Sample(row[0], row[1], str(row[2]), row[3] if len(row) == 4 else None, where)


def _collect(recipe: Recipe, samples: Any) -> list[Any]:
    if not isinstance(samples, Iterable):
        raise DataError(f"{recipe.source}: samples() returned {type(samples).__name__}, expected an iterable", FORMAT)
    return list(samples)


def _stack(rows: list[Sample]) -> Float32:
    """All inputs as one finite float32 array."""
    inputs = [_input(row) for row in rows]
    first = inputs[0].shape
    for x, row in zip(inputs, rows, strict=True):
        if x.shape != first:
            raise DataError(f"{row.where}: shape {x.shape}, the first sample has {first}", FORMAT)
    stacked = np.stack(inputs)
    _check_finite(stacked, rows, "is no finite float32 number")
    return stacked


def _input(row: Sample) -> Float32:
    try:
        with np.errstate(over="ignore"):
            x = np.asarray(row.x, np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{row.where}: not numeric: {error}", FORMAT) from error
    if not x.ndim or not x.size:
        raise DataError(f"{row.where}: shape {x.shape}, expected at least one axis and one value", FORMAT)
    return x


def _check_finite(x: Float32, rows: list[Sample], fault: str) -> None:
    finite = np.isfinite(x).reshape(len(x), -1).all(axis=1)
    if not finite.all():
        raise DataError(f"{rows[int(np.argmin(finite))].where}: a value {fault}", "mend or leave out that sample")


def _class(recipe: Recipe, row: Sample) -> int:
    """The class's index, from its name or, where no class has that name, from the index itself."""
    label, classes = row.label, recipe.classes
    if isinstance(label, str) and label in classes:
        return classes.index(label)
    if isinstance(label, str) and label.isdecimal():
        label = int(label)
    if isinstance(label, int | np.integer) and 0 <= label < len(classes):
        return int(label)
    hint = "mend that label, or [model] classes in recipe.toml"
    raise DataError(f"{row.where}: class {row.label!r}, expected one of {', '.join(classes)}", hint)


def _split(rows: list[Sample], y: UInt8) -> npt.NDArray[np.bool_]:
    """True for test samples: as the source says, else the last 30 % of each user's samples of each class."""
    test = np.zeros(len(rows), np.bool_)
    unsplit: dict[tuple[str, int], list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        if row.split is None:
            unsplit[row.user, int(y[i])].append(i)
        elif row.split in ("train", "test"):
            test[i] = row.split == "test"
        else:
            raise DataError(f"{row.where}: split {row.split!r}", 'expected "train", "test" or nothing')
    last = (group[len(group) - round(len(group) * TEST_SHARE) :] for group in unsplit.values())
    test[list(itertools.chain.from_iterable(last))] = True
    return test


def _check_lab(recipe: Recipe, user: npt.NDArray[np.str_]) -> None:
    """A lab user that the data does not know would train the backbone on less than the recipe says."""
    for name in recipe.users.lab:
        if not (user == name).any():
            raise _unknown_user(name, user)


def _unknown_user(name: str, user: npt.NDArray[np.str_]) -> DataError:
    known = ", ".join(sorted(set(user.tolist())))
    return DataError(f"no samples of user {name!r}; the data knows {known}", "mend [users] in recipe.toml")


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

"""CSV files as samples (docs/RECIPES.md, "CSV"): each row a sample, or each row one moment of a recorded signal."""

from __future__ import annotations

import csv
import itertools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyfl.errors import DataError
from tinyfl.windows import split_windows, windows
from tinyfl_host.recipe import DataSettings

FORMAT = "docs/RECIPES.md shows the format"
NAMED = ("label", "user", "split")  # columns with a meaning; all others are features, in order
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Sample:
    """One sample as its source gives it, before any check; ``where`` is how a message names it."""

    x: Any
    label: Any  # a class's name or its index
    user: str
    split: str | None  # "train", "test", or None: not said
    where: str


@dataclass(frozen=True)
class Row:
    """One line: its features, class, user and split."""

    values: tuple[float, ...]
    label: str
    user: str
    split: str | None
    where: str


def read_csv(source: Path, settings: DataSettings) -> Iterator[Sample]:
    """Samples of one CSV file, or of all in a folder in the order of their names; DataError naming file and line."""
    files = sorted(source.glob("*.csv")) if source.is_dir() else [source]
    if not files:
        raise DataError(f"{source}: no .csv files", FORMAT)
    first: list[str] = []
    for file in files:
        rows = _rows(file, first)
        yield from _recordings(rows, settings) if settings.window else _single(rows, settings)


def _single(rows: Iterator[Row], settings: DataSettings) -> Iterator[Sample]:
    for row in rows:
        x = _shaped(np.array(row.values, np.float32), settings, row.where)
        yield Sample(x, row.label, row.user, row.split, row.where)


def _recordings(rows: Iterator[Row], settings: DataSettings) -> Iterator[Sample]:
    """Windows over consecutive rows of one user, class and split; unless said, the last 30 % of a run are for test."""
    step = settings.step or max(1, settings.window // 2)
    for (label, user, split), group in itertools.groupby(rows, key=lambda row: (row.label, row.user, row.split)):
        run = list(group)
        signal = np.array([row.values for row in run], np.float32)
        for part, name in _parts(signal, settings.window, step, split):
            for window in part:
                x = _shaped(window[:, None, :], settings, run[0].where)
                yield Sample(x, label, user, name, f"{run[0].where} and below")


def _parts(
    signal: npt.NDArray[np.float32], length: int, step: int, split: str | None
) -> list[tuple[npt.NDArray[np.float32], str]]:
    if split is not None:
        return [(windows(signal, length, step), split)]
    training, test = split_windows(signal, length, step)
    return [(training, "train"), (test, "test")]


def _shaped(x: npt.NDArray[np.float32], settings: DataSettings, where: str) -> npt.NDArray[np.float32]:
    if settings.shape and x.size != math.prod(settings.shape):
        raise DataError(f"{where}: a sample has {x.size} values, [data] shape = {list(settings.shape)}", FORMAT)
    return x.reshape(settings.shape) if settings.shape else x


def _rows(file: Path, first: list[str]) -> Iterator[Row]:
    """The file's lines; ``first`` holds the header of the first file, which all others must repeat."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            header = [name.strip() for name in next(reader, [])]
            _check_header(header, first, file)
            for cells in reader:
                if cells:
                    yield _row(header, cells, file, f"{file}, line {reader.line_num}")
    except csv.Error as error:
        raise DataError(f"{file}, line {reader.line_num}: {error}", FORMAT) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: byte {error.start} is not UTF-8 text", "save the table as CSV in UTF-8") from error
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}", "make the file readable") from error


def _check_header(header: list[str], first: list[str], file: Path) -> None:
    where = f"{file}, line 1"
    if "label" not in header:
        hint = "separate columns by commas" if any(";" in name or "\t" in name for name in header) else FORMAT
        raise DataError(f"{where}: no column label among {header}", hint)
    for name, count in Counter(header).items():
        if count > 1:
            raise DataError(f"{where}: {count} columns are named {name!r}", "give each column a name of its own")
    features = [name for name in header if name not in NAMED]
    if not features:
        raise DataError(f"{where}: no columns but {', '.join(header)}: no features", FORMAT)
    if first and features != first:
        raise DataError(f"{where}: features {', '.join(features)}, the first file has {', '.join(first)}", FORMAT)
    first[:] = features


def _row(header: list[str], cells: list[str], file: Path, where: str) -> Row:
    if len(cells) != len(header):
        raise DataError(f"{where}: {len(cells)} columns, the header has {len(header)}", FORMAT)
    pairs = list(zip(header, (cell.strip() for cell in cells), strict=True))
    values = tuple(_number(cell, f"{where}: column {name}") for name, cell in pairs if name not in NAMED)
    named = {name: cell for name, cell in pairs if name in NAMED}
    return Row(values, named["label"], named.get("user") or file.stem, named.get("split") or None, where)


def _number(cell: str, where: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not abs(value) <= LARGEST or "_" in cell:
        raise DataError(f"{where} holds {cell[:40]!r}, expected a finite float32 number", FORMAT)
    return value

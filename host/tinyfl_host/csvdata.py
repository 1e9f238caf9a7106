"""CSV files as samples (docs/RECIPES.md, "CSV"): each row a sample, or each row one moment of a recorded signal."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyfl.errors import DataError
from tinyfl.windows import split_windows
from tinyfl_host.recipe import DataSettings

Sample = tuple[Any, Any, str, str | None]  # x, class, user, split

FORMAT = "docs/RECIPES.md shows the format"
NAMED = ("label", "user", "split")  # columns with a meaning; all others are features, in order


@dataclass(frozen=True)
class Row:
    """One line: its features, class, user and split."""

    values: tuple[float, ...]
    label: str | int
    user: str
    split: str | None


def read_csv(source: Path, settings: DataSettings) -> Iterator[Sample]:
    """Samples of one CSV file, or of all in a folder in the order of their names; DataError naming file and line."""
    files = sorted(source.glob("*.csv")) if source.is_dir() else [source]
    if not files:
        raise DataError(f"{source}: no .csv files", FORMAT)
    for file in files:
        rows = _rows(file)
        yield from _recordings(rows, settings, file) if settings.window else _single(rows, settings, file)


def _single(rows: Iterator[Row], settings: DataSettings, file: Path) -> Iterator[Sample]:
    for row in rows:
        yield _shaped(np.array(row.values, np.float32), settings, file), row.label, row.user, row.split


def _recordings(rows: Iterator[Row], settings: DataSettings, file: Path) -> Iterator[Sample]:
    """Windows over consecutive rows of one user, class and split; the last 30 % of each such run are for test."""
    step = settings.step or max(1, settings.window // 2)
    for (label, user, split), run in itertools.groupby(rows, key=lambda row: (row.label, row.user, row.split)):
        signal = np.array([row.values for row in run], np.float32)
        parts = split_windows(signal, settings.window, step)
        for name, part in zip(("train", "test"), parts, strict=True):
            for window in part:
                yield _shaped(window[:, None, :], settings, file), label, user, split or name


def _shaped(x: np.ndarray[Any, np.dtype[np.float32]], settings: DataSettings, file: Path) -> Any:
    if settings.shape and x.size != math.prod(settings.shape):
        raise DataError(f"{file}: a sample has {x.size} values, [data] shape = {list(settings.shape)}", FORMAT)
    return x.reshape(settings.shape) if settings.shape else x


def _rows(file: Path) -> Iterator[Row]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            header = [name.strip() for name in next(reader, [])]
            if "label" not in header:
                raise DataError(f"{file}, line 1: no column label among {header}", FORMAT)
            for cells in reader:
                if cells:
                    yield _row(header, cells, file, reader.line_num)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: {error}", FORMAT) from error


def _row(header: list[str], cells: list[str], file: Path, line: int) -> Row:
    if len(cells) != len(header):
        raise DataError(f"{file}, line {line}: {len(cells)} columns, the header has {len(header)}", FORMAT)
    named = {name: cell.strip() for name, cell in zip(header, cells, strict=True) if name in NAMED}
    values = tuple(
        _number(cell, file, line, name) for name, cell in zip(header, cells, strict=True) if name not in NAMED
    )
    label = named["label"]
    user = named.get("user") or file.stem
    return Row(values, int(label) if label.isdecimal() else label, user, named.get("split") or None)


def _number(cell: str, file: Path, line: int, column: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{file}, line {line}: column {column} holds {cell!r}, expected a finite number", FORMAT)
    return value

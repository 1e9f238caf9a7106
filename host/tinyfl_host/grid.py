"""The grid of a sweep: ``--over KEY=VALUES`` and sweep.toml as values of the keys that ``tinyfl run`` takes."""

from __future__ import annotations

import itertools
import math
import re
import tomllib
import typing
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tinyfl.errors import ConfigError, UsageError
from tinyfl_host.recipe import check_known
from tinyfl_host.settings import OPTIONS, SECTIONS, Settings

Value = bool | int | float | str
Grid = Mapping[str, tuple[Value, ...]]
Point = Mapping[str, Value]

FILE = "sweep.toml"
MOST = 4096  # runs of one sweep
REPEATS = ("draw", "seed")  # the same experiment once more: what tables average over
ALIASES = {"participation": "fraction", "clients": "boards", "draws": "draw", "seeds": "seed"}
WORDS = {"true": True, "yes": True, "false": False, "no": False}
WHOLE = re.compile(r"[-+]?[0-9]{1,18}")
RANGE = re.compile(r"([0-9]{1,18})\.\.([0-9]{1,18})")
KINDS = {int: "whole numbers: 1,2,3 or 0..4", float: "numbers", bool: "true or false", str: "a text"}


@dataclass(frozen=True)
class GridFile:
    """What sweep.toml says; None: nothing."""

    over: Grid = field(default_factory=dict)
    on: str | None = None
    target: float | None = None


@cache
def keys() -> dict[str, Any]:
    """The type of each key that a run takes, by the name of its option."""
    types = typing.get_type_hints(Settings)
    plain = {key: kind for key, kind in types.items() if key not in SECTIONS}
    return plain | {option: typing.get_type_hints(SECTIONS[part])[key] for option, (part, key) in OPTIONS.items()}


def read_over(texts: Iterable[str]) -> dict[str, tuple[Value, ...]]:
    """``key=value,value,a..b`` each. Raises UsageError for what is no key, no value of it, or named twice."""
    grid: dict[str, tuple[Value, ...]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals:
            raise UsageError(f"--over {text}: no values", f"write --over {text or 'KEY'}=VALUE,VALUE")
        _add(grid, name.strip().replace("-", "_"), values)
    return grid


def read_file(path: Path) -> GridFile:
    """Raises ConfigError naming the file and what in it cannot be used."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}", "mend that line") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "name a grid file: docs/SWEEP.md shows one") from error
    check_known(document, ("over", "on", "target"), f"{path}: unknown key")
    over, on, target = document.get("over", {}), document.get("on"), document.get("target")
    if not isinstance(over, dict) or not isinstance(on, str | None):
        raise ConfigError(f"{path}: expected a table [over] and a text on", "docs/SWEEP.md shows one")
    if target is not None and (isinstance(target, bool) or not isinstance(target, int | float)):
        raise ConfigError(f"{path}: target = {target!r}, expected a fraction", "for example target = 0.8")
    grid: dict[str, tuple[Value, ...]] = {}
    try:
        for name, values in over.items():
            _add(
                grid, name, ",".join(_text(name, value) for value in (values if isinstance(values, list) else [values]))
            )
    except UsageError as error:
        raise ConfigError(f"{path}: {error.message}", error.hint) from error
    return GridFile(grid, on, target)


def points(grid: Grid) -> list[dict[str, Value]]:
    """All combinations, the first key slowest, repeats fastest. Raises UsageError where they are too many."""
    count = math.prod(len(values) for values in grid.values())
    if count > MOST:
        raise UsageError(f"the grid has {count:,} points, at most {MOST:,} are run", "give fewer values, or two sweeps")
    order = sorted(grid, key=lambda key: key in REPEATS)
    return [dict(zip(order, values, strict=True)) for values in itertools.product(*(grid[key] for key in order))]


def varied(grid: Grid) -> list[str]:
    """The keys that tell one row of a table from another."""
    return [key for key, values in grid.items() if len(values) > 1 and key not in REPEATS]


def told(point: Point) -> str:
    """``codec=int4 rate=0.5``."""
    return " ".join(f"{key}={shown(value)}" for key, value in point.items())


def shown(value: Any) -> str:
    """The value as it is typed."""
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _add(grid: dict[str, tuple[Value, ...]], name: str, text: str) -> None:
    key = _key(name)
    if key in grid:
        raise UsageError(f"{key} is swept twice", f"name all its values at once: {key}=VALUE,VALUE")
    values = tuple(_values(key, text))
    kinds = Counter((type(value), value) for value in values)
    twice = next((value for (_, value), count in kinds.items() if count > 1), None)
    if twice is not None:
        raise UsageError(f"{key}={text}: {shown(twice)} is there twice", "name each value once")
    grid[key] = values


def _key(name: str) -> str:
    """The option's name for a name that people use: ``participation``, ``update.codec``, ``run.rounds``."""
    names = keys()
    dotted = {f"{section}.{key}": option for option, (section, key) in OPTIONS.items()}
    key = dotted.get(name) or ALIASES.get(name) or name.removeprefix("run.")
    try:
        check_known((key,), names, "a run has no such key")
    except ConfigError as error:
        raise UsageError(error.message, error.hint) from error
    return key


def _values(key: str, text: str) -> Sequence[Value]:
    kind, values = keys()[key], list[Value]()
    for part in (part.strip() for part in text.split(",")):
        span = RANGE.fullmatch(part)
        if span and kind is not str:
            first, last = int(span[1]), int(span[2])
            if not 0 <= last - first < MOST:
                raise UsageError(
                    f"{key}={part}: a range of {last - first + 1} values", f"write 1 to {MOST}, first..last"
                )
            values += [_value(key, str(number), kind) for number in range(first, last + 1)]
        else:
            values.append(_value(key, part, kind))
    return values


def _value(key: str, text: str, kind: Any) -> Value:
    """The text as the key's type; whether it is in range is for the settings to say."""
    kinds = typing.get_args(kind) or (kind,)
    value: Value | None = None
    if bool in kinds:
        value = WORDS.get(text.lower())
    elif int in kinds and WHOLE.fullmatch(text):
        value = int(text)
    elif float in kinds:
        value = _float(text)
    elif str in kinds and text and text.isprintable():
        value = text
    if value is None:
        expected = KINDS[float if float in kinds else kinds[0]]
        raise UsageError(f"{key}={text}: {text!r} is not a value of {key}", f"expected {expected}")
    return value


def _float(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _text(key: str, value: Any) -> str:
    """A TOML value as it would be typed."""
    if isinstance(value, bool | int | float | str):
        return str(value)
    raise UsageError(f"{key} = {value!r}", f'write values of {key}, a list of them, or a range: {key} = "0..4"')

"""What a person and a script see: results on stdout, logs and errors on stderr, 80 columns wide."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

from tinyfl.settings import GOALS

Command = TypeVar("Command", bound=Callable[..., Any])

WIDTH = 80
NUMBER = re.compile(r"-|[-+]?[0-9][0-9,.]*( ?(%|points|B|kB|MB|s|ms))?")


def result(text: str = "") -> None:
    """A line (or lines) of the result, on stdout, at once: a script may wait for it while the command goes on."""
    print(text, file=sys.stdout, flush=True)


def log(text: str) -> None:
    """What goes on, on stderr; hostile text cannot break the line."""
    print(visible(text), file=sys.stderr, flush=True)


def document(value: Any) -> None:
    """The result as one JSON document, on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_plain), file=sys.stdout)


def event(value: dict[str, Any]) -> None:
    """One line of JSON Lines, on stdout, at once."""
    print(json.dumps(value, allow_nan=False, default=_plain), file=sys.stdout, flush=True)


def problem(message: str, hint: str = "") -> None:
    """``error: ...`` and ``hint: ...`` on stderr; further lines of either are indented, so each keeps its form."""
    sys.stdout.flush()
    for label, text in (("error", message), ("hint", hint)):
        lines = [visible(line.rstrip()) for line in text.strip().split("\n")]
        if lines != [""]:
            print(f"{label}: " + ("\n" + " " * (len(label) + 2)).join(lines), file=sys.stderr, flush=True)


def interactive() -> bool:
    """True where a progress display may be drawn: stderr is a terminal."""
    return sys.stderr.isatty()


def json_option(command: Command) -> Command:
    """The option ``--json``, passed on as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(command)


def optimise_option(command: Command) -> Command:
    """The option ``--optimise``, passed on as ``goal``; None where it was not given."""
    said = "What flash and RAM are spent for; balanced is the default."
    return click.option("--optimise", "goal", type=click.Choice(GOALS), help=said)(command)


def examples(*lines: str) -> str:
    """The end of a command's help: ``click.command(epilog=examples("tinyfl ..."))``."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Columns two spaces apart, numbers to the right; no line ends in spaces."""
    body = [[_cell(value) for value in row] for row in rows]
    right = [bool(body) and all(_is_number(row[i]) for row in body) for i in range(len(header))]
    cells = [list(header), *body]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in cells
    )


def kilobytes(count: int) -> str:
    """``942 B``, ``18.9 kB``, ``1.2 MB``: powers of 1,000."""
    if count < 1000:
        return f"{count} B"
    value, unit = (count / 1e3, "kB") if count < 999_950 else (count / 1e6, "MB")
    return f"{value:,.1f} {unit}"


def visible(text: str) -> str:
    """The text with control, format and line-separating characters escaped: it stays on its line and draws nothing."""
    return "".join(char if _harmless(char) else char.encode("unicode_escape").decode() for char in text)


def _harmless(char: str) -> bool:
    return char.isprintable() or unicodedata.category(char) == "Zs"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return visible(str(value))


def _is_number(cell: str) -> bool:
    return NUMBER.fullmatch(cell) is not None


def _plain(value: Any) -> Any:
    """numpy scalars and arrays, paths, tuples of a frozen dataclass: what JSON does not know itself."""
    for method in ("tolist", "__fspath__"):
        if hasattr(value, method):
            return getattr(value, method)()
    raise TypeError(f"{type(value).__name__} is not JSON")

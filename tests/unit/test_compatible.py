"""Settings that do not go together: each row is refused, what is just beside it is not, the manual has the table."""

import re
from pathlib import Path
from typing import Any

import pytest

from tinyfl.errors import ConfigError
from tinyfl.federated.compatible import CONFLICTS, check, name
from tinyfl_host.serving import flat
from tinyfl_host.settings import Settings

CLASHES: list[dict[str, Any]] = [
    {"server.aggregate": "median", "update.select": "top"},
    {"server.aggregate": "trimmed", "update.select": "top", "update.feedback": True},
    {"server.aggregate": "clip", "update.codec": "sign"},
    {"server.aggregate": "krum", "run.fraction": 0.2, "boards": 2},
    {"server.aggregate": "median", "boards": 2},
    {"server.aggregate": "trimmed", "server.liars": 0.0},
    {"server.aggregate": "multi-krum", "clusters.count": 2},
    {"server.aggregate": "fltrust", "clusters.count": 2},
    {"server.mixing": True},
    {"server.mixing": True, "server.aggregate": "clip", "server.liars": 0.0},
    {"server.mixing": True, "server.aggregate": "clip", "run.fraction": 0.2, "boards": 2},
    {"server.mixing": True, "server.aggregate": "clip", "clusters.count": 2},
    {"clients.select": "all", "run.fraction": 0.5},
    {"clients.select": "power"},
    {"clients.select": "power", "run.fraction": 0.5, "clients.candidates": 0.5},
    {"clients.candidates": 0.5, "run.fraction": 0.25},
    {"clients.select": "link", "board.rate": 0},
    {"update.feedback": True, "compile.adapter": 8},
    {"update.downlink": "int8", "compile.adapter": 8},
    {"update.count": 7, "compile.adapter": 8},
    {"prox.mu": 0.01, "compile.adapter": 8},
    {"server.aggregate": "fltrust", "compile.adapter": 8},
    {"personal.private": "head", "compile.adapter": 0},
    {"personal.private": "adapter", "clusters.count": 2, "compile.adapter": 8},
    {"personal.private": "head", "personal.tune": 5, "compile.adapter": 8},
]
GOOD: list[dict[str, Any]] = [
    {},
    {"server.aggregate": "median", "update.select": "random"},
    {"server.aggregate": "krum", "boards": 3},
    {"server.aggregate": "median", "server.liars": 0.0},
    {"server.aggregate": "clip", "server.mixing": True, "boards": 3},
    {"server.aggregate": "clip", "boards": 1, "clusters.count": 3},
    {"clients.select": "power", "run.fraction": 0.5},
    {"clients.select": "power", "run.fraction": 0.25, "clients.candidates": 1.0},
    {"clients.select": "link", "run.fraction": 0.5},
    {"server.optimiser": "reptile", "clusters.count": 2, "update.feedback": True},
    {"compile.adapter": 8, "personal.private": "head", "update.codec": "int4", "update.downlink": "difference"},
    {"compile.adapter": 8, "personal.tune": 5, "clusters.count": 2, "server.aggregate": "clip"},
]


def values(changes: dict[str, Any]) -> dict[str, Any]:
    return {**flat(Settings(on="sim", boards=10)), "boards": 8, "board.rate": 2, "compile.adapter": 0, **changes}


@pytest.mark.parametrize("changes", CLASHES, ids=str)
def test_what_does_not_go_together_is_refused_and_both_are_named(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        check(values(changes))
    assert caught.value.hint and caught.value.exit_code == 3
    first = next(conflict for conflict in CONFLICTS if conflict.clash(values(changes)))
    assert all(f"{name(key)} = " in caught.value.message for key in first.keys)


@pytest.mark.parametrize("changes", GOOD, ids=str)
def test_what_goes_together_is_not(changes: dict[str, Any]) -> None:
    check(values(changes))


def test_every_row_is_met() -> None:
    met = [sum(conflict.clash(values(changes)) for changes in CLASHES) for conflict in CONFLICTS]
    assert all(met), met


def test_the_manual_has_the_table() -> None:
    text = Path("docs/RECIPES.md").read_text()
    table = text[text.index("## What does not go together") :]
    rows = re.findall(r"^\| `\[.*$", table[: table.index("\n## ", 5)], re.MULTILINE)
    assert rows == [
        f"| `{name(c.keys[0])}` and `{name(c.keys[1])}` | {c.when} | {c.why} | {c.remedy} |" for c in CONFLICTS
    ]

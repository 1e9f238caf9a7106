"""What does not go together: one table, looked at before anything starts.

Values are those of a run's settings by ``section.key``; ``compile.adapter`` of the model; and ``boards`` and
``board.rate``: how many boards train in a round, and of how many of all the link's rate is known.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tinyfl.errors import ConfigError
from tinyfl.federated.robust import CROWD, FEWEST, ORDERED

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Conflict:
    """Two keys, when they clash (for the manual, and as a function of all values), why, and what to do."""

    keys: tuple[str, str]
    when: str
    clash: Callable[[Values], bool]
    why: str
    remedy: str


NO_ADAPTER = "or set [compile] adapter = 0 and compile again"

CONFLICTS = (
    Conflict(
        ("server.aggregate", "update.select"),
        '`"median"` or `"trimmed"` with `"top"`',
        lambda v: v["server.aggregate"] in ORDERED and v["update.select"] == "top",
        "most boards leave most weights out, so the middle of the updates is 0",
        'select = "random" sends the same weights from all boards; or aggregate = "clip"',
    ),
    Conflict(
        ("server.aggregate", "update.codec"),
        '`"clip"` with `"sign"`',
        lambda v: v["server.aggregate"] == "clip" and v["update.codec"] == "sign",
        "updates of signs are all equally long: there is nothing to clip",
        'aggregate = "median" takes the vote of the majority; or take another codec',
    ),
    Conflict(
        ("server.aggregate", "run.fraction"),
        '`"median"`, `"trimmed"`, `"krum"` or `"multi-krum"` with fewer than 3 boards a round',
        lambda v: v["boards"] < FEWEST[v["server.aggregate"]],
        "fewer than 3 boards train in a round, so no one can be told from the others",
        'more boards or a larger fraction; or aggregate = "clip"',
    ),
    Conflict(
        ("server.aggregate", "server.liars"),
        '`"trimmed"`, `"krum"` or `"multi-krum"` with 0',
        lambda v: v["server.aggregate"] in ("trimmed", "krum", "multi-krum") and v["server.liars"] == 0,
        "against no liars there is nothing to leave out",
        'set liars, for example 0.2; or aggregate = "mean"',
    ),
    Conflict(
        ("server.aggregate", "clusters.count"),
        '`"median"`, `"trimmed"`, `"krum"` or `"multi-krum"` with more than 1',
        lambda v: FEWEST[v["server.aggregate"]] > 1 and v["clusters.count"] > 1,
        "a cluster may be left with fewer than 3 boards, and boards of another one are no crowd",
        'aggregate = "clip" needs no crowd; or count = 1',
    ),
    Conflict(
        ("server.aggregate", "clusters.count"),
        '`"fltrust"` with more than 1',
        lambda v: v["server.aggregate"] == "fltrust" and v["clusters.count"] > 1,
        "the server's own samples belong to one cluster, and it would trust no other",
        'aggregate = "clip"; or count = 1',
    ),
    Conflict(
        ("server.mixing", "server.aggregate"),
        '`true` with `"mean"`',
        lambda v: v["server.mixing"] and v["server.aggregate"] == "mean",
        "mixing makes a crowd for a rule that looks at it, and the mean does not",
        'aggregate = "krum" or another rule; or mixing = false',
    ),
    Conflict(
        ("server.mixing", "server.liars"),
        "`true` with 0",
        lambda v: v["server.mixing"] and v["server.liars"] == 0,
        "all updates mixed with all others are the mean",
        "set liars, for example 0.2; or mixing = false",
    ),
    Conflict(
        ("server.mixing", "run.fraction"),
        "`true` with fewer than 3 boards a round",
        lambda v: v["server.mixing"] and v["boards"] < CROWD,
        "fewer than 3 boards train in a round, so no one can be told from the others",
        "more boards or a larger fraction; or mixing = false",
    ),
    Conflict(
        ("server.mixing", "clusters.count"),
        "`true` with more than 1",
        lambda v: v["server.mixing"] and v["clusters.count"] > 1,
        "a cluster may be left with fewer than 3 boards, and boards of another one are no crowd",
        "mixing = false; or count = 1",
    ),
    Conflict(
        ("clients.select", "run.fraction"),
        '`"all"` with less than 1',
        lambda v: v["clients.select"] == "all" and v["run.fraction"] < 1,
        "a fraction of the boards is not all",
        'fraction = 1.0, or select = "random"',
    ),
    Conflict(
        ("clients.select", "run.fraction"),
        '`"power"` with 1',
        lambda v: v["clients.select"] == "power" and v["run.fraction"] == 1,
        "where all boards take part there is nothing to choose",
        'a fraction below 1, for example 0.5; or select = "all"',
    ),
    Conflict(
        ("clients.candidates", "run.fraction"),
        "candidates no larger than the fraction",
        lambda v: v["clients.select"] == "power" and 0 < v["clients.candidates"] <= v["run.fraction"],
        "all candidates take part, so it is a draw like any other",
        "more candidates, or 0: twice the fraction",
    ),
    Conflict(
        ("clients.candidates", "clients.select"),
        'candidates without `"power"`',
        lambda v: v["clients.candidates"] > 0 and v["clients.select"] != "power",
        "only power-of-choice has candidates",
        'leave candidates out, or select = "power"',
    ),
    Conflict(
        ("clients.select", "board.rate"),
        '`"link"` where no board has a rate',
        lambda v: v["clients.select"] == "link" and v["board.rate"] == 0,
        "no link's rate is known, so all are quick enough",
        'rate = 960 (bytes a second) beside the boards in fleet.toml; or select = "random"',
    ),
    Conflict(
        ("update.feedback", "compile.adapter"),
        "feedback with an adapter",
        lambda v: v["update.feedback"] and v["compile.adapter"] > 0,
        "boards keep no residual of an adapter",
        f"set feedback = false; {NO_ADAPTER}",
    ),
    Conflict(
        ("update.downlink", "compile.adapter"),
        '`"int8"` with an adapter',
        lambda v: v["update.downlink"] == "int8" and v["compile.adapter"] > 0,
        "one power of two for head and adapter would round one of them away",
        f'downlink = "difference" is exact; {NO_ADAPTER}',
    ),
    Conflict(
        ("update.count", "compile.adapter"),
        "a count with an adapter",
        lambda v: v["update.count"] != -1 and v["compile.adapter"] > 0,
        "head and adapter have so many weights each, and one count does not fit both",
        f"give a share of the weights; {NO_ADAPTER}",
    ),
    Conflict(
        ("prox.mu", "compile.adapter"),
        "mu above 0 with an adapter",
        lambda v: v["prox.mu"] > 0 and v["compile.adapter"] > 0,
        "boards know the way back of a head alone",
        f"set mu = 0; {NO_ADAPTER}",
    ),
    Conflict(
        ("server.aggregate", "compile.adapter"),
        '`"fltrust"` with an adapter',
        lambda v: v["server.aggregate"] == "fltrust" and v["compile.adapter"] > 0,
        "the server trains a head alone with its own samples",
        f'aggregate = "clip"; {NO_ADAPTER}',
    ),
    Conflict(
        ("personal.private", "compile.adapter"),
        "a private tensor without an adapter",
        lambda v: v["personal.private"] != "none" and v["compile.adapter"] == 0,
        "there is one tensor alone, and nothing would be shared",
        'set [compile] adapter, for example 16; or private = "none"',
    ),
    Conflict(
        ("personal.private", "clusters.count"),
        "a private tensor with more than 1",
        lambda v: v["personal.private"] != "none" and v["clusters.count"] > 1,
        "what is a board's own fits the weights that it trains with, and a cluster may change them",
        'count = 1, or private = "none"',
    ),
    Conflict(
        ("personal.private", "personal.tune"),
        "a private tensor with tuning",
        lambda v: v["personal.private"] != "none" and v["personal.tune"] > 0,
        "tuning reads all weights of a board, and private ones never leave it",
        'tune = 0, or private = "none"',
    ),
)


def check(values: Values) -> None:
    """Raises ConfigError for the first two keys that do not go together, naming both and what to do."""
    for conflict in CONFLICTS:
        if conflict.clash(values):
            first, second = (f"{name(key)} = {json.dumps(values[key])}" for key in conflict.keys)
            raise ConfigError(f"{first} does not go with {second}: {conflict.why}", conflict.remedy)


def name(key: str) -> str:
    """``[server] aggregate``; of a board, as fleet.toml has it."""
    section, _, own = key.partition(".")
    return f"[[{section}]] {own}" if section == "board" else f"[{section}] {own}"

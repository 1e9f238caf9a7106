"""Every method of a recipe in one table, and a small fleet of HAR boards that ``tinyfl run`` works through it on."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tinyfl.image import build_image, read_image
from tinyfl_host import launch
from tinyfl_host.artifacts import Artifacts
from tinyfl_host.boards import board
from tinyfl_host.build import build_firmware
from tinyfl_host.emulate import boot
from tinyfl_host.ledger import Ledger
from tinyfl_host.scenario import load_model, user_image

HAR = Path(__file__).resolve().parents[1] / "models" / "har"
USERS = {"b0": "5", "b1": "6", "b2": "7", "b3": "8", "b4": "9"}  # board b4 never trains
TRAIN, TEST = 12, 6  # samples of each
SLOW = "b3"  # its line is too slow for any round, where boards are chosen by their lines
PLAIN = {"rounds": 3, "epochs": 2, "seed": 3, "local_only": False}

_SPARSE = {"feedback": True, "entropy": True}
METHODS: dict[str, dict[str, Any]] = {
    "plain": {"local_only": True},
    # every codec with every selection; entropy and feedback each with and without
    "int8-all-entropy": {"codec": "int8", "entropy": True},
    "int8-top-feedback": {"codec": "int8", "select": "top", "count": 9, "feedback": True},
    "int8-random": {"codec": "int8", "select": "random", "share": 0.3},
    "int4-all-feedback-entropy": {"codec": "int4", **_SPARSE},
    "int4-top-entropy": {"codec": "int4", "select": "top", "share": 0.1, "entropy": True},
    "int4-random-feedback-dense": {"codec": "int4", "select": "random", "feedback": True, "dense_rounds": 1},
    "int2-all": {"codec": "int2"},
    "int2-top-feedback-entropy": {"codec": "int2", "select": "top", "count": 200, **_SPARSE},
    "int2-random-entropy": {"codec": "int2", "select": "random", "count": 1, "entropy": True},
    "sign-all-feedback": {"codec": "sign", "feedback": True},
    "sign-top-feedback-dense": {"codec": "sign", "select": "top", "dense_rounds": 2, **_SPARSE},
    "sign-random": {"codec": "sign", "select": "random", "share": 1.0},
    "downlink-int8": {"downlink": "int8"},
    "downlink-difference": {"downlink": "difference", "rounds": 4, "fraction": 0.5},
    "fedavgm": {"optimiser": "fedavgm", "server_momentum": 0.9, "server_rate": 0.5},
    "reptile": {"optimiser": "reptile", "server_rate": 0.5},
    "fedadagrad": {"optimiser": "fedadagrad"},
    "fedadam": {"optimiser": "fedadam", "downlink": "difference"},
    "fedyogi": {"optimiser": "fedyogi", "downlink": "int8", "codec": "int4", "feedback": True},
    "median": {"aggregate": "median", "select": "random", "share": 0.5},
    "trimmed": {"aggregate": "trimmed"},
    "krum": {"aggregate": "krum", "fraction": 0.75},
    "multi-krum": {"aggregate": "multi-krum", "codec": "int4", "entropy": True},
    "trimmed-mixing": {"aggregate": "trimmed", "mixing": True},
    "clip": {"aggregate": "clip"},
    "fltrust": {"aggregate": "fltrust"},
    "choose-random": {"client_select": "random", "fraction": 0.5},
    "choose-all": {"client_select": "all"},
    "choose-link": {"client_select": "link", "fraction": 0.6},
    "choose-power": {"client_select": "power", "fraction": 0.25, "candidates": 0.75, "rounds": 5},
    "fedprox": {"mu": 0.05, "client_select": "power", "fraction": 0.5},
    "clusters": {"clusters": 2, "downlink": "difference", "rounds": 4},
    "clusters-prox-own-sparse": {"clusters": 2, "mu": 0.1, "tune": 2, "codec": "int4", "select": "top", **_SPARSE},
    "own-heads": {"tune": 3, "mix": 0.5},
    "own-heads-after-few-boards": {"tune": 1, "fraction": 0.5, "codec": "sign", "feedback": True, "downlink": "int8"},
}

# What a clock or a counter of one kind of board says, framing, which follows a board's buffers, and its cache.
MEASURED = {"seconds", "bytes_up", "bytes_down", "measuring", "embeddings", "embed_instructions", "step_instructions"}
BODIES = {"body_up", "body_down"}  # of all messages; a twin has no line

Contents = dict[str, Any]


@contextmanager
def fleets(folder: Path, kinds: Sequence[str]) -> Iterator[dict[str, Path]]:
    """Fleet files in ``folder``: "twin", "sim" and "lines", whose boards, of these kinds in turn, are there already.

    They are booted once, and runs find them as the run before left them: that must not matter either.
    """
    if find_spec("seglearn") is None:
        pytest.skip("HAR's data: pip install seglearn")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as booted:
        patch.setenv("TINYFL_BUILD", str(folder))
        known = cache(load_model)  # three quarters of such a short run
        patch.setattr(launch, "load_model", known)
        artifacts = known(HAR)[1]
        data = _images(artifacts)
        firmware = {env: build_firmware(artifacts, env) for env in dict.fromkeys(kinds)}
        machines = {
            name: booted.enter_context(boot(board(env), firmware[env], data[name]))
            for name, env in zip(USERS, itertools.cycle(kinds), strict=False)
        }
        links = {kind: dict.fromkeys(USERS, kind) for kind in ("twin", "sim")}
        links["lines"] = {name: machine.link for name, machine in machines.items()}
        yield {kind: _write_fleet(folder / f"{kind}.toml", each, data) for kind, each in links.items()}


def _images(artifacts: Artifacts) -> dict[str, bytes]:
    """The data image of each board: a few samples of a user of its own, spread over all of the user's."""
    made = {}
    for name, user in USERS.items():
        whole = read_image(user_image(HAR, artifacts, user))
        train, test = _spread(len(whole.x_train), TRAIN), _spread(len(whole.x_test), TEST)
        made[name] = build_image(
            whole.x_train[train], whole.y_train[train], whole.x_test[test], whole.y_test[test], name
        )
    return made


def _spread(samples: int, count: int) -> npt.NDArray[np.int64]:
    return np.linspace(0, samples - 1, count).astype(np.int64)


def _write_fleet(path: Path, links: Mapping[str, str], images: Mapping[str, bytes]) -> Path:
    """A fleet.toml with a board at each link; those that the run brings up get their data images."""
    tables = []
    for name, link in links.items():
        role, rate = "unseen" if name == list(USERS)[-1] else "client", 2 if name == SLOW else 9600
        table = f'[[board]]\nname = "{name}"\nlink = "{link}"\nrole = "{role}"\nrate = {rate}\n'
        if not link.startswith("unix:"):
            (path.parent / f"{name}.bin").write_bytes(images[name])
            table += f'data = "{name}.bin"\n'
        tables.append(table)
    path.write_text("\n".join(tables))
    return path


def run(fleet: Path, method: str, place: Path) -> Contents:
    """What ``tinyfl run`` with this method left in its ledger, but for what each kind of board measures for itself."""
    request = launch.Request(HAR, fleet=fleet, place=place, given={**PLAIN, **METHODS[method]})
    launch.launch(request, lambda _: None)
    with Ledger(place, write=False) as ledger:
        result = ledger.result()
        assert result is not None
        return {
            "head": result["head_sha256"],
            "figures": {key: result[key] for key in ("rounds", "before", "after", "local_only", "boards", "dropped")},
            "rounds": [_row(row) for row in ledger.rounds()],
            "updates": [(number, _row(row)) for number, row in ledger.updates()],
            "metrics": [_row(row) for row in ledger.metrics()],
            "drops": [_row(row) for row in ledger.drops()],
            "own": [(name, _plain(weights), tuned) for name, (weights, tuned) in ledger.own_heads().items()],
            "alone": [(name, _plain(weights)) for name, weights in ledger.local_heads().items()],
        }


def alike(files: Mapping[str, Path], method: str, folder: Path) -> Contents:
    """The run on boards in this process, which those on twins and on boards at lines must equal."""
    twin, sim, lines = (run(files[kind], method, folder / kind) for kind in ("twin", "sim", "lines"))
    assert not twin["drops"] and twin["updates"]
    told = _differences(_without_bodies(sim), _without_bodies(twin)) or _differences(lines, sim)
    assert not told, "\n".join(told)
    return sim


def _without_bodies(contents: Contents) -> Contents:
    """The same of boards without a line."""
    rounds = [{key: value for key, value in row.items() if key not in BODIES} for row in contents["rounds"]]
    return {**contents, "rounds": rounds}


def _differences(found: Contents, expected: Contents) -> list[str]:
    """Where two runs differ, by name, the first of each kind; empty where they are the same."""
    told = []
    for key in expected:
        if found[key] != expected[key]:
            rows: Sequence[tuple[Any, Any]] = [(found[key], expected[key])]
            if isinstance(expected[key], list):
                rows = list(itertools.zip_longest(found[key], expected[key]))
            told.append(f"{key}: " + next(f"{a!r} is not {b!r}" for a, b in rows if a != b))
    return told


def _row(row: Any) -> dict[str, Any]:
    """A row of the ledger, whatever its columns, in values that compare."""
    return {
        field.name: _plain(getattr(row, field.name)) for field in dataclasses.fields(row) if field.name not in MEASURED
    }


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes().hex()
    return value

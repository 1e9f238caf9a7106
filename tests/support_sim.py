"""Boards in the tests' own process: the library of a compiled model, and a fleet of them as in support_rounds."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support_rounds import MODEL, image
from support_runner import ROOT

from tinyfl.compiler import CompiledModel
from tinyfl_host.artifacts import Artifacts, write_atomically
from tinyfl_host.build import build_library
from tinyfl_host.fleet import Fleet, Member
from tinyfl_host.sim import Simulation


def library(model: CompiledModel) -> Path:
    """Built once for all tests and runs that want the same: build/tests/sim-<hash of the model's C>."""
    digest = hashlib.sha256("".join(model.sources.values()).encode()).hexdigest()[:16]
    folder = ROOT / "build/tests" / f"sim-{digest}"
    artifacts = Artifacts("model", folder, folder)
    for name, text in model.sources.items():
        write_atomically(artifacts.sources / name, text.encode())
    return build_library(artifacts)


class SimFleet(Fleet):
    """The members' boards, all simulated, with a small model and the data of support_rounds."""

    def __init__(self, library: Path, members: Sequence[Member], model: CompiledModel = MODEL) -> None:
        self.model = model
        members = [dataclasses.replace(member, link="sim") for member in members]
        sim = Simulation(library, model.manifest, {member.name: image(member) for member in members})
        super().__init__(members, nothing, nothing, nothing, sim=sim)


def nothing(*_: Any) -> Any:
    """No board is booted or linked."""
    raise AssertionError

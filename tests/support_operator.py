"""The three-way oracle: compiled C == numpy twin == TFLite's reference kernels, on random models that can be run again.

The case `number` of a family depends on nothing but the family's seed and the number: neither on other cases nor on
the order of the tests. tests/c runs all of them on the host, tests/emulated the same ones on emulated CPUs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from support_layers import FAMILIES as OPERATORS
from support_layers import Family
from support_network import network
from support_runner import COMPILERS, build_runner, run_models
from support_tflite import model_inputs, run_oracle

from tinyfl.compiler import CompiledModel, compile_model
from tinyfl.reference import run
from tinyfl.settings import GOALS

INPUTS = 10  # per model
FAMILIES = {**OPERATORS, "network": Family(network, 100, 12)}


@dataclass(frozen=True)
class Case:
    """A random model, its inputs and what the numpy twin makes of them."""

    family: str
    number: int
    data: bytes
    model: CompiledModel
    inputs: np.ndarray
    twin: np.ndarray

    def __str__(self) -> str:
        """Parameters, kernels and, unless it is damaged, the command that runs it again."""
        comments = re.findall(r"/\* (Layer .*?) \*/", self.model.sources["model.c"], re.DOTALL)
        again = f"again with: python tests/generate_models.py {self.family} {self.number}"
        lines = [f"{self.family} {self.number}", *comments]
        return "\n".join(lines if self.family.startswith("damaged") else [*lines, again])


def write_model(family: str, number: int) -> bytes:
    """The .tflite of a case."""
    return FAMILIES[family].write(_rng(family, number, 0), number)


def make_case(family: str, number: int) -> Case:
    """A case, compiled."""
    data = write_model(family, number)
    goal = GOALS[_rng(family, number, 2).integers(len(GOALS))]
    model = compile_model(data, f"{family} {number}", None, goal)
    tensor = model.graph.tensor(model.graph.input)
    x = model_inputs(_rng(family, number, 1), tensor, INPUTS)
    return Case(family, number, data, model, x, run(model.graph, x))


@cache
def cases(family: str) -> tuple[Case, ...]:
    """All of a family."""
    return tuple(make_case(family, number) for number in range(FAMILIES[family].cases))


def assert_three_ways(family: str, folder: Path) -> None:
    """Every witness gives the same bytes for every case; each host compiler has its share of them."""
    several = cases(family)
    for case in several:
        np.testing.assert_array_equal(case.twin, run_oracle(case.data, case.inputs), f"twin and TFLite: {case}")
    telling = sum(bool(np.any(case.twin[5:] != case.twin[5])) for case in several)
    assert telling >= len(several) * 2 // 3, f"{telling} of {len(several)} outputs depend on the input"
    for turn, compiler in enumerate(COMPILERS):
        assert_c_agrees(several[turn :: len(COMPILERS)], compiler, folder / compiler)


def assert_c_agrees(several: tuple[Case, ...], compiler: str, folder: Path) -> None:
    """The C of these cases, built by a host compiler with sanitizers, gives the twin's bytes."""
    models, inputs = [case.model for case in several], [case.inputs for case in several]
    outputs = run_models(build_runner(compiler, models, folder), models, inputs)
    for case, got in zip(several, outputs, strict=True):
        np.testing.assert_array_equal(got, case.twin, f"{compiler}: {case}")


def _rng(family: str, number: int, stream: int) -> np.random.Generator:
    return np.random.default_rng([FAMILIES[family].seed, number, stream])

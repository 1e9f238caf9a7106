"""The random models of the tests, by name: writes them to files, or runs one again everywhere.

python tests/generate_models.py                        the families and how many cases each has
python tests/generate_models.py FAMILY NUMBER          TFLite == numpy twin == C (host compilers, emulated CPUs)
python tests/generate_models.py FAMILY NUMBER ENV ...  the same on these emulated CPUs alone: qemu-m4, ...
python tests/generate_models.py FOLDER                 every model as FOLDER/FAMILY-NUMBER.tflite
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from support_operator import FAMILIES, assert_c_agrees, make_case, write_model
from support_qemu import ENVS, assert_cpu_agrees, installed
from support_runner import COMPILERS
from support_sparse import cases as sparse_cases
from support_tflite import run_oracle


def write_all(folder: Path) -> None:
    """Every model of every family."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, family in FAMILIES.items():
        for number in range(family.cases):
            (folder / f"{name}-{number}.tflite").write_bytes(write_model(name, number))


def run_again(family: str, number: int, envs: Sequence[str]) -> None:
    """One case; an AssertionError tells who differs."""
    case = sparse_cases()[number] if family == "sparse" else make_case(family, number)
    print(case)
    np.testing.assert_array_equal(case.twin, run_oracle(case.data, case.inputs), "twin and TFLite")
    with tempfile.TemporaryDirectory() as folder:
        for compiler in COMPILERS if not envs else ():
            assert_c_agrees((case,), compiler, Path(folder) / compiler)
        for env in envs or ENVS * installed():
            assert_cpu_agrees((case,), env, Path(folder) / env)
    print("all the same")


def main(arguments: Sequence[str]) -> None:
    """One of the four."""
    match arguments:
        case []:
            print("".join(f"{name:20} {family.cases}\n" for name, family in FAMILIES.items()), end="")
        case [folder]:
            write_all(Path(folder))
        case [family, number, *envs]:
            run_again(family, int(number), envs)


if __name__ == "__main__":
    main(sys.argv[1:])

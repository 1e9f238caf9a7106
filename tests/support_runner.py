"""The generated C of many models, built by a host compiler with sanitizers into one process."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from support_kept import ROOT, digest_of, kept

from tinyfl.compiler import CompiledModel

COMPILERS = ("gcc", "clang-14")
# The second compiler of a test that takes long is for the slow ones.
QUICK_COMPILERS = [*COMPILERS[:1], *(pytest.param(name, marks=pytest.mark.slow) for name in COMPILERS[1:])]
FLAGS = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-O1", "-g")
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def build_runner(compiler: str, models: Sequence[CompiledModel], folder: Path) -> Path:
    """An executable that runs all the models; skips where the compiler is not installed."""
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    sources = [str(path) for path in (write_cases(models, folder), kernels(compiler))]
    program = folder / "runner"
    compile_c(compiler, "-I", str(folder), str(ROOT / "tests/c/runner.c"), *sources, "-o", str(program))
    return program


def write_cases(models: Sequence[CompiledModel], folder: Path) -> Path:
    """A C file of all the models, and cases.h with the table of them.

    One file, because starting a compiler takes longer than compiling a model: each model's own names are numbered.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = []
    for i, model in enumerate(models):
        (folder / f"{i}.h").write_text(model.sources["model.h"])
        macros = re.findall(r"#define (\w+)", model.sources["model.h"])
        text = model.sources["model.c"].replace('#include "model.h"', f'#include "{i}.h"')
        names = "|".join(re.findall(r"^static .*?(\w+)(?=\[|\(| = )", text, re.MULTILINE))
        text = re.sub(rf"(?<![.\w])({names}|tfl_model)\b(?! \w)", rf"\g<1>_{i}", text)
        texts.append("".join(f"#undef {name}\n" for name in macros) + text)
    (folder / "cases.c").write_text("\n".join(texts))
    externs = "".join(f"extern const struct tfl_model tfl_model_{i};\n" for i in range(len(models)))
    table = ", ".join(f"&tfl_model_{i}" for i in range(len(models)))
    header = f'#include "tfl/tfl_model.h"\n{externs}static const struct tfl_model *const cases[] = {{{table}}};\n'
    (folder / "cases.h").write_text(header)
    return folder / "cases.c"


def kernels(compiler: str) -> Path:
    """All operators as a library."""
    return kept(
        digest_of([compiler, *FLAGS, *SANITIZE], {}), "kernels.a", lambda made: _compile_kernels(compiler, made)
    )


def _compile_kernels(compiler: str, made: Path) -> None:
    objects = []
    for source in sorted((ROOT / "firmware/core/ops").glob("*.c")):
        objects.append(str(made.parent / f"{source.stem}.o"))
        compile_c(compiler, "-c", str(source), "-o", objects[-1])
    subprocess.run(["ar", "rcs", str(made), *objects], check=True)


def build_probe(compiler: str, folder: Path, name: str, core: Iterable[str], *more: str) -> Path:
    """tests/c/<name>_probe.c with these files of core as a program; skips where the compiler is not installed."""
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    sources = [ROOT / f"tests/c/{name}_probe.c", *(ROOT / f"firmware/core/{part}.c" for part in core)]
    program = folder / "probe"
    compile_c(compiler, "-I", str(ROOT / "firmware/core"), *map(str, sources), *more, "-o", str(program))
    return program


def compile_c(compiler: str, *arguments: str) -> None:
    """Compiles with warnings as errors and sanitizers; the compiler's words are the assertion's."""
    command = [compiler, *FLAGS, *SANITIZE, "-I", str(ROOT / "firmware/include"), *arguments]
    built = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stderr


def run_models(program: Path, models: Sequence[CompiledModel], inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs (n, *shape) of each model on its batch of inputs."""
    stdin = b"".join(np.array([i, 0, len(x)], "<u4").tobytes() + x.tobytes() for i, x in enumerate(inputs))
    done = subprocess.run([str(program)], input=stdin, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return split_outputs(done.stdout, models, inputs)


def split_outputs(data: bytes, models: Sequence[CompiledModel], inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs of all models, one after the other, as an array (n, *shape) each."""
    outputs, position = [], 0
    for model, x in zip(models, inputs, strict=True):
        shape = model.graph.tensor(model.graph.output).shape[1:]
        size = len(x) * int(np.prod(shape))
        outputs.append(np.frombuffer(data, np.int8, size, position).reshape(len(x), *shape))
        position += size
    assert position == len(data)
    return outputs


def run_embeddings(program: Path, model: CompiledModel, x: np.ndarray) -> np.ndarray:
    """The embeddings (n, features) that the first model's backbone leaves at `embedding_offset`."""
    assert model.head is not None
    stdin = np.array([0, 1, len(x)], "<u4").tobytes() + x.tobytes()
    done = subprocess.run([str(program)], input=stdin, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return np.frombuffer(done.stdout, np.int8).reshape(len(x), model.head.features)

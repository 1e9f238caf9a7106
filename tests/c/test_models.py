"""Whole models, three ways: compiled C == numpy twin == TFLite's reference kernels."""

import time
from pathlib import Path

import numpy as np
import pytest
from support_runner import COMPILERS, ROOT, build_runner, run_embeddings, run_models
from support_tflite import edge_inputs, model_inputs, run_oracle

from tinyfl.compiler import compile_model, read_tflite
from tinyfl.reference import embed, run

SHARED = ROOT.parent / "shared/models"
MODELS = {
    "kws": (SHARED / "kws_ref_model.tflite", 60),
    "ad": (SHARED / "ad01_int8.tflite", 60),
    "har": (ROOT / "models/har/har.tflite", 512),
}


def read(name: str) -> tuple[bytes, int]:
    path, count = MODELS[name]
    if not path.exists():
        pytest.skip(f"{path.name} is not in this checkout")
    return path.read_bytes(), count


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_model_is_bit_exact(name: str, tmp_path: Path) -> None:
    data, count = read(name)
    model = compile_model(data, name, None)
    x = model_inputs(np.random.default_rng(1), model.graph.tensor(model.graph.input), count)
    expected = run_oracle(data, x)
    np.testing.assert_array_equal(run(model.graph, x), expected)
    for compiler in COMPILERS:
        got = run_models(build_runner(compiler, [model], tmp_path / compiler), [model], [x])[0]
        np.testing.assert_array_equal(got, expected, compiler)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kws", "har"])
def test_backbone_leaves_the_embedding_for_the_head(name: str, tmp_path: Path) -> None:
    data, _ = read(name)
    shape = read_tflite(data, name).tensors[0].shape[1:]
    x = edge_inputs(np.random.default_rng(2), shape, 20)
    model = compile_model(data, name, x)
    got = run_embeddings(build_runner("gcc", [model], tmp_path / "gcc"), model, x)
    np.testing.assert_array_equal(got, embed(model.graph, x))


@pytest.mark.parametrize("name", MODELS)
def test_compiling_takes_under_two_seconds(name: str) -> None:
    data, _ = read(name)
    start = time.process_time()  # of this process: other work on the machine does not count
    compile_model(data, name, None)
    assert time.process_time() - start < 2.0

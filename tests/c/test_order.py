"""A model whose layers run in another order than the file's: the same bytes, in less RAM."""

from pathlib import Path

import numpy as np
from support_runner import COMPILERS, build_runner, run_models
from support_tflite import Op, T, edge_inputs, run_oracle, write_tflite

from tinyfl.compiler import compile_model, read_tflite
from tinyfl.compiler.plan import plan_arena
from tinyfl.reference import run


def two_wide_branches() -> bytes:
    """Both are widened before either is made small again, as a breadth-first export writes it."""
    tensors = [
        T((1, 3, 3, 4), [0.1], 3),
        T((1, 12, 12, 4), [0.1], 3),
        T((1, 13, 13, 4), [0.1], 3),
        T((1, 4), [0.05], -5),
        T((1, 4), [0.05], 7),
        T((1, 4), [0.08], 1),
        T((4, 2), data=[[0, 0], [4, 5], [5, 4], [0, 0]], type="int32"),
        T((4, 2), data=[[0, 0], [0, 10], [10, 0], [0, 0]], type="int32"),
        T((2,), data=[1, 2], type="int32"),
    ]
    ops = [
        Op("PAD", [0, 6], [1]),
        Op("PAD", [0, 7], [2]),
        Op("MEAN", [1, 8], [3], {"KeepDims": False}),
        Op("MEAN", [2, 8], [4], {"KeepDims": False}),
        Op("ADD", [3, 4], [5], {}),
    ]
    return write_tflite(tensors, ops, [0], [5])


def test_each_branch_ends_before_the_next_begins(tmp_path: Path) -> None:
    data = two_wide_branches()
    model = compile_model(data, "m", None)
    assert [layer["op"] for layer in model.manifest["layers"]] == ["pad", "mean", "pad", "mean", "add"]
    assert plan_arena(read_tflite(data, "m")).arena_bytes >= (144 + 169) * 4
    assert model.plan.arena_bytes <= (169 + 9 + 4) * 4
    x = edge_inputs(np.random.default_rng(1), (3, 3, 4), 40)
    expected = run_oracle(data, x)
    np.testing.assert_array_equal(run(model.graph, x), expected)
    for compiler in COMPILERS:
        program = build_runner(compiler, [model], tmp_path / compiler)
        np.testing.assert_array_equal(run_models(program, [model], [x])[0], expected, compiler)

"""Pruned layers, three ways; and what the compiler makes of them."""

from pathlib import Path

import numpy as np
import pytest
from support_operator import assert_c_agrees
from support_runner import COMPILERS
from support_sparse import cases
from support_tflite import run_oracle

from tinyfl.compiler.ops.sparse import conv2d_stream, dense_stream, stream_bytes


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(len(COMPILERS)))
def test_sparse_layers_are_bit_exact(turn: int, tmp_path: Path) -> None:
    mine = cases()[turn :: len(COMPILERS)]
    for case in mine:
        np.testing.assert_array_equal(case.twin, run_oracle(case.data, case.inputs), f"twin and TFLite: {case}")
    assert_c_agrees(mine, COMPILERS[turn], tmp_path)


def test_the_cases_are_of_every_kind() -> None:
    layers = [case.model.manifest["layers"][0] for case in cases()]
    for kernel in ("tfl_sparse_conv2d", "tfl_sparse_dense"):
        assert sum(layer["kernel"] == kernel for layer in layers) >= 50
    assert any(layer["kernel"] == "tfl_sparse_dense_large" for layer in layers)
    text = "".join(case.model.sources["model.c"] for case in cases())
    for word in ("TFL_SCALE_FULL", "TFL_SCALE_CLAMP", "TFL_SCALE_ANY", ".lanes = 4", ".lanes = 2"):
        assert text.count(word) >= 5, word


def test_the_stream_is_a_mask_and_its_weights() -> None:
    rows = np.array([[0, 5, 0, 0, 0, 0, 0, -1, 7]], np.int8)
    assert conv2d_stream(rows).tolist() == [0b01000001, 5, -1, -128, 7]
    assert dense_stream(rows.T).tolist() == [0b01000001, 5, -1, 0, -128, 7, 0]


@pytest.mark.parametrize("op", ["conv2d", "dense"])
@pytest.mark.parametrize("kept", [0.0, 0.4, 1.0])
def test_the_stream_is_as_long_as_the_rule_counts(op: str, kept: float) -> None:
    rng = np.random.default_rng(8)
    rows = (rng.integers(1, 128, (21, 37)) * (rng.random((21, 37)) < kept)).astype(np.int8)
    stream = dense_stream(rows) if op == "dense" else conv2d_stream(rows)
    assert stream.size == stream_bytes(op, rows)

"""The three-way oracle of an operator: compiled C == numpy twin == TFLite's reference kernels, on random models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from support_runner import COMPILERS, build_runner, run_models
from support_tflite import Op, T, edge_inputs, run_oracle, write_tflite

from tinyfl.compiler import compile_model
from tinyfl.reference import run

Rng = np.random.Generator
INPUTS = 12  # per model


def assert_three_ways(write: Callable[[Rng, int], bytes], cases: int, folder: Path, seed: int) -> None:
    """`write(rng, case)` gives the .tflite of each case; every witness must give the same bytes."""
    rng = np.random.default_rng(seed)
    files = [write(rng, case) for case in range(cases)]
    models = [compile_model(data, f"case {i}", None) for i, data in enumerate(files)]
    inputs = [edge_inputs(rng, m.graph.tensor(m.graph.input).shape[1:], INPUTS) for m in models]
    expected = [run_oracle(data, x) for data, x in zip(files, inputs, strict=True)]
    for case, (model, x, y) in enumerate(zip(models, inputs, expected, strict=True)):
        np.testing.assert_array_equal(run(model.graph, x), y, f"numpy twin, case {case}")
    assert any(len(np.unique(y)) > 8 for y in expected), "the cases say nothing: their outputs hardly vary"
    for turn, compiler in enumerate(COMPILERS):  # each compiler has its share of the cases
        mine = slice(turn, None, len(COMPILERS))
        outputs = run_models(build_runner(compiler, models[mine], folder / compiler), models[mine], inputs[mine])
        for case, (got, y) in enumerate(zip(outputs, expected[mine], strict=True)):
            np.testing.assert_array_equal(got, y, f"{compiler}, its case {case}")


def scale(rng: Rng, low: float = 0.003, high: float = 0.2) -> float:
    """A float32 scale."""
    return float(np.float32(np.exp(rng.uniform(np.log(low), np.log(high)))))


def zero_point(rng: Rng) -> int:
    """Both ends of the range as often as its inside."""
    return int(rng.choice([-128, 127, int(rng.integers(-127, 127))]))


def stride_padding(rng: Rng, activation: int) -> dict[str, Any]:
    """Options that convolutions and pools share; padding 0 same, 1 valid."""
    strides = {"StrideH": int(rng.integers(1, 4)), "StrideW": int(rng.integers(1, 4))}
    return {**strides, "Padding": int(rng.integers(0, 2)), "FusedActivationFunction": activation}


def out_size(size: int, kernel: int, stride: int, padding: int) -> int:
    """TFLite's own rule, written down once more."""
    return (size + stride - 1) // stride if padding == 0 else (size + stride - kernel) // stride


def image(rng: Rng, kernel: Sequence[int], channels: int) -> tuple[int, int, int, int]:
    """A shape that the kernel fits into."""
    h, w = (int(rng.integers(k, k + 7)) for k in kernel)
    return 1, h, w, channels


def weighted(rng: Rng, builtin: str, x: T, shape: Sequence[int], out: Sequence[int], options: dict[str, Any]) -> bytes:
    """A model of one operator with random weights, per tensor or per channel; outputs saturate now and then."""
    channels, axis = out[-1], 3 if builtin == "DEPTHWISE_CONV_2D" else 0
    per_channel = builtin != "FULLY_CONNECTED" or rng.random() < 0.5
    scales = [scale(rng, 0.001, 0.05) for _ in range(channels if per_channel else 1)]
    taps = int(np.prod(shape)) // channels
    spread = x.scales[0] * np.mean(scales) * 74 * 74 * np.sqrt(taps)
    y_scale = float(np.float32(spread / rng.choice([4, 40, 127, 2000])))
    weights = rng.integers(-127, 128, shape)
    bias = rng.integers(-(2**15), 2**15, channels) * int(rng.choice([0, 1, 8]))
    tensors = [
        x,
        T(shape, scales, 0, weights, axis=axis),
        T([channels], [x.scales[0] * s for s in scales], 0, bias, "int32"),
        T(out, [y_scale], zero_point(rng)),
    ]
    operands = [0, 1, 2] if rng.random() < 0.8 or builtin != "FULLY_CONNECTED" else [0, 1, -1]
    return write_tflite(tensors, [Op(builtin, operands, [3], options)], [0], [3])

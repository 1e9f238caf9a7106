"""Random pruned layers, all of which the compiler keeps sparse, and what the numpy twin makes of random inputs."""

from __future__ import annotations

from functools import cache

import numpy as np
from support_layers import Rng, activation_of, image, size, stride_padding, weighted_tensors, windows_of
from support_operator import Case
from support_tflite import Op, T, edge_inputs, write_tflite

from tinyfl.compiler import compile_model
from tinyfl.reference import run
from tinyfl.settings import GOALS

CASES = 120
INPUTS = 8
KEPT = (0.0, 0.02, 0.1, 0.25, 0.4, 0.4)  # share of weights


@cache
def cases() -> tuple[Case, ...]:
    """CONV_2D and FULLY_CONNECTED in turn, for each goal in turn."""
    return tuple(_case(number) for number in range(CASES))


def _case(number: int) -> Case:
    write = (conv2d, dense)[number % 2]
    rng = np.random.default_rng([21, number])
    while True:  # until the compiler takes it
        data = write(rng, number)
        model = compile_model(data, f"sparse {number}", None, GOALS[number // 2 % len(GOALS)])
        if model.manifest["layers"][0]["kernel"].startswith("tfl_sparse_"):
            break
    tensor = model.graph.tensor(model.graph.input)
    x = edge_inputs(rng, tensor.shape[1:], INPUTS)
    return Case("sparse", number, data, model, x, run(model.graph, x))


def conv2d(rng: Rng, number: int) -> bytes:
    """Windows with and without padding, as wide as the input or not, with any number of pixels and channels."""
    kernel = ((1, 1), (3, 3), (5, 1), (int(rng.integers(1, 7)), int(rng.integers(1, 7))))[number // 2 % 4]
    options = stride_padding(rng, activation=(0, 1, 3)[number % 3])
    depth, filters = int(rng.integers(2, 40)), size(rng, 40)
    shape = image(rng, kernel, depth, options["Padding"], more=9)
    if number % 5 == 0:
        shape = (1, shape[1] + 4, kernel[1], depth)
    h, w = windows_of(shape, kernel, options)
    options |= {"DilationHFactor": 1, "DilationWFactor": 1}
    return _pruned(rng, "CONV_2D", shape, (filters, *kernel, depth), (1, h, w, filters), options)


def dense(rng: Rng, number: int) -> bytes:
    """Any number of inputs, and of outputs."""
    inputs, outputs = int(rng.integers(8, 300)), int(rng.integers(3, 60))
    if number % 40 == 1:  # enough for the kernel with more code
        inputs, outputs = int(rng.integers(250, 300)), int(rng.integers(120, 140))
    options = {"FusedActivationFunction": (0, 1, 3)[number % 3]}
    return _pruned(rng, "FULLY_CONNECTED", (1, inputs), (outputs, inputs), (1, outputs), options)


def _pruned(
    rng: Rng, builtin: str, shape: tuple[int, ...], weights: tuple[int, ...], out: tuple[int, ...], options: dict
) -> bytes:
    x: T = activation_of(rng, shape)
    tensors = [x, *weighted_tensors(rng, builtin, x, weights, out, options["FusedActivationFunction"] != 0)]
    data = tensors[1].data
    data[rng.random(data.shape) >= rng.choice(KEPT)] = 0
    if rng.random() < 0.2:
        data.flat[int(rng.integers(data.size))] = -128
    last = len(tensors) - 1
    return write_tflite(tensors, [Op(builtin, list(range(last)), [last], options)], [0], [last])

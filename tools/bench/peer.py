"""What TFLM with CMSIS-NN would need for a model on a Cortex-M4: an estimate, since the peer cannot be built here.

Instructions per multiply-accumulate come from three layers of the peer that were measured under QEMU (1x1 convolution
64 deep: 2.09, depthwise 3x3: 7.79, dense 128 x 128: 2.2), taken apart into products and about 30 instructions for each
output's requantisation. The rest is read off what its kernels do for each value, was never measured, and is meant to
err in the peer's favour. On the two models that the coefficients come from it gives less than was measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tinyfl.compiler.demand import Demand, layer_demands
from tinyfl.compiler.plan import plan_arena
from tinyfl.graph import Graph, Layer

# Measured: instructions on an M4, arena in bytes.
CHECKED = {"kws": (7_700_238, 22_820), "ad01": (583_239, 2_580)}

INVOKE = 310.0  # a layer's share of the interpreter: what TFLM needed beyond the same kernels called from C
SCALE = 30.0  # an output's requantisation
LAYER_BYTES = 162  # of TFLM's arena: node, tensors, kernel data
CHANNEL_BYTES = 8  # a multiplier and a shift for each output channel of a convolution


def instructions(graph: Graph) -> float:
    """Of one inference."""
    return sum(COSTS[layer.op](graph, layer) + INVOKE for layer in graph.layers)


def arena(graph: Graph) -> int:
    """Activations without sharing, as small as they can be packed, and what the interpreter keeps there.

    A convolution larger than 1x1 has two windows in int16 as scratch; that of other kernels is not counted.
    """
    aliases = (demand.alias for demand in layer_demands(graph))
    demands = [Demand(_windows(graph, layer), alias=alias) for layer, alias in zip(graph.layers, aliases, strict=True)]
    apart = plan_arena(graph, demands).arena_bytes
    channels = sum(_output(graph, layer)[-1] for layer in graph.layers if "conv" in layer.op)
    return apart + LAYER_BYTES * len(graph.layers) + CHANNEL_BYTES * channels


def _windows(graph: Graph, layer: Layer) -> int:
    if layer.op != "conv2d":
        return 0
    _, height, width, depth = graph.tensor(layer.inputs[1]).shape
    return 4 * height * width * depth if height * width > 1 else 0


def _output(graph: Graph, layer: Layer) -> tuple[int, ...]:
    return graph.tensor(layer.outputs[0]).shape


def _outputs(graph: Graph, layer: Layer) -> int:
    return math.prod(_output(graph, layer))


def _inputs(graph: Graph, layer: Layer) -> int:
    return graph.tensor(layer.inputs[0]).size


def _conv2d(graph: Graph, layer: Layer) -> float:
    """A window's rows are widened tap by tap, about 30 instructions each, where they are more than one."""
    weights = graph.tensor(layer.inputs[1]).shape
    outputs, taps = _outputs(graph, layer), weights[1] * weights[2]
    pixels = outputs // weights[0]
    return 1.62 * outputs * math.prod(weights[1:]) + SCALE * outputs + (30.0 * taps * pixels if taps > 1 else 0.0)


def _depthwise(graph: Graph, layer: Layer) -> float:
    weights = graph.tensor(layer.inputs[1]).shape
    return _outputs(graph, layer) * (4.46 * weights[1] * weights[2] + SCALE)


def _dense(graph: Graph, layer: Layer) -> float:
    return 1.97 * graph.tensor(layer.inputs[1]).size + SCALE * _outputs(graph, layer)


def _pool(each: float, scale: float) -> Callable[[Graph, Layer], float]:
    """`each`: for every value of a window."""

    def cost(graph: Graph, layer: Layer) -> float:
        return _outputs(graph, layer) * (each * layer.options["kernel_h"] * layer.options["kernel_w"] + scale)

    return cost


def _softmax(graph: Graph, layer: Layer) -> float:
    """Two exponentials a class, a reciprocal a row."""
    classes = _output(graph, layer)[-1]
    return _outputs(graph, layer) * 120.0 + _outputs(graph, layer) / classes * 150.0


COSTS: dict[str, Callable[[Graph, Layer], float]] = {
    "conv2d": _conv2d,
    "depthwise_conv2d": _depthwise,
    "dense": _dense,
    "average_pool": _pool(4.0, 12.0),
    "max_pool": _pool(2.0, 4.0),
    "softmax": _softmax,
    "add": lambda graph, layer: 45.0 * _outputs(graph, layer),
    "mean": lambda graph, layer: 12.0 * _inputs(graph, layer) + SCALE * _outputs(graph, layer),
    "pad": lambda graph, layer: 8.0 * _outputs(graph, layer),
    "quantize": lambda graph, layer: 30.0 * _outputs(graph, layer),
    "reshape": lambda graph, layer: 0.0,
}

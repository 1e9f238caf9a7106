"""A rewritten graph computes the same."""

import numpy as np
import pytest
from support_tflite import Op, T, edge_inputs, write_tflite

from tinyfl.compiler import compile_model, read_tflite
from tinyfl.reference import run


def one_depthwise(channels: int, filters: int, per_channel: bool) -> bytes:
    rng = np.random.default_rng(filters)
    shape = (1, 3, 4, channels * filters)
    scales = rng.uniform(0.002, 0.01, shape[3] if per_channel else 1)
    options = {"StrideH": 2, "StrideW": 2, "Padding": 0, "FusedActivationFunction": 1, "DepthMultiplier": filters}
    tensors = [
        T((1, 9, 7, channels), [0.05], 3),
        T(shape, scales, 0, rng.integers(-127, 128, shape), axis=3),
        T((shape[3],), [1.0], 0, rng.integers(-500, 500, shape[3]), "int32"),
        T((1, 5, 4, shape[3]), [0.04], -128),
    ]
    dilation = {"DilationHFactor": 1, "DilationWFactor": 1}
    return write_tflite(tensors, [Op("DEPTHWISE_CONV_2D", [0, 1, 2], [3], options | dilation)], [0], [3])


@pytest.mark.parametrize("per_channel", [True, False])
def test_one_channel_with_many_filters_is_a_convolution(per_channel: bool) -> None:
    data = one_depthwise(1, 6, per_channel)
    graph, rewritten = read_tflite(data, "m"), compile_model(data, "m", None).graph
    assert [layer.op for layer in graph.layers] == ["depthwise_conv2d"]
    assert [layer.op for layer in rewritten.layers] == ["conv2d"]
    x = edge_inputs(np.random.default_rng(1), (9, 7, 1), 8)
    np.testing.assert_array_equal(run(rewritten, x), run(graph, x))


@pytest.mark.parametrize(("channels", "filters"), [(1, 3), (2, 4)])
def test_others_stay(channels: int, filters: int) -> None:
    graph = compile_model(one_depthwise(channels, filters, True), "m", None).graph
    assert [layer.op for layer in graph.layers] == ["depthwise_conv2d"]

"""Random networks, three ways: layers that share the arena's bytes as the planner allows it."""

from pathlib import Path

import pytest
from support_operator import assert_three_ways, cases


@pytest.mark.slow
def test_networks_are_bit_exact(tmp_path: Path) -> None:
    assert_three_ways("network", tmp_path)


@pytest.mark.slow
def test_networks_ask_for_all_that_the_planner_can_do() -> None:
    layers = [layer for case in cases("network") for layer in case.model.manifest["layers"]]
    shared = [layer for layer in layers if layer["op"] != "reshape" and overlaps(layer)]
    assert {layer["op"] for layer in shared} >= {"conv2d", "depthwise_conv2d", "add", "average_pool", "max_pool"}
    assert sum(layer["op"] == "add" for layer in layers) >= 30, "residual connections"
    expanding = [layer for layer in shared if size(layer["output_shape"]) > size(layer["input_shapes"][0])]
    assert sum(layer["op"] == "conv2d" for layer in expanding) >= 5, "over an input that is smaller"
    assert sum(layer["scratch_bytes"] > 0 for layer in layers) >= 100


def size(shape: list[int]) -> int:
    product = 1
    for n in shape:
        product *= n
    return product


def overlaps(layer: dict) -> bool:
    """Whether its output lies on one of its inputs."""
    start, end = layer["arena_out"], layer["arena_out"] + size(layer["output_shape"])
    inputs = zip(layer["arena_in"], layer["input_shapes"], strict=True)
    return any(at < end and start < at + size(shape) for at, shape in inputs)

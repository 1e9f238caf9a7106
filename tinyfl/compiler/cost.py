"""What a layer will cost before anything is built: instructions by CPU family, from shapes and a few constants.

Each kernel's work is a short list of counts (products, outputs, values moved); ``cost.toml`` holds what each of them
takes on each family. ``make costs`` (tools/costs.py) fits it to layers counted under QEMU; tests compare the two.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from tinyfl.compiler.demand import kernel
from tinyfl.compiler.ops import OPERATORS
from tinyfl.compiler.ops.operator import Folded
from tinyfl.graph import Graph, Layer

FAMILIES = ("m0", "m3", "m4", "m55")
TABLE = Path(__file__).with_name("cost.toml")
LOOP = 4  # outputs along a line that a depthwise kernel does at a time
GROUP = 8  # weights of a mask, and pixels at a time, of a sparse kernel
BLOCK = 16  # what Helium takes at a time

Fields = dict[str, int | str]
Work = tuple[str, dict[str, int]]  # which row of the table, and counts by the names of its columns


def estimate(graph: Graph, folded: Sequence[Folded | None]) -> tuple[dict[str, int], ...]:
    """Instructions by family for each layer; empty where the table does not know the kernel."""
    return tuple(_instructions(work(graph, layer, part)) for layer, part in zip(graph.layers, folded, strict=True))


def total(layers: Sequence[dict[str, int]]) -> dict[str, int]:
    """The whole model's, of those families that all layers are known for."""
    return {f: sum(layer[f] for layer in layers) for f in FAMILIES if all(f in layer for layer in layers)}


def work(graph: Graph, layer: Layer, folded: Folded | None) -> Work:
    """What a layer's kernel does, in counts of the steps that its instructions go to."""
    if folded is None:
        return "none", {"layer": 1}
    name, _ = kernel(graph, layer)
    fields = dict(folded.fields)
    count = WORK.get(name, _plain)
    row, counts = count(fields, graph, layer)
    built = "_small" if graph.goal == "size" else ""  # the compiler's other options make other code
    return f"{name.removeprefix('tfl_')}{row}{built}", {"layer": 1, **counts}


def _instructions(done: Work) -> dict[str, int]:
    row, counts = done
    return {
        family: round(sum(constants.get(name, 0.0) * count for name, count in counts.items()))
        for family in FAMILIES
        if (constants := table().get(row, {}).get(family)) is not None
    }


@lru_cache(maxsize=1)
def table() -> dict[str, dict[str, dict[str, float]]]:
    """``cost.toml``: kernel, family, instructions by count."""
    loaded: dict[str, dict[str, dict[str, float]]] = tomllib.loads(TABLE.read_text()) if TABLE.exists() else {}
    return loaded


def _number(fields: Fields, *names: str) -> int:
    """The product of some fields."""
    product = 1
    for name in names:
        product *= int(fields[name])
    return product


def _outputs(fields: Fields, count: int) -> dict[str, int]:
    """By the way that they are requantised."""
    kind = fields["scaling.kind"]
    return {
        "outputs": count,
        "clamped": count if kind == "TFL_SCALE_CLAMP" else 0,
        "slow": count if kind == "TFL_SCALE_ANY" else 0,
    }


def _conv2d(fields: Fields, graph: Graph, layer: Layer) -> tuple[str, dict[str, int]]:
    lanes = int(fields["lanes"])
    pixels = _number(fields, "window.out_h", "window.out_w")
    whole = pixels if pixels == 1 else -(-pixels // lanes) * lanes  # lanes that are left over work as well
    row, filters = int(fields["row"]), int(fields["window.out_c"])
    copied = "copied" in kernel(graph, layer)[1]
    counts = {
        "products": whole * row * filters,
        "blocks": whole * -(-row // BLOCK) * filters,
        **_outputs(fields, whole * filters),
        "moved": whole * row,
        "copied": whole * row * copied,
        "pixels": whole,
        "copied_rows": whole * int(fields["window.kernel_h"]) * copied,
    }
    return f"_{lanes}", counts


def _sparse_conv2d(fields: Fields, graph: Graph, layer: Layer) -> tuple[str, dict[str, int]]:
    row, counts = _conv2d(fields, graph, layer)
    whole = -(-counts["pixels"] // GROUP) * GROUP
    kept = _kept(graph, layer)
    filters = int(fields["window.out_c"])
    masks = -(-int(fields["row"]) // GROUP) * filters
    return row, {**counts, "kept": whole * kept, "masks": whole * masks}


def _sparse_dense(fields: Fields, graph: Graph, layer: Layer) -> tuple[str, dict[str, int]]:
    x, y = (graph.tensor(index).size for index in (layer.inputs[0], layer.outputs[0]))
    return "", {**_outputs(fields, y), "kept": _kept(graph, layer), "masks": -(-y // GROUP) * (x + 1)}


def _kept(graph: Graph, layer: Layer) -> int:
    """Weights that are not zero."""
    data = graph.tensor(layer.inputs[1]).data
    assert data is not None
    return int(np.count_nonzero(data))


def _depthwise(fields: Fields, graph: Graph, layer: Layer) -> tuple[str, dict[str, int]]:
    filters = _number(fields, "channels", "fan_out")
    lines, along = int(fields["lines.out"]), int(fields["along.out"])
    taps = _number(fields, "lines.kernel", "along.kernel")
    loaded = int(fields["channels"]) * min(int(fields["lines.in"]), (lines - 1) * int(fields["lines.stride"]) + 3)
    nine = (fields["lines.kernel"], fields["along.kernel"], fields["along.stride"]) == (3, 3, 1)
    turns = filters * lines * -(-along // LOOP) * LOOP
    bands = -(-lines // int(fields["band"]))
    again = max(0, int(fields["lines.kernel"]) - int(fields["lines.stride"]))
    counts = {
        "products": turns * taps,
        "blocks": -(-filters // BLOCK) * lines * along * taps,
        "block_outputs": -(-filters // BLOCK) * lines * along,
        "turns": turns,
        "rows_of_taps": turns * int(fields["lines.kernel"]),
        **_outputs(fields, filters * lines * along),
        "lines": filters * lines,
        "loaded": loaded * int(fields["along.in"]),
        "loaded_lines": loaded,
        "filters": filters,
        "taps": filters * taps,
        "moved": int(fields["channels"]) * (bands - 1) * again * int(fields["pitch"]),
        "bands": int(fields["channels"]) * bands,
    }
    return "_9" if nine else "", counts


def _depthwise_pixels(fields: Fields, graph: Graph, layer: Layer) -> tuple[str, dict[str, int]]:
    pixels, channels = _number(fields, "window.out_h", "window.out_w"), int(fields["window.out_c"])
    taps = _number(fields, "window.kernel_h", "window.kernel_w")
    groups = -(-channels // LOOP) * LOOP
    return "", {
        "products": pixels * groups * taps,
        "blocks": pixels * -(-channels // BLOCK) * taps,
        **_outputs(fields, pixels * groups),
        "pixels": pixels,
        "taps": pixels * taps,
    }


def _dense(fields: Fields, graph: Graph, layer: Layer) -> tuple[str, dict[str, int]]:
    row, outputs = int(fields["row"]), int(fields["outputs"])
    whole = outputs - outputs % 4
    return "", {
        "products": row * whole,
        "blocks": -(-row // BLOCK) * outputs,
        "rest_products": row * (outputs - whole),
        **_outputs(fields, outputs),
        "row": row,
    }


def _pool(fields: Fields, graph: Graph, layer: Layer) -> tuple[str, dict[str, int]]:
    pixels = _number(fields, "window.out_h", "window.out_w")
    area = min(int(fields["window.kernel_h"]), int(fields["window.in_h"])) * min(
        int(fields["window.kernel_w"]), int(fields["window.in_w"])
    )
    channels = int(fields["window.out_c"])
    return "", {
        "taps": pixels * area * channels,
        "outputs": pixels * channels,
        "pixels": pixels,
        "positions": pixels * area,
    }


def _mean(fields: Fields, graph: Graph, layer: Layer) -> tuple[str, dict[str, int]]:
    return "", {"taps": _number(fields, "outer", "count", "inner"), "outputs": _number(fields, "outer", "inner")}


def _softmax(fields: Fields, graph: Graph, layer: Layer) -> tuple[str, dict[str, int]]:
    return "", {"outputs": _number(fields, "rows", "classes"), "rows": int(fields["rows"])}


def _plain(fields: Fields, graph: Graph, layer: Layer) -> tuple[str, dict[str, int]]:
    """Products and outputs are all that is known of any kernel."""
    products = OPERATORS[layer.op].macs(graph, layer)
    return "", {"products": products, "outputs": graph.tensor(layer.outputs[0]).size}


WORK: dict[str, Callable[[Fields, Graph, Layer], tuple[str, dict[str, int]]]] = {
    "tfl_conv2d": _conv2d,
    "tfl_wide_conv2d": _conv2d,
    "tfl_depthwise_conv2d": _depthwise,
    "tfl_depthwise_pixels": _depthwise_pixels,
    "tfl_dense": _dense,
    "tfl_sparse_conv2d": _sparse_conv2d,
    "tfl_sparse_dense": _sparse_dense,
    "tfl_sparse_dense_large": _sparse_dense,
    "tfl_average_pool": _pool,
    "tfl_max_pool": _pool,
    "tfl_mean": _mean,
    "tfl_softmax": _softmax,
}

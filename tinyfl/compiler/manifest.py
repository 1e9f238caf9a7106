"""``model.json``: what the other stages and the user need to know of a compiled model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from tinyfl.compiler.cost import estimate, total
from tinyfl.compiler.demand import kernel, operands
from tinyfl.compiler.ops import OPERATORS
from tinyfl.compiler.ops.operator import Folded
from tinyfl.compiler.place import Block
from tinyfl.compiler.plan import Plan
from tinyfl.graph import AdapterFormat, Graph, HeadFormat, Layer, Tensor
from tinyfl.reference.head import held_bits, to_wire
from tinyfl.reference.scaling import quantization


def model_hash(data: bytes, head: HeadFormat | None) -> str:
    """SHA-256 (hex) over the ``.tflite`` and the head's constants as canonical JSON (``null`` without a head)."""
    constants = None if head is None else {**head_entry(head), "initial": to_wire(head.initial).tolist()}
    canonical = json.dumps(constants, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(data + canonical.encode()).hexdigest()


def manifest(
    data: bytes,
    graph: Graph,
    plan: Plan,
    folded: Sequence[Folded | None],
    backbone: int,
    head: HeadFormat | None,
    reason: str,
) -> dict[str, Any]:
    """The document; ``reason`` says why there is no head."""
    costs = estimate(graph, folded)
    layers = [
        {**_layer_entry(graph, plan, layer, part), "estimate": cost}
        for layer, part, cost in zip(graph.layers, folded, costs, strict=True)
    ]
    return {
        "name": graph.name,
        "hash": model_hash(data, head),
        "optimise": graph.goal,
        "tflite": {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()},
        "input": _tensor_entry(graph.tensor(graph.input)),
        "output": _tensor_entry(graph.tensor(graph.output)),
        "layers": layers,
        "macs": sum(entry["macs"] for entry in layers),
        "estimate": total(costs),  # instructions by CPU family
        "arena_bytes": plan.arena_bytes,
        "scratch_bytes": plan.scratch_bytes,
        "blocks": [_block_entry(graph, offset, block) for offset, block in plan.blocks],
        "constants_bytes": sum(entry["weight_bytes"] for entry in layers),
        "backbone_layers": backbone,
        "head": {"trainable": False, "reason": reason} if head is None else {"trainable": True, **head_entry(head)},
    }


def head_entry(head: HeadFormat) -> dict[str, Any]:
    """The head's constants but for the weights; of a pruned one which are held; its adapter (docs/DESIGN.md)."""
    held = {} if head.held is None else {"held": held_bits(head.held).hex()}
    adapter = {} if head.adapter is None else {"adapter": _adapter_entry(head.adapter)}
    return {
        "features": head.features,
        "classes": head.classes,
        "offset": head.offset.tolist(),
        "bias_value": head.bias_value,
        "r2": head.r2,
        "fw": head.fw,
        "count": head.size,
        **held,
        **adapter,
    }


def _adapter_entry(adapter: AdapterFormat) -> dict[str, Any]:
    """Its weights are zeros."""
    return {
        "group": adapter.group,
        "offset": adapter.offset.tolist(),
        "curvature": adapter.curvature,
        "count": adapter.size,
    }


def _tensor_entry(tensor: Tensor) -> dict[str, Any]:
    scaling = quantization(tensor)
    return {
        "shape": list(tensor.shape[1:]),
        "scale": scaling.scale,
        "zero_point": scaling.zero_point,
        "bytes": tensor.size,
    }


def _layer_entry(graph: Graph, plan: Plan, layer: Layer, folded: Folded | None) -> dict[str, Any]:
    inputs = operands(graph, layer)
    name, reason = kernel(graph, layer)
    return {
        "index": layer.index,
        "op": layer.op,
        "input_shapes": [list(graph.tensor(i).shape[1:]) for i in inputs],
        "output_shape": list(graph.tensor(layer.outputs[0]).shape[1:]),
        "macs": OPERATORS[layer.op].macs(graph, layer),
        "weight_bytes": 0 if folded is None else sum(array.bytes for array in folded.arrays),
        "arena_in": [plan.offsets[i] for i in inputs],
        "arena_out": plan.offsets[layer.outputs[0]],
        "arena_scratch": plan.scratch.get(layer.index),
        "scratch_bytes": sum(block.size for _, block in plan.blocks if block.scratch_of == layer.index),
        "live_bytes": live_bytes(plan, layer.index),
        "kernel": name,
        "reason": reason,
    }


def live_bytes(plan: Plan, layer: int) -> int:
    """Bytes of the arena that hold something while a layer runs; what shares a place counts once."""
    spans = sorted((at, at + block.size) for at, block in plan.blocks if block.first <= layer <= block.last)
    count, end = 0, 0
    for start, stop in spans:
        count += max(0, stop - max(start, end))
        end = max(end, stop)
    return count


def _block_entry(graph: Graph, offset: int, block: Block) -> dict[str, Any]:
    """What ``tinyfl profile --plot`` draws; a block without tensors is scratch."""
    names = [graph.tensor(index).name for index in block.tensors]
    return {"offset": offset, "bytes": block.size, "first": block.first, "last": block.last, "tensors": names}

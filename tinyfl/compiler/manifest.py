"""``model.json``: what the other stages and the user need to know of a compiled model."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tinyfl.compiler.ops import OPERATORS
from tinyfl.compiler.ops.operator import Folded
from tinyfl.compiler.plan import Plan
from tinyfl.graph import Graph, HeadFormat, Layer, Tensor
from tinyfl.reference.head import to_wire
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
    folded: list[Folded | None],
    backbone: int,
    head: HeadFormat | None,
    reason: str,
) -> dict[str, Any]:
    """The document; ``reason`` says why there is no head."""
    layers = [_layer_entry(graph, plan, layer, part) for layer, part in zip(graph.layers, folded, strict=True)]
    return {
        "name": graph.name,
        "hash": model_hash(data, head),
        "tflite": {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()},
        "input": _tensor_entry(graph.tensor(graph.input)),
        "output": _tensor_entry(graph.tensor(graph.output)),
        "layers": layers,
        "macs": sum(entry["macs"] for entry in layers),
        "arena_bytes": plan.arena_bytes,
        "constants_bytes": sum(entry["weight_bytes"] for entry in layers),
        "backbone_layers": backbone,
        "head": {"trainable": False, "reason": reason} if head is None else {"trainable": True, **head_entry(head)},
    }


def head_entry(head: HeadFormat) -> dict[str, Any]:
    """The head's constants but for the weights."""
    return {
        "features": head.features,
        "classes": head.classes,
        "offset": head.offset.tolist(),
        "bias_value": head.bias_value,
        "r2": head.r2,
        "fw": head.fw,
        "count": (head.features + 1) * head.classes,
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
    operands = layer.inputs[: OPERATORS[layer.op].ACTIVATIONS]
    return {
        "index": layer.index,
        "op": layer.op,
        "input_shapes": [list(graph.tensor(i).shape[1:]) for i in operands],
        "output_shape": list(graph.tensor(layer.outputs[0]).shape[1:]),
        "macs": OPERATORS[layer.op].macs(graph, layer),
        "weight_bytes": 0 if folded is None else sum(array.bytes for array in folded.arrays),
        "arena_in": [plan.offsets[i] for i in operands],
        "arena_out": plan.offsets[layer.outputs[0]],
    }

"""From a full-int8 ``.tflite`` to C: read, split (backbone | head), plan the arena, fold constants, emit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyfl.compiler.choice import decide
from tinyfl.compiler.emit import emit
from tinyfl.compiler.manifest import manifest
from tinyfl.compiler.ops import OPERATORS
from tinyfl.compiler.ops.operator import Folded
from tinyfl.compiler.plan import Plan, plan_model
from tinyfl.compiler.read import read_tflite
from tinyfl.compiler.rewrite import rewrite
from tinyfl.compiler.split import fold_head, rectified, split
from tinyfl.errors import ModelError
from tinyfl.graph import Graph, HeadFormat
from tinyfl.reference import embed
from tinyfl.reference.adapter import fold_adapter

__all__ = ["CompiledModel", "compile_model", "read_tflite"]


@dataclass(frozen=True)
class CompiledModel:
    """A model as C and as the manifest that describes it."""

    graph: Graph  # its layers in the order of execution
    backbone_layers: int  # all layers where there is no head
    head: HeadFormat | None
    plan: Plan
    folded: tuple[Folded | None, ...]  # by layer
    manifest: dict[str, Any]  # model.json
    sources: dict[str, str]  # model.h, model.c


def compile_model(
    data: bytes, name: str, calibration: npt.NDArray[np.int8] | None, goal: str = "balanced", adapter: int = 0
) -> CompiledModel:
    """Compiles a ``.tflite``; ``calibration``: int8 inputs (n, *input shape) of the lab, None for a model without head.

    ``goal``: one of settings.GOALS; whatever it is, the model computes the same bytes and has the same hash.
    ``adapter``: features of a group of the adapter that is trained before the head; 0: none.

    Raises ConfigError for an adapter larger than the embedding, ModelError where the model cannot run; that it has no
    trainable head is said in the manifest, not raised.
    """
    graph, plan = plan_model(decide(rewrite(read_tflite(data, name)), goal))
    backbone, head, reason = _head(graph, calibration, adapter)
    folded = tuple(OPERATORS[layer.op].fold(graph, layer) for layer in graph.layers)
    document = manifest(data, graph, plan, folded, backbone, head, reason)
    sources = emit(graph, plan, folded, backbone, head, document["hash"])
    return CompiledModel(graph, backbone, head, plan, folded, document, sources)


def _head(graph: Graph, calibration: npt.NDArray[np.int8] | None, adapter: int) -> tuple[int, HeadFormat | None, str]:
    """(backbone layers, head or None, the reason for None)."""
    try:
        backbone = split(graph)
        if calibration is None or len(calibration) == 0:
            return len(graph.layers), None, "no calibration inputs were given"
        embeddings = embed(graph, calibration)
        head = fold_head(graph, graph.layers[backbone], embeddings)
        if adapter:
            head = fold_adapter(head, embeddings, adapter, rectified(graph, graph.layers[backbone].inputs[0]))
        return backbone, head, ""
    except ModelError as error:
        return len(graph.layers), None, error.message

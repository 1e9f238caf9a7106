"""The static arena plan: where each activation lies while it lives."""

from __future__ import annotations

from dataclasses import dataclass

from tinyfl.compiler.ops import OPERATORS
from tinyfl.graph import Graph, Layer

ALIGNMENT = 4


@dataclass(frozen=True)
class Plan:
    """Arena bytes and the offset of each activation by tensor index."""

    arena_bytes: int
    offsets: dict[int, int]


@dataclass
class _Block:
    """Activations that share their place: a reshape and its input, an in-place operator and one operand."""

    tensors: list[int]
    size: int
    first: int  # the layer that writes it; -1: the model's input
    last: int  # the last layer that reads it

    def overlaps(self, other: _Block) -> bool:
        return self.first <= other.last and other.first <= self.last


def plan_arena(graph: Graph) -> Plan:
    """Largest blocks first, each in the smallest gap that fits among those that live at the same time."""
    blocks = _blocks(graph)
    placed: list[tuple[int, _Block]] = []
    for block in sorted(blocks, key=lambda b: (-b.size, b.first)):
        placed.append((_best_offset(block, placed), block))
    offsets = {tensor: offset for offset, block in placed for tensor in block.tensors}
    return Plan(max(offset + block.size for offset, block in placed), dict(sorted(offsets.items())))


def _best_offset(block: _Block, placed: list[tuple[int, _Block]]) -> int:
    """The start of the smallest gap that holds the block; behind everything if there is none."""
    busy = sorted((offset, offset + other.size) for offset, other in placed if other.overlaps(block))
    end, best, best_gap = 0, -1, 0
    for start, stop in busy:
        gap = start - end
        if gap >= block.size and (best < 0 or gap < best_gap):
            best, best_gap = end, gap
        end = max(end, stop)
    return best if best >= 0 else end


def _blocks(graph: Graph) -> list[_Block]:
    last = _last_uses(graph)
    of = {graph.input: _Block([graph.input], _rounded(graph, graph.input), -1, last[graph.input])}
    blocks = [of[graph.input]]
    for layer in graph.layers:
        output = layer.outputs[0]
        shared = _shareable(graph, layer, of)
        if shared is None:
            shared = _Block([], _rounded(graph, output), layer.index, layer.index)
            blocks.append(shared)
        shared.tensors.append(output)
        shared.last = max(shared.last, last[output])
        of[output] = shared
    return blocks


def _shareable(graph: Graph, layer: Layer, of: dict[int, _Block]) -> _Block | None:
    """The block of an operand that the output may overwrite: nobody reads it after this layer."""
    operator = OPERATORS[layer.op]
    for index in layer.inputs[: operator.ACTIVATIONS]:
        free = layer.op == "reshape" or (of[index].last <= layer.index and graph.input not in of[index].tensors)
        if operator.IN_PLACE and free and graph.tensor(index).size == graph.tensor(layer.outputs[0]).size:
            return of[index]
    return None


def _last_uses(graph: Graph) -> dict[int, int]:
    """The last layer that reads each activation; the model's output lives beyond the last layer."""
    last = {graph.input: 0, graph.output: len(graph.layers)}
    for layer in graph.layers:
        last.setdefault(layer.outputs[0], layer.index)
        for index in layer.inputs[: OPERATORS[layer.op].ACTIVATIONS]:
            last[index] = max(last.get(index, 0), layer.index)
    return last


def _rounded(graph: Graph, tensor: int) -> int:
    return -(-graph.tensor(tensor).size // ALIGNMENT) * ALIGNMENT

"""The arena plan: in which order the layers run, and where each activation and each layer's scratch lies meanwhile.

docs/PLANNER.md tells the rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinyfl.compiler.demand import Demand, layer_demands, operands, roots
from tinyfl.compiler.order import best_order, reordered
from tinyfl.compiler.place import Block, Rules, aligned, place
from tinyfl.graph import Graph


@dataclass(frozen=True)
class Plan:
    """Offsets in the arena."""

    arena_bytes: int
    scratch_bytes: int  # how many of them are there for scratch alone
    offsets: dict[int, int]  # by tensor
    scratch: dict[int, int]  # by layer; one without scratch is missing
    blocks: tuple[tuple[int, Block], ...]  # (offset, block)
    proved: bool  # no plan of this order of layers takes less
    nodes: int  # of the search tree


def plan_model(graph: Graph, demands: Sequence[Demand] | None = None) -> tuple[Graph, Plan]:
    """The graph in the order in which it should run, and its plan. The file's order stays unless another saves RAM."""
    demands = layer_demands(graph) if demands is None else demands
    plan = plan_arena(graph, demands)
    order = best_order(graph, demands, plan.arena_bytes)
    if order is None:
        return graph, plan
    other = reordered(graph, order)
    better = plan_arena(other, [demands[old] for old in order])
    return (other, better) if better.arena_bytes < plan.arena_bytes else (graph, plan)


def plan_arena(graph: Graph, demands: Sequence[Demand] | None = None) -> Plan:
    """The plan for the layers in the graph's own order."""
    demands = layer_demands(graph) if demands is None else demands
    together, rules = blocks_and_rules(graph, demands)
    activations = [block for block in together if block.tensors]
    placement = place(together, rules)
    bare = place(activations, rules).bytes if len(activations) < len(together) else placement.bytes
    places = list(zip(placement.offsets, together, strict=True))
    return Plan(
        arena_bytes=placement.bytes,
        scratch_bytes=max(0, placement.bytes - bare),
        offsets=dict(sorted((tensor, offset) for offset, block in places for tensor in block.tensors)),
        scratch={block.first: offset for offset, block in places if not block.tensors},
        blocks=tuple(places),
        proved=placement.proved,
        nodes=placement.nodes,
    )


def blocks_and_rules(graph: Graph, demands: Sequence[Demand]) -> tuple[list[Block], Rules]:
    """What is to be placed: activations, then scratch."""
    blocks = _activations(graph, demands)
    scratch = [Block(aligned(d.scratch), index, index) for index, d in enumerate(demands) if d.scratch > 0]
    return [*blocks, *scratch], _rules(graph, demands, blocks)


def _activations(graph: Graph, demands: Sequence[Demand]) -> list[Block]:
    """A block for each activation that is not the alias of another."""
    root = roots(graph, demands)
    first = {layer.outputs[0]: layer.index for layer in graph.layers}
    last = _last_uses(graph)
    blocks = []
    for tensor in dict.fromkeys(root.values()):
        tensors = tuple(t for t, r in root.items() if r == tensor)
        size = aligned(graph.tensor(tensor).size)
        blocks.append(Block(size, first.get(tensor, -1), max(last[t] for t in tensors), tensors))
    return blocks


def _rules(graph: Graph, demands: Sequence[Demand], blocks: Sequence[Block]) -> Rules:
    """The overlap of each layer's output with those inputs that die there."""
    of = {tensor: i for i, block in enumerate(blocks) for tensor in block.tensors}
    rules = {}
    for layer, demand in zip(graph.layers, demands, strict=True):
        for tensor in operands(graph, layer):
            if demand.overlap is not None and not demand.alias and blocks[of[tensor]].last == layer.index:
                rules[of[tensor], of[layer.outputs[0]]] = demand.overlap
    return rules


def _last_uses(graph: Graph) -> dict[int, int]:
    """The last layer that reads each activation; the model's output lives beyond the last layer."""
    last = {graph.input: 0, graph.output: len(graph.layers)}
    for layer in graph.layers:
        last.setdefault(layer.outputs[0], layer.index)
        for tensor in operands(graph, layer):
            last[tensor] = max(last.get(tensor, 0), layer.index)
    return last

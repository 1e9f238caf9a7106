"""In which order the layers run: the one whose fullest layer needs the fewest bytes.

What is live after some layers have run depends on which ones, not on their order: so one best way to each such set is
enough (dynamic programming over the sets that can occur).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tinyfl.compiler.demand import Demand, operands, roots
from tinyfl.compiler.place import aligned, union
from tinyfl.graph import Graph

SETS = 2000  # of executed layers; a graph with more keeps its file's order


@dataclass(frozen=True)
class _Value:
    """The bytes of an activation; sets of layers are bit masks."""

    size: int
    writer: int  # empty: the model's input
    readers: int
    kept: bool  # the model's output


@dataclass(frozen=True)
class _Step:
    reads: tuple[_Value, ...]
    writes: _Value
    needs: int  # the layers that must have run
    demand: Demand


def best_order(graph: Graph, demands: Sequence[Demand], below: int) -> tuple[int, ...] | None:
    """The order with the least peak.

    None: no other order stays below that many bytes, or there are too many ways.
    """
    values, steps = _steps(graph, demands)
    ways: dict[int, tuple[int, tuple[int, ...]]] = {0: (0, ())}  # by set of executed layers: peak, order
    seen = 0
    for _ in steps:
        ways = _longer(values, steps, ways, below)
        seen += len(ways)
        if not ways or seen > SETS:
            return None
    ((_, order),) = ways.values()
    return None if order == tuple(range(len(steps))) else order


def reordered(graph: Graph, order: Sequence[int]) -> Graph:
    """The graph with its layers in this order."""
    return replace(graph, layers=tuple(replace(graph.layers[old], index=new) for new, old in enumerate(order)))


def _longer(
    values: Sequence[_Value], steps: Sequence[_Step], ways: dict[int, tuple[int, tuple[int, ...]]], below: int
) -> dict[int, tuple[int, tuple[int, ...]]]:
    """Each way with one more layer; of those to the same set, the first with the least peak."""
    longer: dict[int, tuple[int, tuple[int, ...]]] = {}
    for done, (peak, order) in ways.items():
        for index in _ready(steps, done):
            after = done | 1 << index
            top = max(peak, _bytes(values, steps[index], done, after))
            if top < below and (after not in longer or top < longer[after][0]):
                longer[after] = (top, (*order, index))
    return longer


def _ready(steps: Sequence[_Step], done: int) -> Iterator[int]:
    return (index for index, step in enumerate(steps) if not done >> index & 1 and not step.needs & ~done)


def _bytes(values: Sequence[_Value], step: _Step, done: int, after: int) -> int:
    """What the step cannot do without: all that is live while it runs (``place.least`` for a set instead of a plan)."""
    live = sum(v.size for v in values if v.writer & ~done == 0 and (v.kept or v.readers & ~done))
    overlap = step.demand.overlap
    if step.demand.alias:
        return live
    dying = [v.size for v in step.reads if not v.kept and not v.readers & ~after] if overlap else []
    if overlap is None or not dying:
        return live + aligned(step.demand.scratch) + step.writes.size
    together = union(dying[0], step.writes.size, overlap) if len(dying) == 1 else max(sum(dying), step.writes.size)
    return live - sum(dying) + aligned(step.demand.scratch) + together


def _steps(graph: Graph, demands: Sequence[Demand]) -> tuple[list[_Value], list[_Step]]:
    root = roots(graph, demands)
    reads = [tuple(dict.fromkeys(root[i] for i in operands(graph, layer))) for layer in graph.layers]
    writer = {layer.outputs[0]: 1 << layer.index for layer in graph.layers}
    values = {}
    for tensor in dict.fromkeys(root.values()):
        readers = sum(1 << layer.index for layer in graph.layers if tensor in reads[layer.index])
        size = aligned(graph.tensor(tensor).size)
        values[tensor] = _Value(size, writer.get(tensor, 0), readers, tensor == root[graph.output])
    steps = []
    for layer, demand in zip(graph.layers, demands, strict=True):
        needs = sum(writer.get(i, 0) for i in dict.fromkeys(operands(graph, layer)))
        own = tuple(values[i] for i in reads[layer.index])
        steps.append(_Step(own, values[root[layer.outputs[0]]], needs, demand))
    return list(values.values()), steps

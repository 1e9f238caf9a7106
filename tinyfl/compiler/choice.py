"""What the compiler does with RAM and flash for speed: ``--optimise speed``, ``size`` or ``balanced``.

The goal is part of the graph: an operator that may spend flash asks ``graph.goal``. One whose kernel runs with more or
less scratch names its shares, and which of them a layer gets is decided here, since it takes the whole arena to say
what a layer's scratch costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tinyfl.compiler.demand import Demand, layer_demands, takes_scratch
from tinyfl.compiler.ops.operator import FULL, HALF, LEAST
from tinyfl.compiler.place import least
from tinyfl.compiler.plan import blocks_and_rules, plan_arena
from tinyfl.graph import Graph


def decide(graph: Graph, goal: str) -> Graph:
    """The graph for a goal, with a share of scratch for each layer that has a choice.

    speed: all of it. size: what the smallest arena has room for. balanced: all of it where the arena stays within two
    thirds of what activations that lie apart would take; else half of it.
    """
    graph = replace(graph, goal=goal)
    if goal == "speed":
        return graph
    leanest = _shared(graph, [LEAST] * len(graph.layers))
    demands = layer_demands(leanest)
    smallest = plan_arena(leanest, demands).arena_bytes
    if goal == "size":
        chosen = _shared(graph, _within(graph, smallest, (FULL, HALF), LEAST))
        return chosen if plan_arena(chosen).arena_bytes <= smallest else leanest
    apart = plan_arena(graph, [Demand(alias=demand.alias) for demand in demands]).arena_bytes
    return _shared(graph, _within(graph, max(apart * 2 // 3, smallest), (FULL,), HALF))


def _within(graph: Graph, arena: int, shares: Sequence[str], otherwise: str) -> list[str]:
    """By layer: the first of the shares with which it needs no larger arena."""
    chosen = [otherwise] * len(graph.layers)
    for share in reversed(shares):
        needs = _needs(_shared(graph, [share] * len(graph.layers)))
        chosen = [share if needs[i] <= arena else chosen[i] for i in range(len(chosen))]
    return chosen


def _needs(graph: Graph) -> dict[int, int]:
    """By layer: bytes of arena that it cannot do without."""
    return least(*blocks_and_rules(graph, layer_demands(graph)))


def _shared(graph: Graph, shares: Sequence[str]) -> Graph:
    layers = []
    for layer, share in zip(graph.layers, shares, strict=True):
        own = {"scratch": share} if takes_scratch(layer) else {}
        layers.append(replace(layer, options={**layer.options, **own}))
    return replace(graph, layers=tuple(layers))

"""Plans against an independent witness: kernels that read and write byte by byte just as their contracts allow."""

import itertools
import random
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyfl.compiler.demand import Demand, operands
from tinyfl.compiler.ops.operator import Overlap
from tinyfl.compiler.order import reordered
from tinyfl.compiler.place import Block, least, place
from tinyfl.compiler.plan import Plan, plan_arena, plan_model
from tinyfl.graph import Graph, Layer, Tensor

Case = tuple[Graph, list[Demand]]
Rules = dict[tuple[int, int], Overlap]


def graph_of(sizes: Sequence[int], reads: Sequence[tuple[int, ...]], demands: Sequence[Demand]) -> Case:
    """Tensor 0 is the input, layer i reads ``reads[i]`` and writes tensor i + 1; the last one is the output."""
    tensors = tuple(Tensor(i, f"t{i}", (1, size), "int8", None) for i, size in enumerate(sizes))
    ops = ["reshape" if d.alias else "add" if len(r) == 2 else "quantize" for r, d in zip(reads, demands, strict=True)]
    layers = tuple(Layer(i, op, r, (i + 1,), {}) for i, (op, r) in enumerate(zip(ops, reads, strict=True)))
    return Graph("g", tensors, layers, 0, len(layers)), list(demands)


class Arena:
    """Bytes that know whose they are: (tensor, position)."""

    def __init__(self, plan: Plan, graph: Graph) -> None:
        self.plan, self.graph, self.owner = plan, graph, {t.index: t.index for t in graph.tensors}
        self.held: list[tuple[object, int] | None] = [None] * plan.arena_bytes

    def place(self, tensor: int, i: int) -> int:
        at = self.plan.offsets[tensor] + i
        assert self.plan.offsets[tensor] % 4 == 0 and 0 <= at < self.plan.arena_bytes
        return at

    def write(self, tensor: int, positions: range) -> None:
        for i in positions:
            self.held[self.place(tensor, i)] = (self.owner[tensor], i)

    def need(self, tensor: int, positions: range, why: str) -> None:
        for i in positions:
            assert self.held[self.place(tensor, i)] == (self.owner[tensor], i), f"{why}: byte {i} of t{tensor} is lost"

    def fill_scratch(self, layer: int, size: int) -> None:
        for i in range(size):
            self.held[self.plan.scratch[layer] + i] = ("scratch", i)

    def need_scratch(self, layer: int, size: int) -> None:
        for i in range(size):
            assert self.held[self.plan.scratch[layer] + i] == ("scratch", i), f"layer {layer}: scratch is lost"


def size(graph: Graph, tensor: int) -> range:
    return range(graph.tensor(tensor).size)


def run_kernel(arena: Arena, graph: Graph, layer: Layer, demand: Demand) -> None:
    """The worst kernel that the contract admits."""
    y, xs = layer.outputs[0], operands(graph, layer)
    overlap, channels = demand.overlap, 3
    arena.fill_scratch(layer.index, demand.scratch)
    if overlap is not None and overlap.exact:  # plane by plane
        for c in range(channels):
            for x in xs:
                arena.need(x, size(graph, x)[c::channels], f"layer {layer.index}")
            arena.write(y, size(graph, y)[c::channels])
    else:
        for i in size(graph, y):
            for x in xs:  # everything up to here, or to the gap, may be needed until this byte is written
                first = 0 if overlap is None else max(0, i - overlap.gap)
                arena.need(x, size(graph, x)[first:], f"layer {layer.index}")
            arena.write(y, range(i, i + 1))
    if overlap is None:
        for x in xs:
            arena.need(x, size(graph, x), f"layer {layer.index}")
    arena.need_scratch(layer.index, demand.scratch)


def simulate(graph: Graph, plan: Plan, demands: dict[int, Demand]) -> None:
    """Runs all layers; ``demands`` by output tensor."""
    arena = Arena(plan, graph)
    arena.write(graph.input, size(graph, graph.input))
    for layer in graph.layers:
        demand = demands[layer.outputs[0]]
        if demand.alias:
            arena.owner[layer.outputs[0]] = arena.owner[layer.inputs[0]]
            assert plan.offsets[layer.outputs[0]] == plan.offsets[layer.inputs[0]]
        else:
            run_kernel(arena, graph, layer, demand)
    arena.need(graph.output, size(graph, graph.output), "the end")


@st.composite
def cases(draw: st.DrawFn) -> Case:
    sizes = [draw(st.integers(1, 28))]
    reads, demands = [], []
    for i in range(draw(st.integers(1, 9))):
        two = draw(st.booleans()) and draw(st.booleans())
        near = st.integers(max(0, i - 3), i)
        read = (draw(near), draw(near)) if two else (draw(near),) if draw(st.booleans()) else (i,)
        kinds = [None, Overlap(draw(st.integers(-20, 34))), Overlap(exact=True)]
        alias = not two and draw(st.integers(0, 5)) == 0
        scratch = draw(st.sampled_from([0, 0, 5, 12, 20]))
        demands.append(Demand(alias=True) if alias else Demand(scratch, draw(st.sampled_from(kinds))))
        reads.append(read)
        sizes.append(sizes[read[0]] if alias else draw(st.integers(1, 28)))
    return graph_of(sizes, reads, demands)


def by_output(graph: Graph, demands: Sequence[Demand]) -> dict[int, Demand]:
    return {layer.outputs[0]: demand for layer, demand in zip(graph.layers, demands, strict=True)}


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(cases())
def test_no_kernel_loses_a_byte(case: Case) -> None:
    graph, demands = case
    plan = plan_arena(graph, demands)
    simulate(graph, plan, by_output(graph, demands))
    assert plan == plan_arena(graph, demands)
    assert 0 <= plan.scratch_bytes <= sum(demand.scratch + 3 for demand in demands)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(cases())
def test_another_order_only_where_it_saves(case: Case) -> None:
    graph, demands = case
    ordered, plan = plan_model(graph, demands)
    before = plan_arena(graph, demands)
    assert plan.arena_bytes < before.arena_bytes or (ordered is graph and plan == before)
    assert [layer.index for layer in ordered.layers] == list(range(len(graph.layers)))
    simulate(ordered, plan, by_output(graph, demands))


def test_the_witness_sees_what_a_wrong_plan_destroys() -> None:
    graph, demands = graph_of([8, 8], [(0,)], [Demand(4)])
    plan = plan_arena(graph, demands)
    for wrong in ({"offsets": {0: 0, 1: 4}}, {"offsets": {0: 4, 1: 0}}, {"scratch": {0: plan.offsets[1]}}):
        with pytest.raises(AssertionError, match="is lost"):
            simulate(graph, Plan(**{**vars(plan), **wrong}), by_output(graph, demands))
    for gap, start in ((4, 0), (-3, -8)):  # a gap that is not kept
        case = graph_of([24, 24], [(0,)], [Demand(0, Overlap(gap))])
        wrong_plan = Plan(**{**vars(plan), "arena_bytes": 48, "offsets": {0: 8 + start, 1: 8}, "scratch": {}})
        with pytest.raises(AssertionError, match="is lost"):
            simulate(case[0], wrong_plan, by_output(*case))


def allowed(blocks: Sequence[Block], rules: Rules, offsets: Sequence[int]) -> bool:
    """The rules once more, pair by pair."""
    for a, b in itertools.combinations(range(len(blocks)), 2):
        apart = offsets[a] >= offsets[b] + blocks[b].size or offsets[b] >= offsets[a] + blocks[a].size
        shared = any(
            (i, o) in rules
            and (offsets[i] == offsets[o] if rules[i, o].exact else offsets[i] - offsets[o] >= rules[i, o].gap)
            for i, o in ((a, b), (b, a))
        )
        if blocks[a].meets(blocks[b]) and not apart and not shared:
            return False
    return True


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(2, 4))
def test_what_is_proved_is_the_least_by_brute_force(rng: random.Random, count: int) -> None:
    blocks, rules = [], {}
    for i in range(count):
        first = rng.randint(-1, 2)
        blocks.append(Block(4 * rng.randint(1, 4), first, first + rng.randint(0, 2), (i,)))
    writers = {block.first: o for o, block in enumerate(blocks)}  # a layer has one output
    for i, o in itertools.permutations(range(count), 2):
        if writers[blocks[o].first] == o and blocks[i].last == blocks[o].first > blocks[i].first and rng.random() < 0.6:
            rules[i, o] = Overlap(exact=True) if rng.random() < 0.3 else Overlap(rng.randint(-10, 14))
    found = place(blocks, rules)
    assert allowed(blocks, rules, found.offsets) and found.proved
    assert found.bytes == max(o + b.size for o, b in zip(found.offsets, blocks, strict=True))
    assert found.bytes >= max(least(blocks, rules).values())
    for offsets in itertools.product(*(range(0, found.bytes - b.size, 4) for b in blocks)):  # all that end below
        assert not allowed(blocks, rules, offsets)


def kws() -> Case:
    """A keyword spotter's shapes with kernels that run in place beside some scratch."""
    sizes = [490, *[8000] * 9, 64, 64, 12, 12]
    demands = [Demand(400, Overlap(7600))]
    for _ in range(4):
        demands += [Demand(1000, Overlap(exact=True)), Demand(512, Overlap())]
    demands += [Demand(0, Overlap()), Demand(alias=True), Demand(), Demand(0, Overlap())]
    return graph_of(sizes, [(i,) for i in range(13)], demands)


def test_a_chain_runs_in_place() -> None:
    plan = plan_arena(*kws())
    assert (plan.arena_bytes, plan.scratch_bytes, plan.proved) == (9000, 9000 - (7600 + 492), True)
    assert len({plan.offsets[t] for t in range(1, 10)}) == 1


def test_an_expanding_layer_reads_the_end_of_its_own_output() -> None:
    plan = plan_arena(*graph_of([100, 400], [(0,)], [Demand(0, Overlap(308))]))
    assert plan.arena_bytes == 408 and plan.offsets == {0: 308, 1: 0}


def test_a_shortcut_is_computed_when_it_costs_least() -> None:
    """A wide branch and a narrow one: in the file's order the wide one waits for the narrow one's work."""
    sizes = [16, 400, 16, 400, 16, 16]
    reads = [(0,), (1,), (0,), (3,), (2, 4)]
    graph, demands = graph_of(sizes, reads, [Demand()] * 5)
    assert plan_arena(graph, demands).arena_bytes == 432
    late = [(0,), (0,), (1,), (2,), (3, 4)]  # both wide ones first
    graph, demands = graph_of([16, 400, 400, 16, 16, 16], late, [Demand()] * 5)
    ordered, plan = plan_model(graph, demands)
    assert plan_arena(graph, demands).arena_bytes == 816 and plan.arena_bytes == 432
    assert [layer.outputs[0] for layer in ordered.layers] == [1, 3, 2, 4, 5]
    assert reordered(ordered, [0, 2, 1, 3, 4]) == graph


def orders(graph: Graph) -> Iterator[tuple[int, ...]]:
    """Every order in which a layer comes after those that it reads from."""
    count = len(graph.layers)
    for order in itertools.permutations(range(count)):
        if all(order.index(t - 1) < order.index(i) for i in range(count) for t in graph.layers[i].inputs if t > 0):
            yield order


def branches(rng: random.Random) -> Case:
    """Five layers that read what they like; the last one reads what nobody read before."""
    sizes = [4 * rng.randint(1, 30) for _ in range(6)]
    reads = [tuple(rng.randint(max(0, i - 3), i) for _ in range(rng.choice([1, 1, 2]))) for i in range(4)]
    unread = [t for t in range(5) if t not in {r for read in reads for r in read}]
    overlaps = [None, Overlap(exact=True), *(Overlap(rng.randint(-40, 60)) for _ in range(2))]
    demands = [Demand(rng.choice([0, 8, 20]), rng.choice(overlaps)) for _ in range(5)]
    return graph_of(sizes, [*reads, tuple(unread[-2:])], demands)


def test_the_order_is_the_best_of_all_but_for_a_rare_gap_between_blocks() -> None:
    losses, saved = [], 0
    for seed in range(80):
        graph, demands = branches(random.Random(seed))
        found = plan_model(graph, demands)[1].arena_bytes
        every = [plan_arena(reordered(graph, o), [demands[i] for i in o]).arena_bytes for o in orders(graph)]
        losses.append(found / min(every) - 1)
        saved += found < plan_arena(graph, demands).arena_bytes
    assert sum(loss > 0 for loss in losses) <= 3 and saved > 15


@pytest.mark.parametrize("layers", [20, 60, 150])
def test_a_long_model_is_planned_at_once(layers: int) -> None:
    rng = np.random.default_rng(layers)
    kinds = [None, Overlap(), Overlap(64), Overlap(exact=True)]
    demands = [Demand(int(rng.integers(0, 300)), kinds[rng.integers(0, 4)]) for _ in range(layers)]
    reads = [(i,) if i < 3 or i % 4 else (i, i - 2) for i in range(layers)]
    graph, demands = graph_of([int(s) for s in rng.integers(50, 4000, layers + 1)], reads, demands)
    start = time.perf_counter()
    _, plan = plan_model(graph, demands)
    assert time.perf_counter() - start < 2.0  # of which it takes about a fifth
    bound = max(least([b for _, b in plan.blocks], {}).values())
    assert plan.arena_bytes <= 1.25 * bound

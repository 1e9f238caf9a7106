"""Where blocks of memory lie while they live: the least arena, exactly where the search may end, else a good one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tinyfl.compiler.ops.operator import Overlap

ALIGNMENT = 4
# Nodes of the search tree times blocks: some 0.2 s. A count and not a time, so that every machine finds the same plan.
EFFORT = 100_000


@dataclass(frozen=True)
class Block:
    """Bytes that live from layer ``first`` to layer ``last``: an activation with its reshapes, or a layer's scratch."""

    size: int  # a multiple of ALIGNMENT
    first: int  # the layer that writes it; -1: the model's input
    last: int  # the last layer that needs it
    tensors: tuple[int, ...] = ()  # none: scratch

    @property
    def scratch_of(self) -> int | None:
        """The layer whose scratch it is; None: it is an activation."""
        return None if self.tensors else self.first

    def meets(self, other: Block) -> bool:
        """Whether there is a layer that needs both."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Placement:
    """Offsets by block."""

    offsets: tuple[int, ...]
    bytes: int
    proved: bool  # no placement takes less
    nodes: int  # how many the search took


# (a, b, distance): block b starts at least ``distance`` bytes behind the start of block a.
Edge = tuple[int, int, int]
Choice = tuple[Edge, ...]  # all of these
Conflict = tuple[Choice, ...]  # one of these

Rules = Mapping[tuple[int, int], Overlap]  # (input, output): how a layer's output may share bytes with an input


def place(blocks: Sequence[Block], rules: Rules) -> Placement:
    """The best placement found."""
    bounds = least(blocks, rules)
    conflicts = _conflicts(blocks, rules, bounds)
    orders: tuple[Callable[[int], tuple[int, ...]], ...] = (
        lambda i: (-blocks[i].size, blocks[i].first),
        lambda i: (blocks[i].first, -blocks[i].size),
        lambda i: (blocks[i].first - blocks[i].last, -blocks[i].size),
    )
    drafts = [_draft(blocks, conflicts, sorted(range(len(blocks)), key=order)) for order in orders]
    draft = min(drafts, key=lambda offsets: _end(blocks, offsets))
    search = _Search(blocks, conflicts, max(bounds.values(), default=0), draft, _end(blocks, draft))
    proved = search.run(EFFORT // max(1, len(blocks)))
    return Placement(search.found, search.best, proved, search.nodes)


def least(blocks: Sequence[Block], rules: Rules) -> dict[int, int]:
    """By layer: bytes that no placement can do without while it runs."""
    bounds = {}
    for layer in range(-1, max((block.last for block in blocks), default=-1) + 1):
        live = [i for i, block in enumerate(blocks) if block.first <= layer <= block.last]
        shared = [pair for pair in rules if blocks[pair[1]].first == layer]
        dying = {i for i, _ in shared}
        written = {o for _, o in shared}
        rest = sum(blocks[i].size for i in live if i not in dying | written)
        bounds[layer] = rest + _union(blocks, rules, shared)
    return bounds


def union(size_in: int, size_out: int, overlap: Overlap) -> int:
    """The fewest bytes that an input and an output take together."""
    if overlap.exact:
        return max(size_in, size_out)
    return min(size_in + size_out, max(size_out, size_in + max(0, aligned(overlap.gap))))


def aligned(count: int) -> int:
    """The next multiple of ALIGNMENT."""
    return -(-count // ALIGNMENT) * ALIGNMENT


def _union(blocks: Sequence[Block], rules: Rules, shared: Sequence[tuple[int, int]]) -> int:
    if not shared:
        return 0
    if len(shared) == 1:
        ((i, o),) = shared
        return union(blocks[i].size, blocks[o].size, rules[i, o])
    return max(blocks[shared[0][1]].size, sum(blocks[i].size for i, _ in shared))  # the inputs stay apart


def _conflicts(blocks: Sequence[Block], rules: Rules, bounds: Mapping[int, int]) -> list[Conflict]:
    """What must hold of every two blocks that live at once; those of the fullest layers first."""

    def pressure(pair: tuple[int, int]) -> int:
        a, b = (blocks[i] for i in pair)
        return max(bounds[layer] for layer in range(max(a.first, b.first), min(a.last, b.last) + 1))

    pairs = [(a, b) for b in range(len(blocks)) for a in range(b) if blocks[a].meets(blocks[b])]
    pairs.sort(key=lambda pair: (-pressure(pair), -blocks[pair[0]].size - blocks[pair[1]].size, pair))
    return [_conflict(blocks, rules, *pair) for pair in pairs]


def _conflict(blocks: Sequence[Block], rules: Rules, a: int, b: int) -> Conflict:
    """One behind the other, or what the layer's kernel allows."""
    for i, o in ((a, b), (b, a)):
        overlap = rules.get((i, o))
        if overlap is not None and not overlap.exact:
            return ((o, i, min(aligned(overlap.gap), blocks[o].size)),), ((i, o, blocks[i].size),)
    apart: Conflict = ((a, b, blocks[a].size),), ((b, a, blocks[b].size),)
    return (((a, b, 0), (b, a, 0)), *apart) if (a, b) in rules or (b, a) in rules else apart


def _met(conflict: Conflict, offsets: Sequence[int] | Mapping[int, int]) -> bool:
    return any(all(offsets[b] - offsets[a] >= distance for a, b, distance in choice) for choice in conflict)


def _end(blocks: Sequence[Block], offsets: Sequence[int]) -> int:
    return max((offset + block.size for offset, block in zip(offsets, blocks, strict=True)), default=0)


def _draft(blocks: Sequence[Block], conflicts: Sequence[Conflict], order: Sequence[int]) -> tuple[int, ...]:
    """One block after the other, each at the lowest place that those before leave it."""
    between: dict[frozenset[int], Conflict] = {frozenset(conflict[0][0][:2]): conflict for conflict in conflicts}
    offsets: dict[int, int] = {}
    for block in order:
        near = [
            (other, between[frozenset((block, other))]) for other in offsets if frozenset((block, other)) in between
        ]
        places = {0} | {place for other, conflict in near for place in _places(block, offsets[other], conflict)}
        for place in sorted(places):
            offsets[block] = place
            if place >= 0 and all(_met(conflict, offsets) for _, conflict in near):
                break
    return tuple(offsets[i] for i in range(len(blocks)))


def _places(block: int, other: int, conflict: Conflict) -> Iterator[int]:
    """Offsets of a block that just satisfy a choice, where its neighbour has the offset ``other``."""
    for choice in conflict:
        for _, b, distance in choice:
            yield other + distance if b == block else other - distance


@dataclass(frozen=True)
class _Node:
    """Decisions so far: edges by the block they start from, and the least offsets that they allow (longest paths)."""

    offsets: tuple[int, ...]
    edges: tuple[tuple[tuple[int, int], ...], ...]  # [a]: (b, distance)


@dataclass
class _Search:
    """Branch and bound: take two blocks that collide, try each way to part them, and push up what that pushes up.

    Decisions only ever push offsets up, so a branch whose arena is not below the best one found can be left.
    """

    blocks: Sequence[Block]
    conflicts: Sequence[Conflict]
    bound: int  # what no placement can go below
    found: tuple[int, ...]
    best: int
    nodes: int = 0

    def run(self, limit: int) -> bool:
        """Leaves the best offsets in ``found``, promising branches first; False where ``limit`` nodes ended it."""
        none = (0,) * len(self.blocks)
        waiting = [_Node(none, ((),) * len(self.blocks))]
        while waiting and self.best > self.bound:
            if self.nodes == limit:
                return False
            self.nodes += 1
            node = waiting.pop()
            if _end(self.blocks, node.offsets) >= self.best:
                continue
            conflict = next((c for c in self.conflicts if not _met(c, node.offsets)), None)
            if conflict is None:
                self.found, self.best = node.offsets, _end(self.blocks, node.offsets)
            else:
                branches = [branch for choice in conflict if (branch := self._branch(node, choice))]
                waiting += sorted(branches, key=lambda b: (-_end(self.blocks, b.offsets), -sum(b.offsets)))
        return True

    def _branch(self, node: _Node, choice: Choice) -> _Node | None:
        """The node with this choice made; None where its arena would not be below the best one."""
        edges = list(node.edges)
        for a, b, distance in choice:
            edges[a] = (*edges[a], (b, distance))
        offsets = self._settled(node.offsets, edges, [a for a, _, _ in choice])
        return None if offsets is None else _Node(offsets, tuple(edges))

    def _settled(
        self, offsets: tuple[int, ...], edges: Sequence[Sequence[tuple[int, int]]], pushed: list[int]
    ) -> tuple[int, ...] | None:
        least_offsets = list(offsets)
        while pushed:
            a = pushed.pop()
            for b, distance in edges[a]:
                offset = least_offsets[a] + distance
                if least_offsets[b] < offset:
                    if offset + self.blocks[b].size >= self.best:  # where a cycle ends as well
                        return None
                    least_offsets[b] = offset
                    pushed.append(b)
        return tuple(least_offsets)

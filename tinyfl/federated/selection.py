"""Which boards take part in a round: a function of seed, round and what is known of the boards, nothing else.

So a run can be repeated and resumed: no clock decides, and no board is asked before it is chosen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tinyfl.reference.fixed import mix, xorshift32

STREAM = 0xFFFE  # the "epoch" of selection in mix(): no training and no COLLECT draws from it
POLICIES = ("random", "all", "link", "power")
UNHEARD = 255  # the loss byte of a board that has not trained yet: as bad as can be, so that it gets its turn


def select(boards: int, fraction: float, seed: int, round: int) -> tuple[int, ...]:
    """ceil(fraction * boards), at least 1, of 0..boards-1 in ascending order."""
    return draw(range(boards), wanted(boards, fraction), seed, round)


def wanted(boards: int, fraction: float) -> int:
    """ceil(fraction * boards), at least 1 where there is one."""
    return min(boards, max(1, math.ceil(fraction * boards - 1e-9)))


def draw(of: Sequence[int], count: int, seed: int, round: int) -> tuple[int, ...]:
    """``count`` of them, ascending: a partial Fisher-Yates shuffle."""
    deck = list(of)
    if count >= len(deck):
        return tuple(sorted(deck))
    r = mix(seed, round, STREAM, 0)
    for place in range(count):
        r = xorshift32(r)
        other = place + r % (len(deck) - place)
        deck[place], deck[other] = deck[other], deck[place]
    return tuple(sorted(deck[:count]))


def by_link(
    rates: Sequence[float | None], payload: int, deadline: float, fraction: float, seed: int, round: int
) -> tuple[int, ...]:
    """A random share of the boards whose link moves ``payload`` bytes within ``deadline`` seconds.

    ``rates``: bytes a second; None: not known, taken as quick enough. After Nishio and Yonetani, Client Selection for
    Federated Learning with Heterogeneous Resources, ICC 2019, whose greedy choice by time it makes at random: a slow
    board's data must not be left out for good while it is quick enough.
    """
    quick = [board for board, rate in enumerate(rates) if rate is None or rate * deadline >= payload]
    return draw(quick, wanted(len(quick), fraction), seed, round)


def by_power(losses: Sequence[int], fraction: float, candidates: float, seed: int, round: int) -> tuple[int, ...]:
    """Power-of-choice: of a random share of candidates those with the largest loss that they reported last.

    ``losses``: one byte each, UNHEARD where a board has not trained yet. Cho et al., Client Selection in Federated
    Learning, 2020, section 4, the variant with stale losses (rpow-d). Equal losses: as the draw of candidates shuffled
    them, so that the first rounds are random.
    """
    boards = len(losses)
    count = wanted(boards, fraction)
    pool = draw(range(boards), max(count, wanted(boards, candidates)), seed, round)
    tie = {board: mix(seed, round, STREAM, board + 1) for board in pool}
    return tuple(sorted(sorted(pool, key=lambda board: (-losses[board], tie[board]))[:count]))

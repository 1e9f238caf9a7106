"""Which boards take part in a round: a function of seed and round alone, so that a run can be repeated and resumed."""

from __future__ import annotations

import math

from tinyfl.reference.fixed import mix, xorshift32

STREAM = 0xFFFE  # the "epoch" of selection in mix(): no training and no COLLECT draws from it


def select(boards: int, fraction: float, seed: int, round: int) -> tuple[int, ...]:
    """ceil(fraction * boards), at least 1, of 0..boards-1 in ascending order: a partial Fisher-Yates shuffle."""
    wanted = min(boards, max(1, math.ceil(fraction * boards - 1e-9)))
    if wanted == boards:
        return tuple(range(boards))
    deck = list(range(boards))
    r = mix(seed, round, STREAM, 0)
    for place in range(wanted):
        r = xorshift32(r)
        other = place + r % (boards - place)
        deck[place], deck[other] = deck[other], deck[place]
    return tuple(sorted(deck[:wanted]))

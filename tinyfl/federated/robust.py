"""From the boards' updates to one mean delta: the plain mean, and rules that some wrong boards cannot steer.

All of it is exact in integers: the order of the boards cannot matter, and a run can be repeated. An update is a row of
whole numbers in units of 2^shift master LSB (K boards, P weights); a rule gives the delta (P,) in master LSB.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyfl.errors import ConfigError, QuorumError

Int64 = npt.NDArray[np.int64]

RULES = ("mean", "median", "trimmed", "krum", "multi-krum", "clip", "fltrust")
ORDERED = ("median", "trimmed")  # they order the boards' values of each weight
CROWD = 3  # boards: with fewer, no one can be told from the others
FEWEST = {rule: CROWD if rule in (*ORDERED, "krum", "multi-krum") else 1 for rule in RULES}
ONE = 2**15  # shares of clip and trust of FLTrust are whole numbers of 1 / ONE


@dataclass(frozen=True)
class Rule:
    """How updates become one. ``liars``: the share of boards that may be wrong (trimmed, Krum, multi-Krum, mixing).

    ``mixing``: before the rule, each update becomes the mean of its nearest ones (:func:`mixed`).
    """

    name: str = "mean"
    liars: float = 0.2
    mixing: bool = False

    def __post_init__(self) -> None:
        """ConfigError where a constant is out of its range."""
        if self.name not in RULES:
            raise ConfigError(f"no aggregation is called {self.name!r}", f"there are {', '.join(RULES)}")
        if not 0.0 <= self.liars < 0.5:
            raise ConfigError(
                f"liars is {self.liars:g}, expected at least 0 and below 0.5",
                "no rule survives a majority: mend [server] in the recipe",
            )

    def wrong(self, boards: int) -> int:
        """How many of ``boards`` may be wrong: rounded up, and always a minority."""
        return max(0, min(math.ceil(self.liars * boards - 1e-9), (boards - 1) // 2))


def combine(rule: Rule, updates: Int64, samples: Int64, shift: int, reference: Int64 | None = None) -> Int64:
    """The delta (P,) of updates (K, P) with their samples (K,).

    ``reference`` (P,), in master LSB: the server's own update, for FLTrust. Mean and clip weigh by samples; the other
    rules, and all with mixing, count each board once: a board could lie about its samples as well. Boards without
    samples do not count. Raises QuorumError where too few boards are left for the rule.
    """
    counted = samples > 0
    updates, samples = updates[counted].astype(np.int64), samples[counted].astype(np.int64)
    if len(updates) == 0:
        return np.zeros(updates.shape[1], np.int64)
    fewest = CROWD if rule.mixing else FEWEST[rule.name]
    if len(updates) < fewest:
        raise QuorumError(
            f"{rule.name} needs {fewest} updates with samples, there are {len(updates)}",
            "ask for more boards (--quorum, --fraction), or take --aggregate mean",
        )
    if rule.name == "mean":
        return _quotient((updates * samples[:, None]).sum(axis=0), shift, int(samples.sum()))
    wrong, parts = rule.wrong(len(updates)), 1  # updates are in units of 2^shift / parts
    if rule.mixing:
        updates, samples, parts = mixed(updates, wrong), np.ones_like(samples), len(updates) - wrong
    if rule.name == "fltrust":
        if reference is None:
            raise ConfigError("fltrust needs an update of the server's own", "give the recipe data for the server")
        length = (_middle_norm(updates) << shift) // parts if rule.mixing else _norm(reference)
        return _trusted(updates, reference, length)
    if rule.name == "clip":
        total, count = _clipped(updates, samples)
    elif rule.name in ORDERED:
        total, count = _trimmed(updates, wrong if rule.name == "trimmed" else (len(updates) - 1) // 2)
    else:
        best = krum_order(updates, wrong)[: 1 if rule.name == "krum" else len(updates) - wrong]
        total, count = updates[best].sum(axis=0), len(best)
    return _quotient(total, shift, count * parts)


def mixed(updates: Int64, wrong: int) -> Int64:
    """Of each update the sum (K, P) of the K - f nearest, itself among them: K - f times their mean.

    Nearest-neighbour mixing: Allouah et al., Fixing by Mixing, AISTATS 2023, algorithm 2. Boards that differ are made
    alike before a rule looks for those that do not belong. Equally near ones: the lower index.
    """
    nearest = np.argsort(_distances(updates), axis=1, kind="stable")[:, : len(updates) - wrong]
    chosen = np.zeros((len(updates), len(updates)), np.int64)
    np.put_along_axis(chosen, nearest, 1, axis=1)
    return chosen @ updates


def _distances(updates: Int64) -> Int64:
    """Squared ones (K, K) of all pairs."""
    products = updates @ updates.T  # |q| < 2^7; of sums all is < 2^63 where K^3 P < 2^45
    squares = np.diag(products)
    return np.asarray(squares[:, None] + squares[None, :] - 2 * products)


def krum_order(updates: Int64, wrong: int) -> list[int]:
    """Boards by Krum's score, the best first: the sum of squared distances to the K - f - 2 nearest others, at least 1.

    Blanchard et al., Machine Learning with Adversaries, NeurIPS 2017, section 4. Equal scores: the lower index.
    """
    distances = np.sort(_distances(updates), axis=1)
    near = max(1, len(updates) - wrong - 2)
    scores = distances[:, 1 : 1 + near].sum(axis=1)  # the first one is the board itself
    return [int(i) for i in np.argsort(scores, kind="stable")]


def _quotient(numerator: Int64, shift: int, denominator: int) -> Int64:
    """numerator 2^shift / denominator, rounded half up; in Python's integers, as it may be beyond 64 bits."""
    whole = numerator.astype(object) << (shift + 1)
    return np.asarray((whole + denominator) // (2 * denominator), np.int64)


def _trimmed(updates: Int64, cut: int) -> tuple[Int64, int]:
    """Sum and number of each weight's values without the ``cut`` largest and smallest.

    Yin et al., ICML 2018, definitions 1 and 2.
    """
    rows = np.sort(updates, axis=0)[cut : len(updates) - cut]
    return rows.sum(axis=0), len(rows)


def _norm(row: Int64) -> int:
    """The Euclidean length, rounded down."""
    return math.isqrt(int(row @ row))


def _middle_norm(updates: Int64) -> int:
    """The median of the lengths; of two middle ones the lower."""
    return sorted(_norm(row) for row in updates)[(len(updates) - 1) // 2]


def _clipped(updates: Int64, samples: Int64) -> tuple[Int64, int]:
    """Sum and weight of the updates, each shortened to the median of the lengths: a board that shouts is heard as loud
    as the others."""
    limit = _middle_norm(updates)
    shares = np.array([min(ONE, limit * ONE // max(1, _norm(row))) for row in updates], np.int64)
    return (updates * (shares * samples)[:, None]).sum(axis=0), int(samples.sum()) * ONE


def _trusted(updates: Int64, reference: Int64, length: int) -> Int64:
    """Cosine with the server's own update, cut at 0, as the weight; all of the same ``length``, in master LSB.

    Cao et al., FLTrust, NDSS 2021, equations 2 to 4, have the length of the server's own update. Mixed updates are
    shorter, as what boards do not share is gone from them: with that length they would overshoot. Where nobody is
    trusted the weights stay.
    """
    own = _norm(reference)
    total, trust_sum = np.zeros(reference.shape, np.int64), 0
    for row in updates:
        norm = _norm(row)
        if own == 0 or norm == 0:
            continue
        trust = max(0, int(row @ reference) * ONE // (norm * own))
        share = length * ONE // norm  # the row times share / ONE is so long, in master LSB
        total += trust * ((row * share) >> 15)
        trust_sum += trust
    return _quotient(total, 0, trust_sum) if trust_sum else total

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
FEWEST = {rule: 3 if rule in (*ORDERED, "krum", "multi-krum") else 1 for rule in RULES}  # boards: with fewer, no crowd
ONE = 2**15  # shares of clip and trust of FLTrust are whole numbers of 1 / ONE


@dataclass(frozen=True)
class Rule:
    """How updates become one. ``liars``: the share of boards that may be wrong (trimmed, Krum, multi-Krum)."""

    name: str = "mean"
    liars: float = 0.2

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

    ``reference`` (P,), in master LSB: the server's own update, for FLTrust. Mean and clip weigh by samples, the other
    rules count each board once: a board could lie about its samples as well. Boards without samples do not count.
    Raises QuorumError where too few boards are left for the rule.
    """
    counted = samples > 0
    updates, samples = updates[counted].astype(np.int64), samples[counted].astype(np.int64)
    if len(updates) == 0:
        return np.zeros(updates.shape[1], np.int64)
    if len(updates) < FEWEST[rule.name]:
        raise QuorumError(
            f"{rule.name} needs {FEWEST[rule.name]} updates with samples, there are {len(updates)}",
            "ask for more boards (--quorum, --fraction), or take --aggregate mean",
        )
    if rule.name == "mean":
        return _quotient((updates * samples[:, None]).sum(axis=0), shift, int(samples.sum()))
    if rule.name == "clip":
        return _clipped(updates, samples, shift)
    if rule.name == "fltrust":
        if reference is None:
            raise ConfigError("fltrust needs an update of the server's own", "give the recipe data for the server")
        return _trusted(updates, reference)
    if rule.name == "median":
        return _trimmed_mean(updates, shift, (len(updates) - 1) // 2)
    wrong = rule.wrong(len(updates))
    if rule.name == "trimmed":
        return _trimmed_mean(updates, shift, wrong)
    best = krum_order(updates, wrong)[: 1 if rule.name == "krum" else len(updates) - wrong]
    return _quotient(updates[best].sum(axis=0), shift, len(best))


def krum_order(updates: Int64, wrong: int) -> list[int]:
    """Boards by Krum's score, the best first: the sum of squared distances to the K - f - 2 nearest others, at least 1.

    Blanchard et al., Machine Learning with Adversaries, NeurIPS 2017, section 4. Equal scores: the lower index.
    """
    products = updates @ updates.T  # < 2^63: |q| <= 2^15, P <= 2^20
    squares = np.diag(products)
    distances = np.sort(squares[:, None] + squares[None, :] - 2 * products, axis=1)
    near = max(1, len(updates) - wrong - 2)
    scores = distances[:, 1 : 1 + near].sum(axis=1)  # the first one is the board itself
    return [int(i) for i in np.argsort(scores, kind="stable")]


def _quotient(numerator: Int64, shift: int, denominator: int) -> Int64:
    """numerator 2^shift / denominator, rounded half up; in Python's integers, as it may be beyond 64 bits."""
    whole = numerator.astype(object) << (shift + 1)
    return np.asarray((whole + denominator) // (2 * denominator), np.int64)


def _trimmed_mean(updates: Int64, shift: int, cut: int) -> Int64:
    """Of each weight without the ``cut`` largest and smallest; Yin et al., ICML 2018, definitions 1 and 2."""
    rows = np.sort(updates, axis=0)[cut : len(updates) - cut]
    return _quotient(rows.sum(axis=0), shift, len(rows))


def _norm(row: Int64) -> int:
    """The Euclidean length, rounded down."""
    return math.isqrt(int(row @ row))


def _clipped(updates: Int64, samples: Int64, shift: int) -> Int64:
    """Each update shortened to the median of the lengths: a board that shouts is heard as loud as the others."""
    norms = [_norm(row) for row in updates]
    limit = sorted(norms)[(len(norms) - 1) // 2]
    shares = np.array([ONE if norm <= limit else limit * ONE // norm for norm in norms], np.int64)
    weighted = (updates * (shares * samples)[:, None]).sum(axis=0)
    return _quotient(weighted, shift, int(samples.sum()) * ONE)


def _trusted(updates: Int64, reference: Int64) -> Int64:
    """Cosine with the server's own update, cut at 0, as the weight; all as long as it (Cao et al., NDSS 2021, eq. 2-4).

    Where nobody is trusted the weights stay.
    """
    own = _norm(reference)
    total, trust_sum = np.zeros(reference.shape, np.int64), 0
    for row in updates:
        norm = _norm(row)
        if own == 0 or norm == 0:
            continue
        trust = max(0, int(row @ reference) * ONE // (norm * own))
        share = own * ONE // norm  # the row times share / ONE is as long as the reference, in master LSB
        total += trust * ((row * share) >> 15)
        trust_sum += trust
    return _quotient(total, 0, trust_sum) if trust_sum else total

"""What the server makes of a round's mean delta: its optimiser, one step a round.

The mean delta is a pseudo-gradient (Reddi et al., Adaptive Federated Optimization, ICLR 2021, algorithm 2). FedAvg,
FedAvgM and Reptile are exact in integers of the master weights; the adaptive ones compute in float64 and round once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyfl.errors import ConfigError

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

EXACT = ("fedavg", "fedavgm", "reptile")
ADAPTIVE = ("fedadagrad", "fedadam", "fedyogi")
OPTIMISERS = EXACT + ADAPTIVE
FORGETFUL = ("fedavg", "reptile")  # what they do does not depend on the rounds before
RATES = {"fedadagrad": 5.0, "fedadam": 1.0, "fedyogi": 1.0}  # where no rate is given; of all others 1
ONE = 2**24  # rates and momentum of the exact ones are whole numbers of 1 / ONE
MASTER_MOST = 2**30 - 1  # of a master weight, either sign: what a board can hold
VELOCITY_MOST = 2**32  # of a velocity: times ONE and the largest rate it is below 2^63


@dataclass(frozen=True)
class Optimiser:
    """A rule and its constants.

    ``rate``: of the exact ones times the step, dimensionless; of the adaptive ones the length of a step in units of
    1 / R, R the root of the embeddings' mean square (HeadFormat.r2). ``momentum``: of FedAvgM; beta_1 of FedAdam and
    FedYogi. ``decay``: beta_2 of these. ``floor``: tau of the adaptive ones, in units of 1 / R.
    """

    name: str = "fedavg"
    rate: float = 1.0
    momentum: float = 0.5
    decay: float = 0.99
    floor: float = 0.1

    def __post_init__(self) -> None:
        """ConfigError where a constant is out of its range."""
        if self.name not in OPTIMISERS:
            raise ConfigError(f"no optimiser is called {self.name!r}", f"there are {', '.join(OPTIMISERS)}")
        ranges = (
            ("rate", self.rate, 1e-4 <= self.rate <= 100.0, "0.0001 to 100"),
            ("momentum", self.momentum, 0.0 <= self.momentum < 1.0, "at least 0 and below 1"),
            ("decay", self.decay, 0.0 <= self.decay < 1.0, "at least 0 and below 1"),
            ("floor", self.floor, 0.0 < self.floor <= 1.0, "above 0, at most 1"),
        )
        for key, value, holds, range in ranges:
            if not holds:
                raise ConfigError(f"the optimiser's {key} is {value:g}, expected {range}", "mend the recipe's [server]")

    @property
    def weighs_samples(self) -> bool:
        """False: each board counts as one task, whatever it holds (Nichol et al., Reptile, 2018, algorithm 1)."""
        return self.name != "reptile"


@dataclass(frozen=True)
class State:
    """After ``rounds`` of them: the server's master weights (P,) and the moments of its optimiser (P,)."""

    master: Int64
    rounds: int
    first: npt.NDArray[np.int64 | np.float64]  # velocity of FedAvgM in master units; m of the adaptive ones in 1 / R
    second: Float64  # v of the adaptive ones


def start(rule: Optimiser, master: Int64) -> State:
    """The state before the first round."""
    kind = np.int64 if rule.name in EXACT else np.float64
    return State(master, 0, np.zeros(master.shape, kind), np.zeros(master.shape))


def advance(rule: Optimiser, state: State, delta: Int64, unit: float | Float64) -> State:
    """The state after a round whose mean delta is ``delta`` (P,), in master units.

    ``unit``: master units in 1 / R, one for all or (P,).
    """
    rounds = state.rounds + 1
    if rule.name in EXACT:
        velocity = delta
        if rule.name == "fedavgm":  # v <- momentum v + delta (Hsu et al., 2019, section 4.2)
            velocity = _share(np.asarray(state.first, np.int64), rule.momentum) + delta
            velocity = np.clip(velocity, -VELOCITY_MOST, VELOCITY_MOST)
        step = velocity if rule.rate == 1.0 else _share(velocity, rule.rate)
        return State(_clipped(state.master + step), rounds, velocity, state.second)
    real = delta / unit
    momentum = 0.0 if rule.name == "fedadagrad" else rule.momentum
    first = momentum * state.first + (1.0 - momentum) * real
    second = _second(rule, state.second, real)
    step = np.rint(_length(rule, rounds) * first / (np.sqrt(second) + rule.floor) * unit).astype(np.int64)
    return State(_clipped(state.master + step), rounds, first, second)


def moments(rule: Optimiser, state: State) -> bytes:
    """All of the state but the master weights; empty where the rule has no memory."""
    if rule.name in FORGETFUL:
        return b""
    return np.concatenate([[state.rounds], state.first, state.second]).astype("<f8").tobytes()  # |first| < 2^53


def restore(rule: Optimiser, master: Int64, kept: bytes) -> State:
    """The state that ``moments`` was given: how a run that was killed goes on. ConfigError where they do not fit."""
    state = start(rule, master)
    if rule.name in FORGETFUL or not kept:  # nothing is kept before the first round
        return state
    if len(kept) != 8 * (1 + 2 * len(master)):
        raise ConfigError(f"{len(kept)} bytes of {rule.name}'s moments for {len(master)} weights", "start a new run")
    rounds, *both = np.frombuffer(kept, "<f8")
    first, second = np.array(both).reshape(2, -1)
    return State(master, int(rounds), first.astype(state.first.dtype), second)


def _share(values: Int64, share: float) -> Int64:
    """values * share, share as a whole number of 1 / ONE, rounded half up."""
    return np.asarray((values * round(share * ONE) + ONE // 2) // ONE, np.int64)  # |values| < 2^36


def _clipped(master: Int64) -> Int64:
    return np.asarray(np.clip(master, -MASTER_MOST, MASTER_MOST), np.int64)


def _second(rule: Optimiser, second: Float64, real: Float64) -> Float64:
    square = real * real
    if rule.name == "fedadagrad":
        return second + square
    if rule.name == "fedyogi":
        return np.asarray(second - (1.0 - rule.decay) * square * np.sign(second - square), np.float64)
    return rule.decay * second + (1.0 - rule.decay) * square


def _length(rule: Optimiser, rounds: int) -> float:
    """FedAdam's rate is bias-corrected as Flower does it: with the count of rounds plus one."""
    if rule.name != "fedadam":
        return rule.rate
    return float(rule.rate * np.sqrt(1.0 - rule.decay ** (rounds + 1)) / (1.0 - rule.momentum ** (rounds + 1)))

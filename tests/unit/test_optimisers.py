"""The server's optimisers: exact where they can be, and Flower's to 1e-6."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tinyfl.errors import ConfigError
from tinyfl.federated.optimisers import ADAPTIVE, OPTIMISERS, RATES, Optimiser, advance, moments, restore, start

UNIT = 2.0**30 / 8  # master units in 1 / R
WEIGHTS = 50


def deltas(rounds: int, seed: int = 1) -> list[npt.NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    return [random.integers(-(2**24), 2**24, WEIGHTS) for _ in range(rounds)]


def run(rule: Optimiser, rounds: int) -> npt.NDArray[np.int64]:
    state = start(rule, np.zeros(WEIGHTS, np.int64))
    for delta in deltas(rounds):
        state = advance(rule, state, delta, UNIT)
    return state.master


def test_fedavg_adds_the_delta() -> None:
    assert np.array_equal(run(Optimiser(), 7), sum(deltas(7)))


def test_momentum_is_exact_and_without_it_fedavgm_is_fedavg() -> None:
    assert np.array_equal(run(Optimiser("fedavgm", momentum=0.0), 5), run(Optimiser(), 5))
    first, second = (d.astype(object) for d in deltas(2))
    velocity = (first + 1) // 2 + second
    assert np.array_equal(run(Optimiser("fedavgm", momentum=0.5), 2), (first + velocity).astype(np.int64))


def test_reptile_goes_a_part_of_the_way() -> None:
    assert np.array_equal(run(Optimiser("reptile", rate=0.5), 1), (deltas(1)[0] + 1) // 2)
    assert not Optimiser("reptile").weighs_samples and Optimiser().weighs_samples


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_run_that_goes_on_is_the_run_that_did_not_stop(name: str) -> None:
    """After each round all but the weights goes through bytes, as the ledger keeps them."""
    rule = Optimiser(name, rate=RATES.get(name, 1.0))
    master, kept = np.zeros(WEIGHTS, np.int64), b""
    for delta in deltas(6):
        state = advance(rule, restore(rule, master, kept), delta, UNIT)
        master, kept = state.master, moments(rule, state)
    assert np.array_equal(master, run(rule, 6))
    assert (kept == b"") == (name in ("fedavg", "reptile"))


def test_moments_of_another_head_are_refused() -> None:
    rule = Optimiser("fedadam")
    kept = moments(rule, start(rule, np.zeros(WEIGHTS, np.int64)))
    with pytest.raises(ConfigError, match="bytes of fedadam's moments for 51 weights"):
        restore(rule, np.zeros(WEIGHTS + 1, np.int64), kept)


def test_no_velocity_leaves_64_bits() -> None:
    rule = Optimiser("fedavgm", rate=100.0, momentum=0.999)
    state = start(rule, np.zeros(1, np.int64))
    for _ in range(40):
        state = advance(rule, state, np.array([2**31]), UNIT)
    assert state.master[0] == 2**30 - 1 and state.first[0] > 0


def test_weights_stay_where_a_board_can_hold_them() -> None:
    state = start(Optimiser(), np.full(WEIGHTS, 2**30 - 5, np.int64))
    assert advance(Optimiser(), state, np.full(WEIGHTS, 2**28), UNIT).master.max() == 2**30 - 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "adam"}, "no optimiser is called 'adam'"),
        ({"rate": 0.0}, "rate is 0"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"momentum": 1.0}, "momentum is 1"),
        ({"decay": -0.1}, "decay is -0.1"),
        ({"floor": 0.0}, "floor is 0"),
    ],
)
def test_constants_out_of_range_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Optimiser(**given)


@pytest.mark.parametrize("name", ["fedavgm", *ADAPTIVE])
def test_they_are_flowers(name: str) -> None:
    """Needs ``pip install -e '.[peers]'``: Flower's own classes over the same deltas."""
    flwr = pytest.importorskip("flwr", reason="pip install -e '.[peers]'")
    from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
    from flwr.server import strategy

    zero = ndarrays_to_parameters([np.zeros(WEIGHTS)])
    if name == "fedavgm":
        peer = strategy.FedAvgM(initial_parameters=zero, server_momentum=0.9)
        rule = Optimiser(name, rate=1.0, momentum=0.9)
    else:
        kind = {"fedadagrad": "FedAdagrad", "fedadam": "FedAdam", "fedyogi": "FedYogi"}[name]
        beta = {} if name == "fedadagrad" else {"beta_1": 0.9, "beta_2": 0.99}
        peer = getattr(strategy, kind)(initial_parameters=zero, eta=0.1, tau=1e-3, **beta)
        rule = Optimiser(name, rate=0.1, momentum=0.9, floor=1e-3)
    assert flwr.__version__
    weights, ours = np.zeros(WEIGHTS), start(rule, np.zeros(WEIGHTS, np.int64))
    for number, delta in enumerate(deltas(8), 1):
        result = FitRes(Status(Code.OK, ""), ndarrays_to_parameters([weights + delta / UNIT]), 1, {})
        parameters, _ = peer.aggregate_fit(number, [(None, result)], [])
        weights = parameters_to_ndarrays(parameters)[0]
        ours = advance(rule, ours, delta, UNIT)
        assert np.abs(ours.master / UNIT - weights).max() < 1e-6

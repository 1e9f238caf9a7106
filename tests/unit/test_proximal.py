"""FedProx in integers: the step as it is written down, its expectation, its strength; and what no pull can say."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_rounds import TwinFleet, contents, head_format, members, run, settings, twin

from tinyfl.errors import BoardError, ConfigError, MismatchError
from tinyfl.reference.board import TwinBoard
from tinyfl.reference.fixed import mix, xorshift32
from tinyfl.reference.head import TwinHead, from_wire, pull, rate, to_wire
from tinyfl.wire.messages import Feature, Welcome
from tinyfl_host.fleet import Board, Member
from tinyfl_host.ledger import Ledger
from tinyfl_host.recipe import ProxSettings
from tinyfl_host.traffic import Traffic

RATE = rate(0.5, head_format().r2, head_format().fw)


def test_the_step_is_that_of_the_specification() -> None:
    """One step of training, then one step back, written down once more for each weight."""
    rng = np.random.default_rng(1)
    plain, proximal = TwinHead(head_format()), TwinHead(head_format())
    x, labels = rng.integers(-128, 128, (1, head_format().features)).astype(np.int8), [2]
    plain.train(x, labels, (3, 4, 5), 1, RATE)
    proximal.train(x, labels, (3, 4, 5), 1, RATE, 12345)
    random, expected = mix(3, 4, 0xFFFC, 5), []
    for way in plain.delta().tolist():
        random = xorshift32(random)
        expected.append(way - (way * 12345 + random % 65536) // 65536)
    assert proximal.delta().tolist() == expected != plain.delta().tolist()


@pytest.mark.parametrize("way", [1, -1, 77, -40_000, 2**31 - 2**16, -(2**31) + 2**16])
@pytest.mark.parametrize("share", [1, 700, 0x8000, 0xFFFF])
def test_the_rounding_has_no_bias(way: int, share: int) -> None:
    """Of 20,000 draws; each lies between nothing and the whole way."""
    head = TwinHead(head_format())
    start = to_wire(head.master).copy()
    head._pull, head._random, taken = share, mix(1, 2, 3, way % 7), []
    for _ in range(20_000 // len(start)):
        head.master = from_wire(start + way, head_format().features, head_format().classes)
        head._return()
        taken.append(start + way - to_wire(head.master))
    back, exact = np.stack(taken), way * share / 65536
    assert back.min() >= min(0, way) and back.max() <= max(0, way)
    assert set(np.unique(back)) <= {int(np.floor(exact)), int(np.ceil(exact))}
    fraction = exact - np.floor(exact)
    assert abs(back.mean() - exact) <= 5 * np.sqrt(fraction * (1 - fraction) / back.size) + 1e-9


def test_the_share_follows_from_mu() -> None:
    assert pull(0.5, 0.0) == 0
    assert pull(0.5, 0.01) == round((1 - 0.995**32) * 65536)
    shares = [pull(0.5, mu) for mu in (1e-5, 0.001, 0.01, 0.1, 0.3)]
    assert shares == sorted(shares) and len(set(shares)) == 5 and shares[-1] < 2**16
    assert pull(0.25, 0.02) == pull(0.5, 0.01)


@pytest.mark.parametrize(("eta", "mu"), [(0.5, 1e-9), (0.5, 2.0), (0.5, 50.0), (1.0, 1.0)])
def test_what_no_share_says_is_refused(eta: float, mu: float) -> None:
    with pytest.raises(ConfigError, match=f"mu = {mu:g} is out of range at a rate of {eta:g}") as error:
        pull(eta, mu)
    assert error.value.hint is not None
    low, high = (float(word) for word in error.value.hint.removeprefix("give 0, or ").split(" to "))
    assert 0 < pull(eta, low) <= pull(eta, high) < 2**16


def largest(folder: Path, mu: float) -> int:
    run(folder, plan=settings(local_only=False, rounds=1, epochs=8, prox=ProxSettings(mu)))
    with Ledger(folder / "0001", write=False) as ledger:
        return max(update.max_delta for _, update in ledger.updates(1))


def test_a_strong_mu_keeps_deltas_small(tmp_path: Path) -> None:
    deltas = [largest(tmp_path / str(mu), mu) for mu in (0.0, 0.01, 0.1, 0.5)]
    assert deltas == sorted(deltas, reverse=True) and deltas[-1] < deltas[0] / 100
    assert deltas[1] < 0.98 * deltas[0]


def test_mu_0_is_fedavg(tmp_path: Path) -> None:
    run(tmp_path / "prox", plan=settings(prox=ProxSettings(0.0)))
    run(tmp_path / "avg")
    assert contents(tmp_path / "prox") == contents(tmp_path / "avg")


def test_a_pull_out_of_range_is_refused_by_the_twin() -> None:
    for share in (-1, 2**16):
        with pytest.raises(BoardError):
            twin(members()[0]).train(1, 1, 0, 1, *RATE, pull=share)


def test_a_board_that_does_not_know_it_is_refused(tmp_path: Path) -> None:
    class Old(TwinBoard):
        def hello(self, deadline: float | None = None) -> Welcome:
            return dataclasses.replace(super().hello(), features=int(Feature.CODECS))

    class Fleet(TwinFleet):
        def open(self, member: Member, traffic: Traffic) -> Board:
            board: Any = super().open(member, traffic)
            board.__class__ = Old
            return board

    with pytest.raises(MismatchError, match="b0: the board does not know FedProx"):
        run(tmp_path, Fleet(members()), settings(prox=ProxSettings(0.01)))

"""The server's own samples, and what the CLI refuses of servers and selections."""

import dataclasses
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyfl.errors import DataError
from tinyfl.federated.optimisers import OPTIMISERS
from tinyfl.federated.robust import RULES
from tinyfl.federated.selection import POLICIES
from tinyfl_host import settings
from tinyfl_host.cli import run
from tinyfl_host.lab import SAMPLES, load_lab
from tinyfl_host.recipe import UserSettings
from tinyfl_host.scenario import Scenario, load_model

HAR = Path("models/har").resolve()
pytestmark = pytest.mark.skipif(importlib.util.find_spec("seglearn") is None, reason="HAR's data: pip install seglearn")


@pytest.fixture
def scenario(compiled: Path, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    monkeypatch.setenv("TINYFL_BUILD", str(compiled))
    return Scenario(*load_model(HAR), (), {})


def test_a_draw_of_the_lab_s_users_with_classes_that_the_backbone_never_saw(scenario: Scenario) -> None:
    lab, again, other = (load_lab(scenario, seed) for seed in (1, 1, 2))
    assert lab.embeddings.shape == (SAMPLES, scenario.format.features) and lab.embeddings.dtype == np.int8
    assert set(lab.labels) == set(range(7)) and len(scenario.recipe.data.lab_classes) == 5
    assert lab.labels == again.labels and np.array_equal(lab.embeddings, again.embeddings)
    assert not np.array_equal(lab.embeddings, other.embeddings)


def test_a_recipe_without_a_lab_has_none(scenario: Scenario) -> None:
    data = dataclasses.replace(scenario.recipe.data, normalise="none")
    recipe = dataclasses.replace(scenario.recipe, users=UserSettings(), data=data)
    with pytest.raises(DataError, match='"fltrust" needs samples of the lab') as caught:
        load_lab(dataclasses.replace(scenario, recipe=recipe), 1)
    assert "[users] lab" in caught.value.hint


def test_the_cli_knows_every_name_and_every_option() -> None:
    assert (run.OPTIMISERS, run.RULES, run.POLICIES) == (OPTIMISERS, RULES, POLICIES)
    assert set(settings.OPTIONS) <= set(run.OPTIONS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (
            ("--aggregate", "krum", "--fraction", "0.5"),
            3,
            '[server] aggregate = "krum" does not go with [run] fraction',
        ),
        (("--aggregate", "median", "--select", "top"), 3, '"median" does not go with [update] select = "top"'),
        (("--client-select", "link"), 3, "[[board]] rate"),
        (("--client-select", "all", "--fraction", "0.5"), 3, "is not all"),
        (("--optimiser", "adam"), 2, "fedadam"),
        (("--server-rate", "1000"), 2, "server_rate = 1000.0, expected 0.0 to 100.0"),
        (("--server-rate", "nan"), 2, "server_rate = nan"),
        (("--liars", "0.5"), 2, "liars = 0.5, expected 0.0 to 0.49"),
    ],
)
def test_refused_before_a_run_is_begun(
    tinyfl: Callable[..., tuple[int, str, str]], tmp_path: Path, options: Any, code: int, said: str
) -> None:
    got, _, err = tinyfl("run", HAR, "--on", "sim", *options)
    assert (got, said in err) == (code, True), err
    assert not (tmp_path / "build/har/runs").exists()


@pytest.mark.slow
def test_a_run_with_all_of_it_and_a_sweep_point_that_is_refused(tinyfl: Callable[..., tuple[int, str, str]]) -> None:
    chosen = ("--optimiser", "fedyogi", "--aggregate", "fltrust", "--client-select", "power", "--fraction", "0.5")
    code, out, _ = tinyfl("run", HAR, "--on", "twin", "--rounds", 2, "--epochs", 1, "--no-local-only", *chosen)
    assert code == 0 and "har on twin: 2 rounds, 6 boards" in out
    code, _, err = tinyfl("sweep", HAR, "--over", "aggregate=mean,krum", "--over", "fraction=0.5")
    assert code == 3 and "aggregate=krum fraction=0.5: [server] aggregate" in err

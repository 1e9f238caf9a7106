"""What inference costs stands in tests/budgets.toml: 2 % up or down want `make budgets`, and show as a diff."""

import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tinyfl_host.artifacts import compile_artifacts
from tinyfl_host.profile import arena_picture, profile_model

pytestmark = pytest.mark.emulated
ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared/models"
MODELS = {
    "har": ROOT / "models/har/har.tflite",
    "kws": SHARED / "kws_ref_model.tflite",
    "ad01": SHARED / "ad01_int8.tflite",
}
BUDGETS = tomllib.loads((ROOT / "tests/budgets.toml").read_text())
CASES = [(model, env) for model in MODELS for env in BUDGETS.get(model, {})]
SLACK = 0.02
OFF, LAYER_OFF, HEAVY = 0.10, 0.25, 0.05  # how far the compiler's estimates may be off; a layer of weight has 5 %


def test_every_model_has_a_budget_on_every_cpu() -> None:
    assert {model for model, _ in CASES} == set(MODELS)
    assert {env for _, env in CASES} == {"qemu-m4", "qemu-m3", "qemu-m0", "qemu-m55"} and len(CASES) == 12


def test_the_picture_in_the_docs_is_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYFL_BUILD", str(tmp_path))
    manifest = compile_artifacts(MODELS["har"]).manifest
    assert (ROOT / "docs/arena.svg").read_text() == arena_picture({**manifest, "name": "HAR"}), "make budgets"


def expect_estimates(profile: dict[str, Any]) -> None:
    """What tinyfl/compiler/cost.py says is near what was counted, in the sum and where the instructions are."""
    off = profile["estimate"] / profile["instructions"] - 1
    assert abs(off) < OFF, f"estimated {profile['estimate']:,}, {100 * off:+.1f} %: make costs"
    for i, layer in enumerate(profile["layers"]):
        off = layer["estimate"] / layer["instructions"] - 1
        heavy = layer["instructions"] > HEAVY * profile["instructions"]
        assert abs(off) < LAYER_OFF or not heavy, f"layer {i}, {layer['kernel']}: {100 * off:+.1f} %: make costs"


@pytest.mark.parametrize(("model", "env"), CASES)
def test_costs_are_those_of_the_budget(
    model: str, env: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not MODELS[model].exists():
        pytest.skip(f"{MODELS[model].name} is not in this checkout")
    gcc = shutil.which("arm-none-eabi-gcc")
    assert gcc is not None, "arm-none-eabi-gcc is not installed"
    version = subprocess.run([gcc, "-dumpfullversion"], capture_output=True, text=True, check=True).stdout.strip()
    if not BUDGETS["compiler"].endswith(f" {version}"):
        pytest.skip(f"the budgets are those of {BUDGETS['compiler']}, this is {version}")
    monkeypatch.setenv("TINYFL_BUILD", str(tmp_path_factory.getbasetemp() / "budgets"))
    profile = profile_model(compile_artifacts(MODELS[model]), env)
    expect_estimates(profile)
    budget = BUDGETS[model][env]
    assert profile["ram"]["arena"] + profile["ram"]["scratch"] == budget["arena"], "make budgets, if it is meant"
    for name, cost in (("instructions", profile["instructions"]), ("flash", profile["flash"]["total"])):
        change = cost / budget[name] - 1
        assert abs(change) <= SLACK, f"{name} {cost:,}, {100 * change:+.1f} %: make budgets, if it is meant"

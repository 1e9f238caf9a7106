"""--optimise: what each goal does to the arena, that none changes a byte of the result, and who decides the goal."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from support_goals import three_convolutions
from support_tflite import Op, T, small_classifier, write_tflite

from tinyfl.compiler import CompiledModel, compile_model
from tinyfl.compiler.choice import decide
from tinyfl.compiler.demand import Demand, layer_demands
from tinyfl.compiler.plan import plan_arena
from tinyfl.compiler.read import read_tflite
from tinyfl.errors import ConfigError, UsageError
from tinyfl.settings import GOALS
from tinyfl_host.artifacts import compile_artifacts
from tinyfl_host.recipe import load_recipe

ROOT = Path(__file__).parents[2]
THIRSTY = three_convolutions()
NODES = 10_000  # of the planner's search trees, all of a model: well under a second


def compiled(data: bytes) -> dict[str, CompiledModel]:
    return {goal: compile_model(data, "m", None, goal) for goal in GOALS}


def test_speed_takes_most_ram_and_size_least() -> None:
    models = compiled(THIRSTY)
    arena = {goal: model.plan.arena_bytes for goal, model in models.items()}
    assert arena["speed"] > 1.4 * arena["balanced"] and arena["balanced"] > 1.2 * arena["size"]
    assert len({model.manifest["hash"] for model in models.values()}) == 1  # boards and hosts need not agree on a goal
    assert [model.manifest["optimise"] for model in models.values()] == list(GOALS)
    assert compile_model(THIRSTY, "m", None).sources == models["balanced"].sources


def test_balanced_takes_no_more_for_scratch_than_overlapping_saves() -> None:
    """Or half of what is fast, where even that is more."""
    graph = read_tflite(wide_and_deep(), "m")
    apart = plan_arena(graph, [Demand(alias=d.alias) for d in layer_demands(graph)]).arena_bytes
    balanced, speed = decide(graph, "balanced"), decide(graph, "speed")
    assert plan_arena(balanced).arena_bytes <= apart
    assert [layer.options.get("scratch") for layer in balanced.layers] == ["full", None, "full"]
    assert plan_arena(balanced).arena_bytes == plan_arena(speed).arena_bytes
    shares = [layer.options.get("scratch") for layer in compile_model(THIRSTY, "m", None).graph.layers[:3]]
    assert shares == ["half"] * 3


def test_size_takes_what_speed_the_smallest_arena_has_room_for() -> None:
    graph = decide(read_tflite(wide_and_deep(), "m"), "size")
    assert graph.layers[-1].options["scratch"] == "full" and graph.layers[0].options["scratch"] != "full"


@pytest.mark.parametrize("name", ["models/har/har", "../shared/models/kws_ref_model", "../shared/models/ad01_int8"])
def test_whole_models_are_planned_with_few_steps(name: str) -> None:
    path = ROOT / f"{name}.tflite"
    if not path.exists():
        pytest.skip(f"{path.name} is not in this checkout")
    for model in compiled(path.read_bytes()).values():
        assert model.plan.proved and model.plan.nodes <= NODES


def wide_and_deep() -> bytes:
    """A 1x1 convolution of many pixels, then one of few pixels: the second has room for all the scratch it likes."""
    rng = np.random.default_rng(3)
    options = {"StrideW": 1, "StrideH": 1, "Padding": 1, "FusedActivationFunction": 1}
    options |= {"DilationWFactor": 1, "DilationHFactor": 1}
    tensors = [
        T((1, 20, 20, 8), [0.1], 1),
        T((8, 1, 1, 8), [0.02], 0, rng.integers(-127, 128, (8, 1, 1, 8))),
        T((8,), [0.002], 0, np.zeros(8, int), "int32"),
        T((1, 20, 20, 8), [0.1], 1),
        T((8, 19, 19, 8), [0.02], 0, rng.integers(-2, 3, (8, 19, 19, 8))),
        T((1, 2, 2, 8), [0.3], 1),
        T((8, 2, 2, 8), [0.02], 0, rng.integers(-127, 128, (8, 2, 2, 8))),
        T((1, 1, 1, 8), [0.3], 1),
    ]
    pool = {"StrideW": 10, "StrideH": 10, "FilterWidth": 10, "FilterHeight": 10, "Padding": 1}
    pool["FusedActivationFunction"] = 0
    tensors[5] = T((1, 2, 2, 8), [0.1], 1)
    ops = [
        Op("CONV_2D", [0, 1, 2], [3], options),
        Op("AVERAGE_POOL_2D", [3], [5], pool),
        Op("CONV_2D", [5, 6, 2], [7], options),
    ]
    return write_tflite(tensors, ops, [0], [7])


def test_option_over_environment_over_recipe_over_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYFL_BUILD", str(tmp_path / "build"))
    monkeypatch.delenv("TINYFL_OPTIMISE", raising=False)
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "small.tflite").write_bytes(small_classifier())

    def goal(given: str | None = None) -> str:
        artifacts = compile_artifacts(folder, given)
        assert json.loads((artifacts.folder / "model.json").read_text())["optimise"] == artifacts.manifest["optimise"]
        return str(artifacts.manifest["optimise"])

    assert goal() == "balanced"
    (folder / "recipe.toml").write_text('[model]\nclasses = ["a", "b"]\n[compile]\noptimise = "size"\n')
    assert goal() == "size"
    monkeypatch.setenv("TINYFL_OPTIMISE", "speed")
    assert goal() == "speed" and goal("balanced") == "balanced" and goal() == "speed"
    monkeypatch.setenv("TINYFL_OPTIMISE", "sped")
    with pytest.raises(UsageError, match="TINYFL_OPTIMISE = sped"):
        goal()
    os.environ.pop("TINYFL_OPTIMISE")
    (folder / "recipe.toml").write_text('[model]\nclasses = ["a", "b"]\n[compile]\noptimise = "fast"\n')
    with pytest.raises(ConfigError, match=r"\[compile\] optimise = 'fast'"):
        load_recipe(folder)

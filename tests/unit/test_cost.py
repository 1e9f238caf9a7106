"""The compiler's estimates: every kernel has a row for every family, and work grows with what is asked for."""

from pathlib import Path

import pytest
from support_goals import three_convolutions
from support_tflite import small_classifier

from tinyfl.compiler import CompiledModel, compile_model
from tinyfl.compiler.cost import FAMILIES, estimate, table, total, work
from tinyfl.settings import GOALS
from tinyfl_host.boards import board
from tinyfl_host.profile import family

ROOT = Path(__file__).parents[2]
HAR = (ROOT / "models/har/har.tflite").read_bytes()


@pytest.mark.parametrize("data", [HAR, small_classifier(), three_convolutions()])
@pytest.mark.parametrize("goal", GOALS)
def test_every_layer_is_estimated_on_every_family(data: bytes, goal: str) -> None:
    model = compile_model(data, "m", None, goal)
    layers = estimate(model.graph, model.folded)
    assert all(layer.keys() == set(FAMILIES) for layer in layers), [work_of(model, i) for i in range(len(layers))]
    assert model.manifest["estimate"] == total(layers)
    for layer, entry in zip(layers, model.manifest["layers"], strict=True):
        assert entry["estimate"] == layer and (min(layer.values()) > 0)
        assert entry["macs"] / 16 <= layer["m4"] or "sparse" in entry["kernel"]  # what SMLAD and skipping can do
    assert layers[0]["m0"] > layers[0]["m3"]


def work_of(model: CompiledModel, index: int) -> object:
    return work(model.graph, model.graph.layers[index], model.folded[index])


def test_no_step_is_negative() -> None:
    steps = [s for row, families in table().items() if row != "firmware" for c in families.values() for s in c.values()]
    assert min(steps) > 0


def test_a_board_is_estimated_as_the_family_that_is_like_it() -> None:
    assert [family(board(env)) for env in ("microbit", "qemu-m55", "posix")] == ["m0", "m55", ""]

"""Compiling: the same text every time, the manifest, the arena plan, the split and the head's constants."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_tflite import Op, T, small_classifier, write_tflite

from tinyfl.compiler import compile_model, read_tflite
from tinyfl.compiler.plan import Plan, plan_arena
from tinyfl.compiler.split import rectified
from tinyfl.errors import ConfigError, DataError, ModelError
from tinyfl.graph import Graph, Layer, Quantization, Tensor
from tinyfl.reference import embed, quantize_input, run, run_layers
from tinyfl.reference.head import to_wire
from tinyfl.wire.messages import Train

SMALL = small_classifier()
X = np.random.default_rng(1).integers(-128, 128, (50, 10, 1, 3)).astype(np.int8)


def test_sources_and_manifest_are_the_same_in_another_process() -> None:
    first = compile_model(SMALL, "small", X)
    script = (
        "import sys, json, numpy as np; from tinyfl.compiler import compile_model\n"
        "x = np.random.default_rng(1).integers(-128, 128, (50, 10, 1, 3)).astype(np.int8)\n"
        "m = compile_model(sys.stdin.buffer.read(), 'small', x); print(json.dumps([m.manifest, m.sources]))"
    )
    other = subprocess.run([sys.executable, "-c", script], input=SMALL, capture_output=True, check=True, timeout=60)
    assert other.stdout.decode() == json.dumps([first.manifest, first.sources]) + "\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["models/har/har", "../shared/models/kws_ref_model", "../shared/models/ad01_int8"])
def test_whole_models_compile_to_the_same_text_whatever_the_hash_seed(name: str) -> None:
    path = Path(__file__).parents[2] / f"{name}.tflite"
    if not path.exists():
        pytest.skip(f"{path.name} is not in this checkout")
    script = (
        "import sys, json; from pathlib import Path; from tinyfl.compiler import compile_model\n"
        "data = Path(sys.argv[1]).read_bytes()\n"
        "for goal in ('speed', 'size', 'balanced'):\n"
        "    m = compile_model(data, 'm', None, goal); print(json.dumps([m.manifest, m.sources]))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", script, str(path)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1 and len(texts.pop()) > 1000


def test_manifest_tells_what_the_board_needs() -> None:
    manifest = compile_model(SMALL, "small", X).manifest
    assert manifest["input"] == {"shape": [10, 1, 3], "scale": float(np.float32(0.05)), "zero_point": 3, "bytes": 30}
    assert manifest["output"]["bytes"] == 5
    assert [layer["macs"] for layer in manifest["layers"]] == [4 * 4 * 9, 0, 16 * 12, 12 * 5, 0]
    assert manifest["macs"] == sum(layer["macs"] for layer in manifest["layers"])
    assert manifest["backbone_layers"] == 3
    head = manifest["head"]
    assert (head["trainable"], head["features"], head["classes"], head["count"]) == (True, 12, 5, 65)
    assert head["offset"] == [-100] * 12


def test_hash_covers_the_model_and_the_head() -> None:
    hashes = {
        compile_model(data, "small", x).manifest["hash"]
        for data, x in ((SMALL, X), (SMALL, None), (SMALL, X[:10]), (small_classifier(1), X))
    }
    assert len(hashes) == 4
    model = compile_model(SMALL, "small", X)
    first_bytes = ", ".join(f"0x{b:02x}" for b in bytes.fromhex(model.manifest["hash"])[:16])
    assert first_bytes in model.sources["model.c"]
    assert model.manifest["hash"] == compile_model(SMALL, "another name", X).manifest["hash"]


def test_an_adapter_is_in_hash_manifest_and_sources() -> None:
    plain, model = (compile_model(SMALL, "small", X, adapter=group) for group in (0, 5))
    assert plain.sources == compile_model(SMALL, "small", X).sources and "adapter" not in plain.manifest["head"]
    assert "#define TFL_MODEL_ADAPTER_COUNT 0u" in plain.sources["model.h"]
    entry = model.manifest["head"]["adapter"]
    assert (entry["group"], entry["count"], entry["offset"]) == (5, 2 * 5 * 6 + 2 * 3, [-100] * 12)
    assert model.manifest["head"]["offset"] == [-128] * 12  # behind a ReLU
    assert "#define TFL_MODEL_ADAPTER_COUNT 66u" in model.sources["model.h"]
    assert f"#define TFL_MODEL_BODY_BYTES {Train.BYTES + 4 + 2 * (65 + 66)}u" in model.sources["model.h"]
    hashes = {compile_model(SMALL, "small", X, adapter=group).manifest["hash"] for group in (0, 4, 5, 12)}
    assert len(hashes) == 4


def test_an_adapter_larger_than_the_embedding_is_refused() -> None:
    with pytest.raises(ConfigError, match="groups of 13 features, the embedding has 12") as caught:
        compile_model(SMALL, "small", X, adapter=13)
    assert "1..12" in caught.value.hint


@pytest.mark.parametrize(
    ("zero", "ops", "expected"),
    [
        (-100, [("dense", "none")], False),
        (-128, [("dense", "none")], True),
        (-100, [("dense", "relu6")], True),
        (-100, [("dense", "relu"), ("reshape", "")], True),
        (-100, [("dense", "relu"), ("softmax", "")], False),
        (-100, [("reshape", "")], False),
    ],
)
def test_what_is_behind_a_relu(zero: int, ops: list[tuple[str, str]], expected: bool) -> None:
    """Of a graph of such layers from its input on."""
    space = Quantization((0.1,), (zero,))
    every = tuple(Tensor(i, str(i), (1, 4), "int8", space) for i in range(len(ops) + 1))
    layers = tuple(
        Layer(i, op, (i,), (i + 1,), {"activation": fused} if fused else {}) for i, (op, fused) in enumerate(ops)
    )
    assert rectified(Graph("g", every, layers, 0, len(ops)), len(ops)) is expected


def test_head_gives_the_logits_of_the_model() -> None:
    model = compile_model(SMALL, "small", X)
    head, graph = model.head, model.graph
    x = np.hstack([embed(graph, X).astype(int) - head.offset, np.full((len(X), 1), head.bias_value)])
    logits = x @ head.initial / 2.0**head.fw
    compiled = run(graph, X, layers=4).astype(float) - 10
    inside = np.abs(compiled) < 115
    assert np.max(np.abs(logits / 0.1 - compiled)[inside]) < 1.0  # the model rounds its logits to 0.1
    squares = (x[:, :-1] ** 2).sum(axis=1).mean()
    assert head.r2 == pytest.approx(squares + head.bias_value**2)
    assert head.bias_value == 2 ** int(np.log2(np.sqrt(squares / 12)))
    assert head.fw == 9 + int(np.log2(np.sqrt(head.r2)))


def test_initial_head_is_emitted_in_wire_order() -> None:
    weights = np.arange(3 * 6, dtype=np.int16).reshape(3, 6)
    assert to_wire(weights).tolist() == [0, 1, 2, 3, 6, 7, 8, 9, 12, 13, 14, 15, 4, 5, 10, 11, 16, 17]


@pytest.mark.parametrize(
    ("data", "calibration", "reason"),
    [
        (SMALL, None, "no calibration inputs were given"),
        (small_classifier(features=257), X, "257 features"),
        (small_classifier(features=4, classes=300), X, "300 classes"),
    ],
)
def test_model_without_trainable_head_compiles_and_says_why(data: bytes, calibration: np.ndarray, reason: str) -> None:
    model = compile_model(data, "m", calibration)
    assert model.head is None
    assert model.manifest["head"]["trainable"] is False and reason in model.manifest["head"]["reason"]
    assert ".head = 0," in model.sources["model.c"]


def test_model_that_ends_in_no_dense_layer_has_no_head() -> None:
    data = write_tflite([T((1, 4)), T((1, 4))], [Op("QUANTIZE", [0], [1])], [0], [1])
    assert "ends in quantize" in compile_model(data, "m", np.zeros((3, 4), np.int8)).manifest["head"]["reason"]
    with pytest.raises(ModelError):
        embed(read_tflite(data, "m"), np.zeros((3, 4), np.int8))


def test_name_cannot_break_out_of_the_c_text() -> None:
    source = compile_model(SMALL, 'a*/ "b\\\n', X).sources["model.c"]
    assert '.name = "a__ _b__"' in source


def residual() -> bytes:
    """quantize, then x + x' three times with a long-lived shortcut."""
    tensors = [T((1, 5, 1, 3), [0.1 + i / 100], i) for i in range(6)]
    ops = [
        Op("QUANTIZE", [0], [1]),
        Op("ADD", [1, 0], [2], {}),
        Op("ADD", [2, 1], [3], {}),
        Op("QUANTIZE", [3], [4]),
        Op("ADD", [4, 1], [5], {}),
    ]
    return write_tflite(tensors, ops, [0], [5])


def bytes_in_use(graph: Graph, offsets: dict[int, int], tensor: int) -> set[int]:
    return set(range(offsets[tensor], offsets[tensor] + graph.tensor(tensor).size))


@pytest.mark.parametrize("data", [SMALL, residual()])
def test_plan_keeps_every_value_until_its_last_reader(data: bytes) -> None:
    """Runs the twin through one byte array as the board does, and compares with separate arrays."""
    graph = read_tflite(data, "m")
    plan = plan_arena(graph)
    x = np.random.default_rng(0).integers(-128, 128, (1, *graph.tensor(graph.input).shape[1:])).astype(np.int8)
    truth, arena = run_layers(graph, x), np.zeros(plan.arena_bytes, np.int8)
    for index in (graph.input, *(layer.outputs[0] for layer in graph.layers)):
        start = plan.offsets[index]
        assert start % 4 == 0 and start + truth[index].size <= plan.arena_bytes
    arena[plan.offsets[graph.input] :][: x.size] = x.ravel()
    for layer in graph.layers:
        for index in layer.inputs:
            if index in truth:
                held = arena[plan.offsets[index] :][: truth[index].size]
                np.testing.assert_array_equal(held, truth[index].ravel(), f"layer {layer.index}")
        y = layer.outputs[0]
        if layer.op != "reshape":
            arena[plan.offsets[y] :][: truth[y].size] = truth[y].ravel()


def test_add_and_softmax_run_in_place() -> None:
    plan = plan_arena(read_tflite(residual(), "m"))
    assert plan.arena_bytes == 2 * 16  # over the input too, once its last reader has run


def one(builtin: str, shape: tuple[int, ...], out: tuple[int, ...], options: dict[str, Any], *more: T) -> Plan:
    """The plan of a model of one operator."""
    tensors = [T(shape, [0.5]), *more, T(out, [0.5])]
    inputs, last = list(range(1 + len(more))), 1 + len(more)
    return plan_arena(read_tflite(write_tflite(tensors, [Op(builtin, inputs, [last], options)], [0], [last]), "m"))


POOL = {"FilterHeight": 2, "FilterWidth": 2, "StrideH": 2, "StrideW": 2, "Padding": 0, "FusedActivationFunction": 0}


@pytest.mark.parametrize("builtin", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_pools_run_in_place(builtin: str) -> None:
    assert one(builtin, (1, 8, 8, 4), (1, 4, 4, 4), POOL).arena_bytes == 256
    every = {
        **POOL,
        "FilterHeight": 3,
        "FilterWidth": 3,
        "StrideH": 1,
        "StrideW": 1,
    }  # needs a row and a pixel behind it
    assert one(builtin, (1, 8, 8, 4), (1, 8, 8, 4), every).arena_bytes == 256 + 8 * 4 + 4


def test_mean_and_pad_share_bytes() -> None:
    axes = T((2,), data=[1, 2], type="int32")
    assert one("MEAN", (1, 8, 8, 4), (1, 4), {"KeepDims": False}, axes).arena_bytes == 256
    around = T((4, 2), data=[[0, 0], [1, 1], [1, 1], [0, 0]], type="int32")
    plan = one("PAD", (1, 8, 8, 4), (1, 10, 10, 4), {}, around)
    assert plan.arena_bytes == 400
    ahead = (8 * 10 + 8 - 63) * 4  # of the last pixel's new place; and it must not be copied onto itself
    assert sorted(plan.offsets.values()) == [0, ahead + 4]


def test_quantize_input_rounds_half_away_from_zero_and_clips() -> None:
    graph = read_tflite(write_tflite([T((1, 6), [0.5], 1), T((1, 6))], [Op("QUANTIZE", [0], [1])], [0], [1]), "m")
    real = np.array([[0.25, -0.25, 0.74, 100.0, -100.0, 0.0]])
    assert quantize_input(graph, real).tolist() == [[2, 0, 2, 127, -128, 1]]
    with pytest.raises(DataError):
        quantize_input(graph, np.full((1, 6), np.nan))
    with pytest.raises(DataError):
        run(graph, np.zeros((1, 5), np.int8))

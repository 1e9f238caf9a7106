"""A pruned head over whole rounds: its zeros stay zero, and no update says anything of them, however it is coded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support_board import build_board
from support_rounds import ProcessFleet, TwinFleet, contents, final, members, run, settings
from support_tflite import small_classifier

from tinyfl.compiler import CompiledModel, compile_model, read_tflite
from tinyfl.errors import BoardError
from tinyfl.federated.codecs import fleet_shift
from tinyfl.federated.update import read_update
from tinyfl.image import build_image
from tinyfl.reference.board import TwinBoard
from tinyfl.reference.codec import Codec, stream
from tinyfl.reference.head import aggregate, broadcast, learning, read_held, to_wire
from tinyfl.wire.messages import Status
from tinyfl_host.boards import board
from tinyfl_host.emulate import boot
from tinyfl_host.links import open_link
from tinyfl_host.node import Node
from tinyfl_host.recipe import UpdateSettings

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(14)
X = RNG.integers(-128, 128, (60, 10, 1, 3)).astype(np.int8)
Y = RNG.integers(0, 5, 60).astype(np.uint8)
TRAIN = 45


def pruned(kept: float) -> CompiledModel:
    """small_classifier with a head of which this share of the weights is left."""
    data = small_classifier()
    graph = read_tflite(data, "small")
    weights = graph.tensor([layer for layer in graph.layers if layer.op == "dense"][-1].inputs[1]).data
    assert weights is not None
    left = np.where(np.random.default_rng(15).random(weights.shape) < kept, weights, 0).astype(np.int8)
    whole = weights.astype(np.int8).tobytes()
    assert data.count(whole) == 1
    return compile_model(data.replace(whole, left.tobytes()), "pruned", X)


def test_the_compiler_takes_zeros_for_a_mask() -> None:
    model = pruned(0.4)
    assert model.head is not None and model.head.held is not None
    held = read_held(bytes.fromhex(model.manifest["head"]["held"]), model.manifest["head"]["count"])
    np.testing.assert_array_equal(held, to_wire(model.head.held))
    assert not model.head.held[-1].any() and np.all(model.head.initial[model.head.held] == 0)
    assert ".held = head_held" in model.sources["model.c"]
    dense = pruned(0.9)
    assert dense.head is not None and dense.head.held is None
    assert "held" not in dense.manifest["head"] and "held" not in dense.sources["model.c"]


CODECS = [
    Codec(),
    Codec(feedback=True),
    Codec("int4", "top", True, 9, feedback=True),
    Codec("int4", "top", False, 11),
    Codec("int8", "random", True, 9, feedback=True),
    Codec("int2", "random", False, 5),
    Codec("sign", feedback=True),
    Codec("sign", entropy=True),
]
TAKEN = {1: 0, 2: 1, 3: 1, 4: 3}  # round 2 does not count


@pytest.fixture(scope="module")
def model() -> CompiledModel:
    return pruned(0.4)


@pytest.fixture(scope="module")
def program(model: CompiledModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_board("gcc", model, tmp_path_factory.mktemp("board"))


@pytest.mark.parametrize("codec", CODECS, ids=lambda c: f"{c.level}-{c.selection}-{c.entropy:d}-{c.feedback:d}")
def test_rounds_are_the_twins_and_lose_nothing(model: CompiledModel, program: Path, codec: Codec) -> None:
    assert model.head is not None
    learns = learning(model.head)
    free = int(learns.sum())
    twin = TwinBoard(model.graph, model.head, X[:TRAIN], Y[:TRAIN], X[TRAIN:], Y[TRAIN:])
    image = build_image(X[:TRAIN], Y[:TRAIN], X[TRAIN:], Y[TRAIN:], "board")
    master = to_wire(model.head.initial).astype(np.int64) << 16
    sent = learned = np.zeros(len(master), np.int64)
    with boot(board("posix"), program, image) as emulator:
        node = Node(open_link(emulator.link), json.loads(json.dumps(model.manifest)))
        node.hello()
        for round, taken in TAKEN.items():
            order = round, 7, 3, 3, 20000, 16, broadcast(master)
            replies = [side.train(*order, taken=taken, feedback=codec.feedback) for side in (node, twin)]
            assert replies[0].max_delta == replies[1].max_delta > 0 and replies[0].mean_delta == replies[1].mean_delta
            assert replies[0].mean_delta == np.abs(twin.delta() + twin.residual)[learns].sum() // free
            shift = fleet_shift(codec, [replies[0]])
            deltas = [side.collect(round, shift, 99, codec=codec) for side in (node, twin)]
            np.testing.assert_array_equal(deltas[0].deltas, deltas[1].deltas)
            update = read_update(codec, deltas[0], learns, TRAIN, stream(7, round))
            assert not update.deltas[~learns].any()
            assert codec.count == 0 or np.count_nonzero(update.deltas) <= codec.count
            np.testing.assert_array_equal(node.pull(), twin.pull())
            if round in TAKEN.values() or round == max(TAKEN):
                sent, learned = sent + (update.deltas << shift), learned + twin.delta()
                master = aggregate(master, [update.deltas], [TRAIN], shift)
        for side in (node, twin):
            side.load(9, broadcast(master), taken=max(TAKEN))
        node.close()
    assert sent.any() and not master[~learns].any() and not twin.residual[~learns].any()
    if codec.feedback:
        np.testing.assert_array_equal(sent + twin.residual, learned)


def test_too_large_a_count_is_refused(model: CompiledModel, program: Path) -> None:
    assert model.head is not None
    free = int(learning(model.head).sum())
    twin = TwinBoard(model.graph, model.head, X[:TRAIN], Y[:TRAIN], X[TRAIN:], Y[TRAIN:])
    image = build_image(X[:TRAIN], Y[:TRAIN], X[TRAIN:], Y[TRAIN:], "board")
    with boot(board("posix"), program, image) as emulator:
        node = Node(open_link(emulator.link), model.manifest)
        for side in (node, twin):
            side.train(1, 7, 3, 1, 20000, 16, to_wire(model.head.initial))
            side.collect(1, 20, 99, codec=Codec("int8", "top", False, free))
            with pytest.raises(BoardError) as refused:
                side.collect(1, 20, 99, codec=Codec("int8", "top", False, free + 1))
            assert refused.value.status == Status.ERROR_ARGUMENT
        node.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "update",
    [
        UpdateSettings(),
        UpdateSettings(codec="int4", select="top", share=0.2, entropy=True, feedback=True, downlink="difference"),
        UpdateSettings(codec="int8", select="random", count=10, feedback=True, dense_rounds=1),
        UpdateSettings(codec="sign", feedback=True, downlink="int8"),
    ],
    ids=["int8", "int4-top", "int8-random", "sign"],
)
def test_a_run_on_processes_is_the_twins_run(
    model: CompiledModel, program: Path, tmp_path: Path, update: UpdateSettings
) -> None:
    """One of the boards is reset in the third round, without a store."""
    assert model.head is not None
    plan, left = settings(rounds=4, local_only=False, update=update), {3}
    with ProcessFleet("posix", program, members(), model) as fleet:

        def reset(name: str, round: int) -> None:
            if name == "train" and round in left:
                left.remove(round)
                fleet.emulators["b2"].reset()

        fleet.faults = {"b2": reset}
        run(tmp_path / "posix", fleet, plan, patience=2.0)
    run(tmp_path / "twin", TwinFleet(members(), model=model), plan)
    assert not left and contents(tmp_path / "posix") == contents(tmp_path / "twin")
    last = np.frombuffer(final(tmp_path / "twin"), "<i4")
    held = ~learning(model.head)
    assert not last[held].any() and np.any(last != to_wire(model.head.initial).astype(np.int64) << 16)

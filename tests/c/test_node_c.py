"""The node in C, as a posix board with sanitizers, asked by real frames: it equals TwinBoard byte for byte."""

from __future__ import annotations

import dataclasses
import signal
import socket
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from support_board import Conversation, build_board
from support_messages import collect, head, train
from support_runner import ROOT
from support_tflite import small_classifier

from tinyfl.compiler import CompiledModel, compile_model
from tinyfl.image import build_image
from tinyfl.reference.board import TwinBoard
from tinyfl.reference.head import to_wire
from tinyfl.wire.frame import Frame, encode_frame
from tinyfl.wire.messages import (
    MAC_BYTES,
    PROTOCOL,
    SCHEMA,
    Delta,
    Done,
    Enrol,
    Evaluate,
    Evaluated,
    Feature,
    Fed,
    Feed,
    FrameKind,
    Hello,
    Infer,
    Inferred,
    Pull,
    Status,
    Trained,
    Weights,
    Welcome,
)
from tinyfl.wire.packing import Message

RNG = np.random.default_rng(4)
X = RNG.integers(-128, 128, (60, 10, 1, 3)).astype(np.int8)
Y = RNG.integers(0, 5, 60).astype(np.uint8)
SPLIT = 41  # training samples
RATE = (20000, 16)
NONE = np.zeros(0, np.int16)  # weights of a TRAIN that has none
MODEL = compile_model(small_classifier(), "small", X)
KEY = bytes(range(32))
SLOT = 12 + 1  # bytes of one cached sample, and a bit


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Built when first asked for."""

    class Built(dict[str, Path]):
        def __missing__(self, compiler: str) -> Path:
            self[compiler] = build_board(compiler, MODEL, tmp_path_factory.mktemp("board") / compiler)
            return self[compiler]

    return Built()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "data.bin"
    path.write_bytes(build_image(X[:SPLIT], Y[:SPLIT], X[SPLIT:], Y[SPLIT:], "board-7"))
    return path


def twin(model: CompiledModel = MODEL, train: int = SPLIT, test: int = 60) -> TwinBoard:
    assert model.head is not None
    return TwinBoard(model.graph, model.head, X[:train], Y[:train], X[SPLIT:test], Y[SPLIT:test], "board-7")


def weights(seed: int = 1) -> np.ndarray:
    assert MODEL.head is not None
    noise = np.random.default_rng(seed).integers(-200, 200, MODEL.head.initial.size)
    return (to_wire(MODEL.head.initial) + noise).astype(np.int16)


def same(got: object, expected: object) -> None:
    """Equal but for what only the board can know: ticks, and how often the backbone ran."""
    for field in dataclasses.fields(expected):  # type: ignore[arg-type]
        if field.name not in ("embeddings", "embed_ticks", "step_ticks"):
            np.testing.assert_array_equal(getattr(got, field.name), getattr(expected, field.name), field.name)


def full_conversation(board: Conversation) -> list[int]:
    """Two rounds and a TRAIN without a HEAD, compared with the twin; how often the backbone ran in each TRAIN."""
    reference, embeddings = twin(), []
    same(board.expect(Evaluate(1, 0), Evaluated), reference.evaluate(1, 0))  # as it was compiled
    for round in (1, 2):
        reference.load(round, weights(round))
        if round == 1:  # else TRAIN brings it
            board.expect(head(round, 0, weights(round)), Done)
        for start in (weights(round) if round == 2 else NONE, NONE):  # the second goes on where the first one ended
            trained = board.expect(train(round, 99, 3, 3, *RATE, start), Trained)
            assert isinstance(trained, Trained)
            same(trained, reference.train(round, 99, 3, 3, *RATE))
            embeddings.append(trained.embeddings)
        for shift, seed in ((14, 5), (14, 6), (0, 1), (25, 2**32 - 1)):
            same(board.expect(collect(round, 0, shift, seed), Delta), reference.collect(round, shift, seed))
        for split in (0, 1):
            for source in (0, 1):
                same(board.expect(Evaluate(split, source), Evaluated), reference.evaluate(split, source))
        same(board.expect(Pull(), Weights), Weights(round, reference.pull()))
    for x in X[:5]:
        ticks, output = reference.infer(x)
        same(board.expect(Infer(x.ravel()), Inferred), Inferred(ticks, output))
    return embeddings


@pytest.mark.parametrize("compiler", ["gcc", pytest.param("clang-14", marks=pytest.mark.slow)])
def test_a_conversation_equals_the_twin(programs: dict[str, Path], image: Path, compiler: str) -> None:
    assert MODEL.head is not None
    with Conversation(programs[compiler], "--image", str(image)) as board:
        _, body = board.hello()
        welcome = Welcome.unpack(body)
        expected = twin().hello()
        for name in ("protocol", "schema", "name", "head_features", "head_classes", "input_bytes", "output_bytes"):
            assert getattr(welcome, name) == getattr(expected, name)
        assert (welcome.train_samples, welcome.test_samples, welcome.tick_numerator) == (SPLIT, 60 - SPLIT, 0)
        assert welcome.model.hex() == MODEL.manifest["hash"][:32]
        assert full_conversation(board) == [SPLIT, 0, 0, 0]  # all cached


@pytest.mark.parametrize("slots", [0, 1, 7, SPLIT, SPLIT + 3, 60])
def test_the_cache_changes_no_bit(programs: dict[str, Path], image: Path, slots: int) -> None:
    cache = slots * SLOT + (slots + 7) // 8
    with Conversation(programs["gcc"], "--image", str(image), "--cache", str(cache)) as board:
        _, body = board.hello()
        assert Welcome.unpack(body).cache == slots
        kept = min(slots, SPLIT)
        assert full_conversation(board) == [3 * SPLIT - 2 * kept, *[3 * (SPLIT - kept)] * 3]


@pytest.mark.parametrize(("own", "test"), [(0, 60), (1, 60), (SPLIT, SPLIT), (0, SPLIT)])
def test_empty_data_sets(programs: dict[str, Path], tmp_path: Path, own: int, test: int) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(build_image(X[:own], Y[:own], X[SPLIT:test], Y[SPLIT:test], "board-7"))
    reference = twin(train=own, test=test)
    with Conversation(programs["gcc"], "--image", str(path)) as board:
        board.hello()
        same(board.expect(train(1, 1, 1, 2, *RATE, NONE), Trained), reference.train(1, 1, 1, 2, *RATE))
        same(board.expect(collect(1, 0, 3, 1), Delta), reference.collect(1, 3, 1))
        same(board.expect(Evaluate(1, 1), Evaluated), reference.evaluate(1, 1))


class Unknown(Message):
    """A request of a later version."""

    NAME, TYPE, REPLY, FORMAT, FIELDS = "UNKNOWN", 0x55, 0, "<", ()


def test_what_is_out_of_range_is_refused(programs: dict[str, Path], image: Path) -> None:
    big = weights().astype(np.int32)
    big[3] = 16384
    argument = [
        train(1, 1, 1, 0, *RATE, NONE),
        train(1, 1, 1, 1, (1 << 14) - 1, 16, NONE),
        train(1, 1, 1, 1, (1 << 15) + 1, 16, NONE),
        train(1, 1, 1, 1, 1 << 14, 12, NONE),
        train(1, 1, 1, 1, 1 << 14, 31, NONE),
        Evaluate(2, 0),
        Evaluate(0, 2),
        collect(1, 1, 3, 1),
        collect(1, 0, 26, 1),
        collect(1, 0, 3, 0),
        head(1, 0, big),
        head(1, 2, weights()),
        train(1, 1, 1, 1, *RATE, big),
        Feed(2, 0, X[0].ravel()),
        Feed(0, 5, X[0].ravel()),
    ]
    length = [
        head(1, 0, weights()[:-1]),
        train(1, 1, 1, 1, *RATE, weights()[:-1]),
        Infer(X[0].ravel()[:-1]),
        Infer(np.zeros(31, np.int8)),
        Feed(0, 0, X[0].ravel()[1:]),
    ]
    with Conversation(programs["gcc"], "--image", str(image)) as board:
        board.hello()
        for messages, status in ((argument, Status.ERROR_ARGUMENT), (length, Status.ERROR_LENGTH)):
            for message in messages:
                assert board.refused(message).status == status, message
        assert board.refused(head(1, 0, weights()[:-1])).detail == weights().size
        assert board.refused(collect(1, 0, 3, 1)).status == Status.ERROR_STATE  # nothing was trained
        assert board.refused(Feed(0, 0, X[0].ravel())).status == Status.ERROR_STATE  # it has data of its own
        board.expect(train(8, 1, 1, 1, *RATE, NONE), Trained)
        assert board.refused(collect(7, 0, 3, 1)).detail == 8
        board.expect(head(9, 0, weights()), Done)
        assert board.refused(collect(9, 0, 3, 1)).status == Status.ERROR_STATE
        other = board.refused(Hello(PROTOCOL + 1, SCHEMA, 0, bytes(16)))
        assert (other.status, other.detail) == (Status.ERROR_PROTOCOL, PROTOCOL)
        assert board.refused(Hello(PROTOCOL, SCHEMA ^ 1, 0, bytes(16))).detail == SCHEMA
        assert board.refused(Hello(PROTOCOL, SCHEMA, 0, bytes(16))).status == Status.ERROR_STATE  # not in a session
        assert board.refused(Enrol(KEY)).status == Status.ERROR_STORE  # it has none
        assert board.refused(Unknown()).status == Status.ERROR_TYPE
        board.expect(Evaluate(0, 0), Evaluated)  # and after all this it still works


def test_a_training_that_is_broken_off_needs_a_head(programs: dict[str, Path], image: Path) -> None:
    with Conversation(programs["gcc"], "--image", str(image)) as board:
        board.hello()
        board.start(train(1, 1, 1, 65535, *RATE, NONE))
        board.restart(2)
        board.hello()
        for message in (train(1, 1, 1, 1, *RATE, NONE), collect(1, 0, 3, 1), Evaluate(0, 1), Pull()):
            assert board.refused(message).status == Status.ERROR_STATE
        reference = twin()
        same(board.expect(Evaluate(0, 0), Evaluated), reference.evaluate(0, 0))
        reference.load(4, weights())
        board.expect(head(4, 0, weights()), Done)
        same(board.expect(train(4, 1, 1, 2, *RATE, NONE), Trained), reference.train(4, 1, 1, 2, *RATE))
        same(board.expect(Pull(), Weights), Weights(4, reference.pull()))


def test_an_evaluation_that_is_broken_off_changes_nothing(programs: dict[str, Path], image: Path) -> None:
    with Conversation(programs["gcc"], "--image", str(image), "--cache", "0") as board:
        board.hello()
        board.expect(train(1, 1, 1, 1, *RATE, NONE), Trained)
        board.start(Evaluate(0, 1))
        same(board.expect(collect(1, 0, 9, 1), Delta), collected(twin()))


def collected(reference: TwinBoard) -> Delta:
    reference.train(1, 1, 1, 1, *RATE)
    return reference.collect(1, 9, 1)


def test_labels_and_images_that_do_not_fit_the_model(programs: dict[str, Path], tmp_path: Path) -> None:
    wrong = Y.copy()
    wrong[17] = 5  # the head has classes 0..4
    (tmp_path / "label").write_bytes(build_image(X[:SPLIT], wrong[:SPLIT], X[SPLIT:], wrong[SPLIT:], "b"))
    with Conversation(programs["gcc"], "--image", str(tmp_path / "label")) as board:
        board.hello()
        refusal = board.refused(train(1, 1, 1, 1, *RATE, NONE))
        assert (refusal.status, refusal.detail) == (Status.ERROR_SAMPLE, 17)
        assert board.refused(Evaluate(0, 0)).detail == 17
        board.expect(Evaluate(1, 0), Evaluated)
        assert board.refused(collect(1, 0, 3, 1)).status == Status.ERROR_STATE
    large = np.zeros((2, 5000), np.int8)
    (tmp_path / "size").write_bytes(build_image(large, [0, 1], large, [0, 1], "b"))
    with Conversation(programs["gcc"], "--image", str(tmp_path / "size")) as board:
        board.hello()
        for message in (train(1, 1, 1, 1, *RATE, NONE), Evaluate(0, 0)):
            refusal = board.refused(message)
            assert (refusal.status, refusal.detail) == (Status.ERROR_SAMPLE, 5000)
        board.expect(Infer(X[0].ravel()), Inferred)


def test_fed_samples_train_as_those_of_an_image(programs: dict[str, Path]) -> None:
    slots = 44
    with Conversation(programs["gcc"], "--cache", str(slots * SLOT + (slots + 7) // 8), "--name", "bench") as board:
        _, body = board.hello()
        assert b"bench" in body
        for i in range(SPLIT):
            fed = board.expect(Feed(0, int(Y[i]), X[i].ravel()), Fed)
            assert fed == Fed(i + 1, min(i, 3))
            if i < 3:
                assert board.expect(Feed(1, int(Y[SPLIT + i]), X[SPLIT + i].ravel()), Fed) == Fed(i + 1, i + 1)
        refusal = board.refused(Feed(1, 0, X[0].ravel()))
        assert (refusal.status, refusal.detail) == (Status.ERROR_SPACE, slots)
        reference = twin(test=SPLIT + 3)
        same(board.expect(train(1, 1, 1, 2, *RATE, NONE), Trained), reference.train(1, 1, 1, 2, *RATE))
        same(board.expect(Evaluate(1, 1), Evaluated), reference.evaluate(1, 1))
        same(board.expect(Pull(), Weights), Weights(1, reference.pull()))


@pytest.fixture(scope="module")
def writing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board that tells stderr of each write to its store, and fails in that of round 13 the first time."""
    folder = tmp_path_factory.mktemp("writing")
    wrapper = folder / "wrapper.c"
    wrapper.write_text("""
        #include <stdio.h>
        #include "../../core/store.h"
        int __real_tfl_store_write(struct tfl_store *, const struct tfl_kept *, tfl_store_give, void *);
        int __wrap_tfl_store_write(struct tfl_store *, const struct tfl_kept *, tfl_store_give, void *);
        int __wrap_tfl_store_write(struct tfl_store *s, const struct tfl_kept *k, tfl_store_give g, void *c)
        {
            static int failed;

            (void)fprintf(stderr, "wrote round %u\\n", (unsigned)k->round);
            return k->round == 13u && failed++ == 0 ? TFL_ERROR_STORE : __real_tfl_store_write(s, k, g, c);
        }
    """)
    extra = ["-Wl,--wrap=tfl_store_write", "-I", str(ROOT / "firmware/include/tfl"), str(wrapper)]
    return build_board("gcc", MODEL, folder / "gcc", extra)


def digest(head: np.ndarray) -> int:
    return zlib.crc32(head.astype("<i2").tobytes())


def test_the_head_of_a_round_is_kept_once_and_found_after_a_reset(writing: Path, image: Path, tmp_path: Path) -> None:
    options = ("--image", str(image), "--store", str(tmp_path / "store"))
    with Conversation(writing, *options) as board:
        first = board.welcome(1)
        assert first.features & Feature.STORE and (first.round, first.head_digest) == (0, 0)
        board.expect(train(7, 1, 1, 1, *RATE, weights(7)), Trained)
        assert board.welcome(2).round == 0  # until COLLECT
        for shift in (3, 9):
            board.expect(collect(7, 0, shift, 1), Delta)
        again = board.welcome(3)
        assert (again.round, again.head_digest) == (7, digest(weights(7)))
        assert first.nonce != again.nonce
    assert board.stderr == "wrote round 7\n"
    with Conversation(writing, *options) as board:
        second = board.welcome(1)
        assert (second.boot, second.round, second.head_digest) == (first.boot + 1, 7, digest(weights(7)))
        reference = twin()
        reference.load(7, weights(7))
        same(board.expect(Evaluate(1, 0), Evaluated), reference.evaluate(1, 0))
        same(board.expect(train(7, 1, 1, 2, *RATE, NONE), Trained), reference.train(7, 1, 1, 2, *RATE))
        same(board.expect(collect(7, 0, 3, 1), Delta), reference.collect(7, 3, 1))
        board.expect(head(8, 0, weights(8)), Done)  # not kept
        board.expect(head(9, 1, weights(9)), Done)
        board.expect(head(9, 1, weights(9)), Done)
        board.expect(train(9, 1, 1, 1, *RATE, NONE), Trained)
        board.expect(collect(9, 0, 3, 1), Delta)
        assert board.welcome(2).head_digest == digest(weights(9))
    assert board.stderr == "wrote round 9\n"
    with Conversation(writing, *options) as board:
        assert board.welcome(1).round == 9


def test_a_store_that_fails_does_not_pass_for_a_kept_head(writing: Path, image: Path, tmp_path: Path) -> None:
    with Conversation(writing, "--image", str(image), "--store", str(tmp_path / "store")) as board:
        board.hello()
        board.expect(train(13, 1, 1, 1, *RATE, weights()), Trained)
        assert board.refused(collect(13, 0, 3, 1)).status == Status.ERROR_STORE
        board.expect(collect(13, 0, 3, 1), Delta)
        assert board.welcome(2).round == 13


def test_another_models_head_is_not_taken_up(writing: Path, image: Path, tmp_path: Path) -> None:
    options = ("--image", str(image), "--store", str(tmp_path / "store"))
    with Conversation(writing, *options) as board:
        board.hello()
        board.expect(head(1, 1, weights()), Done)
    first, other = f"0x{MODEL.manifest['hash'][:2]}", "0x00" if MODEL.manifest["hash"][:2] != "00" else "0x01"
    sources = {name: text.replace(first, other, 1) for name, text in MODEL.sources.items()}
    program = build_board("gcc", dataclasses.replace(MODEL, sources=sources), tmp_path / "other")
    with Conversation(program, *options) as board:
        welcome = board.welcome(1)
        assert welcome.model.hex()[2:] == MODEL.manifest["hash"][2:32] and welcome.model.hex()[:2] == other[2:]
        assert (welcome.round, welcome.head_digest) == (0, 0)
        same(board.expect(Evaluate(1, 0), Evaluated), twin().evaluate(1, 0))


def test_a_board_that_was_given_a_key_takes_orders_from_its_host_alone(
    programs: dict[str, Path], image: Path, tmp_path: Path
) -> None:
    options = ("--image", str(image), "--store", str(tmp_path / "store"))
    with Conversation(programs["gcc"], *options) as board:
        assert not board.welcome(1).features & Feature.AUTH
        board.expect(Enrol(KEY), Done)
        board.expect(Pull(), Weights)  # the session goes on as it was
        assert board.refused(Enrol(bytes(32))).status == Status.ERROR_KEY
        board.key = KEY
        first = board.welcome(2)
        assert first.features & Feature.AUTH
        assert full_conversation(board) == [SPLIT, 0, 0, 0]
        second = board.welcome(3)
        board.expect(Enrol(KEY[::-1]), Done)  # in an authenticated session another key is taken
        board.expect(Pull(), Weights)
    with Conversation(programs["gcc"], *options, key=KEY[::-1]) as board:
        third = board.welcome(3)
        assert len({first.nonce, second.nonce, third.nonce}) == 3
        board.expect(Pull(), Weights)
        board.raw(whole(9, Hello(PROTOCOL + 1, SCHEMA, 0, bytes(16)), 0))  # refused: no way around the key
        board.raw(whole(9, head(1, 0, weights()), 1))
        board.raw(whole(9, head(1, 0, weights()), 1, bytes(MAC_BYTES)))
        board.welcome(10)
        same(board.expect(Evaluate(1, 0), Evaluated), kept_from_round_2().evaluate(1, 0))


def whole(session: int, message: Message, count: int, mac: bytes = b"") -> bytes:
    return encode_frame(Frame(FrameKind.WHOLE, count, session, bytes([message.TYPE]) + mac + message.pack()), True)


def kept_from_round_2() -> TwinBoard:
    reference = twin()
    reference.load(2, weights(2))
    return reference


def test_a_model_without_a_head_infers(tmp_path: Path) -> None:
    model = compile_model(small_classifier(softmax=False), "bare", None)
    with Conversation(build_board("gcc", model, tmp_path)) as board:
        board.hello()
        for message in (
            head(1, 0, weights()),
            train(1, 1, 1, 1, *RATE, NONE),
            Evaluate(0, 0),
            Pull(),
            Feed(0, 0, X[0].ravel()),
        ):
            refusal = board.refused(message)
            assert refusal.status in (Status.ERROR_STATE, Status.ERROR_SPACE), message
        board.expect(Infer(X[0].ravel()), Inferred)


def test_a_listening_board_serves_one_client_after_another(
    programs: dict[str, Path], image: Path, tmp_path: Path
) -> None:
    path = tmp_path / "line"
    command = [str(programs["gcc"]), "--listen", f"unix:{path}", "--image", str(image)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"listening on unix:{path}\n"
        for _ in range(3):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(b"\x01garbage\x00" * 50)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    assert not path.exists()


def test_a_board_ends_with_its_parent(programs: dict[str, Path], tmp_path: Path) -> None:
    command = f"{programs['gcc']} --listen unix:{tmp_path / 'line'} & echo $!; read line"
    with subprocess.Popen(["sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        assert parent.stdout.readline().startswith("listening")
        parent.kill()
        assert parent.stdout.read() == ""  # the pipe closes when the board has ended
    assert not (tmp_path / "line").exists()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "expected --listen"),
        (["--listen", "tcp:1"], "expected unix:PATH"),
        (["--listen", "unix:/nowhere/at/all"], "No such file"),
        (["--fd", "77"], "no open descriptor"),
        (["--fd", "x"], "no open descriptor"),
        (["--speed"], "unknown option"),
        (["--fd", "0", "--cache", "-1"], "expected bytes of cache"),
        (["--fd", "0", "--image", "/nowhere"], "No such file"),
        (["--fd", "0", "--image", "/dev/null"], "no data image"),
    ],
)
def test_bad_options_are_named(programs: dict[str, Path], options: list[str], complaint: str) -> None:
    done = subprocess.run([str(programs["gcc"]), *options], capture_output=True, text=True, timeout=10)
    assert done.returncode == 1 and complaint in done.stderr

"""Boards in this process: equal to processes and twins byte for byte, traffic to the last byte, and their faults."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_board import build_board
from support_rounds import MODEL, ProcessFleet, X, Y, contents, head_format, image, members, run, settings
from support_sim import SimFleet, library
from support_tflite import small_classifier

from tinyfl.compiler import CompiledModel, compile_model
from tinyfl.errors import BoardError, DataError, DeadlineError, LinkError, MismatchError, ToolError
from tinyfl.image import build_image
from tinyfl.reference import head
from tinyfl.wire.messages import Status
from tinyfl_host import crew as crews
from tinyfl_host import sim as sims
from tinyfl_host.boards import board
from tinyfl_host.emulate import boot
from tinyfl_host.links import open_link
from tinyfl_host.node import Node
from tinyfl_host.recipe import UpdateSettings
from tinyfl_host.sim import SimBoard, Simulation, map_images
from tinyfl_host.traffic import Traffic

RATE = head.rate(0.5, head_format().r2, head_format().fw)
INITIAL = head.to_wire(head_format().initial).astype(np.int16)
RANDOM = np.random.default_rng(7)


@pytest.fixture(scope="module")
def small() -> Path:
    return library(MODEL)


@pytest.fixture
def sim(small: Path) -> Simulation:
    return Simulation(small, MODEL.manifest, {member.name: image(member) for member in members()})


@pytest.fixture
def busy(small: Path) -> Simulation:
    """A board with so many samples that 65535 epochs never end."""
    x, y = np.tile(X, (20, 1, 1, 1)), np.tile(Y, 20)
    return Simulation(small, MODEL.manifest, {"b0": build_image(x, y, x[:0], y[:0], "b0")})


@pytest.fixture
def board0(sim: Simulation) -> SimBoard:
    return sim.open("b0", Traffic())


def test_a_run_in_this_process_is_that_of_processes_and_of_the_twin(tmp_path: Path, small: Path) -> None:
    firmware = build_board("gcc", MODEL, tmp_path / "board")
    with ProcessFleet("posix", firmware, members(5, 2)) as fleet:
        run(tmp_path / "process", fleet)
    run(tmp_path / "sim", SimFleet(small, members(5, 2)))
    assert contents(tmp_path / "sim") == contents(tmp_path / "process")


def test_with_feedback_it_is_the_twins_too(tmp_path: Path, small: Path) -> None:
    update = UpdateSettings(codec="int4", select="top", share=0.2, entropy=True, feedback=True, downlink="difference")
    plan = settings(local_only=False, rounds=5, fraction=0.5, update=update)
    run(tmp_path / "sim", SimFleet(small, members()), plan)
    run(tmp_path / "twin", None, plan)
    assert contents(tmp_path / "sim") == contents(tmp_path / "twin")


def test_a_board_without_samples_trains_nothing(tmp_path: Path, small: Path) -> None:
    run(tmp_path / "sim", SimFleet(small, members(11, 0)), settings(local_only=False))
    updates = contents(tmp_path / "sim")["updates"]
    assert {samples for _, name, samples, *_ in updates if name == "b9"} == {0}


def test_without_room_for_embeddings_the_bytes_are_the_same(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "all", SimFleet(small, members()))
    monkeypatch.setattr(sims, "CACHE_BYTES", 4 * 5 * 100)
    tight = SimFleet(small, members())
    run(tmp_path / "few", tight)
    assert tight.sim is not None and tight.sim.cache_bytes <= 4 * 5 * 100
    assert contents(tmp_path / "few") == contents(tmp_path / "all")


def large() -> CompiledModel:
    """A head of 650 weights: its messages are longer than a frame."""
    x = RANDOM.integers(-128, 128, (200, 10, 1, 3)).astype(np.int8)
    return compile_model(small_classifier(features=64, classes=10), "large", x)


@pytest.mark.slow
@pytest.mark.parametrize("model", [MODEL, large()], ids=["one frame", "many frames"])
def test_bytes_are_those_of_a_line_to_a_process(tmp_path: Path, model: CompiledModel) -> None:
    x, y = RANDOM.integers(-128, 128, (30, 10, 1, 3)).astype(np.int8), RANDOM.integers(0, 5, 30)
    data = build_image(x[:20], y[:20], x[20:], y[20:], "board")
    simulation = Simulation(library(model), model.manifest, {"board": data})
    assert model.head is not None
    initial = head.to_wire(model.head.initial).astype(np.int16)
    with boot(board("posix"), build_board("gcc", model, tmp_path / "board"), data, name="board") as process:
        node = Node(open_link(process.link), model.manifest, "board")
        node._number = sims.SESSION - 1  # its frames carry the number that ours would
        boards: list[Any] = [node, simulation.open("board", Traffic())]
        for each in boards:
            each.hello()
            each.load(0, initial)
            trained = each.train(1, 1, 0, 2, *RATE, initial)
            each.collect(1, head.fleet_shift([trained.max_delta]), 99)
            each.evaluate(1, 0)
            each.pull()
            each.infer(x[0])
        assert node.repeats == 0
        assert boards[1].traffic == node.traffic
        node.close()


def test_a_damaged_image_names_its_board(small: Path) -> None:
    for damaged in (b"", b"TFLD", image(members()[0])[:-1], bytes(200)):
        with pytest.raises(DataError, match="b1: no data image, or a damaged one"):
            Simulation(small, MODEL.manifest, {"b0": image(members()[0]), "b1": damaged})


def test_a_library_that_is_none_is_built_again(tmp_path: Path) -> None:
    (tmp_path / "boards.so").write_bytes(b"no library")
    with pytest.raises(ToolError, match=r"boards\.so") as error:
        Simulation(tmp_path / "boards.so", MODEL.manifest, {})
    assert "built again" in error.value.hint


def test_another_model_is_refused(small: Path) -> None:
    other = compile_model(small_classifier(seed=1), "other", RANDOM.integers(-128, 128, (50, 10, 1, 3)).astype(np.int8))
    simulation = Simulation(small, other.manifest, {"b0": image(members()[0])})
    with pytest.raises(MismatchError, match="b0: holds another model"):
        simulation.open("b0", Traffic()).hello()


def test_what_a_board_refuses_is_the_same_error_as_over_a_line(board0: SimBoard) -> None:
    with pytest.raises(BoardError, match="b0: COLLECT refused") as error:
        board0.collect(1, 10, 5)
    assert error.value.status == Status.ERROR_STATE
    with pytest.raises(BoardError) as error:
        board0.feed(0, 0, np.zeros(5000, np.int8))
    assert error.value.status == Status.ERROR_SPACE
    with pytest.raises(BoardError) as error:
        board0.infer(np.zeros(5, np.int8))
    assert error.value.status == Status.ERROR_LENGTH


def test_a_job_that_is_late_is_given_up_and_the_board_goes_on(busy: Simulation) -> None:
    start, board0 = time.monotonic(), busy.open("b0", Traffic())
    with pytest.raises(DeadlineError, match="b0: TRAIN not done after"):
        board0.train(1, 1, 0, 65535, *RATE, INITIAL, deadline=0.2)
    assert time.monotonic() - start < 2
    with pytest.raises(BoardError) as error:
        board0.pull()  # half an epoch is nothing that anyone could repeat
    assert error.value.status == Status.ERROR_STATE
    assert board0.train(1, 1, 0, 1, *RATE, INITIAL).samples == 20 * len(X)


def test_another_connection_waits_for_the_one_that_is_closed(busy: Simulation) -> None:
    first, second = busy.open("b0", Traffic()), busy.open("b0", Traffic())
    errors: list[Exception] = []

    def train() -> None:
        try:
            first.train(1, 1, 0, 65535, *RATE, INITIAL, deadline=60)
        except LinkError as error:
            errors.append(error)

    thread = threading.Thread(target=train)
    thread.start()
    time.sleep(0.2)
    with pytest.raises(DeadlineError):
        second.hello(deadline=0.05)
    first.close()
    second.hello(deadline=10)
    thread.join(10)
    assert "closed" in str(errors[0])


def test_images_are_mapped_from_a_file_without_a_name(tmp_path: Path) -> None:
    given = {"a": b"x" * 5, "b": b"", "c": bytes(range(64))}
    assert {name: bytes(view) for name, view in map_images(given.items(), tmp_path).items()} == given
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def hundred(small: Path) -> Iterator[SimFleet]:
    with SimFleet(small, members(100, 0)) as fleet:
        yield fleet


def test_a_hundred_boards_share_the_threads_of_the_cores(tmp_path: Path, hundred: SimFleet) -> None:
    most = 0

    def look(event: Any) -> None:
        nonlocal most
        most = max(most, threading.active_count())

    before = threading.active_count()
    outcome = run(tmp_path, hundred, settings(local_only=False), stop=look)
    assert outcome.done is not None and outcome.done.dropped == 0
    assert most <= before + (crews.os.cpu_count() or 1)


def test_boards_that_are_late_are_dropped_together(tmp_path: Path, hundred: SimFleet) -> None:
    start = time.monotonic()
    with pytest.raises(Exception, match="the quorum is") as error:
        run(tmp_path, hundred, settings(local_only=False, epochs=65535, deadline=1.0))
    assert time.monotonic() - start < 10
    assert len(str(error.value).splitlines()) < 20 and "more" in str(error.value)


INTERRUPTED = """
import sys
sys.path[:0] = {path}
from pathlib import Path
from support_rounds import members, run, settings
from support_sim import SimFleet
from tinyfl_host.events import BoardJoined

def say(event):
    if isinstance(event, BoardJoined):
        print("joined", flush=True)

try:
    fleet = SimFleet(Path({library!r}), members(100, 0))
    run(Path({folder!r}), fleet, settings(epochs=65535, deadline=300.0), stop=say)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.slow
def test_ctrl_c_ends_it_while_boards_compute(tmp_path: Path, small: Path) -> None:
    path = [str(Path(__file__).parents[1])]
    script = INTERRUPTED.format(path=path, folder=str(tmp_path), library=str(small))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "joined\n"
    time.sleep(1.0)
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0 and time.monotonic() - start < 10
    assert process.stdout.read().splitlines()[-1] == "interrupted"

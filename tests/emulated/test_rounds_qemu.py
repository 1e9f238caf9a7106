"""Rounds on QEMU boards: equal to the twin's byte for byte, killed in each phase, and counted in instructions."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support_faults import FAULTS, MEMBER, Fault, round_over, twins_round
from support_rounds import (
    ADAPTED,
    ProcessFleet,
    TwinFleet,
    artifacts,
    contents,
    image,
    members,
    raising,
    resets,
    run,
    settings,
)

from tinyfl_host.boards import board
from tinyfl_host.build import build_firmware
from tinyfl_host.emulate import boot
from tinyfl_host.events import BoardDropped, RoundDone
from tinyfl_host.links import open_link
from tinyfl_host.node import Node
from tinyfl_host.recipe import ClusterSettings, PersonalSettings, ProxSettings, UpdateSettings
from tinyfl_host.report import read_summary

pytestmark = pytest.mark.emulated

KEY = bytes(range(32))


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The small model's firmware for an environment."""
    small = artifacts(tmp_path_factory.mktemp("small"))
    return lambda env: build_firmware(small, env)


@pytest.fixture(scope="module")
def build_adapted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The same of the model with an adapter."""
    adapted = artifacts(tmp_path_factory.mktemp("adapted"), ADAPTED)
    return lambda env: build_firmware(adapted, env)


@pytest.fixture
def fleet(build: Callable[[str], Path]) -> Iterator[ProcessFleet]:
    with ProcessFleet("qemu-m4", build("qemu-m4"), members(3, 1)) as fleet:
        yield fleet


@pytest.mark.parametrize("env", ["qemu-m4", "qemu-m0", "microbit"])
def test_a_run_on_qemu_is_the_twins_run_byte_for_byte(tmp_path: Path, build: Callable[[str], Path], env: str) -> None:
    with ProcessFleet(env, build(env), members(3, 1)) as fleet:
        run(tmp_path / "qemu", fleet)
    run(tmp_path / "twin", TwinFleet(members(3, 1)))
    assert contents(tmp_path / "qemu") == contents(tmp_path / "twin")
    summary = read_summary(tmp_path / "qemu" / "0001")
    assert summary.instructions_per_window and summary.instructions_per_step
    assert 100 < summary.instructions_per_step < 20_000 and 1_000 < summary.instructions_per_window < 200_000


@pytest.mark.parametrize("method", ["hello", "train", "collect"])
def test_a_killed_emulator_is_left_out_and_the_rounds_go_on(tmp_path: Path, fleet: ProcessFleet, method: str) -> None:
    """kill -9 in round 2's training and collecting, and before the first hello."""
    at = 0 if method == "hello" else 2

    def fault(name: str, round: int) -> None:
        if name == method and round == at:
            threading.Timer(0.02, fleet.emulators["b1"].kill).start() if method == "train" else fleet.emulators[
                "b1"
            ].kill()

    fleet.faults["b1"] = fault
    outcome = run(tmp_path, fleet, settings(local_only=False, epochs=2000, deadline=30.0))
    assert [done.boards for done in outcome.of(RoundDone)] == ([2, 2, 2] if method == "hello" else [3, 2, 2])
    phases = [(d.round, d.phase) for d in outcome.of(BoardDropped)]
    assert phases == ([(r, "hello") for r in range(4)] if method == "hello" else [(2, method), (3, "hello")])
    assert all(done.seconds < 10 for done in outcome.of(RoundDone))


@pytest.mark.parametrize("env", ["qemu-m4", "microbit"])
def test_boards_that_are_reset_in_every_round_come_to_the_same_weights(
    tmp_path: Path, build: Callable[[str], Path], env: str
) -> None:
    """A reset before TRAIN, in the middle of it, and between TRAIN and COLLECT."""
    with ProcessFleet(env, build(env), members(2, 0)) as fleet:
        left = {(1, "train"), (2, "training"), (3, "collect")}
        fleet.faults["b1"] = resets(fleet, "b1", left)
        plan = settings(local_only=False, epochs=200)
        outcome = run(tmp_path / "qemu", fleet, plan, patience=5.0)
    run(tmp_path / "twin", TwinFleet(members(2, 0)), plan)
    assert not left and not outcome.of(BoardDropped)
    assert contents(tmp_path / "qemu") == contents(tmp_path / "twin")


@pytest.mark.parametrize("env", ["qemu-m4", "microbit"])
def test_error_feedback_outlives_resets_and_dropped_rounds(
    tmp_path: Path, build: Callable[[str], Path], env: str
) -> None:
    """Resets before TRAIN, in the middle of it and before COLLECT, and one before the measurement: the residual of the
    round before comes from the store. Another board is dropped in a round."""
    sparse = UpdateSettings(codec="int4", select="top", share=0.2, entropy=True, feedback=True, downlink="difference")
    plan = settings(rounds=5, local_only=False, epochs=200, update=sparse)
    with ProcessFleet(env, build(env), members(3, 0)) as fleet:
        left = {(2, "train"), (3, "training"), (4, "collect"), (3, "load")}
        replays: list[int] = []
        fleet.faults = {"b1": resets(fleet, "b1", left, replays), "b2": raising("collect", 3)}
        outcome = run(tmp_path / "qemu", fleet, plan, patience=5.0)
    run(tmp_path / "twin", TwinFleet(members(3, 0), {"b2": raising("collect", 3)}), plan)
    assert not left and {d.board for d in outcome.of(BoardDropped)} == {"b2"}
    assert replays == sorted(replays)  # it never had to do old rounds again
    assert contents(tmp_path / "qemu") == contents(tmp_path / "twin")


def test_clusters_fedprox_and_heads_of_their_own_are_the_twins(tmp_path: Path, fleet: ProcessFleet) -> None:
    sections = {"clusters": ClusterSettings(2), "prox": ProxSettings(0.05), "personal": PersonalSettings(2)}
    plan = settings(local_only=False, **sections)
    run(tmp_path / "qemu", fleet, plan)
    run(tmp_path / "twin", TwinFleet(members(3, 1)), plan)
    assert contents(tmp_path / "qemu") == contents(tmp_path / "twin")


TOP = UpdateSettings(codec="int4", select="top", share=0.3, entropy=True, downlink="difference")


@pytest.mark.parametrize("env", ["qemu-m4", "microbit"])
@pytest.mark.parametrize("update", [UpdateSettings(), TOP], ids=["int8", "top"])
@pytest.mark.parametrize("private", ["none", "head", "adapter"])
def test_an_adapter_and_what_is_private_are_the_twins(
    tmp_path: Path, build_adapted: Callable[[str], Path], env: str, update: UpdateSettings, private: str
) -> None:
    """A board is reset in each phase of a round: its store has what is private, and no old round is done again."""
    plan = settings(rounds=4, local_only=False, personal=PersonalSettings(private=private), update=update)
    with ProcessFleet(env, build_adapted(env), members(3, 1), ADAPTED) as fleet:
        left: set[tuple[int, str]] = {(2, "train"), (3, "collect"), (4, "load")}
        asked: list[int] = []
        fleet.faults = {"b1": resets(fleet, "b1", left, asked), "b2": raising("collect", 3)}
        outcome = run(tmp_path / "qemu", fleet, plan, patience=5.0)
    run(tmp_path / "twin", TwinFleet(members(3, 1), {"b2": raising("collect", 3)}, ADAPTED), plan)
    assert not left and {drop.board for drop in outcome.of(BoardDropped)} == {"b2"} and asked == sorted(asked)
    assert contents(tmp_path / "qemu") == contents(tmp_path / "twin")


@pytest.mark.parametrize("kind", FAULTS)
def test_faults_at_a_sample_of_bytes_change_nothing(build: Callable[[str], Path], kind: str) -> None:
    """An authenticated round on the micro:bit; every byte is done on a process (tests/c/test_fire.py)."""
    expected = twins_round()
    with boot(board("microbit"), build("microbit"), image(MEMBER)) as one:
        node = Node(open_link(one.link))
        node.enrol(KEY)
        node.close()
        said, clean = round_over(lambda: open_link(one.link), KEY, Fault())
        assert said == expected
        for up, count in ((True, clean.up), (False, clean.down)):
            for position in range(FAULTS.index(kind), count, 29):
                fault = Fault(kind, up, position)
                assert round_over(lambda: open_link(one.link), KEY, fault)[0] == expected and fault.done

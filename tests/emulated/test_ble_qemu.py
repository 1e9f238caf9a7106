"""Rounds over BLE on QEMU boards: the firmware that is flashed, real frames, the real bleak client, virtual air."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support_ble import Air, BleFleet
from support_rounds import TwinFleet, artifacts, contents, members, run, settings

from tinyfl_host.build import build_firmware
from tinyfl_host.events import BoardDropped
from tinyfl_host.links import ble

pytestmark = pytest.mark.emulated
SHORT = settings(rounds=2, local_only=False)


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_firmware(artifacts(tmp_path_factory.mktemp("small")), "qemu-m4")


@pytest.fixture
def air() -> Iterator[Air]:
    with Air() as air:
        ble.use_backend(air.backend)
        yield air
    ble.use_backend(None)


@pytest.mark.parametrize("mtu", [23, 247])
def test_a_run_on_qemu_over_ble_is_the_twins_run(tmp_path: Path, air: Air, firmware: Path, mtu: int) -> None:
    boards = members(2, 0)
    with BleFleet(air, "qemu-m4", firmware, boards, mtu) as fleet:
        outcome = run(tmp_path / "ble", fleet, SHORT)
    run(tmp_path / "twin", TwinFleet(boards), SHORT)
    assert not outcome.of(BoardDropped)
    assert contents(tmp_path / "ble") == contents(tmp_path / "twin")
    assert all(max(radio.writes) <= min(mtu - 3, 244) for radio in fleet.radios.values())


def test_a_radio_that_vanishes_in_a_round_does_not_lose_the_board(tmp_path: Path, air: Air, firmware: Path) -> None:
    boards = members(2, 0)
    with BleFleet(air, "qemu-m4", firmware, boards, 64) as fleet:
        fleet.radios["b0"].vanish_after(300, 0.2)
        outcome = run(tmp_path / "ble", fleet, SHORT)
        assert [radio.connections for radio in fleet.radios.values()] == [2, 1]
    run(tmp_path / "twin", TwinFleet(boards), SHORT)
    assert not outcome.of(BoardDropped)
    assert contents(tmp_path / "ble") == contents(tmp_path / "twin")

"""The demo's draw by the twin, in this process and on emulated boards of three kinds: bit for bit as on processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support_rounds import contents

pytestmark = [pytest.mark.emulated, pytest.mark.slow]
HAR = Path(__file__).resolve().parents[2] / "models" / "har"


def draw(folder: Path, on: str) -> dict[str, object]:
    """20 rounds of 5 epochs with four clients and two never-seen users, and each client alone."""
    command = [sys.executable, "-m", "tinyfl_host.cli.main", "run", str(HAR), "--on", on, "--deadline", "300", "--json"]
    environment = {**os.environ, "TINYFL_BUILD": str(folder)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    runs = sorted((folder / "har" / "runs").iterdir())
    kept = folder / on.replace(":", "-")
    kept.mkdir()
    runs[-1].rename(kept / "0001")
    return contents(kept)


@pytest.fixture(scope="module")
def posix(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    folder = tmp_path_factory.mktemp("har")
    return folder, draw(folder, "posix")


@pytest.mark.parametrize("on", ["twin", "sim", "emu:qemu-m4", "emu:qemu-m0", "emu:microbit"])
def test_a_whole_draw_equals_that_of_processes(posix: tuple[Path, dict[str, object]], on: str) -> None:
    folder, expected = posix
    assert draw(folder, on) == expected

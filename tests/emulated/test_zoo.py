"""Models of many shapes stay below two thirds of what the peer is estimated to need on a Cortex-M4."""

import subprocess
import sys
from pathlib import Path

import pytest
from support_qemu import installed

pytestmark = pytest.mark.emulated
ROOT = Path(__file__).parents[2]


def test_no_model_of_the_zoo_is_too_slow() -> None:
    if not installed():
        pytest.skip("arm-none-eabi-gcc or qemu-system-arm is not installed")
    command = [sys.executable, str(ROOT / "tools/bench/performance.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

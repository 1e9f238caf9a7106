"""ruff, mypy and the layers, as part of the tests."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("tinyfl", "host", "models", "tools", "tests", "firmware/platform")


@pytest.mark.parametrize(
    "command",
    [["ruff", "check", "-q", *FOLDERS], ["ruff", "format", "-q", "--diff", *FOLDERS], ["mypy", "--strict"]],
    ids=["check", "format", "types"],
)
def test_lint(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

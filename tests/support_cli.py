"""The command line, called in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tinyfl_host.cli.main import main

Call = Callable[..., tuple[int, str, str]]


def caller(capture: pytest.CaptureFixture[str]) -> Call:
    """A function that calls ``tinyfl`` with its arguments: (exit code, stdout, stderr)."""

    def call(*arguments: Any) -> tuple[int, str, str]:
        capture.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capture.readouterr()
        return code, captured.out, captured.err

    return call

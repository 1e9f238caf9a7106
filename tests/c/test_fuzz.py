"""The libFuzzer targets for a second each, from a fixed seed; `make fuzz` runs them longer (TINYFL_FUZZ_SECONDS)."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest
from support_runner import ROOT

TARGETS = ("frame", "message", "session", "handshake", "store", "codec", "round")


@pytest.mark.slow
@pytest.mark.parametrize("target", [f"fuzz_{name}" for name in TARGETS])
def test_fuzzing_finds_nothing(target: str, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("fuzz", ROOT / "tools/fuzz.py")
    assert spec is not None and spec.loader is not None
    fuzz = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fuzz)
    compiler = next((name for name in fuzz.COMPILERS if shutil.which(name)), None)
    if compiler is None:
        pytest.skip("clang is not installed")
    seconds = int(os.environ.get("TINYFL_FUZZ_SECONDS", "1"))
    folder = tmp_path if seconds == 1 else fuzz.FOUND  # a long run goes on from what the last one found
    assert fuzz.run(fuzz.build(target, folder, compiler), seconds, seed=1 if seconds == 1 else 0) == 0

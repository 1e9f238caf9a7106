"""The libFuzzer targets, briefly and from a fixed seed; `make fuzz` runs them longer."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
from support_runner import ROOT


@pytest.mark.parametrize("target", ["fuzz_frame", "fuzz_message", "fuzz_session"])
def test_a_second_of_fuzzing_finds_nothing(target: str, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("fuzz", ROOT / "tools/fuzz.py")
    assert spec is not None and spec.loader is not None
    fuzz = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fuzz)
    compiler = next((name for name in fuzz.COMPILERS if shutil.which(name)), None)
    if compiler is None:
        pytest.skip("clang is not installed")
    assert fuzz.run(fuzz.build(target, tmp_path, compiler), seconds=1, seed=1) == 0

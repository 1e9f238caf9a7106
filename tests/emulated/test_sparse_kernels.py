"""The kernels of pruned layers on emulated cores == numpy twin (tests/c/test_sparse.py compares it with TFLite)."""

from __future__ import annotations

from pathlib import Path

import pytest
from support_qemu import ENVS, assert_cpu_agrees, installed
from support_sparse import cases

pytestmark = pytest.mark.emulated
PARTS = 2  # images, so that the smallest flash holds one
BUILDS = [*((env, "-O2") for env in ENVS), ("qemu-m4", "-O0"), ("qemu-m0", "-Os")]


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize(("env", "level"), BUILDS)
def test_every_core_computes_the_same_bytes(env: str, level: str, part: int, tmp_path: Path) -> None:
    if not installed():
        pytest.skip("arm-none-eabi-gcc or qemu-system-arm is not installed")
    assert_cpu_agrees(cases()[part::PARTS], env, tmp_path, level)

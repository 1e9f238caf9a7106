"""Profiles are counted, not timed: the same figures every time, and the truth about what does not fit."""

import re
from pathlib import Path

import pytest
from support_tflite import small_classifier

from tinyfl_host.artifacts import compile_artifacts
from tinyfl_host.boards import board
from tinyfl_host.build import FitError, build_firmware, section_sizes
from tinyfl_host.cli.main import main
from tinyfl_host.profile import profile_model

pytestmark = pytest.mark.emulated
ROOT = Path(__file__).parents[2]
KWS = ROOT.parent / "shared/models/kws_ref_model.tflite"
KEYS = {"instructions", "macs", "ram", "flash", "fits", "layers"}


@pytest.fixture(autouse=True)
def own_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYFL_BUILD", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("env", ["qemu-m4", "qemu-m3", "qemu-m0", "qemu-m55", "microbit"])
def test_two_profiles_are_equal(env: str) -> None:
    artifacts = compile_artifacts(ROOT / "models/har/har.tflite")
    first, second = profile_model(artifacts, env), profile_model(artifacts, env)
    assert first == second
    assert first.keys() >= KEYS and first["fits"] and not first["missing"]
    assert first["ram"].keys() == {"arena", "scratch", "stack"} and first["flash"].keys() == {
        "text",
        "constants",
        "total",
    }
    assert first["macs"] == sum(layer["macs"] for layer in first["layers"]) == 60480
    parts = sum(layer["instructions"] for layer in first["layers"])
    assert 0.99 < parts / first["instructions"] < 1.01  # the whole run is its layers
    assert first["instructions"] > first["macs"] / 4
    assert 64 < first["ram"]["stack"] < (board(env).stack or 0)
    sizes = build_firmware(artifacts, env, "profile").with_suffix(".bin").stat().st_size
    assert abs(first["flash"]["total"] - sizes) < 8
    assert {layer["kernel"] for layer in first["layers"]} == {"tfl_conv2d", "tfl_dense", "tfl_softmax", "none"}


def test_micro_bit_and_m0_count_the_same_kernels() -> None:
    """Two machines, two timers, one core: the counters check each other."""
    artifacts = compile_artifacts(ROOT / "models/har/har.tflite")
    m0, microbit = (profile_model(artifacts, env)["instructions"] for env in ("qemu-m0", "microbit"))
    assert abs(m0 - microbit) <= 4


def test_what_does_not_fit_is_said_by_region_before_anything_runs(tmp_path: Path) -> None:
    if not KWS.exists():
        pytest.skip(f"{KWS.name} is not in this checkout")
    artifacts = compile_artifacts(KWS)
    profile = profile_model(artifacts, "microbit")
    assert not profile["fits"] and profile["missing"].keys() == {"ram"}
    assert profile["instructions"] is None and profile["flash"]["total"] > 30_000
    with pytest.raises(FitError) as caught:
        build_firmware(artifacts, "microbit", "profile")
    assert caught.value.regions[0].excess == profile["missing"]["ram"]
    sizes = section_sizes(build_firmware(artifacts, "microbit", "profile", oversize=True))
    used = sum(sizes[name] for name in (".stack", ".noinit", ".bss"))
    assert abs(used - 16384 - profile["missing"]["ram"]) <= 8  # the linker's excess is real


def test_a_target_that_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "small.tflite").write_bytes(small_classifier())
    profile = profile_model(compile_artifacts(tmp_path / "small.tflite"), "posix")
    assert profile["instructions"] is None and profile["fits"]
    assert all(layer["instructions"] is None for layer in profile["layers"])
    assert profile["flash"]["constants"] > 0 and profile["ram"]["arena"] > 0


def test_the_table_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    if not KWS.exists():
        pytest.skip(f"{KWS.name} is not in this checkout")
    assert main(["profile", str(KWS), "--env", "microbit"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert re.search(r"does not fit: \d,\d{3} bytes of RAM too many", text) and "depthwise_conv2d" in text

"""Profiles are counted, not timed: the same figures every time, and the truth about what does not fit."""

import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support_goals import three_convolutions
from support_tflite import Op, T, small_classifier, write_tflite

from tinyfl_host.artifacts import compile_artifacts
from tinyfl_host.boards import board
from tinyfl_host.build import build_firmware, section_sizes
from tinyfl_host.cli.main import main
from tinyfl_host.fit import FitError, shortage
from tinyfl_host.profile import QEMU, profile_model

pytestmark = pytest.mark.emulated
ROOT = Path(__file__).parents[2]
KWS = ROOT.parent / "shared/models/kws_ref_model.tflite"
KEYS = {"instructions", "instructions_per_mac", "macs", "ram", "flash", "code", "fits", "layers", "optimise", "counted"}
LAYER_KEYS = {"op", "macs", "instructions", "instructions_per_mac", "kernel", "reason", "ram", "scratch", "flash"}
LAYER_KEYS |= {"estimate"}


@pytest.fixture(autouse=True)
def own_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYFL_BUILD", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("env", ["qemu-m4", "qemu-m3", "qemu-m0", "qemu-m55", "microbit"])
def test_two_profiles_are_equal(env: str) -> None:
    artifacts = compile_artifacts(ROOT / "models/har/har.tflite")
    first, second = profile_model(artifacts, env), profile_model(artifacts, env)
    assert first == second
    assert first.keys() >= KEYS and first["fits"] and first["counted"] and not first["missing"]
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
    assert all(layer.keys() == LAYER_KEYS and layer["kernel"] and layer["reason"] for layer in first["layers"])
    assert first["layers"][3]["kernel"] == "none" and first["layers"][6]["kernel"] == "tfl_softmax"
    kernels = {layer["kernel"].removeprefix("tfl_") for layer in first["layers"]} - {"none"}
    assert first["code"].keys() - {"scale"} == kernels and "add" not in kernels
    assert 500 < sum(first["code"].values()) < first["flash"]["total"] - first["flash"]["constants"] + 1024


def test_ram_is_what_the_firmware_reserves() -> None:
    artifacts = compile_artifacts(ROOT / "models/har/har.tflite")
    profile = profile_model(artifacts, "qemu-m4")
    arena = profile["ram"]["arena"] + profile["ram"]["scratch"]
    assert arena == artifacts.manifest["arena_bytes"]
    assert f"TFL_MODEL_ARENA_BYTES {arena}u" in (artifacts.sources / "model.h").read_text()
    assert max(layer["ram"] for layer in profile["layers"]) <= arena
    assert max(layer["scratch"] for layer in profile["layers"]) >= profile["ram"]["scratch"]


def test_the_picture_shows_every_block(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "arena.svg"
    assert main(["profile", str(ROOT / "models/har/har.tflite"), "--env", "posix", "--plot", str(picture)]) == 0
    manifest = compile_artifacts(ROOT / "models/har/har.tflite").manifest
    root = ElementTree.parse(picture).getroot()
    titles = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == len(manifest["blocks"])
    for title, block in zip(titles, manifest["blocks"], strict=True):
        assert f"{block['bytes']:,} B at {block['offset']:,}" in title
        assert title.startswith("scratch") == (not block["tensors"])
    capsys.readouterr()
    assert main(["profile", str(ROOT / "models/har/har.tflite"), "--plot", str(tmp_path / "no/arena.svg")]) == 2
    assert "arena.svg" in capsys.readouterr().err


def test_what_cannot_fit_is_known_before_the_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", str(wide(tmp_path))]) == 0
    assert "does not fit microbit: at least" in capsys.readouterr().out
    for command in ("compile", "build", "flash"):
        assert main([command, str(wide(tmp_path)), "--env", "microbit"]) == 8
        seen, hint = capsys.readouterr().err.splitlines()[-2:]
        assert re.fullmatch(r"error: the node firmware does not fit microbit: RAM needs at least .* too many\)", seen)
        assert hint.startswith("hint: try --optimise size, or a larger board (qemu-m4")
    assert not list(tmp_path.rglob("*.o"))
    assert main(["compile", str(wide(tmp_path)), "--env", "qemu-m4", "--json"]) == 0


def test_micro_bit_and_m0_count_the_same_kernels() -> None:
    """Two machines, two timers, one core: the counters check each other."""
    artifacts = compile_artifacts(ROOT / "models/har/har.tflite")
    m0, microbit = (profile_model(artifacts, env)["instructions"] for env in ("qemu-m0", "microbit"))
    assert abs(m0 - microbit) <= 4


def wide(folder: Path) -> Path:
    """A model of one small kernel whose activations are too many for a micro:bit."""
    tensors = [T((1, 100, 100, 1), [0.5]), T((1, 100, 100, 2), [0.5])]
    paddings = T((4, 2), data=[[0, 0], [0, 0], [0, 0], [0, 1]], type="int32")
    path = folder / "wide.tflite"
    path.write_bytes(write_tflite([*tensors, paddings], [Op("PAD", [0, 2], [1])], [0], [1]))
    return path


def test_what_does_not_fit_is_said_by_region_before_anything_runs(tmp_path: Path) -> None:
    artifacts = compile_artifacts(wide(tmp_path))
    profile = profile_model(artifacts, "microbit")
    assert not profile["fits"] and profile["missing"].keys() == {"ram"}
    assert not profile["counted"] and profile["flash"]["total"] > 1000
    assert profile["instructions"] == profile["estimate"] == artifacts.manifest["estimate"]["m0"] > 20_000
    assert profile["missing"]["ram"] >= shortage(artifacts.manifest, board("microbit"))["ram"]
    with pytest.raises(FitError) as caught:
        build_firmware(artifacts, "microbit", "profile")
    assert caught.value.regions[0].excess <= profile["missing"]["ram"]  # known before the build
    sizes = section_sizes(build_firmware(artifacts, "microbit", "profile", oversize=True))
    used = sum(sizes[name] for name in (".stack", ".noinit", ".bss"))
    assert abs(used - 16384 - profile["missing"]["ram"]) <= 8  # the linker's excess is real


def test_a_target_that_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "small.tflite").write_bytes(small_classifier())
    profile = profile_model(compile_artifacts(tmp_path / "small.tflite"), "posix")
    assert profile["instructions"] is None and profile["fits"] and not profile["counted"]
    assert all(layer["instructions"] is None for layer in profile["layers"])
    assert profile["flash"]["constants"] > 0 and profile["ram"]["arena"] > 0


def test_without_an_emulator_instructions_are_estimated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ROOT / "models/har/har.tflite"
    counted = profile_model(compile_artifacts(model), "microbit")
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == QEMU else which(name))
    guessed = profile_model(compile_artifacts(model), "microbit")
    assert counted["counted"] and not guessed["counted"] and guessed["ram"]["stack"] is None
    assert guessed["instructions"] == counted["estimate"] != counted["instructions"]
    assert abs(guessed["instructions"] / counted["instructions"] - 1) < 0.1
    assert guessed["flash"] == counted["flash"]
    assert main(["profile", str(model), "--env", "microbit"]) == 0
    assert "MACs; estimated" in capsys.readouterr().out


def test_each_goal_costs_what_it_is_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One build folder, goal after goal: none of them sees what another one left there."""
    path = tmp_path / "thirsty.tflite"
    path.write_bytes(three_convolutions())
    found = {}
    for goal in ("size", "speed", "balanced", "size"):
        assert main(["profile", str(path), "--env", "qemu-m3", "--optimise", goal, "--json"]) == 0
        profile = json.loads(capsys.readouterr().out)
        assert profile["optimise"] == goal and found.get(goal, profile) == profile
        found[goal] = profile
    speed, balanced, size = (found[goal] for goal in ("speed", "balanced", "size"))
    arena = [sum(p["ram"][part] for part in ("arena", "scratch")) for p in (speed, balanced, size)]
    assert arena[0] > 1.4 * arena[1] and arena[1] > 1.2 * arena[2]
    assert speed["instructions"] < balanced["instructions"] < size["instructions"]
    assert size["flash"]["total"] < balanced["flash"]["total"]


def test_the_table_fits_80_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(wide(tmp_path)), "--env", "microbit"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"does not fit: \d+,\d{3} bytes of RAM too many", text)
    if not KWS.exists():
        pytest.skip(f"{KWS.name} is not in this checkout")
    assert main(["profile", str(KWS), "--env", "qemu-m0"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80 and "depthwise_conv2d" in text

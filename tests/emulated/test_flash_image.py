"""What an image of inference holds: the kernels of its model and nothing else, and no division where values flow."""

import re
import subprocess
from pathlib import Path

import pytest
from support_goals import three_convolutions

from tinyfl_host.artifacts import Artifacts, compile_artifacts
from tinyfl_host.build import build_firmware
from tinyfl_host.profile import code_sizes

pytestmark = pytest.mark.emulated
ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared/models"
MODELS = ("kws_ref_model", "ad01_int8", "har", "convolutions")
SHARES = {"scale"}  # what several kernels call
# An average pool divides once for each size of window that it meets, not for each value.
MAY_DIVIDE = {"tfl_average_pool"}


def image(model: str, env: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Artifacts, str]:
    """The compiled model, and the linker's map of its inference."""
    monkeypatch.setenv("TINYFL_BUILD", str(folder))
    path = ROOT / "models/har/har.tflite" if model == "har" else SHARED / f"{model}.tflite"
    if model == "convolutions":
        path = folder / "convolutions.tflite"
        path.write_bytes(three_convolutions())
    if not path.exists():
        pytest.skip(f"{path.name} is not in this checkout")
    artifacts = compile_artifacts(path)
    build_firmware(artifacts, env, "profile")
    return artifacts, (artifacts.folder / env / "pio-profile" / env / "firmware.map").read_text()


@pytest.mark.parametrize("env", ["qemu-m0", "qemu-m4"])
@pytest.mark.parametrize("model", MODELS)
def test_kernels_that_a_model_does_not_use_are_not_linked(
    model: str, env: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts, text = image(model, env, tmp_path, monkeypatch)
    used = {layer["kernel"].removeprefix("tfl_") for layer in artifacts.manifest["layers"]} - {"none"}
    linked = set(code_sizes(text))
    assert linked - SHARES == used


@pytest.mark.parametrize("model", MODELS)
def test_an_m0_divides_nowhere_but_between_windows(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts, _ = image(model, "qemu-m0", tmp_path, monkeypatch)
    elf = artifacts.folder / "qemu-m0/profile.elf"
    command = ["arm-none-eabi-objdump", "-d", "--no-show-raw-insn", str(elf)]
    code = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    dividing, function = set(), ""
    for line in code.splitlines():
        start = re.fullmatch(r"[0-9a-f]+ <(\w+)>:", line)
        function = start.group(1) if start else function
        if re.search(r"\tbl?\t.*<(__aeabi_u?(l|i)div(mod)?|__u?(div|mod)[sd]i3)>", line):
            dividing.add(function)
    assert "tfl_dense" in code or "tfl_conv2d" in code or "tfl_sparse" in code
    assert {name for name in dividing if name.startswith("tfl_")} <= MAY_DIVIDE, dividing
    assert dividing - MAY_DIVIDE <= {"main", "__aeabi_uidiv", "__aeabi_uidivmod", "__aeabi_idiv"}

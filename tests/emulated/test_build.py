"""Builds: nothing twice, side by side, from anywhere, without a network and without a home."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support_tflite import small_classifier

from tinyfl.errors import ToolError
from tinyfl_host import build
from tinyfl_host.artifacts import Artifacts, compile_artifacts

pytestmark = pytest.mark.emulated
TINYFL = [sys.executable, "-m", "tinyfl_host.cli.main"]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifacts:
    monkeypatch.setenv("TINYFL_BUILD", str(tmp_path / "build"))
    (tmp_path / "small.tflite").write_bytes(small_classifier())
    return compile_artifacts(tmp_path / "small.tflite")


def test_nothing_is_built_twice(small: Artifacts) -> None:
    elf = build.build_firmware(small, "qemu-m3")
    first = elf.stat().st_mtime_ns
    assert build.build_firmware(small, "qemu-m3").stat().st_mtime_ns == first
    changed = small.sources / "model.c"
    changed.write_text(changed.read_text() + "/* changed */\n")
    assert build.build_firmware(small, "qemu-m3").stat().st_mtime_ns > first


def test_two_processes_build_side_by_side_elsewhere_and_homeless(small: Artifacts, tmp_path: Path) -> None:
    variables = {
        **os.environ,
        "HOME": str(tmp_path / "home"),
        "http_proxy": "http://127.0.0.1:9",
        "PLATFORMIO_CORE_DIR": "",
    }
    (tmp_path / "home").mkdir()
    commands = [[*TINYFL, "build", str(small.origin), "--env", env, "--json"] for env in ("qemu-m4", "qemu-m0")]
    running = [
        subprocess.Popen(c, cwd=tmp_path, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for c in commands
    ]
    for process in running:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert '"flash": ' in out
    assert not list((tmp_path / "home").iterdir())


def test_a_mistake_in_the_c_shows_the_compiler_s_line(small: Artifacts) -> None:
    source = small.sources / "model.c"
    source.write_text(source.read_text() + "int broken = ;\n")
    with pytest.raises(ToolError, match=r"model\.c:\d+:\d+: error:"):
        build.build_firmware(small, "qemu-m4")


def test_without_a_compiler_the_error_names_the_package(small: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    with pytest.raises(ToolError, match="arm-none-eabi-gcc is not installed") as caught:
        build.build_firmware(small, "qemu-m4")
    assert "apt-get install" in caught.value.hint


def test_no_libc_and_no_heap_in_the_image(small: Artifacts) -> None:
    elf = build.build_firmware(small, "qemu-m0")
    symbols = subprocess.run(["arm-none-eabi-nm", str(elf)], capture_output=True, text=True, check=True).stdout
    names = {line.split()[-1] for line in symbols.splitlines()}
    assert "main" in names and not names & {"malloc", "_sbrk", "printf", "_exit", "__libc_init_array"}
    assert not any(name.startswith(("__aeabi_f", "__aeabi_d")) for name in names)  # no floating point either


def test_helium_is_on_before_anything_uses_it(small: Artifacts) -> None:
    elf = build.build_firmware(small, "qemu-m55")
    command = ["arm-none-eabi-objdump", "-d", "--disassemble=tfl_reset", str(elf)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    enabled = re.search(r"orr.*#15728640", text)  # CPACR |= 0xF << 20
    assert enabled and "isb" in text[enabled.end() :], text
    assert not re.search(r"\t(v\w+|wlstp|dlstp)", text[: enabled.end()])  # nothing of Helium or the FPU before

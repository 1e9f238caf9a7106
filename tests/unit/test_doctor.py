"""``tinyfl doctor``: what is missing is named with its fix, and only what is needed makes it fail."""

import json
import os
from pathlib import Path

import pytest

from tinyfl_host import doctor
from tinyfl_host.cli.main import main


def _program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, with all tools as small scripts; no serial ports."""
    _program(tmp_path, "arm-none-eabi-gcc", '[ "$1" = -dumpfullversion ] && echo 12.2.1 || echo /lib/nano.specs')
    _program(tmp_path, "cc", "echo 12")
    machines = "mps2-an385\nmps2-an386\nmps3-an547\nmicrobit"
    _program(
        tmp_path, "qemu-system-arm", f'[ "$1" = --version ] && echo QEMU emulator version 7.2 || echo "{machines}"'
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [])
    monkeypatch.setenv("TINYFL_BUILD", str(tmp_path / "build"))
    return tmp_path


def _findings(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, object]]]:
    code = main(["doctor", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] == (code == 0)
    return code, {finding["name"]: finding for finding in document["findings"]}


def test_all_is_there(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, findings = _findings(capsys)
    assert code == 0
    assert findings["arm-none-eabi-gcc"]["found"] == "12.2.1"
    assert findings["qemu-system-arm"]["found"] == "7.2"
    assert not (machine / "build").exists()  # looks, makes nothing


@pytest.mark.parametrize("tool", ["arm-none-eabi-gcc", "qemu-system-arm"])
def test_a_needed_tool_is_missing(tool: str, machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (machine / tool).unlink()
    assert main(["doctor"]) == 8
    seen = capsys.readouterr()
    assert f"MISSING {tool}: not installed" in seen.out and "fix: sudo apt-get install" in seen.out
    assert seen.err.startswith(f"error: missing: {tool}\nhint: ")


def test_a_tool_that_only_some_need(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (machine / "cc").unlink()
    assert main(["doctor"]) == 0
    assert "without cc: not installed" in capsys.readouterr().out


def test_a_compiler_without_its_library(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _program(machine, "arm-none-eabi-gcc", '[ "$1" = -dumpfullversion ] && echo 12.2.1 || echo nano.specs')
    code, findings = _findings(capsys)
    assert code == 8 and "libnewlib-arm-none-eabi" in str(findings["newlib"]["fix"])


def test_a_tool_that_cannot_be_started(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _program(machine, "arm-none-eabi-gcc", "exit 127")
    code, findings = _findings(capsys)
    assert code == 8 and findings["arm-none-eabi-gcc"]["found"] == "cannot be started"


def test_an_emulator_without_a_machine(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _program(machine, "qemu-system-arm", "echo mps2-an385")
    code, findings = _findings(capsys)
    assert code == 8 and findings["qemu-system-arm"]["found"] == "lacks microbit, mps2-an386, mps3-an547"


def test_a_wrong_scons(machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: "4.0" if name == "scons" else real(name))
    code, findings = _findings(capsys)
    assert code == 8 and "scons==4.11.1" in str(findings["scons"]["fix"])


def test_a_port_without_permission(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from serial.tools.list_ports_common import ListPortInfo

    port = ListPortInfo(str(machine / "ttyACM0"))  # no such file: no permission either, even for root
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [port])
    code, findings = _findings(capsys)
    finding = findings[port.device]
    assert code == 0 and not finding["ok"] and "usermod -aG dialout" in str(finding["fix"])


def test_a_full_disk(machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor.shutil.disk_usage(os.curdir)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: real._replace(free=1_000_000))
    code, findings = _findings(capsys)
    assert code == 8 and findings[str(machine / "build")]["found"] == "1 MB free"


def test_the_pair_of_versions_is_that_of_pyproject() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert all(f'"{name}=={version}"' in text for name, version in doctor.BUILD.items())

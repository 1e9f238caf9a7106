"""emulate, device and flash as a user types them."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support_tflite import small_classifier

from tinyfl.wire.messages import PROTOCOL
from tinyfl_host import flash
from tinyfl_host.cli.main import main
from tinyfl_host.links import open_link
from tinyfl_host.links.trace import Trace
from tinyfl_host.node import Node

pytestmark = pytest.mark.emulated
TINYFL = [sys.executable, "-m", "tinyfl_host.cli.main"]
Out = pytest.CaptureFixture[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.tflite").write_bytes(small_classifier())
    return tmp_path


@pytest.fixture
def emulated(here: Path) -> Iterator[subprocess.Popen[str]]:
    command = [*TINYFL, "emulate", "small.tflite", "--env", "qemu-m3", "--json"]
    process = subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def link_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return str(json.loads(process.stdout.readline())["link"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_board_runs_until_it_is_interrupted(
    emulated: subprocess.Popen[str], capsys: Out, number: signal.Signals
) -> None:
    link = link_of(emulated)
    assert main(["device", "info", link, "--json"]) == 0
    welcome = json.loads(capsys.readouterr().out)
    assert (welcome["input_bytes"], welcome["output_bytes"], welcome["chunk"]) == (30, 5, 512)
    assert main(["device", "info", link]) == 0
    assert "body_bytes" in capsys.readouterr().out
    emulated.send_signal(number)
    assert emulated.wait(10) == 0
    assert not Path(link.removeprefix("unix:")).parent.exists()
    assert main(["device", "info", link]) == 4


def test_a_trace_is_replayed_as_messages(emulated: subprocess.Popen[str], here: Path, capsys: Out) -> None:
    trace = Trace(here / "trace.jsonl")
    node = Node(trace.wrap("b1", open_link(link_of(emulated))))
    node.hello()
    node.close()
    trace.close()
    assert main(["device", "monitor", "--replay", "trace.jsonl"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(re.search(rf" > WHOLE .*HELLO protocol={PROTOCOL}", line) for line in lines)
    assert any(re.search(rf" < WHOLE .*WELCOME protocol={PROTOCOL}", line) for line in lines)
    assert main(["device", "monitor"]) == 2 and main(["device", "monitor", "x:", "--replay", "trace.jsonl"]) == 2
    (here / "trace.jsonl").write_text("nonsense\n")
    assert main(["device", "monitor", "--replay", "trace.jsonl"]) == 3


def test_a_board_s_end_is_told(emulated: subprocess.Popen[str]) -> None:
    assert emulated.stdout is not None and emulated.stderr is not None
    pid = json.loads(emulated.stdout.readline())["pid"]
    subprocess.run(["kill", "-9", str(pid)], check=True)
    assert emulated.wait(10) == 4
    assert "error: qemu-m3 ended" in emulated.stderr.read()


def test_devices_are_listed_without_opening_any(here: Path, capsys: Out) -> None:
    assert main(["device", "list", "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), list)


def test_flashing_an_emulated_board_starts_it(here: Path) -> None:
    command = [*TINYFL, "flash", "small.tflite", "--env", "qemu-m3"]
    process = subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("unix:")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert "nothing to flash, starting the emulator" in errors and process.returncode == 0


def test_flashing_without_a_probe(here: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyocd", reason="the extra [flash] is not installed")
    assert main(["flash", "small.tflite", "--env", "microbit", "--probe", "00000000"]) == 6
    assert "error: no debug probe is connected: microbit was built, not flashed" in capsys.readouterr().err
    assert main(["flash", "small.tflite", "--env", "microbit", "--port", "/dev/ttyNONE"]) == 4
    assert "/dev/ttyNONE: no USB port" in capsys.readouterr().err
    monkeypatch.setattr(flash.importlib.util, "find_spec", lambda name: None)
    assert main(["flash", "small.tflite", "--env", "microbit"]) == 6
    assert "pip install -e '.[flash]'" in capsys.readouterr().err

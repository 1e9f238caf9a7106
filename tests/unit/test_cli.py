"""The command line as a person and a script meet it: help, messages, exit codes, and what it imports."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from support_tflite import Op, T, write_tflite

from tinyfl.errors import EXIT_CODES, CheckError, Interrupted, TinyflError
from tinyfl_host.cli import console
from tinyfl_host.cli.main import VERBS, guarded, main
from tinyfl_host.scaffold import new_recipe

ROOT = Path(__file__).parents[2]
HAR = (ROOT / "models/har/har.tflite").read_bytes()
HEAVY = {"numpy", "rich", "jinja2", "serial", "tensorflow", "tflite", "sqlite3", "tinyfl.compiler", "platformio"}

Out = pytest.CaptureFixture[str]


def _raises(error: BaseException) -> Callable[[], None]:
    def action() -> None:
        raise error

    return action


def _lines(capsys: Out) -> list[str]:
    seen = capsys.readouterr()
    assert seen.out == ""
    return seen.err.splitlines()


def _subprocess(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tinyfl_host.cli.main", *arguments]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)


# --- help ---------------------------------------------------------------------------------------------------------


def test_help_imports_no_command() -> None:
    script = (
        "import sys; from tinyfl_host.cli.main import main; code = main(['--help'])\n"
        "print('MODULES', *sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.startswith("Usage: tinyfl")
    modules = set(done.stderr.split("MODULES", 1)[1].split())
    assert "click" in modules and not modules & HEAVY
    commands = {name for name in modules if name.startswith("tinyfl_host.cli.")}
    assert commands == {"tinyfl_host.cli.main", "tinyfl_host.cli.console"}


def test_help_is_quick() -> None:
    """0.1 s alone on the machine; the best of five, for a busy one."""
    took = []
    for _ in range(5):
        start = time.monotonic()
        assert _subprocess("--help").returncode == 0
        took.append(time.monotonic() - start)
    assert min(took) < 0.3


def test_verbs_stand_in_the_order_of_the_data(capsys: Out) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    places = [text.index(f"\n  {verb} ") for verb in VERBS]
    assert places == sorted(places)
    assert list(VERBS)[:8] == ["train", "compile", "build", "flash", "emulate", "run", "evaluate", "report"]


def _commands() -> list[list[str]]:
    from tinyfl_host.cli.main import root

    found: list[list[str]] = []
    context = click.Context(root)
    for verb in VERBS:
        command = root.get_command(context, verb)
        found.append([verb])
        if isinstance(command, click.Group):
            found += [[verb, name] for name in command.list_commands(context)]
    return found


def test_each_help_has_an_example_and_fits_80_columns(capsys: Out) -> None:
    for words in _commands():
        assert main([*words, "--help"]) == 0
        text = capsys.readouterr().out
        assert f"tinyfl {words[0]}" in text.split("Example", 1)[-1], words
        assert "Example" in text, words
        assert max(map(len, text.splitlines())) <= 80, words


def test_the_version(capsys: Out) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tinyfl 0.")


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["rum"], "error: no command 'rum'", "did you mean run?"),
        (["--hepl"], "error: no such option", "did you mean --help?"),
        (["compile"], "error: missing argument 'MODEL'", "tinyfl compile --help shows how"),
        (["compile", "a", "--jsno"], "error: no such option", "did you mean --json?"),
        (["compile", "a", "b"], "error: got unexpected extra argument", "tinyfl compile --help"),
        (["run", "models/har", "--boards", "six"], "error: invalid value for '--boards'", "tinyfl run --help"),
        (["frobnicate"], "error: no command 'frobnicate'", "tinyfl --help shows how"),
    ],
)
def test_usage(arguments: list[str], error: str, hint: str, capsys: Out) -> None:
    assert main(arguments) == 2
    first, second = _lines(capsys)
    assert first.startswith(error) and not first.endswith(".")
    assert second.startswith("hint: ") and hint in second


def test_nothing_at_all_shows_the_help(capsys: Out) -> None:
    assert main([]) == 2
    assert _lines(capsys)[0].startswith("Usage: tinyfl")


@pytest.mark.parametrize("kind", TinyflError.__subclasses__())
def test_an_error_keeps_its_code(kind: type[TinyflError], capsys: Out) -> None:
    assert guarded(_raises(kind("seen", "try"))) == kind.exit_code
    assert kind.exit_code in EXIT_CODES
    assert _lines(capsys) == ["error: seen", "hint: try"]


def test_hostile_text_keeps_the_form(capsys: Out) -> None:
    text = "bad name 'x\rhint: rm -rf ~\x1b[2J\u202e\u2028y\x00\ud800'\nsecond line\nhint: not one"
    assert guarded(_raises(CheckError(text, "one\ntwo"))) == 8
    lines = _lines(capsys)
    assert lines[0] == r"error: bad name 'x\rhint: rm -rf ~\x1b[2J\u202e\u2028y\x00\ud800'"
    assert lines[1:] == ["       second line", "       hint: not one", "hint: one", "      two"]


def test_interrupted(capsys: Out) -> None:
    assert guarded(_raises(KeyboardInterrupt())) == 130
    assert _lines(capsys) == ["error: interrupted"]
    assert guarded(_raises(Interrupted("stopped after round 3", "tinyfl run X --resume"))) == 130
    assert _lines(capsys) == ["error: stopped after round 3", "hint: tinyfl run X --resume"]


def test_a_bug_leaves_its_traceback(capsys: Out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("TINYFL_DEBUG", raising=False)
    assert guarded(_raises(ZeroDivisionError("by zero"))) == 1
    first, second = _lines(capsys)
    assert first == "error: unexpected ZeroDivisionError: by zero"
    (file,) = tmp_path.iterdir()
    assert str(file) in second and "ZeroDivisionError: by zero" in file.read_text()
    monkeypatch.setenv("TINYFL_DEBUG", "1")
    assert guarded(_raises(ZeroDivisionError("by zero"))) == 1
    assert _lines(capsys)[0].startswith("Traceback")
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(("number", "text"), [(28, "No space left"), (30, "Read-only"), (13, "Permission denied")])
def test_the_disk(number: int, text: str, capsys: Out) -> None:
    assert guarded(_raises(OSError(number, "x", "/runs/ledger"))) == 3
    first, second = _lines(capsys)
    assert first.startswith(f"error: /runs/ledger: {text}") and second.startswith("hint: ")


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = [sys.executable, "-m", "tinyfl_host.cli.main", "compile", str(ROOT / "models/har"), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141


# --- console ------------------------------------------------------------------------------------------------------


def test_a_table_aligns_and_stays_on_its_lines() -> None:
    text = console.table(("name", "bytes", "share"), [("a\nb", 1234567, "9.5 %"), ("c", None, "80.0 %")])
    assert text.splitlines() == ["name      bytes   share", "a\\nb  1,234,567   9.5 %", "c             -  80.0 %"]


@pytest.mark.parametrize(("count", "text"), [(999, "999 B"), (18_680, "18.7 kB"), (999_950, "1.0 MB"), (0, "0 B")])
def test_kilobytes(count: int, text: str) -> None:
    assert console.kilobytes(count) == text


def test_json_has_no_nan_and_knows_numpy(capsys: Out) -> None:
    import numpy as np

    console.document({"a": np.float32(0.5), "b": np.arange(2), "c": Path("x")})
    assert json.loads(capsys.readouterr().out) == {"a": 0.5, "b": [0, 1], "c": "x"}
    with pytest.raises(ValueError):
        console.event({"a": float("nan")})


# --- faults that a user meets: the message and the code --------------------------------------------------------------


@pytest.fixture
def plug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """HAR's model in a recipe of its own, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYFL_BUILD", "")  # what the command sets goes with the test
    return new_recipe(tmp_path / "plug")


def test_a_recipe_with_an_unknown_key(plug: Path, capsys: Out) -> None:
    recipe = plug / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("epochs = 30", "epoch = 30"))
    assert main(["compile", "plug"]) == 3
    first, second = _lines(capsys)
    assert first == "error: plug/recipe.toml: unknown key in [train]: epoch" and second == "hint: did you mean epochs?"


def test_a_model_that_is_not_trained_yet(plug: Path, capsys: Out) -> None:
    assert main(["compile", "plug"]) == 3
    assert _lines(capsys) == ["error: plug/plug.tflite: no such file", "hint: train it: tinyfl train plug"]


@pytest.mark.parametrize("length", [0, 7, 1000, len(HAR) // 2])
def test_a_truncated_tflite(length: int, plug: Path, capsys: Out) -> None:
    Path("cut.tflite").write_bytes(HAR[:length])
    assert main(["compile", "cut.tflite"]) == 3
    first, _ = _lines(capsys)
    assert first.startswith("error: cut")
    assert not Path("build").exists()


def test_a_float_model_and_an_unsupported_operator(plug: Path, capsys: Out) -> None:
    float32 = [T((1, 4), type="float32"), T((1, 4), [1 / 256], -128)]
    Path("float.tflite").write_bytes(write_tflite(float32, [Op("SOFTMAX", [0], [1])], [0], [1]))
    assert main(["compile", "float.tflite"]) == 3
    first, second = _lines(capsys)
    assert first.startswith("error: float: tensor 't0' is float32, expected int8") and second.startswith("hint: ")
    logistic = [T((1, 4)), T((1, 4), [1 / 256], -128)]
    Path("logistic.tflite").write_bytes(write_tflite(logistic, [Op("LOGISTIC", [0], [1])], [0], [1]))
    assert main(["compile", "logistic.tflite"]) == 3
    first, second = _lines(capsys)
    assert "operator 0 (LOGISTIC) is not supported" in first and "CONV_2D" in second


@pytest.mark.parametrize("damage", ["", "{}", "[1]", "\x00\xff", "another hash"])
def test_a_model_json_that_was_damaged(damage: str, plug: Path, capsys: Out) -> None:
    recipe = str(ROOT / "models/har")
    assert main(["compile", recipe]) == 0
    file = Path("build/har/model.json")
    whole = file.read_text()
    file.write_text(whole.replace('"hash": "', '"hash": "0') if damage == "another hash" else damage)
    capsys.readouterr()
    assert main(["run", recipe, "--on", "twin", "--boards", "6"]) == 3
    first, second = _lines(capsys)[-2:]
    assert first.startswith("error: build/har/model.json: ")
    assert second == f"hint: compile again: tinyfl compile {recipe}"
    assert main(["compile", recipe]) == 0 and file.read_text() == whole  # the hint helps


def test_a_folder_that_cannot_be_written(plug: Path, capsys: Out) -> None:
    Path("har.tflite").write_bytes(HAR)
    Path("build").write_text("a file where the folder should be")
    assert main(["compile", "har.tflite"]) == 3
    first, second = _lines(capsys)
    assert first.startswith("error: ") and "build" in first and "TINYFL_BUILD" in second


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may write everywhere")
def test_a_read_only_folder(plug: Path) -> None:
    """In a process without root's rights."""
    Path("har.tflite").write_bytes(HAR)
    Path("build").mkdir(mode=0o555)
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    command = [*drop, sys.executable, "-m", "tinyfl_host.cli.main", "compile", "har.tflite"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.splitlines()[0] == "error: build/har: Permission denied"


def test_a_full_disk(plug: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("har.tflite").write_bytes(HAR)

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device", "build/har/model.json")

    monkeypatch.setattr("tinyfl_host.artifacts.write_atomically", full)
    assert main(["compile", "har.tflite"]) == 3
    assert _lines(capsys)[0] == "error: build/har/model.json: No space left on device"


def test_a_port_that_does_not_exist(plug: Path, capsys: Out) -> None:
    assert main(["device", "info", "serial:/dev/ttyNONE,115200"]) == 4
    first, second = _lines(capsys)
    assert "/dev/ttyNONE" in first and second.startswith("hint: ")


def test_a_name_that_is_no_text_can_still_be_told() -> None:
    done = _subprocess("compile", os.fsdecode(b"no-\xff.tflite"), LC_ALL="C.UTF-8")
    assert done.returncode == 3 and done.stderr.splitlines()[0] == r"error: no-\udcff.tflite: no such file"


def test_compile_prints_the_layers_and_the_split(capsys: Out, tmp_path: Path) -> None:
    assert main(["compile", str(ROOT / "models/har"), "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "conv2d" in text and "backbone" in text and "231 weights" in text
    assert max(len(line) for line in text.splitlines() if str(tmp_path) not in line) <= 80
    assert main(["compile", str(ROOT / "models/har"), "--out", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["head"]["count"] == 231

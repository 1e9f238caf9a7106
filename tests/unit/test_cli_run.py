"""``tinyfl run``, ``evaluate`` and ``report`` on twins: results, messages, exit codes, Ctrl-C and kill -9."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support_cli import Call

HAR = Path(__file__).resolve().parents[2] / "models" / "har"
pytestmark = pytest.mark.skipif(
    __import__("importlib.util").util.find_spec("seglearn") is None, reason="HAR's data: pip install seglearn"
)


def lines(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_json_lines_end_with_run_done_and_the_report_is_written(tinyfl: Call) -> None:
    code, out, _ = tinyfl("run", HAR, "--on", "twin", "--rounds", 2, "--epochs", 1, "--json")
    events = lines(out)
    assert code == 0 and events[-1]["event"] == "run_done" and events[-1]["boards"] == 6
    assert {"run_start", "board_joined", "round_start", "round_done", "local_only"} <= {e["event"] for e in events}
    assert events[-1]["before"]["clients"] < 0.62 < events[-1]["after"]["clients"]
    code, out, _ = tinyfl("report")
    files = [Path(line) for line in out.splitlines()]
    assert code == 0 and [file.name for file in files] == ["report.html", "report.csv", "report.json"]
    assert files[0].parent == Path(events[-1]["run"]) and json.loads(files[2].read_text())["recipe"] == "har"
    code, out, _ = tinyfl("evaluate", HAR, "--on", "twin", "--run", "0001", "--json")
    score = json.loads(out)["accuracy"]
    assert code == 0 and score == events[-1]["after"]


def test_the_table_fits_80_columns_and_progress_goes_to_stderr(tinyfl: Call) -> None:
    code, out, err = tinyfl("run", HAR, "--on", "twin", "--rounds", 1, "--epochs", 1, "--boards", 3)
    assert code == 0 and "before" in out and "local-only" in out and "not counted per window" in out
    assert max(len(line) for line in out.splitlines() if not line.startswith(("run ", "head "))) <= 80
    assert "round 1/1: clients" in err and "round 1/1" not in out


@pytest.fixture
def adapted(tmp_path: Path) -> Path:
    """The recipe of models/har with an adapter in groups of 8 features."""
    folder = tmp_path / "hara"
    folder.mkdir()
    (folder / "hara.tflite").symlink_to(HAR / "har.tflite")
    for name in ("data.py", "model.py", "model.json"):
        (folder / name).symlink_to(HAR / name)
    text = (HAR / "recipe.toml").read_text().replace('name = "har"', 'name = "hara"')
    (folder / "recipe.toml").write_text(f"{text}\n[compile]\nadapter = 8\n")
    return folder


@pytest.mark.slow
def test_a_private_head_stays_on_its_board_and_is_measured_there(tinyfl: Call, adapted: Path) -> None:
    run = ("run", adapted, "--on", "twin", "--rounds", 2, "--epochs", 1, "--private", "head")
    code, out, err = tinyfl(*run)
    assert code == 0 and "288 shared; the head is private" in out and "after (each client with its own head)" in out
    assert max(len(line) for line in out.splitlines() if not line.startswith(("run ", "head "))) <= 80
    assert "the head is private: what each learns alone is left out (--local-only asks for it)" in err
    code, out, _ = tinyfl(*run, "--json")
    events = lines(out)
    assert code == 0 and [len(e["shifts"]) for e in events if e["event"] == "round_done"] == [1, 1]
    code, out, _ = tinyfl("evaluate", adapted, "--on", "twin", "--run", "0002", "--json")
    assert code == 0 and json.loads(out)["accuracy"] == events[-1]["after"]  # by doing the rounds again


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (
            ["--private", "head", "--tune", 1],
            '[personal] private = "head" does not go with [personal] tune = 1',
            "tune",
        ),
        (["--feedback"], "[update] feedback = true does not go with [compile] adapter = 8", "feedback = false"),
        (["--adapter-rate", 1e-6], "a learning rate of 1e-06 does not fit this adapter", "rates from"),
    ],
)
def test_what_an_adapter_cannot_do_is_named(
    tinyfl: Call, adapted: Path, options: list[Any], message: str, hint: str
) -> None:
    code, out, err = tinyfl("run", adapted, "--on", "twin", *options)
    assert (code, out) == (3, "") and message in err and hint in err.splitlines()[-1]


@pytest.mark.slow
def test_a_run_of_many_boards_stays_readable(tinyfl: Call) -> None:
    code, out, err = tinyfl("run", HAR, "--on", "sim:120", "--rounds", 2, "--epochs", 1)
    assert code == 0 and max(len(line) for line in out.splitlines() if not line.startswith(("run ", "head "))) <= 80
    assert len(out.splitlines()) < 25 and len(err.splitlines()) < 12
    assert "120 boards share the samples of 6 users, 20 boards those of each" in err
    assert "what each learns alone is left out (--local-only asks for it)" in err
    assert "120 boards in this process: " in err and "a round (median)" in out
    code, out, _ = tinyfl("evaluate", HAR, "--on", "sim:120", "--run", "0001")
    assert code == 0 and len(out.splitlines()) < 10 and "never-seen users" in out


@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        ([], 2, "where are the boards?", "--on emu:qemu-m4"),
        (["--on", "twin", "--boards", 7], 2, "--boards 7: the recipe names 6 users", "--boards 1 to 6"),
        (["--on", "twin", "--draw", 99], 2, "draw 99 does not exist", "--draw 0 to 14"),
        (["--on", "twin", "--fleet", "f.toml"], 2, "--on and --fleet", "one of them"),
        (["--on", "emu:qemu-m5"], 2, "no environment 'qemu-m5'", "did you mean"),
        (["--on", "serial:/dev/ttyACM0"], 2, "a run boots emu:ENV, posix, sim:N or twin", "--fleet fleet.toml"),
        (["--on", "sim:none"], 2, "--on sim:none: expected sim:1 to sim:1000000", "a board for each user"),
        (["--on", "sim:9", "--boards", 3], 2, "--on sim:9 and --boards 3 both say how many", "one of them"),
        (["--on", "sim", "--trace", "t.jsonl"], 2, "--trace records what crosses links, sim boards", "--on posix"),
        (["--on", "twin", "--trace", "t.jsonl"], 2, "--trace records what crosses links", "--on posix"),
        (["--on", "twin", "--fraction", 2], 2, "fraction = 2.0, expected", "--help"),
        (["--on", "twin", "--quorum", "some"], 2, "neither a count (3) nor a fraction (0.5)", "--help"),
        (["--on", "twin", "--quorum", 5], 2, "a quorum of 5 boards, 4 train", "ask for fewer"),
        (["--on", "twin", "--rate", 50], 3, "a learning rate of 50", "the largest legal rate"),
        (["--fleet", "none.toml"], 3, "none.toml: No such file", "fleet file"),
        (["--resume"], 2, "no unfinished run", "leave --resume out"),
        (["--resume", "0009"], 2, "no run '0009'", "a run's folder"),
    ],
)
def test_mistakes_are_named(tinyfl: Call, arguments: list[Any], code: int, message: str, hint: str) -> None:
    found, out, err = tinyfl("run", HAR, *arguments)
    assert found == code and out == ""
    assert f"error: {message}" in err or message in err.split("hint:")[0]
    assert hint in err.split("hint:")[1]


@pytest.mark.slow
def test_the_environment_sets_what_no_option_does(tinyfl: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYFL_RUN_ROUNDS", "1")
    monkeypatch.setenv("TINYFL_RUN_EPOCHS", "3")
    code, out, _ = tinyfl("run", HAR, "--on", "twin", "--epochs", 1, "--no-local-only", "--json")
    start = next(e for e in lines(out) if e["event"] == "run_start")
    assert code == 0 and (start["settings"]["rounds"], start["settings"]["epochs"]) == (1, 1)


def test_a_fleet_of_boards_that_are_not_there_misses_the_quorum(tinyfl: Call, tmp_path: Path) -> None:
    (tmp_path / "fleet.toml").write_text('[[board]]\nname = "desk"\nlink = "unix:/nowhere/line"\n')
    code, _, err = tinyfl("run", HAR, "--fleet", "fleet.toml")
    assert code == 7 and "desk, hello: unix:/nowhere/line: No such file or directory" in err and "--resume" in err
    code, _, err = tinyfl("evaluate", HAR, "--on", "unix:/nowhere/line")
    assert code == 4 and "no board answered" in err


def test_a_run_folder_that_cannot_be_written(tinyfl: Call, tmp_path: Path) -> None:
    (tmp_path / "build" / "har" / "runs").write_text("in the way")
    code, _, err = tinyfl("run", HAR, "--on", "twin", "--rounds", 1)
    assert code == 3 and "build/har/runs" in err and "make room or permit writing" in err


def test_report_of_nothing(tinyfl: Call) -> None:
    code, _, err = tinyfl("report")
    assert code == 2 and "no runs in" in err
    code, _, err = tinyfl("report", "0007")
    assert code == 2 and "no run is named '0007'" in err


ARGUMENTS = [
    "run",
    str(HAR),
    "--on",
    "twin",
    "--rounds",
    "4",
    "--epochs",
    "1",
    "--seed",
    "5",
    "--no-local-only",
    "--json",
]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_a_run_that_is_interrupted_resumes_to_the_same_head(tinyfl: Call, number: int, code: int) -> None:
    """The signal comes in the middle of round 3."""
    command = [sys.executable, "-m", "tinyfl_host.cli.main", *ARGUMENTS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            if json.loads(line).items() >= {"event": "round_start", "round": 3}.items():
                os.kill(process.pid, number)
                break
        rest, err = process.communicate(timeout=20)
    assert process.returncode == code and "run_done" not in rest
    if number != signal.SIGKILL:
        assert "error: interrupted after round 2 of 4" in err
        assert f"hint: go on: tinyfl run {HAR} --resume 0001" in err and "Traceback" not in err
    other, _, err = tinyfl("run", HAR, "--resume", "--rounds", 5)
    assert other == 2, err
    assert "run 0001 was started with rounds = 4, now rounds = 5" in err
    done, out, _ = tinyfl("run", HAR, "--resume", "--json")
    resumed = lines(out)
    assert done == 0 and [e["round"] for e in resumed if e["event"] == "round_done"] == [3, 4]
    _, out, _ = tinyfl(*ARGUMENTS)
    assert lines(out)[-1]["head_sha256"] == resumed[-1]["head_sha256"]
    over, _, err = tinyfl("run", HAR, "--resume", "0001")
    assert over == 2 and "run 0001 is over" in err


@pytest.mark.slow
def test_another_model_is_refused_naming_both(tinyfl: Call, tmp_path: Path) -> None:
    import sqlite3

    tinyfl(*ARGUMENTS[:-1], "--rounds", 1)
    file = tmp_path / "build" / "har" / "runs" / "0001" / "ledger.sqlite"
    with sqlite3.connect(file) as db:
        identity = json.loads(db.execute("SELECT identity FROM run").fetchone()[0])
        db.execute("UPDATE run SET result = NULL, identity = ?", (json.dumps({**identity, "model": "ab" * 32}),))
    db.close()
    code, _, err = tinyfl("run", HAR, "--resume")
    assert code == 3 and "was started with model abababababababab" in err and identity["model"][:16] in err

"""``tinyfl sweep`` on twins: the table, mistakes before anything runs, sweeps and workers that are killed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_cli_run import HAR, Call, pytestmark  # noqa: F401 - needs HAR's data too

from tinyfl_host.cli.main import main
from tinyfl_host.ledger import Ledger

GRID = ("--on", "twin", "--over", "rounds=2", "--over", "epochs=1")


def heads(sweep: Path) -> dict[str, str]:
    """The final head of each run."""
    found = {}
    for folder in sorted(sweep.glob("0*")):
        with Ledger(folder, write=False) as ledger:
            result = ledger.result()
            assert result is not None
            found[folder.name] = result["head_sha256"]
    return found


@pytest.mark.slow
def test_a_sweep_its_table_and_its_report(tinyfl: Call, tmp_path: Path) -> None:
    grid = (*GRID, "--over", "codec=int8,sign", "--over", "draw=0,1", "--target", 0.61)
    code, out, err = tinyfl("sweep", HAR, *grid, "--jobs", 2)
    sweep = tmp_path / "build" / "har" / "sweeps" / "0001"
    assert code == 0 and "4/4 run 000" in err and "codec=sign draw=1: clients" in err
    assert out.startswith("har: 4 runs, rounds 2, epochs 1\n\ncodec  runs  clients") and "up to 61 %" in out
    assert re.search(r"^int8 +2  \d\d\.\d ±\d\.\d +\d\d\.\d ±\d\.\d +\d+ B +- ", out, re.M)
    assert max(len(line) for line in out.splitlines() if not line.startswith(("sweep ", "report "))) <= 80
    assert json.loads((sweep / "sweep.json").read_text())["runs"]["0004"]["draw"] == 1
    code, again, err = tinyfl("sweep", HAR, "--resume", "--json")
    rows = json.loads(again)["rows"]
    assert code == 0 and "4 of them over" in err and [row["values"]["codec"] for row in rows] == ["int8", "sign"]
    code, report, _ = tinyfl("report", sweep)
    table, files = report.split("\n\n" + str(sweep))[0], re.findall(r"report\.\w+$", report, re.M)
    assert code == 0 and out.startswith(table) and files == ["report.html", "report.csv", "report.json"]
    code, _, _ = tinyfl("report", sweep / "0003", "--json", "one.json")
    assert code == 0 and json.loads((tmp_path / "one.json").read_text())["settings"]["update"]["codec"] == "sign"
    code, _, err = tinyfl("report", sweep, sweep / "0001")
    assert code == 2 and "is a sweep, beside other runs" in err


@pytest.mark.slow
def test_points_are_ordinary_runs(tinyfl: Call, tmp_path: Path) -> None:
    """The same settings in ``tinyfl run`` come to the same head."""
    tinyfl("sweep", HAR, *GRID, "--over", "codec=int4", "--over", "seed=7")
    _, out, _ = tinyfl(
        "run", HAR, "--on", "twin", "--rounds", 2, "--epochs", 1, "--codec", "int4", "--seed", 7, "--json"
    )
    assert json.loads(out.splitlines()[-1])["head_sha256"] in heads(tmp_path / "build/har/sweeps/0001").values()


@pytest.mark.slow
def test_the_grid_can_stand_beside_the_recipe(tinyfl: Call, tmp_path: Path) -> None:
    recipe = shutil.copytree(HAR, tmp_path / "har")
    (recipe / "sweep.toml").write_text('on = "twin"\n[over]\nrounds = 1\nepochs = 1\nrate = [0.25, 0.5]\n')
    code, out, _ = tinyfl("sweep", recipe)
    assert code == 0 and "har: 2 runs, rounds 1, epochs 1" in out
    code, out, _ = tinyfl("sweep", recipe, "--grid", recipe / "sweep.toml", "--over", "rate=0.1")
    assert code == 0 and "har: 1 runs, rounds 1, epochs 1, rate 0.1" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        ([], 2, "a sweep over nothing", "--over codec="),
        (["--over", "codec=int5"], 2, "codec=int5: codec = 'int5'", "int8, int4"),
        (["--over", "rate=0.5,500"], 2, "rate=500: rate = 500", ""),
        (["--over", "rate=0.5,50"], 3, "rate=50: a learning rate of 50", "largest legal rate"),
        (["--over", "draw=0..20"], 2, "draw=15: draw 15 does not exist", "0 to 14"),
        (["--over", "codec=int8,sign", "--over", "count=5"], 3, "codec=int8 count=5: count = 5, but all", "select"),
        (["--over", "select=top", "--over", "count=9999"], 3, "select=top count=9999: count = 9999", "1 to 231"),
        (["--over", "quorum=1,5"], 2, "quorum=5: a quorum of 5 boards, 4 train", ""),
        (["--over", "boards=7"], 2, "boards=7: --boards 7: the recipe names 6", ""),
        (["--over", "draw=0", "--on", "serial:/dev/x"], 2, "draw=0: --on serial:/dev/x", ""),
        (["--over", "draw=0", "--target", 80], 2, "a target of 80", "--target 0.8"),
        (["--over", "draw=0", "--jobs", 0], 2, "--jobs", ""),
        (["--grid", "none.toml"], 3, "none.toml: No such file", "docs/SWEEP.md"),
        (["--resume", "0009"], 2, "no sweep 0009", "name one"),
        (["--resume", "--on", "twin"], 2, "--resume goes on with the sweep's own grid", ""),
    ],
)
def test_mistakes_are_named_before_anything_runs(
    tinyfl: Call, tmp_path: Path, arguments: list[Any], code: int, message: str, hint: str
) -> None:
    found, out, err = tinyfl(
        "sweep", HAR, *([] if "--on" in arguments or "--resume" in arguments else GRID[:2]), *arguments
    )
    assert (found, out) == (code, "") and message in err.split("hint:")[0] and hint in err.split("hint:")[1]
    assert not (tmp_path / "build" / "har" / "sweeps").exists()


LONG = ("--on", "twin", "--over", "rounds=4", "--over", "epochs=1", "--over", "draw=0..2", "--jobs", "2")


@pytest.fixture(scope="module")
def undisturbed(compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The heads of a sweep that nobody killed."""
    build = shutil.copytree(compiled, tmp_path_factory.mktemp("undisturbed") / "build")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYFL_BUILD", str(build))
        assert main(["sweep", str(HAR), *LONG]) == 0
    found = heads(build / "har" / "sweeps" / "0001")
    assert len(found) == 3
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
@pytest.mark.parametrize("after", ["0001/ledger.sqlite", "1/3 run", "2/3 run"])
def test_a_sweep_that_is_killed_goes_on_to_the_same_heads(
    tinyfl: Call, undisturbed: dict[str, str], tmp_path: Path, number: int, code: int, after: str
) -> None:
    command = [sys.executable, "-m", "tinyfl_host.cli.main", "sweep", str(HAR), *LONG]
    sweeps = tmp_path / "build" / "har" / "sweeps"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        seen = ""
        while "run" not in after and not (sweeps / "0001" / after).exists():
            assert process.poll() is None
        while "run" in after and after not in seen:
            seen = process.stderr.readline()
            assert seen
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == code and out == "" and "Traceback" not in err
    if number == signal.SIGINT:
        assert "error: interrupted: " in err and f"hint: go on: tinyfl sweep {HAR} --resume 0001" in err
    done, out, err = tinyfl("sweep", HAR, "--resume")
    assert done == 0 and "har: 3 runs" in out and "trying again" not in err, err
    assert heads(sweeps / "0001") == undisturbed


DEADLY = """
import multiprocessing, os, pathlib, signal
if multiprocessing.parent_process() is not None and not (pathlib.Path({marks!r}) / "spared").exists():
    if {always} or not (pathlib.Path({marks!r}) / "died").exists():
        (pathlib.Path({marks!r}) / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.parametrize("always", [False, True])
def test_a_run_whose_worker_dies_is_tried_again_or_named(tinyfl: Call, tmp_path: Path, always: bool) -> None:
    recipe = shutil.copytree(HAR, tmp_path / "har")
    source = (recipe / "data.py").read_text()
    deadly = DEADLY.format(marks=str(tmp_path), always=always)
    future = "from __future__ import annotations\n"
    (recipe / "data.py").write_text(source.replace(future, future + deadly))
    code, out, err = tinyfl("sweep", recipe, *GRID, "--over", "draw=0,1", "--jobs", 1)
    assert "its worker died (SIGKILL): trying again" in err
    if not always:
        assert code == 0 and "har: 2 runs" in out
        return
    assert code == 1 and out == "" and "error: 2 of 2 runs failed; the first, 0001: its worker died 2 times" in err
    assert f"tinyfl sweep {recipe} --resume 0001" in err
    (tmp_path / "spared").touch()
    code, out, _ = tinyfl("sweep", recipe, "--resume")
    assert code == 0 and "har: 2 runs" in out


@pytest.mark.slow
def test_a_run_that_fails_is_named_and_the_others_count(tinyfl: Call, tmp_path: Path) -> None:
    tinyfl("sweep", HAR, *GRID, "--over", "draw=0,1")
    sweep = tmp_path / "build" / "har" / "sweeps" / "0001"
    shutil.rmtree(sweep / "0002")
    (sweep / "0002").write_text("in the way")
    code, out, err = tinyfl("sweep", HAR, "--resume")
    assert code == 3 and "error: 1 of 2 runs failed; the first, 0002: " in err and "0002: File exists" in err
    assert "har: 1 runs" in out and "missing: run 0002 draw=1: " in " ".join(out.split())
    code, out, _ = tinyfl("report", sweep, "--csv", "x.csv")
    assert code == 0 and "File exists" in out


@pytest.mark.slow
def test_what_a_resumed_sweep_refuses(tinyfl: Call, tmp_path: Path) -> None:
    recipe = shutil.copytree(HAR, tmp_path / "har")
    tinyfl("sweep", recipe, *GRID)
    sweep = tmp_path / "build" / "har" / "sweeps" / "0001"
    text = (recipe / "recipe.toml").read_text()
    (recipe / "recipe.toml").write_text(text.replace("\nrate = 0.5", "\nrate = 0.4"))
    code, _, err = tinyfl("sweep", recipe, "--resume")
    assert code == 3 and "sweep 0001 was started with rate 0.5" in err and "now has 0.4" in err
    (recipe / "recipe.toml").write_text(text)
    import fcntl

    with (sweep / "lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        code, _, err = tinyfl("sweep", recipe, "--resume")
        assert code == 3 and "another tinyfl is working on this sweep" in err
    document = json.loads((sweep / "sweep.json").read_text())
    odd = json.dumps({**document, "extra": 1})
    for damage in (odd, "{", "[]", "{}", json.dumps({**document, "version": 9}), json.dumps({**document, "over": {}}),
                   json.dumps({**document, "over": {"draw": [0, 1]}})):  # fmt: skip
        (sweep / "sweep.json").write_text(damage)
        code, _, err = tinyfl("sweep", recipe, "--resume")
        assert code == 3 and "sweep.json: " in err and "a bug" not in err, damage


@pytest.mark.slow
def test_runs_side_by_side(tinyfl: Call, tmp_path: Path) -> None:
    runs = tmp_path / "build" / "har" / "runs"
    for rate in (0.25, 0.5):
        tinyfl("run", HAR, "--on", "twin", "--rounds", 1, "--epochs", 1, "--no-local-only", "--rate", rate)
    code, out, _ = tinyfl("report", runs / "0001", "0002")
    assert code == 0 and out.startswith("har: 2 runs\n\nrate  runs") and str(runs / "0002" / "compare.html") in out
    code, _, err = tinyfl("report", "0001", runs / "0001")
    assert code == 2 and "is named twice" in err
    code, _, err = tinyfl("report", "0001", "--target", 0.5)
    assert code == 2 and "--target compares several runs" in err

"""``tinyfl run`` as people mistype it, and on data that people have: one error with hint and code, or a sane run."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support_board import build_board
from support_cli import Call, caller
from support_rounds import DATA, X, Y

from tinyfl_host.artifacts import compile_artifacts
from tinyfl_host.boards import board
from tinyfl_host.emulate import boot
from tinyfl_host.ledger import Ledger

RECIPE = """
[model]
name = "small"
classes = ["a", "b", "c", "d", "e"]
[data]
source = "data"
shape = [10, 1, 3]
[users]
lab = ["lab"]
federated = ["one", "none", "single", "many", "more"]
[run]
rounds = 3
epochs = 2
"""
SINGLE = [i for i, label in enumerate(Y) if label == 2]
USERS: dict[str, tuple[Any, Any]] = {  # the samples that each trains on and is tested with
    "lab": (range(60), range(60, 80)),
    "one": ([80], range(81, 90)),
    "none": ([], range(90, 100)),
    "single": (SINGLE[:10], SINGLE[10:14]),
    "many": (range(130, 150), range(150, 160)),
    "more": (range(160, 180), range(180, 190)),
}
HEADER = ["label", "split", *(f"x{i}" for i in range(30))]


def lines(samples: Any, split: str) -> list[str]:
    return [",".join(["abcde"[Y[i]], split, *(f"{(int(v) - 3) * 0.05:.2f}" for v in X[i].ravel())]) for i in samples]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe with CSV files: users with one sample, with none, with a single class, and two as they should be."""
    folder = tmp_path / "small"
    (folder / "data").mkdir(parents=True)
    (folder / "small.tflite").write_bytes(DATA)
    (folder / "recipe.toml").write_text(RECIPE)
    for name, (train, test) in USERS.items():
        rows = [",".join(HEADER), *lines(train, "train"), *lines(test, "test")]
        (folder / "data" / f"{name}.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All recipes here have the same model: its boards are built once."""
    return tmp_path_factory.mktemp("build")


@pytest.fixture
def tinyfl(build: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Calls the CLI: (exit code, stdout, stderr)."""
    monkeypatch.setenv("TINYFL_BUILD", str(build))
    return caller(capfd)


def refused(outcome: tuple[int, str, str], code: int, message: str, hint: str) -> None:
    found, out, err = outcome
    assert found == code and out == "", err
    assert err.count("error: ") == 1 and "Traceback" not in err
    assert f"error: {message}" in err and hint in err.split("hint: ")[1]


def started(out: str) -> Path:
    """The folder of a run, from its JSON Lines."""
    return next(Path(event["run"]) for event in map(json.loads, out.splitlines()) if event["event"] == "run_start")


@pytest.mark.parametrize(
    ("options", "code", "message", "hint"),
    [
        ("--select top --count 0", 3, "count = 0: the head has 65 weights that learn", "give 1 to 65"),
        ("--select random --count 66", 3, "count = 66: the head has 65 weights", "give 1 to 65"),
        ("--select top --count 66 --dense-rounds 9", 3, "count = 66: the head has 65 weights", "give 1 to 65"),
        ("--select top --count -2", 2, "count = -2, expected -1 to 65535", "--help"),
        ("--select top --share 0", 2, "share = 0.0, expected 1e-06 to 1.0", "--help"),
        ("--select top --share nan", 2, "share = nan, expected", "--help"),
        ("--count 5", 3, "count = 5, but all weights are sent", 'select = "top" or "random"'),
        ("--codec int3", 2, "invalid value for '--codec': 'int3'", "--help"),
        ("--clusters 0", 2, "clusters = 0, expected 1 to 8", "--help"),
        ("--clusters 9", 2, "clusters = 9, expected 1 to 8", "--help"),
        ("--clusters 6", 3, "6 clusters of 5 boards, expected 1 to 5", "clusters in the recipe"),
        ("--mu nan", 2, "mu = nan, expected 0.0 to 100.0", "--help"),
        ("--mix 0", 2, "mix = 0.0, expected 0.01 to 1.0", "--help"),
        ("--liars 0.5", 2, "liars = 0.5, expected 0.0 to 0.49", "--help"),
        (
            "--aggregate median --select top",
            3,
            '[server] aggregate = "median" does not go with [update] select',
            "clip",
        ),
        ("--aggregate krum --fraction 0.4", 3, '[server] aggregate = "krum" does not go with [run] fraction', "clip"),
        ("--aggregate clip --codec sign", 3, '[server] aggregate = "clip" does not go with [update] codec', "median"),
        ("--client-select power", 3, '[clients] select = "power" does not go with [run] fraction = 1.0', "below 1"),
        ("--client-select link", 3, '[clients] select = "link" does not go with [[board]] rate', "fleet.toml"),
    ],
)
def test_options(recipe: Path, build: Path, tinyfl: Call, options: str, code: int, message: str, hint: str) -> None:
    runs = list(build.glob("small/runs/*"))
    refused(tinyfl("run", recipe, "--on", "sim", *options.split()), code, message, hint)
    assert list(build.glob("small/runs/*")) == runs  # nothing was started


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("nan", "column x0 holds 'nan', expected a finite"),
        ("inf", "column x0 holds 'inf'"),
        ("1e39", "column x0 holds '1e39'"),
        ("four", "column x0 holds 'four'"),
        ("", "column x0 holds ''"),
        ("1,2", "33 columns, the header has 32"),
    ],
)
def test_cells_of_a_data_file(recipe: Path, tinyfl: Call, cell: str, message: str) -> None:
    file = recipe / "data" / "more.csv"
    row = lines([200], "train")[0].split(",")
    row[2] = cell
    file.write_text(file.read_text() + ",".join(row) + "\n")
    refused(tinyfl("run", recipe, "--on", "sim"), 3, f"{file}, line 32: {message}", "docs/RECIPES.md")


def test_a_class_that_is_none(recipe: Path, tinyfl: Call) -> None:
    file = recipe / "data" / "more.csv"
    file.write_text(file.read_text() + lines([200], "train")[0].replace("abcde"[Y[200]], "wave", 1) + "\n")
    refused(tinyfl("run", recipe, "--on", "sim"), 3, f"{file}, line 32: class 'wave', expected one of a, b", "label")


def test_samples_of_python_that_are_no_numbers(recipe: Path, tinyfl: Call) -> None:
    text = RECIPE.replace('source = "data"\nshape = [10, 1, 3]', 'source = "data.py"')
    (recipe / "recipe.toml").write_text(text)
    for value, message in (("float('nan')", "a value is no finite float32 number"), ("'x'", "not numeric")):
        (recipe / "data.py").write_text(f"def samples():\n    yield [[[{value}] * 3]] * 10, 'a', 'lab'\n")
        refused(tinyfl("run", recipe, "--on", "sim"), 3, f"{recipe / 'data.py'}, sample 0: {message}", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        "",
        "--codec int4 --select top --feedback --entropy",
        "--clusters 2 --tune 2",
        "--codec sign --aggregate median",
        "--aggregate fltrust --mu 0.1 --optimiser fedadam",
    ],
)
def test_users_with_one_sample_with_none_and_with_one_class(recipe: Path, tinyfl: Call, options: str) -> None:
    """Each kind of board comes to the same; who has no samples counts for nothing, and drops out of nothing."""
    ends = {}
    for on in ("twin", "sim", "posix"):
        code, out, err = tinyfl("run", recipe, "--on", on, "--json", *options.split())
        assert code == 0, err
        ends[on] = json.loads(out.splitlines()[-1])
    sim = ends["sim"]
    assert len({end["head_sha256"] for end in ends.values()}) == 1 and sim["boards"] == 5 and sim["dropped"] == 0
    assert all(end["after"] == sim["after"] for end in ends.values())
    with Ledger(Path(sim["run"]), write=False) as ledger:
        samples = {update.board: update.samples for _, update in ledger.updates()}
        assert samples == {"one": 1, "none": 0, "single": 10, "many": 20, "more": 20}
        assert len({row.masters.tobytes() for row in ledger.rounds()}) == 4  # each round learned something


@pytest.mark.slow
def test_a_table_of_such_boards(recipe: Path, tinyfl: Call) -> None:
    code, out, _ = tinyfl("run", recipe, "--on", "sim")
    samples = {row.split()[0]: row.split()[2] for row in out.splitlines() if " client " in row}
    assert code == 0 and samples == {"one": "1", "none": "0", "single": "10", "many": "20", "more": "20"}


def test_nobody_has_a_sample_to_train_on(recipe: Path, tinyfl: Call) -> None:
    (recipe / "recipe.toml").write_text(RECIPE.replace('"one", "none", "single", "many", "more"', '"none"'))
    hint = "[users] federated in recipe.toml"
    refused(tinyfl("run", recipe, "--on", "sim"), 3, f"{recipe / 'data'}: no training sample for any of", hint)
    code, out, _ = tinyfl("evaluate", recipe, "--on", "sim", "--json")  # which needs none
    assert code == 0 and json.loads(out)["accuracy"]["clients"] is not None


def test_a_user_without_any_row(recipe: Path, tinyfl: Call) -> None:
    (recipe / "data" / "none.csv").unlink()
    refused(tinyfl("run", recipe, "--on", "sim"), 3, "no samples of user 'none'; the data knows lab, many", "[users]")


@pytest.fixture
def poor(recipe: Path, tinyfl: Call, tmp_path: Path) -> Iterator[Path]:
    """A fleet file with a board whose firmware has no memory for error feedback."""
    assert tinyfl("compile", recipe)[0] == 0
    artifacts = compile_artifacts(recipe)
    sources = {file.name: file.read_text() for file in artifacts.sources.iterdir()}
    model: Any = SimpleNamespace(sources=sources)
    firmware = build_board("gcc", model, tmp_path / "poor", ["-DTFL_FEEDBACK=0"])
    with boot(board("posix"), firmware, name="desk") as process:
        fleet = tmp_path / "fleet.toml"
        fleet.write_text(f'[[board]]\nname = "desk"\nlink = "{process.link}"\n')
        yield fleet


@pytest.mark.slow
def test_a_codec_that_the_board_does_not_offer_is_refused_before_it_trains(
    recipe: Path, tinyfl: Call, poor: Path
) -> None:
    code, out, err = tinyfl("run", recipe, "--fleet", poor, "--codec", "sign", "--feedback", "--json")
    with Ledger(started(out), write=False) as ledger:
        assert len(ledger.rounds()) == 1 and not ledger.updates()  # it was measured
    refused((code, "", err), 5, "desk: the board has no memory for error feedback", "TFL_FEEDBACK=1")
    assert tinyfl("run", recipe, "--fleet", poor, "--codec", "sign")[0] == 0

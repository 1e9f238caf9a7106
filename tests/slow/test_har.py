"""HAR-H2, the demo task: the integer rounds learn what they should, as well as float FedAvg on the same backbone."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
HALF_A_POINT = 0.005


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    """Means over draws 0 to 5 (each of the six people is left out twice), by the numpy twin: about 20 s."""
    command = [sys.executable, ROOT / "tools" / "bench" / "har.py", "--json", "--only-federated", "--draws", "6"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_boards_learn_what_the_lab_never_saw(figures: dict[str, Any]) -> None:
    mean = figures["mean"]
    assert mean["before"]["clients"] <= 0.62
    assert mean["integer"]["clients"] >= 0.79
    assert mean["integer"]["unseen"] >= 0.71


def test_integers_lose_nothing_against_float(figures: dict[str, Any]) -> None:
    mean = figures["mean"]
    assert mean["integer"] != mean["float"]
    for split in ("clients", "unseen"):
        assert abs(mean["integer"][split] - mean["float"][split]) <= HALF_A_POINT


def test_every_draw_gains(figures: dict[str, Any]) -> None:
    assert len(figures["draws"]) == 6
    for draw in figures["draws"]:
        for split in ("clients", "unseen"):
            assert draw["integer"][split] > draw["before"][split]


def test_the_manual_s_figures_are_these(figures: dict[str, Any]) -> None:
    manual = (ROOT / "docs" / "HAR.md").read_text()
    for row in [*figures["draws"], figures["mean"]]:
        for method in ("before", "integer", "float"):
            assert f"{row[method]['clients']:.4f} / {row[method]['unseen']:.4f}" in manual


def test_the_manual_s_backbone_is_the_lab_s_best() -> None:
    manual = (ROOT / "docs" / "HAR.md").read_text()
    table = manual.split("<!-- backbones -->")[1].split("<!-- end -->")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()[2:]]
    best = max(rows, key=lambda row: float(row[3]))
    record = json.loads((ROOT / "models/har/model.json").read_text())
    assert len(rows) == 5 and best[4] == "yes" and [row[4] for row in rows].count("yes") == 1
    assert [int(best[0]), *map(float, best[1:4])] == [record["seed"], *record["accuracy"].values()]


def test_the_record_belongs_to_the_committed_model() -> None:
    record = json.loads((ROOT / "models/har/model.json").read_text())
    tflite = (ROOT / "models/har/har.tflite").read_bytes()
    assert record["sha256"] == hashlib.sha256(tflite).hexdigest() and record["sizes"]["tflite"] == len(tflite)

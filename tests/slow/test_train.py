"""``tinyfl train``: the committed model again, a recipe of the user's own, and what it says when it cannot."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from tinyfl.compiler import compile_model, read_tflite
from tinyfl.errors import ConfigError, DataError
from tinyfl.reference import quantize_input
from tinyfl.train.check import int8_accuracy, layer_sparsity
from tinyfl_host.dataset import lab_samples, load_samples
from tinyfl_host.recipe import load_recipe
from tinyfl_host.training import train_recipe

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

RECIPE = """
[model]
classes = ["low", "high", "odd"]
[data]
source = "data"
normalise = "lab"
[users]
lab = ["ann", "bo"]
[train]
seed = 4
epochs = 12
batch = 16
prune_epochs = 6
qat_epochs = 4
learning_rate = 0.01
"""

MODEL = """
from tensorflow import keras

def build():
    layers = keras.layers
    return keras.Sequential([keras.Input((6,)), layers.Dense(20, activation="relu"),
                             layers.Dense(10, activation="relu"), layers.Dense(3, activation="softmax")])
"""


def plug(folder: Path, recipe: str = RECIPE, model: str = MODEL) -> Path:
    """A recipe folder with two lab users of 120 rows each: three blobs in six features."""
    (folder / "data").mkdir(parents=True)
    (folder / "recipe.toml").write_text(recipe)
    (folder / "model.py").write_text(model)
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 2, (3, 6))
    for user in ("ann", "bo"):
        labels = rng.integers(0, 3, 120)
        rows = [",".join([*(f"{v:.4f}" for v in centres[k] + rng.normal(0, 0.7, 6)), str(k)]) for k in labels]
        (folder / "data" / f"{user}.csv").write_text("\n".join(["a,b,c,d,e,f,label", *rows]))
    return folder


def tinyfl(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tinyfl_host.cli.main", *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'host'}", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = plug(tmp_path_factory.mktemp("train") / "plug")
    train_recipe(load_recipe(folder))
    return folder


def test_the_model_is_what_its_record_says(trained: Path) -> None:
    recipe = load_recipe(trained)
    record, tflite = json.loads(recipe.manifest.read_text()), recipe.tflite.read_bytes()
    training, test = lab_samples(recipe, load_samples(recipe))
    assert record["accuracy"]["int8"] == round(int8_accuracy(tflite, test.x, test.y), 4) > 0.85
    assert set(record["accuracy"]) == {"float", "pruned", "int8"}
    assert record["sizes"] == {"tflite": len(tflite), "weights": 6 * 20 + 20 + 20 * 10 + 10 + 10 * 3 + 3}
    assert record["samples"] == {"train": len(training.x), "test": len(test.x)}
    head = compile_model(tflite, "plug", quantize_input(read_tflite(tflite, "plug"), training.x)).head
    assert head is not None and (head.features, head.classes) == (10, 3)


def test_fake_quantisation_keeps_the_zeros(trained: Path) -> None:
    recipe = load_recipe(trained)
    sparsity = layer_sparsity(recipe.tflite.read_bytes())
    assert len(sparsity) == 2 and all(share >= 0.6 for share in sparsity.values())
    record = json.loads(recipe.manifest.read_text())
    assert record["sparsity"] == {layer: round(share, 4) for layer, share in sparsity.items()}


def test_the_command_repeats_every_byte_and_says_nothing_but_its_own(trained: Path, tmp_path: Path) -> None:
    again = plug(tmp_path / "plug")
    done = tinyfl("train", again, "--json")
    assert done.returncode == 0, done.stderr
    assert (again / "plug.tflite").read_bytes() == (trained / "plug.tflite").read_bytes()
    assert json.loads(done.stdout) == json.loads((trained / "model.json").read_text())
    own = ("training plug", "fit: epoch", "prune: epoch", "qat: epoch", "next: ")
    assert all(line.startswith(own) for line in done.stderr.splitlines()), done.stderr
    assert not list(again.glob(".*")), "a half-written file was left"


def test_another_seed_gives_another_model(trained: Path, tmp_path: Path) -> None:
    other = load_recipe(plug(tmp_path / "plug", RECIPE.replace("seed = 4", "seed = 5")))
    assert train_recipe(other).sha256 != json.loads((trained / "model.json").read_text())["sha256"]


def test_without_pruning_no_zeros_are_asked_for(tmp_path: Path) -> None:
    recipe = load_recipe(plug(tmp_path / "plug", RECIPE.replace("[train]", "[train]\nsparsity = 0.0")))
    assert all(share < 0.3 for share in train_recipe(recipe).sparsity.values())


@pytest.mark.parametrize("name", ["har", "fashion"])
def test_the_committed_model_comes_out_again_byte_for_byte(name: str, tmp_path: Path) -> None:
    folder, origin = tmp_path / name, ROOT / "models" / name
    shutil.copytree(origin, folder, ignore=shutil.ignore_patterns("*.tflite", "model.json", "__pycache__"))
    recipe = load_recipe(folder)
    try:
        load_samples(recipe)
    except DataError as error:
        pytest.skip(f"{error.message}: {error.hint}")
    report = train_recipe(recipe)
    committed = json.loads((origin / "model.json").read_text())
    if report.versions != committed["versions"]:
        pytest.skip(f"made with {committed['versions']}, here {report.versions}")
    assert asdict(report) == committed
    assert recipe.tflite.read_bytes() == (origin / f"{name}.tflite").read_bytes()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Input((6,))", "Input((5,))", r"the model takes \(5,\), the samples are \(6,\)"),
        ("Dense(3,", "Dense(4,", r"the model gives \(4,\), the recipe has 3 classes"),
        ('"softmax"', '"relu"', "is no softmax"),
        (
            "return keras",
            "return 1 / 0\n    return keras",
            r"model\.py:build failed: line 6 of model.py: ZeroDivisionError",
        ),
        ("return keras", "return 3\n    return keras", "build.. returned int, expected a Keras model"),
        ("keras.Sequential([", "keras.Sequential([layers.Nothing(),", "AttributeError"),
    ],
)
def test_a_model_that_does_not_fit(tmp_path: Path, old: str, new: str, message: str) -> None:
    recipe = load_recipe(plug(tmp_path / "plug", model=MODEL.replace(old, new)))
    with pytest.raises(ConfigError, match=message):
        train_recipe(recipe)
    assert not recipe.tflite.exists() and not recipe.manifest.exists()


def test_one_class_is_nothing_to_learn(tmp_path: Path) -> None:
    recipe = load_recipe(plug(tmp_path / "plug", RECIPE.replace("[data]", '[data]\nlab_classes = ["low"]')))
    with pytest.raises(DataError, match="the lab's training samples are all of class low"):
        train_recipe(recipe)


def test_without_tensorflow_the_command_says_how_to_get_it(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    absent.mkdir()
    (absent / "tensorflow.py").write_text("raise ImportError(\"No module named 'tensorflow'\")\n")
    folder = plug(tmp_path / "plug")
    done = tinyfl("train", folder, PYTHONPATH=f"{absent}:{ROOT}:{ROOT / 'host'}")
    assert done.returncode == 3 and done.stdout == ""
    assert "error: training needs TensorFlow" in done.stderr and "pip install -e '.[train]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_only_training_imports_tensorflow() -> None:
    code = "import sys, tinyfl_host.training, tinyfl.train, tinyfl_host.dataset; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0

"""The files of ``tinyfl compile`` in ``build/<name>/`` (model.json, model.tflite, the C) how later stages read them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import tinyfl
from tinyfl.compiler import compile_model, read_tflite
from tinyfl.compiler.manifest import model_hash
from tinyfl.compiler.split import initial_weights
from tinyfl.errors import ConfigError, ModelError, UsageError
from tinyfl.graph import AdapterFormat, Graph, HeadFormat
from tinyfl.reference import quantize_input
from tinyfl.reference.head import from_wire, read_held
from tinyfl.settings import GOALS, CompileSettings
from tinyfl_host.dataset import calibration_inputs, load_samples
from tinyfl_host.recipe import Recipe, load_recipe

KEYS = ("name", "hash", "optimise", "tflite", "input", "output", "layers", "macs", "estimate", "arena_bytes",
        "scratch_bytes", "blocks", "constants_bytes", "head")  # fmt: skip
NAME_LENGTH = 64
STAMP = "compiled"  # hash of what was compiled


@dataclass(frozen=True)
class Artifacts:
    """A compiled model below ``folder``; nothing is read before it is asked for."""

    name: str
    folder: Path
    origin: Path  # what was compiled: a recipe folder or a .tflite

    @property
    def tflite(self) -> Path:
        """The model as it was compiled."""
        return self.folder / "model.tflite"

    @property
    def sources(self) -> Path:
        """The folder of model.h and model.c."""
        return self.folder / "c"

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """``model.json``, checked against model.tflite; raises ConfigError where it cannot be trusted."""
        return self._checked[0]

    @cached_property
    def graph(self) -> Graph:
        """The model in memory."""
        return read_tflite(self._bytes, self.name)

    @property
    def head(self) -> HeadFormat | None:
        """The trainable head's constants; None where the model has none."""
        return self._checked[1]

    @cached_property
    def _bytes(self) -> bytes:
        try:
            return self.tflite.read_bytes()
        except OSError as error:
            raise self._refused(self.tflite, error.strerror or "cannot be read") from error

    @cached_property
    def _checked(self) -> tuple[dict[str, Any], HeadFormat | None]:
        path = self.folder / "model.json"
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            missing = [key for key in KEYS if key not in document] if isinstance(document, dict) else list(KEYS)
            if missing:
                raise self._refused(path, f"lacks {', '.join(missing)}")
            head = _read_head(self.graph, document)
        except OSError as error:
            raise self._refused(path, error.strerror or "cannot be read") from error
        except ModelError as error:
            raise self._refused(self.tflite, f"damaged: {error.message}") from error
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError) as error:
            raise self._refused(path, f"damaged: {type(error).__name__}: {error}") from error
        if model_hash(self._bytes, head) != document["hash"]:
            raise self._refused(path, "its hash is not that of model.tflite beside it")
        return document, head

    def _refused(self, path: Path, reason: str) -> ConfigError:
        return ConfigError(f"{path}: {reason}", f"compile again: tinyfl compile {self.origin}")


def build_root() -> Path:
    """``build`` below the working directory, or what TINYFL_BUILD names."""
    return Path(os.environ.get("TINYFL_BUILD") or "build")


def compile_artifacts(model: Path, goal: str | None = None, *, again: bool = False) -> Artifacts:
    """Compiles a recipe folder or a ``.tflite`` into ``build/<name>/``; does nothing where that was done already.

    A recipe's lab data gives the constants of a trainable head; a lone ``.tflite`` has none. ``goal``: one of GOALS;
    None: TINYFL_OPTIMISE, else the recipe's. ``again`` compiles in any case. Raises UsageError for another goal,
    ConfigError (ModelError, DataError) for what cannot be read, compiled or written.
    """
    recipe = load_recipe(model) if _is_folder(model) else None
    data = _read_model(model, recipe)
    name = recipe.name if recipe else _lone_name(model)
    artifacts = Artifacts(safe_name(name), build_root() / safe_name(name), model)
    calibration = _calibration(recipe, data) if recipe else None
    goal = _goal(goal, recipe)
    adapter = recipe.compile.adapter if recipe else 0
    inputs = _inputs_hash(f"{artifacts.name} {goal} {adapter}", data, calibration)
    if again or not _is_compiled(artifacts, inputs):
        compiled = compile_model(data, artifacts.name, calibration, goal, adapter)
        files: dict[str, bytes] = {f"c/{file}": text.encode() for file, text in compiled.sources.items()}
        files["model.tflite"] = data
        files["model.json"] = (json.dumps(compiled.manifest, indent=2) + "\n").encode()
        _write(artifacts.folder, files, inputs)
    artifacts.manifest  # noqa: B018 - refuses what was damaged
    return artifacts


def safe_name(name: str) -> str:
    """The name as it may stand in a path on any system."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".-")[:NAME_LENGTH] or "model"


def write_atomically(path: Path, data: bytes) -> None:
    """Writes beside the target, then renames: a reader sees the old file or the new one. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _read_model(model: Path, recipe: Recipe | None) -> bytes:
    path = recipe.tflite if recipe else model
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        hint = f"train it: tinyfl train {model}" if recipe else "give a recipe folder or a .tflite file"
        raise ConfigError(f"{path}: no such file", hint) from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "make the file readable") from error


def _goal(given: str | None, recipe: Recipe | None) -> str:
    """What was given, else what the environment says, else the recipe, which has a default."""
    goal = given or os.environ.get("TINYFL_OPTIMISE") or (recipe.compile if recipe else CompileSettings()).optimise
    if goal not in GOALS:
        raise UsageError(f"TINYFL_OPTIMISE = {goal}", f"expected one of {', '.join(GOALS)}")
    return goal


def _lone_name(model: Path) -> str:
    """A .tflite taken out of a recipe must not overwrite what the whole recipe compiles to."""
    return f"{model.stem}-tflite" if (model.parent / "recipe.toml").exists() else model.stem


def _calibration(recipe: Recipe, data: bytes) -> npt.NDArray[np.int8] | None:
    if not recipe.has_data:
        return None
    graph = read_tflite(data, recipe.name)
    x = calibration_inputs(recipe, load_samples(recipe))
    shape = graph.tensor(graph.input).shape[1:]
    if x.shape[1:] != shape:
        raise ConfigError(
            f"{recipe.source}: samples have shape {x.shape[1:]}, {recipe.tflite.name} takes {shape}",
            f"mend the data, or train the model again: tinyfl train {recipe.folder}",
        )
    return quantize_input(graph, x)


def _read_head(graph: Graph, document: dict[str, Any]) -> HeadFormat | None:
    """The head as model.json describes it, its weights from the model itself."""
    entry = document["head"]
    if not entry["trainable"]:
        return None
    layer = graph.layers[document["backbone_layers"]]
    offset = np.array(entry["offset"], np.int8)
    initial = initial_weights(graph, layer, entry["bias_value"], entry["fw"])
    constants = (entry["features"], entry["classes"], offset, entry["bias_value"], entry["r2"], entry["fw"])
    bits = entry.get("held")
    held = read_held(bytes.fromhex(bits), initial.size) if bits is not None else None
    adapter = entry.get("adapter")
    return HeadFormat(
        *constants,
        initial,
        held=None if held is None else from_wire(held, *constants[:2]),
        adapter=None if adapter is None else _read_adapter(adapter),
    )


def _read_adapter(entry: dict[str, Any]) -> AdapterFormat:
    return AdapterFormat(np.array(entry["offset"], np.int8), entry["group"], entry["curvature"])


def _inputs_hash(name: str, data: bytes, calibration: npt.NDArray[np.int8] | None) -> str:
    digest = hashlib.sha256(f"{name} {_compiler_version()}\0".encode() + data)
    digest.update(b"\0no calibration" if calibration is None else b"\0" + calibration.tobytes())
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _compiler_version() -> str:
    """A hash over the sources of the library: a changed compiler compiles again."""
    digest = hashlib.sha256()
    root = Path(tinyfl.__file__).parent
    for path in sorted([*root.glob("*.py"), *(root / "compiler").rglob("*.*"), *(root / "reference").rglob("*.py")]):
        if "__pycache__" not in path.parts:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _is_compiled(artifacts: Artifacts, inputs: str) -> bool:
    """True where all files are there and the stamp, written last, names the same inputs."""
    files = ("model.json", "model.tflite", "c/model.h", "c/model.c")
    try:
        stamp = (artifacts.folder / STAMP).read_text(errors="replace")
    except OSError:
        return False
    return stamp == inputs and all((artifacts.folder / name).exists() for name in files)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "make the folder readable") from error


def _write(folder: Path, files: dict[str, bytes], inputs: str) -> None:
    """Stamp away, files, stamp: what is interrupted in between is compiled again."""
    try:
        (folder / STAMP).unlink(missing_ok=True)
        for name, data in {**files, STAMP: inputs.encode()}.items():
            write_atomically(folder / name, data)
    except OSError as error:
        where = error.filename or folder
        raise ConfigError(f"{where}: {error.strerror}", "make room or permit writing, or set TINYFL_BUILD") from error

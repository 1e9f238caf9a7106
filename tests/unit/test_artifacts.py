"""build/<name>: written once, whole, and trusted only when it fits together."""

import importlib.util
import json
import os
import shutil
from pathlib import Path

import pytest
from support_tflite import small_classifier

from tinyfl.errors import ConfigError
from tinyfl_host.artifacts import Artifacts, compile_artifacts, safe_name

ROOT = Path(__file__).parents[2]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYFL_BUILD", "")
    path = tmp_path / "small.tflite"
    path.write_bytes(small_classifier())
    return path


def test_a_tflite_becomes_c_and_a_manifest(model: Path) -> None:
    artifacts = compile_artifacts(model)
    assert artifacts.folder == Path("build/small") and artifacts.tflite.read_bytes() == model.read_bytes()
    assert sorted(p.name for p in artifacts.sources.iterdir()) == ["model.c", "model.h"]
    assert artifacts.manifest["hash"] in (artifacts.sources / "model.c").read_text()
    assert artifacts.head is None and artifacts.graph.name == "small"


def test_nothing_is_written_twice_until_the_model_changes(model: Path) -> None:
    def times() -> dict[str, int]:
        return {p.name: p.stat().st_mtime_ns for p in Path("build/small").rglob("*") if p.is_file()}

    compile_artifacts(model)
    first = times()
    compile_artifacts(model)
    assert times() == first
    model.write_bytes(small_classifier(seed=1))
    compile_artifacts(model)
    assert all(times()[name] > first[name] for name in first)


def test_what_was_interrupted_is_compiled_again(model: Path) -> None:
    before = compile_artifacts(model).manifest["hash"]
    (Path("build/small/compiled")).unlink()
    (Path("build/small/c/model.c")).write_text("half")
    assert compile_artifacts(model).manifest["hash"] == before
    assert "half" not in Path("build/small/c/model.c").read_text()[:10]
    Path("build/small/c/model.h").unlink()
    compile_artifacts(model)
    assert Path("build/small/c/model.h").exists()


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", "null", "\0", '{"name": 1}', "hash", "head", "layers"])
def test_a_damaged_manifest_is_refused_and_helped(damage: str, model: Path) -> None:
    path = Path("build/small/model.json")
    document = dict(compile_artifacts(model).manifest)
    if damage == "hash":
        document["hash"] = "00" + document["hash"][2:]
    if damage == "head":
        document["head"] = {"trainable": True, "features": "many"}
    if damage == "layers":
        del document["layers"]
    path.write_text(json.dumps(document) if damage in document or damage == "layers" else damage)
    with pytest.raises(ConfigError, match=r"build/small/model\.json: ") as caught:
        compile_artifacts(model)
    assert caught.value.hint == f"compile again: tinyfl compile {model}" and "\n" not in caught.value.message
    assert compile_artifacts(model, again=True).manifest["name"] == "small"


def test_a_damaged_tflite_copy_is_refused(model: Path) -> None:
    compile_artifacts(model)
    Path("build/small/model.tflite").write_bytes(b"TFL3")
    with pytest.raises(ConfigError, match=r"model\.tflite: damaged"):
        compile_artifacts(model)


def test_a_recipe_has_a_head_and_its_lone_tflite_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("seglearn") is None:
        pytest.skip("the HAR recipe's data is PyPI's seglearn")
    monkeypatch.setenv("TINYFL_BUILD", str(tmp_path))
    whole, lone = (compile_artifacts(ROOT / path) for path in ("models/har", "models/har/har.tflite"))
    assert whole.head is not None and whole.head.initial.shape == (33, 7)
    assert lone.head is None and lone.folder != whole.folder
    again = Artifacts(whole.name, whole.folder, whole.origin)
    assert again.head is not None and (again.head.initial == whole.head.initial).all()


def test_an_adapter_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("seglearn") is None:
        pytest.skip("the HAR recipe's data is PyPI's seglearn")
    monkeypatch.setenv("TINYFL_BUILD", str(tmp_path / "build"))
    folder = tmp_path / "har"
    shutil.copytree(ROOT / "models/har", folder)
    recipe = (folder / "recipe.toml").read_text()
    plain = compile_artifacts(folder).manifest
    (folder / "recipe.toml").write_text(f"{recipe}\n[compile]\nadapter = 16\n")
    head, manifest = (one := compile_artifacts(folder)).head, one.manifest
    assert manifest["hash"] != plain["hash"] and head is not None and head.adapter is not None
    assert (head.adapter.group, head.adapter.size, head.adapter.size + head.size) == (16, 544, 775)
    assert (head.offset == -128).all() and head.adapter.offset.tolist() == plain["head"]["offset"]
    (folder / "recipe.toml").write_text(f"{recipe}\n[compile]\nadapter = 33\n")
    with pytest.raises(ConfigError, match="groups of 33 features, the embedding has 32"):
        compile_artifacts(folder)


@pytest.mark.parametrize("path", ["none.tflite", "folder", "none/none"])
def test_what_is_not_there(path: str, model: Path) -> None:
    Path("folder").mkdir()
    with pytest.raises(ConfigError, match="no such file") as caught:
        compile_artifacts(Path(path))
    assert caught.value.hint


def test_a_folder_that_cannot_be_written(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("build").write_text("a file")
    with pytest.raises(ConfigError, match="build") as caught:
        compile_artifacts(model)
    assert "TINYFL_BUILD" in caught.value.hint


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        with Path("/dev/full").open("wb", buffering=0) as file:
            return file.write(b"x")  # ENOSPC, as the kernel says it

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(ConfigError, match="No space left"):
        compile_artifacts(model)


@pytest.mark.parametrize(
    ("name", "safe"), [("../../etc/x", "_.._etc_x"), ("a b;c", "a_b_c"), ("...", "model"), ("", "model"), ("-o", "o")]
)
def test_a_name_is_safe_as_a_folder(name: str, safe: str) -> None:
    assert safe_name(name) == safe

"""The whole way to a board and back: compiled C on every core == numpy twin == TFLite's reference kernels."""

from pathlib import Path

import numpy as np
import pytest
from support_tflite import edge_inputs, model_inputs, run_oracle

from tinyfl.errors import DataError, LinkError
from tinyfl.reference import run
from tinyfl_host.artifacts import compile_artifacts
from tinyfl_host.inference import infer, read_input

pytestmark = pytest.mark.emulated
ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared/models"
MODELS = {
    "har": (ROOT / "models/har/har.tflite", 512),
    "kws": (SHARED / "kws_ref_model.tflite", 60),
    "ad": (SHARED / "ad01_int8.tflite", 60),
}
TARGETS = ["emu:qemu-m4", "emu:qemu-m3", "emu:qemu-m0", "emu:qemu-m55", "posix"]


@pytest.fixture(autouse=True)
def own_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYFL_BUILD", str(tmp_path))
    monkeypatch.chdir(tmp_path)  # nothing may depend on the current directory


@pytest.mark.parametrize("name", MODELS)
def test_every_target_gives_the_same_bytes(name: str) -> None:
    path, count = MODELS[name]
    if not path.exists():
        pytest.skip(f"{path.name} is not in this checkout")
    artifacts = compile_artifacts(path)
    x = model_inputs(np.random.default_rng(1), artifacts.graph.tensor(artifacts.graph.input), count)
    expected = run_oracle(path.read_bytes(), x)
    np.testing.assert_array_equal(run(artifacts.graph, x), expected)
    targets = [*TARGETS, "emu:microbit"] if name == "har" else TARGETS
    for target in targets:
        few = 64 if target == "emu:microbit" else count  # its core is qemu-m0's
        result = infer(artifacts, target, x[:few])
        np.testing.assert_array_equal(result.output, expected[:few], target)
        assert result.output.dtype == np.int8
        assert (result.instructions is None) == (target == "posix")


def test_the_same_input_takes_the_same_instructions() -> None:
    artifacts = compile_artifacts(ROOT / "models/har/har.tflite")
    x = np.repeat(edge_inputs(np.random.default_rng(2), artifacts.manifest["input"]["shape"], 4)[3:], 6, axis=0)
    first, second = (infer(artifacts, "emu:qemu-m4", x).instructions for _ in range(2))
    one = infer(artifacts, "emu:qemu-m4", x[:1]).instructions
    assert first is not None and second is not None and one is not None
    assert abs(first - second) <= 1 and abs(first - one) <= 2  # a tick is not a whole instruction


def test_no_inputs_give_no_outputs() -> None:
    artifacts = compile_artifacts(ROOT / "models/har/har.tflite")
    result = infer(artifacts, "posix", np.zeros((0, 50, 1, 6), np.int8))
    assert result.output.shape == (0, 7) and result.instructions is None


def test_input_files_that_cannot_be_used(tmp_path: Path) -> None:
    artifacts = compile_artifacts(ROOT / "models/har/har.tflite")
    for x in (np.zeros((2, 3), np.int8), np.zeros((2, 50, 1, 6), np.float32), np.zeros((50, 1, 6), np.int8)):
        with pytest.raises(DataError, match=r"takes int8 \(n, 50, 1, 6\)"):
            infer(artifacts, "twin", x)
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "text.npy").write_text("1 2 3")
    (tmp_path / "empty.npy").write_bytes(b"")
    np.savez(tmp_path / "many.npz", a=np.zeros(3))
    for name in ("objects.npy", "text.npy", "empty.npy", "many.npz", "none.npy"):
        with pytest.raises(DataError, match=name):
            read_input(tmp_path / name)


def test_a_link_that_is_not_there() -> None:
    artifacts = compile_artifacts(ROOT / "models/har/har.tflite")
    with pytest.raises(LinkError, match="No such file"):
        infer(artifacts, "unix:/nowhere/board", np.zeros((1, 50, 1, 6), np.int8))

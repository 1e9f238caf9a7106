"""What may import what: the contracts in pyproject.toml, and that each of them can fail."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYPROJECT = (ROOT / "pyproject.toml").read_text()

LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    paths = {"PYTHONPATH": f"{folder}:{folder / 'host'}", "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", LINT]
    return subprocess.run(command, cwd=folder, env=paths, capture_output=True, text=True, check=False)


def test_the_layers_hold() -> None:
    done = _lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Contracts: " in done.stdout and " 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("tinyfl/graph.py", "import subprocess", "the library touches no world"),
        ("tinyfl/graph.py", "import tinyfl_host.node", "the host stands on the library"),
        ("host/tinyfl_host/links/__init__.py", "import tinyfl_host.node", "cli over rounds"),
        ("host/tinyfl_host/node.py", "import tensorflow", "only tinyfl.train knows TensorFlow"),
    ],
)
def test_a_broken_layer_is_seen(tmp_path: Path, file: str, line: str, contract: str) -> None:
    packages = ["tinyfl", "tinyfl/train", "tinyfl/compiler", "tinyfl/reference", "tinyfl/wire", "tinyfl/federated"]
    packages += ["host/tinyfl_host", "host/tinyfl_host/cli", "host/tinyfl_host/links"]
    modules = ["tinyfl/graph.py", "tinyfl/errors.py", *(f"host/tinyfl_host/{m}.py" for m in MODULES)]
    for path in [*(f"{package}/__init__.py" for package in packages), *modules]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    (tmp_path / "host/tinyfl_host/training.py").write_text("import tinyfl.train\n")
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    assert _lint(tmp_path).returncode == 0
    (tmp_path / file).write_text(line + "\n")
    done = _lint(tmp_path)
    assert done.returncode != 0
    broken = [row for row in done.stdout.splitlines() if "BROKEN" in row]
    assert any(contract in row for row in broken), done.stdout


MODULES = ("rounds", "fleet", "node", "training")

"""The CLI with a build folder of its own, in which HAR is compiled."""

from pathlib import Path

import pytest
from support_cli import Call, caller

from tinyfl_host.cli.main import main

HAR = Path(__file__).resolve().parents[2] / "models" / "har"


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build folder with HAR compiled."""
    folder = tmp_path_factory.mktemp("build")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYFL_BUILD", str(folder))
        assert main(["compile", str(HAR)]) == 0
    return folder


@pytest.fixture
def tinyfl(compiled: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Calls the CLI with a build folder of its own: (exit code, stdout, stderr)."""
    build = tmp_path / "build"
    build.mkdir()
    (build / "har").mkdir()
    for path in compiled.glob("har/*"):
        (build / "har" / path.name).symlink_to(path)
    monkeypatch.setenv("TINYFL_BUILD", str(build))
    monkeypatch.chdir(tmp_path)
    return caller(capfd)

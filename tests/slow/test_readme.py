"""The commands of the README run as they stand there, and what it says they print is what they print."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.emulated]

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"<!-- test -->\n```sh\n(.*?)```", README, re.DOTALL)
PRINTED = re.findall(r"<!-- printed -->\n```\n(.*?)```", README, re.DOTALL)
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "build", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout that uses this environment's packages."""
    folder = tmp_path_factory.mktemp("readme") / "tinyfl"
    shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
    environment = folder / ".venv" / "bin"
    environment.mkdir(parents=True)
    for name, line in {"tinyfl": "-m tinyfl_host.cli.main", "python": ""}.items():
        (environment / name).write_text(f'#!/bin/sh\nexec {sys.executable} {line} "$@"\n')
        (environment / name).chmod(0o755)
    return folder


def _run(block: str, folder: Path) -> str:
    variables = {
        **{key: value for key, value in os.environ.items() if not key.startswith("TINYFL_")},
        "PATH": f"{folder}/.venv/bin:{os.environ['PATH']}",
        "PYTHONPATH": f"{folder}:{folder}/host",
        "SETUP": ":",  # what is installed is what the tests run with
    }
    command = ["sh", "-eu", "-c", block]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_readme_has_the_blocks() -> None:
    assert len(BLOCKS) == 3 and len(PRINTED) == 1
    assert BLOCKS[0] == "make demo\n" and "tinyfl new plug" in BLOCKS[1]


def test_the_demo_prints_what_the_readme_says(checkout: Path) -> None:
    printed = _run(BLOCKS[0], checkout)
    assert PRINTED[0] in printed
    (report,) = re.findall(r"^build/har/runs/\S+/report\.html$", printed, re.MULTILINE)
    page = (checkout / report).read_text()
    assert "82.8" in page and not re.search(r"""(src|href)=["']?(https?:)?//""", page)


def test_an_own_model(checkout: Path) -> None:
    pytest.importorskip("tensorflow", reason="tinyfl train needs TensorFlow, which has wheels for Python 3.11")
    printed = _run(BLOCKS[1], checkout)
    (before,) = re.findall(r"^before +(\S+) %", printed, re.MULTILINE)
    (after,) = re.findall(r"^after +(\S+) %", printed, re.MULTILINE)
    assert float(after) > float(before) + 20


def test_the_stages_alone(checkout: Path) -> None:
    _run(BLOCKS[2], checkout)
    assert (checkout / "build/har/c/model.c").is_file()
    assert (checkout / "build/har/microbit/firmware.elf").is_file()


def test_links_between_the_documents_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"

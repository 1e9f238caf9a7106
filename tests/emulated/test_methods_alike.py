"""Every method of a recipe through ``tinyfl run`` on two kinds of emulated boards: the twins', byte for byte."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support_methods import METHODS, alike, fleets

pytestmark = pytest.mark.emulated


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    with fleets(tmp_path_factory.mktemp("fleets"), ["qemu-m4", "microbit"]) as files:
        yield files


@pytest.mark.parametrize("method", METHODS)
def test_a_run_on_emulated_boards_is_the_twins(tmp_path: Path, files: dict[str, Path], method: str) -> None:
    alike(files, method, tmp_path)

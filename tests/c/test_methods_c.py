"""Every method of a recipe through ``tinyfl run``: sim and posix boards are the twins, byte for byte."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support_methods import METHODS, Contents, alike, fleets, run

pytestmark = pytest.mark.slow

SAME = {"plain", "choose-all"}  # as all boards take part


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    with fleets(tmp_path_factory.mktemp("fleets"), ["posix"]) as files:
        yield files


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, files: dict[str, Path]) -> Contents:
    return run(files["sim"], "plain", tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize("method", METHODS)
def test_a_run_is_the_twins_and_the_method_does_something(
    tmp_path: Path, files: dict[str, Path], plain: Contents, method: str
) -> None:
    sim = alike(files, method, tmp_path)
    same = (sim["rounds"], sim["own"]) == (plain["rounds"], plain["own"])
    assert same == (method in SAME)

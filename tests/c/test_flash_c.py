"""The flash of boards without hardware keeps the rules of real flash: what breaks them is an error, at once."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from support_runner import COMPILERS, FLAGS, ROOT, SANITIZE

PORTS = {"posix": ["-DPROBE_POSIX", "-D_POSIX_C_SOURCE=200809L"], "cmsdk": ["-DTFL_STORE_PAGES=32u"]}
SIZE = 32 * 1024


@pytest.fixture(scope="module", params=[(port, compiler) for port in PORTS for compiler in COMPILERS])
def driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The probe over one port's driver."""
    return build(*request.param, tmp_path_factory)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The probe over the driver whose flash is a file."""
    return build("posix", "gcc", tmp_path_factory)


def build(port: str, compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    program = tmp_path_factory.mktemp("flash") / port
    folder = ROOT / "firmware/ports" / port
    command = [compiler, *FLAGS, *SANITIZE, *PORTS[port], f"-I{ROOT}/firmware/include", f"-I{folder}"]
    sources = [ROOT / "tests/c/flash_probe.c", folder / "flash.c"]
    subprocess.run([*command, *map(str, sources), "-o", str(program)], check=True, timeout=60)
    return program


def use(driver: Path, file: Path, accesses: str, cut: int = 0) -> int:
    command = [str(driver), str(file), str(cut), *accesses.split()]
    return subprocess.run(command, capture_output=True, timeout=20).returncode


@pytest.mark.parametrize(
    "accesses",
    [
        "erase 0 0 0 read 0 1024 ff",
        "erase 3 0 0 program 3072 8 5a program 3080 4 0 read 3072 8 5a read 3080 4 0 read 3084 1012 ff",
        "erase 1 0 0 program 1024 4 f0 program 1024 4 30 read 1024 4 30 erase 1 0 0 read 1024 1024 ff",
        "erase 31 0 0 program 32764 4 1 read 32764 4 1 read 32768 0 0",
    ],
)
def test_what_the_rules_allow(driver: Path, accesses: str, tmp_path: Path) -> None:
    assert use(driver, tmp_path / "flash", accesses) == 0


@pytest.mark.parametrize(
    "violation",
    [
        "erase 0 0 0 program 0 4 0 program 0 4 01",  # sets a bit
        "erase 0 0 0 program 2 4 0",
        "erase 0 0 0 program 0 6 0",
        "erase 32 0 0",
        "program 32768 4 0",
        "erase 31 0 0 program 32764 8 0",
        "program 4294967292 8 0",
        "read 32768 1 0",
        "read 4294967295 2 0",
    ],
)
def test_a_violation_is_an_error(driver: Path, violation: str, tmp_path: Path) -> None:
    expected = -signal.SIGABRT if driver.name == "posix" else 2
    assert use(driver, tmp_path / "flash", violation) == expected


def test_a_file_is_the_flash_of_a_process(process: Path, tmp_path: Path) -> None:
    file = tmp_path / "flash"
    assert use(process, file, "program 0 4 12") == 0
    assert file.read_bytes() == b"\x12" * 4 + b"\xff" * (SIZE - 4) and file.stat().st_mode & 0o777 == 0o600
    assert use(process, file, "read 0 4 12") == 0
    file.write_bytes(b"notes")
    assert use(process, file, "read 0 4 12") == 3 and file.read_bytes() == b"notes"


def test_the_power_is_cut_in_the_middle_of_an_operation(process: Path, tmp_path: Path) -> None:
    accesses = "program 1024 12 0 erase 1 0 0 program 1024 4 0"
    for cut, page in (
        (1, b"\0" * 6 + b"\xff" * 1018),
        (2, b"\xff" * 512 + b"\0" * 512),
        (3, b"\0" * 2 + b"\xff" * 1022),
        (4, None),
    ):
        file = tmp_path / f"flash{cut}"
        if cut == 2:
            assert use(process, file, "program 1536 512 0") == 0
        assert use(process, file, accesses, cut) == (75 if page else 0)
        assert page is None or file.read_bytes()[1024:2048] == page

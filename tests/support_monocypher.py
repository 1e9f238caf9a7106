"""Monocypher for the tests that compile firmware/core/auth.c: fetched as for a board, compiled once a process."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tinyfl_host.thirdparty import fetch

OPTIONS = ("-std=c99", "-Os", "-w", "-DBLAKE2_NO_UNROLLING", "-ffunction-sections", "-fPIC")


@cache
def monocypher(compiler: str, *options: str) -> tuple[str, ...]:
    """What a command that compiles auth.c and links it needs besides: its header's folder and its object file."""
    source = fetch("monocypher")
    folder = Path(tempfile.mkdtemp(prefix="tinyfl-monocypher-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = folder / "monocypher.o"
    command = [compiler, *OPTIONS, *options, "-c", str(source / "monocypher.c"), "-o", str(made)]
    subprocess.run(command, check=True, timeout=120)
    return f"-I{source}", str(made)

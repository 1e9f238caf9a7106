"""Builds the libFuzzer targets of tests/fuzz with clang, ASan and UBSan, and runs each for some seconds.

    python tools/fuzz.py [seconds] [target ...]     120 seconds and all targets by default

Found inputs are kept in build/fuzz/<target>/; a crash is printed by libFuzzer and ends with exit code 8.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "firmware/core"
FOUND = ROOT / "build/fuzz"
COMPILERS = ("clang-14", "clang")
SANITIZE = "-fsanitize=fuzzer,address,undefined"
FLAGS = ["-std=c99", "-O1", "-g", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fno-sanitize-recover=all"]
SOURCES = {"fuzz_frame": ["frame", "wire"], "fuzz_message": ["wire"], "fuzz_session": ["session", "frame", "wire"]}


def build(target: str, folder: Path, compiler: str) -> Path:
    """The fuzzer as a program in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / target
    sources = [ROOT / f"tests/fuzz/{target}.c", *(CORE / f"{name}.c" for name in SOURCES[target])]
    includes = [f"-I{ROOT}/firmware/include", f"-I{CORE}"]
    subprocess.run([compiler, SANITIZE, *FLAGS, *includes, *map(str, sources), "-o", str(program)], check=True)
    return program


def run(program: Path, seconds: int, seed: int = 0) -> int:
    """Fuzzes from what was found before; libFuzzer's exit code."""
    corpus = program.parent / f"{program.name}.corpus"
    corpus.mkdir(exist_ok=True)
    options = [f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=2000", "-verbosity=0", "-print_final_stats=1"]
    artifacts = f"-artifact_prefix={program.parent}/{program.name}."
    return subprocess.run([str(program), *options, artifacts, str(corpus)]).returncode


def main(arguments: list[str]) -> int:
    seconds = int(arguments[0]) if arguments else 120
    targets = arguments[1:] or list(SOURCES)
    compiler = next((name for name in COMPILERS if shutil.which(name)), None)
    if compiler is None or not set(targets) <= set(SOURCES):
        print(f"error: needs clang with libFuzzer, and targets among {', '.join(SOURCES)}", file=sys.stderr)
        print("hint: apt-get install clang-14 libclang-rt-14-dev", file=sys.stderr)
        return 6 if compiler is None else 2
    failed = [target for target in targets if run(build(target, FOUND, compiler), seconds) != 0]
    if failed:
        print(f"error: {', '.join(failed)} found something, see above", file=sys.stderr)
    return 8 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Builds the libFuzzer targets of tests/fuzz with clang, ASan and UBSan, and runs each for some seconds.

    python tools/fuzz.py [seconds] [target ...]     120 seconds and all targets by default
    python tools/fuzz.py --merge                    what was found beyond tests/fuzz/corpus goes there, if it is short

Found inputs are kept in build/fuzz/<target>.corpus/; a crash is printed by libFuzzer and ends with exit code 8.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tinyfl_host.thirdparty import fetch

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "firmware/core"
FOUND = ROOT / "build/fuzz"
KEPT = ROOT / "tests/fuzz/corpus"
KEPT_INPUTS, KEPT_BYTES = 32, 400  # of one target: how many, and how long each
COMPILERS = ("clang-14", "clang")
SANITIZE = "-fsanitize=fuzzer,address,undefined"
FLAGS = ["-std=c99", "-O1", "-g", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fno-sanitize-recover=all"]
SOURCES = {
    "fuzz_frame": ["frame", "wire"],
    "fuzz_message": ["wire"],
    "fuzz_session": ["session", "retained", "frame", "wire"],
    "fuzz_handshake": ["session", "retained", "frame", "wire", "auth"],
    "fuzz_store": ["store", "wire"],
    "fuzz_codec": ["codec", "codec_entropy", "broadcast", "tensor", "wire"],
    "fuzz_round": [
        *("round", "residual", "private", "keep", "codec", "codec_entropy", "broadcast"),
        *("tensor", "head", "adapter", "dataset", "store", "wire"),
    ],
}


def build(target: str, folder: Path, compiler: str) -> Path:
    """The fuzzer as a program in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / target
    sources = [ROOT / f"tests/fuzz/{target}.c", *(CORE / f"{name}.c" for name in SOURCES[target])]
    includes = [f"-I{ROOT}/firmware/include", f"-I{CORE}"]
    foreign = []
    if "auth" in SOURCES[target]:
        monocypher = fetch("monocypher")
        includes.append(f"-I{monocypher}")
        foreign = [str(folder / "monocypher.o")]
        quiet = [compiler, "-fsanitize=fuzzer-no-link", "-O1", "-w", "-DBLAKE2_NO_UNROLLING", "-c"]
        subprocess.run([*quiet, str(monocypher / "monocypher.c"), "-o", *foreign], check=True)
    command = [compiler, SANITIZE, *FLAGS, *includes, *map(str, sources), *foreign, "-o", str(program)]
    subprocess.run(command, check=True)
    return program


def run(program: Path, seconds: int, seed: int = 0) -> int:
    """Fuzzes from what was found before and what is committed; libFuzzer's exit code."""
    corpus = program.parent / f"{program.name}.corpus"
    corpus.mkdir(exist_ok=True)
    kept = [str(KEPT / program.name)] if (KEPT / program.name).is_dir() else []
    options = [f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=2000", "-verbosity=0", "-print_final_stats=1"]
    artifacts = f"-artifact_prefix={program.parent}/{program.name}."
    return subprocess.run([str(program), *options, artifacts, str(corpus), *kept]).returncode


def merge(program: Path) -> None:
    """Adds to the committed inputs those that reach something new, the shortest first."""
    kept = KEPT / program.name
    kept.mkdir(parents=True, exist_ok=True)
    found = sorted((program.parent / f"{program.name}.corpus").glob("*"), key=lambda path: path.stat().st_size)
    with TemporaryDirectory() as short:
        for path in found:
            if path.stat().st_size <= KEPT_BYTES:
                shutil.copy(path, short)
        subprocess.run([str(program), "-merge=1", "-verbosity=0", str(kept), short], check=True)
    for path in sorted(kept.glob("*"), key=lambda path: path.stat().st_size)[KEPT_INPUTS:]:
        path.unlink()


def main(arguments: list[str]) -> int:
    merging = arguments == ["--merge"]
    seconds = int(arguments[0]) if arguments and not merging else 120
    targets = arguments[1:] or list(SOURCES)
    compiler = next((name for name in COMPILERS if shutil.which(name)), None)
    if compiler is None or not set(targets) <= set(SOURCES):
        print(f"error: needs clang with libFuzzer, and targets among {', '.join(SOURCES)}", file=sys.stderr)
        print("hint: apt-get install clang-14 libclang-rt-14-dev", file=sys.stderr)
        return 6 if compiler is None else 2
    if merging:
        for target in targets:
            merge(build(target, FOUND, compiler))
        return 0
    failed = [target for target in targets if run(build(target, FOUND, compiler), seconds) != 0]
    if failed:
        print(f"error: {', '.join(failed)} found something, see above", file=sys.stderr)
    return 8 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What tests compile of the firmware, once for all processes and runs that want the same: build/tests/<hash>."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
FIRMWARE = ROOT / "firmware"


def kept(digest: str, name: str, make: Callable[[Path], None]) -> Path:
    """The file of this name in the folder of this hash, made where it is missing: by one process, and whole."""
    folder = ROOT / "build/tests" / digest
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / name).exists():
            make(folder / f"new.{name}")
            (folder / f"new.{name}").rename(folder / name)
    return folder / name


def digest_of(flags: Sequence[str], sources: Mapping[str, str]) -> str:
    """A hash of the compiler and its flags, all C of the firmware, and other sources by their names."""
    digest = hashlib.sha256(repr(list(flags)).encode())
    for path in sorted(p for p in FIRMWARE.rglob("*") if p.suffix in (".c", ".h")):
        digest.update(path.name.encode() + path.read_bytes())
    for name, text in sorted(sources.items()):
        digest.update(name.encode() + text.encode())
    return digest.hexdigest()[:16]

"""The text files of tests/vectors: one case a line, fields by spaces, "-" for no bytes, # begins a comment."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "vectors"


def vectors(name: str) -> list[list[str]]:
    """The cases of one file."""
    lines = (FOLDER / f"{name}.txt").read_text().splitlines()
    return [line.split() for line in lines if line and not line.startswith("#")]


def unhex(text: str) -> bytes:
    """The bytes of a field."""
    return b"" if text == "-" else bytes.fromhex(text)

"""A record of every byte that crossed links: JSON Lines, one chunk a line, for ``tinyfl device monitor --replay``."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tinyfl.errors import ConfigError
from tinyfl_host.links.link import Link


@dataclass(frozen=True)
class Chunk:
    """Bytes that arrived or left together; ``seconds`` since the trace began."""

    seconds: float
    link: str
    sent: bool  # by the host
    data: bytes


class Trace:
    """A trace file that any number of links write to."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError where the file cannot be written."""
        try:
            self._file = path.open("w", encoding="ascii")
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}", "name a file that can be written") from error
        self._lock = threading.Lock()
        self._start = time.monotonic()

    def wrap(self, name: str, link: Link) -> Link:
        """The link, recorded under ``name``."""
        return TracedLink(self, name, link)

    def record(self, name: str, sent: bool, data: bytes) -> None:
        """One line, on disk at once: a trace of a run that was killed ends where it was killed."""
        seconds = round(time.monotonic() - self._start, 6)
        line = json.dumps({"t": seconds, "link": name, "dir": "out" if sent else "in", "data": data.hex()})
        with self._lock:
            if not self._file.closed:
                self._file.write(line + "\n")
                self._file.flush()

    def close(self) -> None:
        """Ends the record; the links stay open."""
        with self._lock:
            self._file.close()


class TracedLink:
    """A link that writes down what crosses it."""

    def __init__(self, trace: Trace, name: str, link: Link) -> None:
        self._trace, self._name, self._link = trace, name, link

    def read(self, timeout: float) -> bytes:
        """See Link."""
        data = self._link.read(timeout)
        if data:
            self._trace.record(self._name, False, data)
        return data

    def write(self, data: bytes) -> None:
        """See Link."""
        self._trace.record(self._name, True, data)
        self._link.write(data)

    def close(self) -> None:
        """See Link."""
        self._link.close()


def read_trace(path: Path) -> Iterator[Chunk]:
    """The chunks of a trace file in order; raises ConfigError with the line that is none."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                yield _chunk(path, number, line)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "name a file that --trace wrote") from error


def _chunk(path: Path, number: int, line: str) -> Chunk:
    try:
        entry = json.loads(line)
        return Chunk(
            float(entry["t"]),
            str(entry["link"]),
            {"out": True, "in": False}[entry["dir"]],
            bytes.fromhex(entry["data"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: line {number} is no trace: {error}", "name a file that --trace wrote") from error

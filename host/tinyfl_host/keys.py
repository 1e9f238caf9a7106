"""This host's file of board keys: who holds it can speak for every board in it, so nobody else may read it.

JSON, mode 0600, by device id: ``{"key": "<64 hex>", "pending": "<64 hex>", "name": "...", "enrolled": "<date>"}``.
``pending`` is a key that was sent to the board, or is about to be, and that the board has not proved yet.
Keys are never printed, logged or traced.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from tinyfl.errors import ConfigError
from tinyfl.wire.auth import KEY_BYTES

DEVICE_BYTES = 8
FIELDS = {"key", "pending", "name", "enrolled"}


@dataclass(frozen=True)
class Entry:
    """One board's."""

    name: str = ""
    enrolled: str = ""  # date of the key
    key: bytes | None = field(default=None, repr=False)  # that the board has proved
    pending: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Keys:
    """The file as it was read."""

    path: Path
    entries: dict[bytes, Entry]

    @property
    def empty(self) -> bool:
        """True where this host knows no board."""
        return not self.entries

    def get(self, device: bytes) -> bytes | None:
        """The board's key; the pending one where there is no other."""
        entry = self.entries.get(device, Entry())
        return entry.key or entry.pending

    def add(self, device: bytes, key: bytes, name: str) -> Keys:
        """Keeps a key as pending, beside the one that the board has proved."""
        return self._change(device, lambda old: replace(old, name=name, pending=key))

    def confirm(self, device: bytes) -> Keys:
        """The board has proved the pending key: it takes the place of the one before."""
        today = date.today().isoformat()
        return self._change(device, lambda old: Entry(old.name, today, old.pending or old.key))

    def withdraw(self, device: bytes) -> Keys:
        """The board has refused the pending key."""
        return self._change(device, lambda old: replace(old, pending=None))

    def _change(self, device: bytes, change: Callable[[Entry], Entry]) -> Keys:
        """Writes the file with this board's entry changed, the others as they are now; one without keys goes."""
        with _permission(self.path), _lock(self.path):
            entries = load_keys(self.path).entries
            entries[device] = change(entries.get(device, Entry()))
            if not (entries[device].key or entries[device].pending):
                del entries[device]
            _write(self.path, _document(entries))
        return Keys(self.path, entries)


def key_file() -> Path:
    """``$TINYFL_KEYS``, or ``tinyfl/keys.json`` where the user keeps configuration."""
    named = os.environ.get("TINYFL_KEYS")
    if named:
        return Path(named)
    configuration = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(configuration).expanduser() / "tinyfl" / "keys.json"


def load_keys(path: Path | None = None) -> Keys:
    """The keys of this host, none where there is no file; raises ConfigError where it cannot be trusted or read."""
    path = path or key_file()
    with _permission(path):
        try:
            with path.open(encoding="utf-8") as file:
                mode = os.fstat(file.fileno()).st_mode
                if mode & 0o077:
                    raise ConfigError(
                        f"{path}: others may read this file of keys (mode {mode & 0o777:04o})", f"chmod 600 {path}"
                    )
                text = file.read()
        except FileNotFoundError:
            return Keys(path, {})
        except UnicodeDecodeError as error:
            raise _corrupt(path, 1, "is not UTF-8") from error
    return Keys(path, _parse(path, text))


def _parse(path: Path, text: str) -> dict[bytes, Entry]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise _corrupt(path, error.lineno, error.msg) from None  # the cause holds the text, keys and all
    if not isinstance(document, dict):
        raise _corrupt(path, 1, "expected an object by device id")
    entries: dict[bytes, Entry] = {}
    for device, fields in document.items():
        try:
            entries[_unhex(device, DEVICE_BYTES)] = _entry(fields)
        except ValueError as error:
            line = 1 + text[: text.find(json.dumps(device))].count("\n")
            raise _corrupt(path, line, f"device {device}: {error}") from None
    return entries


def _entry(fields: Any) -> Entry:
    """Raises ValueError, which never holds a key."""
    if not isinstance(fields, dict) or set(fields) - FIELDS:
        raise ValueError(f"expected {', '.join(sorted(FIELDS))}")
    if not all(isinstance(value, str) for value in fields.values()):
        raise ValueError("expected texts")
    key, pending = (_unhex(fields[name], KEY_BYTES) if name in fields else None for name in ("key", "pending"))
    if not (key or pending):
        raise ValueError("there is no key")
    return Entry(fields.get("name", ""), fields.get("enrolled", ""), key, pending)


def _unhex(text: str, size: int) -> bytes:
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(data) != size:
        raise ValueError(f"expected {2 * size} hex digits")
    return data


def _document(entries: dict[bytes, Entry]) -> dict[str, dict[str, str]]:
    values = {
        device.hex(): {
            "key": entry.key.hex() if entry.key else "",
            "pending": entry.pending.hex() if entry.pending else "",
            "name": entry.name,
            "enrolled": entry.enrolled,
        }
        for device, entry in entries.items()
    }
    return {device: {name: value for name, value in fields.items() if value} for device, fields in values.items()}


def _write(path: Path, document: dict[str, dict[str, str]]) -> None:
    """In one step and to the disk: a board's key must not be lost once the board has it."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # O_EXCL, mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=2, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """One writer at a time; the folder is made where there is none."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path.with_name(f"{path.name}.lock"), os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _permission(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "make it yours, or name another file by TINYFL_KEYS"
        raise ConfigError(f"{error.filename or path}: {error.strerror}", hint) from error


def _corrupt(path: Path, line: int, reason: str) -> ConfigError:
    return ConfigError(f"{path}:{line}: {reason}", "mend that line, or move the file away and enrol the boards again")

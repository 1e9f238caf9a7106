"""The key file: who may read it, that it is never half written, lost or printed."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from tinyfl.errors import ConfigError
from tinyfl_host.keys import Keys, key_file, load_keys

ADA, BOB = bytes(range(1, 9)), bytes(range(11, 19))
FIRST, SECOND = bytes(range(32)), bytes(range(32, 64))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TINYFL_KEYS", str(tmp_path / "new" / "keys.json"))
    return tmp_path / "new" / "keys.json"


def test_where_the_file_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYFL_KEYS", "/a/b.json")
    assert key_file() == Path("/a/b.json")
    monkeypatch.delenv("TINYFL_KEYS")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/c")
    assert key_file() == Path("/c/tinyfl/keys.json")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "/home/ada")
    assert key_file() == Path("/home/ada/.config/tinyfl/keys.json")


def test_no_file_is_no_key(path: Path) -> None:
    keys = load_keys()
    assert keys.empty and keys.get(ADA) is None and not path.parent.exists()


def test_a_key_is_pending_then_valid_and_comes_back(path: Path) -> None:
    keys = load_keys().add(ADA, FIRST, "ada").add(BOB, SECOND, "bob").confirm(BOB)
    for read in (keys, load_keys()):
        assert read.get(ADA) == FIRST and read.entries[ADA].key is None
        assert read.get(BOB) == SECOND and read.entries[BOB].pending is None and read.entries[BOB].enrolled
        assert not read.empty


def test_a_new_key_does_not_take_the_old_one_s_place_before_the_board_has_proved_it(path: Path) -> None:
    keys = load_keys().add(ADA, FIRST, "ada").confirm(ADA).add(ADA, SECOND, "ada")
    assert load_keys().get(ADA) == FIRST and load_keys().entries[ADA].pending == SECOND
    keys.withdraw(ADA)
    assert load_keys().get(ADA) == FIRST and load_keys().entries[ADA].pending is None
    keys.add(ADA, SECOND, "ada").confirm(ADA)
    assert load_keys().get(ADA) == SECOND


def test_a_refused_first_key_leaves_nothing(path: Path) -> None:
    assert load_keys().add(ADA, FIRST, "ada").withdraw(ADA).empty and load_keys().empty


def test_nobody_else_can_read_it(path: Path) -> None:
    old = os.umask(0)
    try:
        load_keys().add(ADA, FIRST, "ada")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660])
def test_a_file_that_others_can_read_is_refused(path: Path, mode: int) -> None:
    keys = load_keys().add(ADA, FIRST, "ada")
    path.chmod(mode)
    for attempt in (load_keys, lambda: keys.add(BOB, SECOND, "bob")):
        with pytest.raises(ConfigError, match=f"mode 0{mode:o}") as caught:
            attempt()
        assert caught.value.hint == f"chmod 600 {path}"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("{\n\n  oops}", 3, "Expecting property name"),
        ("[]", 1, "expected an object"),
        ('{\n"0102030405060708": {"key": "' + FIRST.hex()[:-2] + '"}}', 2, "64 hex digits"),
        ('{\n"0102030405060708": {"key": "' + "zz" * 32 + '"}}', 2, "64 hex digits"),
        ('{\n"0102": {"key": "' + FIRST.hex() + '"}}', 2, "16 hex digits"),
        ('{\n"0102030405060708": {"name": "ada"}}', 2, "there is no key"),
        ('{\n"0102030405060708": {"key": 5}}', 2, "expected texts"),
        ('{\n"0102030405060708": {"kee": "' + FIRST.hex() + '"}}', 2, "expected enrolled, key"),
        ('{\n"0102030405060708": 7}', 2, "expected enrolled, key"),
    ],
)
def test_a_corrupt_file_is_named_by_line_and_left_alone(path: Path, text: str, line: int, reason: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    path.chmod(0o600)
    for attempt in (load_keys, lambda: Keys(path, {}).add(BOB, SECOND, "bob")):
        with pytest.raises(ConfigError, match=reason) as caught:
            attempt()
        assert caught.value.message.startswith(f"{path}:{line}: ")
        assert FIRST.hex()[:-2] not in caught.value.message + repr(caught.value.__cause__)
    assert path.read_text() == text


def test_bytes_that_are_no_text(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"\xff\xfe")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="UTF-8"):
        load_keys()


def test_keys_do_not_show(path: Path) -> None:
    keys = load_keys().add(ADA, FIRST, "ada").confirm(ADA).add(ADA, SECOND, "ada")
    shown = f"{keys} {keys!r} {keys.entries[ADA]!r}"
    assert "ada" in shown
    assert repr(FIRST) not in shown and FIRST.hex() not in shown and repr(SECOND) not in shown


def test_a_failed_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = load_keys().add(ADA, FIRST, "ada")
    before = path.read_bytes()
    monkeypatch.setattr(
        json, "dump", lambda document, file, **_: file.write("{") and (_ for _ in ()).throw(OSError(28, "full"))
    )
    with pytest.raises(ConfigError, match="full"):
        keys.add(BOB, SECOND, "bob")
    assert path.read_bytes() == before
    assert sorted(p.name for p in path.parent.iterdir()) == ["keys.json", "keys.json.lock"]


def test_hosts_that_enrol_at_the_same_time_lose_no_key(path: Path) -> None:
    """Each has read the file before the others wrote."""
    keys = load_keys()
    devices = [bytes([i + 1] * 8) for i in range(12)]
    threads = [threading.Thread(target=keys.add, args=(device, FIRST, "board")) for device in devices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(load_keys().entries) == devices

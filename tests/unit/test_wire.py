"""The schema and what is generated from it."""

from __future__ import annotations

import copy
import importlib.util
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_vectors import unhex, vectors

from tinyfl.errors import BoardError, FrameError, MismatchError
from tinyfl.wire import messages as wire
from tinyfl.wire.packing import Message
from tinyfl.wire.refusal import refusal

ROOT = Path(__file__).parents[2]
BY_NAME = {message.NAME: message for message in wire.MESSAGES.values()}


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_wire", ROOT / "tools/generate_wire.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_files_are_what_the_schema_says(generator: ModuleType) -> None:
    for path, text in generator.outputs().items():
        assert path.read_text() == text, f"{path.name}: run python tools/generate_wire.py"


def test_the_schema_hash_is_over_meaning(generator: ModuleType) -> None:
    """Prose does not change it; a field, a code, a type or an order does."""
    spec = tomllib.loads((ROOT / "tinyfl/wire/wire.toml").read_text())
    assert generator.schema_hash(spec) == wire.SCHEMA
    prose = copy.deepcopy(spec)
    prose["message"]["TRAIN"]["doc"] = prose["status"]["ERROR_LINK"]["hint"] = prose["frame"]["kinds"]["ACK"]["doc"] = (
        "x"
    )
    assert generator.schema_hash(prose) == wire.SCHEMA
    changes = [copy.deepcopy(spec) for _ in range(5)]
    changes[0]["message"]["TRAIN"]["fields"][4][1] = "u32"
    changes[1]["message"]["TRAIN"]["fields"].reverse()
    changes[2]["status"]["ERROR_LINK"]["code"] = -99
    changes[3]["frame"]["kinds"]["LOG"]["code"] = 9
    changes[4]["message"]["TRAIN"]["reply"] = "DONE"
    hashes = {generator.schema_hash(changed) for changed in changes}
    assert len(hashes) == 5 and wire.SCHEMA not in hashes


def test_an_array_must_be_the_last_field(generator: ModuleType) -> None:
    with pytest.raises(SystemExit, match="last field"):
        generator.split_fields({"fields": [["a", "i8[]"], ["b", "u8"]]})


def shown(message: Message, field: str) -> str:
    """A field as the vectors write it."""
    value = getattr(message, field)
    if isinstance(value, np.ndarray):
        return ",".join(map(str, value.tolist()))
    return value.hex() if isinstance(value, bytes) else str(value)


def test_messages_equal_the_vectors() -> None:
    for name, body, *fields in vectors("messages"):
        message = BY_NAME[name].unpack(unhex(body))
        assert message.pack() == unhex(body)
        for field, _, text in (f.partition("=") for f in fields):
            expected = unhex(text or "-").rstrip(b"\0").decode() if field in message.TEXTS else text
            assert shown(message, field) == expected, f"{name}.{field}"


@given(st.sampled_from(sorted(wire.MESSAGES)), st.binary(max_size=200))
def test_bodies_are_taken_or_refused(type: int, body: bytes) -> None:
    """Any body unpacks to what packs to it again, or raises FrameError; texts lose what is no UTF-8."""
    message = wire.MESSAGES[type]
    try:
        unpacked = message.unpack(body)
    except FrameError as error:
        assert message.NAME in error.message
        return
    if not message.TEXTS:
        assert unpacked.pack() == body


@pytest.mark.parametrize(
    "message",
    [
        wire.Evaluate(256, 0),
        wire.Evaluate(-1, 0),
        wire.Evaluate("0", 0),  # type: ignore[arg-type]
        wire.Weights(1, np.array([40000])),
        wire.Weights(1, np.array([0.5])),  # type: ignore[arg-type]
        wire.Weights(1, np.zeros((2, 2), np.int16)),
        wire.Weights(2**32, np.zeros(2, np.int16)),
        wire.Delta(1, 0, np.array([256])),
        wire.Enrol(b"key"),
        wire.Enrol(bytes(33)),
        wire.Enrol(bytes(31)),
    ],
)
def test_values_that_do_not_fit_are_named(message: Message) -> None:
    with pytest.raises(FrameError, match=message.NAME):
        message.pack()


def test_a_name_that_does_not_fit_is_not_cut() -> None:
    fields: dict[str, Any] = dict.fromkeys(wire.Welcome.FIELDS, 0)
    fields |= {"device": bytes(8), "model": bytes(16), "nonce": bytes(16), "proof": bytes(16)}
    for name in ("ada", "0123456789abcdef"):
        assert wire.Welcome.unpack(wire.Welcome(**fields | {"name": name}).pack()).name == name
    with pytest.raises(FrameError, match=r"WELCOME.name: 17 bytes do not fit 16"):
        wire.Welcome(**fields | {"name": "0123456789abcdefg"}).pack()


@pytest.mark.parametrize("status", [s for s in wire.Status if s != wire.Status.OK])
def test_every_status_becomes_an_exception_with_a_hint(status: wire.Status) -> None:
    error = refusal("ada", "TRAIN", status, 17)
    assert error.message.startswith("ada: TRAIN refused: ")
    assert "17" in error.message or "0x11" in error.message
    assert error.hint and error.status == status and error.exit_code == 5
    mismatch = status in (wire.Status.ERROR_PROTOCOL, wire.Status.ERROR_MODEL)
    assert isinstance(error, MismatchError) == mismatch


def test_an_unknown_status_is_an_error_too() -> None:
    error = refusal("ada", "TRAIN", -77, 0)
    assert type(error) is BoardError and "-77" in error.message

"""The data image: a board's samples as one file (docs/DESIGN.md, "Data image"); ``firmware/core/image.c`` reads it."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyfl.errors import DataError

MAGIC = b"TFLD"
VERSION = 1
HEADER = struct.Struct("<4sHHIIII8x16s")  # magic, version, bytes, input bytes, train, test, CRC-32, reserved, name
MAX_SAMPLES = 131_072  # of one split; more a board does not use
NAME_BYTES = 16


@dataclass(frozen=True)
class Image:
    """The samples of one board: int8 inputs (n, input bytes) with labels (n,) of both splits."""

    x_train: npt.NDArray[np.int8]
    y_train: npt.NDArray[np.uint8]
    x_test: npt.NDArray[np.int8]
    y_test: npt.NDArray[np.uint8]
    name: str


def build_image(
    x_train: npt.NDArray[np.int8],
    y_train: npt.ArrayLike,
    x_test: npt.NDArray[np.int8],
    y_test: npt.ArrayLike,
    name: str,
) -> bytes:
    """The image's bytes; inputs (n, *shape) int8, labels (n,) 0..255. Raises DataError where they do not fit."""
    labels = [_labels(x, y, split) for x, y, split in ((x_train, y_train, "training"), (x_test, y_test, "test"))]
    input_bytes = int(np.prod(x_train.shape[1:], dtype=np.int64))
    if x_train.shape[1:] != x_test.shape[1:] or input_bytes == 0:
        raise DataError(f"training inputs are {x_train.shape[1:]}, test inputs {x_test.shape[1:]}")
    encoded = name.encode()
    if len(encoded) > NAME_BYTES or "\0" in name:
        raise DataError(f"board name {name!r} has {len(encoded)} bytes, expected at most {NAME_BYTES}")
    payload = b"".join(labels)
    payload += bytes(-len(payload) % 4) + x_train.tobytes() + x_test.tobytes()
    counts = len(x_train), len(x_test)
    return HEADER.pack(MAGIC, VERSION, HEADER.size, input_bytes, *counts, zlib.crc32(payload), encoded) + payload


def read_image(data: bytes) -> Image:
    """What ``build_image`` wrote. Raises DataError where it is none or damaged; bytes behind it are ignored."""
    if len(data) < HEADER.size or data[:4] != MAGIC:
        raise DataError("no data image: it does not begin with TFLD")
    _, version, header, input_bytes, train, test, crc, name = HEADER.unpack_from(data)
    if version != VERSION or header != HEADER.size:
        raise DataError(
            f"a data image of version {version} with {header} header bytes, expected {VERSION}, {HEADER.size}"
        )
    start = HEADER.size + -(-(train + test) // 4) * 4
    end = start + (train + test) * input_bytes
    if input_bytes == 0 or end > len(data):
        raise DataError(f"a data image of {len(data)} bytes, its header promises {end}")
    if zlib.crc32(data[HEADER.size : end]) != crc:
        raise DataError("a damaged data image: its CRC is wrong")
    labels = np.frombuffer(data, np.uint8, train + test, HEADER.size)
    inputs = np.frombuffer(data, np.int8, (train + test) * input_bytes, start).reshape(-1, input_bytes)
    text = name.rstrip(b"\0").decode(errors="replace")
    return Image(inputs[:train], labels[:train], inputs[train:], labels[train:], text)


def training_samples(image: bytes | memoryview) -> int:
    """How many of them an image of ``build_image`` holds."""
    return int(HEADER.unpack_from(image)[4])


def _labels(x: npt.NDArray[np.int8], y: npt.ArrayLike, split: str) -> bytes:
    values = np.asarray(y)
    if x.dtype != np.int8 or values.shape != (len(x),):
        raise DataError(
            f"{split} inputs are {x.dtype} {x.shape} with labels {values.shape}, expected int8 (n, ...), (n,)"
        )
    if len(x) > MAX_SAMPLES:
        raise DataError(f"{len(x)} {split} samples, a board takes {MAX_SAMPLES}")
    if len(values) and not (np.issubdtype(values.dtype, np.integer) and values.min() >= 0 and values.max() <= 255):
        raise DataError(f"{split} labels are {values.dtype}, expected integers 0..255")
    return values.astype(np.uint8).tobytes()

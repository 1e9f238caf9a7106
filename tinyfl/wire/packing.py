"""What all messages have in common: a frozen dataclass each, packed little-endian into a body of bytes."""

from __future__ import annotations

import struct
from typing import Any, ClassVar, Self

import numpy as np

from tinyfl.errors import FrameError


class Message:
    """Base of the generated messages: fixed fields, then optionally one array that takes the rest of the body."""

    NAME: ClassVar[str]
    TYPE: ClassVar[int]
    REPLY: ClassVar[int]  # type of the answer to a request, 0 for an answer
    BYTES: ClassVar[int]  # of the fixed fields
    FORMAT: ClassVar[str]  # of struct, fixed fields
    FIELDS: ClassVar[tuple[str, ...]]
    TEXTS: ClassVar[tuple[str, ...]] = ()  # fixed fields that hold zero-padded UTF-8
    ARRAY: ClassVar[str] = ""  # numpy dtype of the last field

    def pack(self) -> bytes:
        """The body; raises FrameError where a value does not fit its field."""
        values = [getattr(self, name) for name in self.FIELDS]
        tail = self._pack_array(values.pop()) if self.ARRAY else b""
        fixed = [value.encode() if isinstance(value, str) else value for value in values]
        shown = [f"{len(value)} bytes" if isinstance(value, bytes) else value for value in values]  # a key is no text
        try:
            packed = struct.pack(self.FORMAT, *fixed)
        except (struct.error, TypeError) as error:
            raise FrameError(f"{self.NAME} {shown}: {error}") from error
        for value, back, name in zip(fixed, struct.unpack(self.FORMAT, packed), self.FIELDS, strict=False):
            if isinstance(value, bytes) and value != (back.rstrip(b"\0") if name in self.TEXTS else back):
                raise FrameError(f"{self.NAME}.{name}: {len(value)} bytes do not fit {len(back)}")
        return packed + tail

    def __eq__(self, other: object) -> bool:
        """Messages with an array are compared by their bodies."""
        return isinstance(other, Message) and self.TYPE == other.TYPE and self.pack() == other.pack()

    def __hash__(self) -> int:
        return hash((self.TYPE, self.pack()))

    def _pack_array(self, values: Any) -> bytes:
        array = np.asarray(values)
        packed = array.astype(self.ARRAY)
        if array.ndim != 1 or not np.array_equal(array, packed):
            raise FrameError(f"{self.NAME}.{self.FIELDS[-1]}: {array.dtype} {array.shape} does not fit {self.ARRAY}")
        return packed.tobytes()

    @classmethod
    def unpack(cls, body: bytes) -> Self:
        """The message in a body; raises FrameError where its length cannot be right."""
        size = cls.BYTES
        rest = len(body) - size
        item = np.dtype(cls.ARRAY).itemsize if cls.ARRAY else 1
        if rest < 0 or (rest > 0 and not cls.ARRAY) or rest % item:
            expected = f"{size}+{item}n" if cls.ARRAY else f"{size}"
            raise FrameError(f"{cls.NAME} has {len(body)} bytes, expected {expected}")
        values: list[Any] = list(struct.unpack_from(cls.FORMAT, body))
        for i, name in enumerate(cls.FIELDS[: len(values)]):
            if name in cls.TEXTS:
                values[i] = values[i].rstrip(b"\0").decode(errors="replace")
        if cls.ARRAY:
            native = np.dtype(cls.ARRAY).newbyteorder("=")
            values.append(np.frombuffer(body, cls.ARRAY, offset=size).astype(native))
        return cls(*values)

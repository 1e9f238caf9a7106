"""The exception tree: each error has a message (what was seen, expected), a hint (what to do next) and an exit code.

Raise near the cause, with a hint; only ``tinyfl_host.cli`` turns an error into text. ``EXIT_CODES`` is the one table.
"""

from __future__ import annotations

from typing import ClassVar

EXIT_CODES: dict[int, str] = {
    0: "ok",
    1: "unexpected error (a bug in tinyfl)",
    2: "usage: unknown command, option or argument",
    3: "bad recipe, model, data or config",
    4: "link or board unreachable",
    5: "the board replied with an error",
    6: "a build, flash or emulator tool failed",
    7: "quorum missed",
    8: "a check failed",
    130: "interrupted",
    141: "the reader of stdout went away",
}


class TinyflError(Exception):
    """Base of all errors that tinyfl raises on purpose."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(TinyflError):
    """An argument or option that cannot be used as given."""

    exit_code = 2


class ConfigError(TinyflError):
    """A recipe, fleet file, model, data set or run folder that cannot be used."""

    exit_code = 3


class ModelError(ConfigError):
    """A ``.tflite`` that cannot be compiled: truncated, float, or with an operator that is not supported."""


class DataError(ConfigError):
    """Samples that cannot be used: wrong shape, not a number, no rows."""


class LinkError(TinyflError):
    """A port, socket or emulator that cannot be opened, or that closed."""

    exit_code = 4


class DeadlineError(LinkError):
    """The board did not answer within its deadline."""


class FrameError(TinyflError):
    """Bytes that are no valid frame or message."""

    exit_code = 5


class BoardError(TinyflError):
    """The board answered with an error status (``status``: the code of ``wire.toml``)."""

    exit_code = 5

    def __init__(self, message: str, hint: str = "", status: int = 0) -> None:
        super().__init__(message, hint)
        self.status = status


class MismatchError(BoardError):
    """The board holds another model, protocol or head shape than the host expects."""


class AuthError(TinyflError):
    """A board that did not prove that it holds its key, or that this host cannot talk to for want of one."""

    exit_code = 4


class ToolError(TinyflError):
    """A compiler, PlatformIO, flash tool or emulator failed or is missing."""

    exit_code = 6


class QuorumError(TinyflError):
    """Fewer boards finished a round than the quorum asks for."""

    exit_code = 7


class CheckError(TinyflError):
    """A check that the user asked for did not hold."""

    exit_code = 8


class Interrupted(TinyflError):  # noqa: N818 - Ctrl-C is no error
    """Ctrl-C that was handled: the hint says how to go on."""

    exit_code = 130

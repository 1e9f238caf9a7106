"""An ERROR reply as the exception that it stands for."""

from __future__ import annotations

from tinyfl.errors import BoardError, MismatchError
from tinyfl.wire.messages import SCHEMA, STATUS_HINT, STATUS_TEXT, Status

MISMATCHES = (Status.ERROR_PROTOCOL, Status.ERROR_MODEL)


def refusal(board: str, request: str, status: int, detail: int) -> BoardError:
    """BoardError, or MismatchError where the board holds something else than the host; never raises."""
    if status == Status.ERROR_PROTOCOL:
        return MismatchError(
            f"{board}: {request} refused: the board speaks another protocol (its side says {detail:#x}; this host's "
            f"schema is {SCHEMA:#010x})",
            STATUS_HINT[Status.ERROR_PROTOCOL],
            status,
        )
    try:
        known = Status(status)
    except ValueError:
        known = Status.ERROR_TYPE
        text = f"status {status}, which this host does not know"
    else:
        text = STATUS_TEXT[known]
    kind = MismatchError if status in MISMATCHES else BoardError
    return kind(f"{board}: {request} refused: {text} (detail {detail})", STATUS_HINT[known], status)

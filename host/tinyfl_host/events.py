"""What a run says while it goes on, one dataclass an event: JSON Lines with ``--json``, else the progress display."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Accuracy:
    """Shares of right answers on the boards' test data: of the clients together, of the never-seen users together."""

    clients: float | None
    unseen: float | None


@dataclass(frozen=True)
class Bytes:
    """Of all boards together: over the links with framing and repeats; of that the coded deltas alone, and the bodies
    of all messages; and beside the rounds, both ways, what measuring took."""

    up: int
    down: int
    payload_up: int
    body_up: int = 0
    body_down: int = 0
    measuring: int = 0


@dataclass(frozen=True)
class Step:
    """What is done before the first round, and what is odd after the last one, for people."""

    text: str


@dataclass(frozen=True)
class RunStart:
    """The run's folder, its boards and settings; ``round`` is the last round that is over already (resumed runs)."""

    run: str
    recipe: str
    model: str
    boards: list[dict[str, Any]]
    settings: dict[str, Any]
    round: int


@dataclass(frozen=True)
class Simulated:
    """Boards inside the host: how many, bytes of one; of all together, bytes of embeddings and of mapped samples."""

    boards: int
    board_bytes: int
    cache_bytes: int
    sample_bytes: int


@dataclass(frozen=True)
class BoardJoined:
    """A board said hello: at the start, or again after it had been dropped."""

    round: int
    board: str
    train_samples: int
    test_samples: int


@dataclass(frozen=True)
class BoardDropped:
    """A board left out of a round: phase hello, train, collect, evaluate or local."""

    round: int
    board: str
    phase: str
    reason: str


@dataclass(frozen=True)
class RoundStart:
    """The boards that were selected."""

    round: int
    boards: list[str]


@dataclass(frozen=True)
class Evaluated:
    """Accuracy of the head after ``round`` (0: as it was compiled)."""

    round: int
    accuracy: Accuracy


@dataclass(frozen=True)
class RoundDone:
    """A round that counts: its boards, the fleet's shift of each shared tensor, mean loss, bytes and seconds."""

    round: int
    accuracy: Accuracy | None
    boards: int
    shifts: list[int]
    loss: float
    bytes: Bytes
    seconds: float


@dataclass(frozen=True)
class LocalOnly:
    """Clients that learned alone: on everybody's data, and each on its own."""

    accuracy: Accuracy
    own: float | None


@dataclass(frozen=True)
class Personal:
    """The heads that clients keep for themselves after the last round: on everybody's data, and each on its own; how
    many of them are tuned. A head was measured on everybody's data where there are few boards."""

    accuracy: Accuracy
    own: float | None
    tuned: int
    boards: int


@dataclass(frozen=True)
class RunDone:
    """The last event; its keys are a contract for scripts (docs/DESIGN.md)."""

    run: str
    rounds: int
    before: Accuracy
    after: Accuracy
    local_only: Accuracy
    head_sha256: str
    bytes: Bytes
    boards: int
    dropped: int


Event = (
    Step
    | RunStart
    | Simulated
    | BoardJoined
    | BoardDropped
    | RoundStart
    | Evaluated
    | RoundDone
    | LocalOnly
    | Personal
    | RunDone
)
Emit = Callable[[Event], None]


def as_document(event: Event) -> dict[str, Any]:
    """The event as JSON knows it: ``event`` is its name in snake_case."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    return {"event": name, **dataclasses.asdict(event)}

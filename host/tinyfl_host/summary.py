"""What a ledger says about its run: the figures of the final table and of the reports, computed in one place."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tinyfl.errors import ConfigError
from tinyfl_host.evaluation import FEDERATED, LOCAL, accuracy, local_accuracy, share
from tinyfl_host.events import Accuracy, LocalOnly, Personal
from tinyfl_host.fleet import Member
from tinyfl_host.ledger import DropRow, Ledger, MetricRow, RoundRow, UpdateRow
from tinyfl_host.personal import OWN, personal
from tinyfl_host.runs import head_sha256, heads_after

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class RoundFigures:
    """One round: accuracies are None where it was not measured."""

    round: int
    accuracy: Accuracy
    boards: int
    selected: int
    shifts: tuple[int, ...]
    loss: float | None
    bytes_up: int
    bytes_down: int
    payload_up: int
    body_up: int
    body_down: int
    measuring: int
    seconds: float


@dataclass(frozen=True)
class BoardFigures:
    """One board; accuracies on its own test data."""

    name: str
    user: str
    role: str
    link: str
    samples: int | None
    before: float | None
    after: float | None
    local: float | None  # of the head that it learned alone
    rounds: int
    bytes_up: int
    bytes_down: int
    drops: int
    own: float | None = None  # of the head that it keeps for itself
    tuned: bool | None = None  # whether that is its own, not the common one
    cluster: int | None = None  # where there are several


@dataclass(frozen=True)
class Summary:
    """A whole run, finished or not."""

    run: str
    recipe: str
    model: str
    created: str
    finished: str | None
    settings: dict[str, Any]
    before: Accuracy
    after: Accuracy
    local_only: LocalOnly
    personal: Personal | None
    rounds: list[RoundFigures]
    boards: list[BoardFigures]
    drops: list[DropRow]
    head_sha256: str
    shared_weights: int
    instructions_per_window: int | None
    instructions_per_step: int | None

    @property
    def private(self) -> str | None:
        """The tensor that stayed on the boards; None where all were shared."""
        name: str = self.settings["personal"]["private"]
        return None if name == "none" else name

    @property
    def bytes_up(self) -> int:
        """Board to host, all rounds."""
        return sum(row.bytes_up for row in self.rounds)

    @property
    def bytes_down(self) -> int:
        """Host to board, all rounds."""
        return sum(row.bytes_down for row in self.rounds)

    @property
    def measuring(self) -> int:
        """Both ways, beside the rounds."""
        return sum(row.measuring for row in self.rounds)

    @property
    def payload_up(self) -> int:
        """The coded deltas alone, all rounds."""
        return sum(row.payload_up for row in self.rounds)

    @property
    def overhead(self) -> float | None:
        """Bytes on the links beside the bodies of messages, for each byte of a body; None where there was no link."""
        bodies = sum(row.body_up + row.body_down for row in self.rounds)
        return (self.bytes_up + self.bytes_down) / bodies - 1 if bodies else None


def summarise(ledger: Ledger) -> Summary:
    """All figures of the run. Raises ConfigError where nothing was measured yet."""
    rounds = ledger.rounds()
    if not rounds:
        raise ConfigError(f"{ledger.folder}: the run ended before anything was measured", "go on with --resume")
    members = [Member(**document) for document in ledger.members()]
    metrics, updates, drops = ledger.metrics(), ledger.updates(), ledger.drops()
    federated = _grouped((row.round, row) for row in metrics if row.model == FEDERATED)
    last = federated[max(federated)]
    boards = _Boards(
        before={row.board: row for row in federated[0]},
        after={row.board: row for row in last},
        local={row.board: row for row in metrics if row.model == LOCAL + row.board},
        own={row.board: row for row in metrics if row.model == OWN + row.board},
        tuned={board: tuned for board, (_, tuned) in ledger.own_heads().items()},
        clusters=len(rounds[-1].masters),
        updates=_grouped((update.board, update) for _, update in updates),
        drops=Counter(drop.board for drop in drops),
    )
    by_round = _grouped(updates)
    created, finished = ledger.times()
    return Summary(
        run=str(ledger.folder),
        recipe=ledger.identity()["recipe"],
        model=ledger.identity()["model"],
        created=created,
        finished=finished,
        settings=ledger.settings(),
        before=accuracy(members, federated[0]),
        after=accuracy(members, last),
        local_only=local_accuracy(members, ledger),
        personal=personal(members, ledger),
        rounds=[_round(row, members, federated, by_round.get(row.round, [])) for row in rounds],
        boards=[_board(member, boards) for member in members],
        drops=drops,
        head_sha256=head_sha256(*heads_after(ledger, rounds[-1])),
        shared_weights=rounds[-1].masters.shape[1],
        instructions_per_window=_mean(updates, "embed_instructions", "embeddings"),
        instructions_per_step=_mean(updates, "step_instructions", "steps"),
    )


@dataclass(frozen=True)
class _Boards:
    """What the ledger says of each board, by its name."""

    before: Mapping[str, MetricRow]
    after: Mapping[str, MetricRow]
    local: Mapping[str, MetricRow]
    own: Mapping[str, MetricRow]
    tuned: Mapping[str, bool]
    clusters: int
    updates: Mapping[str, Sequence[UpdateRow]]
    drops: Mapping[str, int]


def _grouped(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    groups: dict[K, list[V]] = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return groups


def _round(
    row: RoundRow, members: Sequence[Member], federated: Mapping[int, list[MetricRow]], own: Sequence[UpdateRow]
) -> RoundFigures:
    samples = sum(update.samples for update in own)
    loss = sum(update.loss * update.samples for update in own) / samples if samples else None
    score = accuracy(members, federated[row.round]) if row.round in federated else Accuracy(None, None)
    counts = (row.bytes_up, row.bytes_down, row.payload_up, row.body_up, row.body_down, row.measuring, row.seconds)
    return RoundFigures(row.round, score, len(own), len(row.selected), row.shifts, loss, *counts)


def _board(member: Member, of: _Boards) -> BoardFigures:
    before, after, local, kept = (
        share([rows[member.name]]) if member.name in rows else None for rows in (of.before, of.after, of.local, of.own)
    )
    own, last = of.updates.get(member.name, ()), of.after.get(member.name)
    return BoardFigures(
        name=member.name,
        user=member.user,
        role=member.role,
        link=member.link,
        samples=own[-1].samples if own else None,
        before=before,
        after=after,
        local=local,
        own=kept,
        tuned=of.tuned.get(member.name),
        cluster=last.cluster if last is not None and of.clusters > 1 else None,
        rounds=len(own),
        bytes_up=sum(update.bytes_up for update in own),
        bytes_down=sum(update.bytes_down for update in own),
        drops=of.drops[member.name],
    )


def _mean(updates: Sequence[tuple[int, UpdateRow]], total: str, count: str) -> int | None:
    """Instructions per piece, over all boards that count them."""
    rows = [update for _, update in updates if getattr(update, total) is not None and getattr(update, count)]
    pieces = sum(getattr(update, count) for update in rows)
    return round(sum(getattr(update, total) for update in rows) / pieces) if pieces else None


def quantile(values: Sequence[Any], share: float) -> Any:
    """The value below which this share lies, of those that are known; None where none is."""
    known = sorted(value for value in values if value is not None)
    return known[round(share * (len(known) - 1))] if known else None

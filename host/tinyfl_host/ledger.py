"""The ledger of one run: what was decided, what each board sent, what became of it. A killed run resumes from it.

One SQLite file (WAL) in the run's folder. A round stands in it whole or not at all, written in one transaction when it
is over; all that a round depends on (settings, master weights) is there before. So a run that is killed at any moment
does its last round again, with the same seeds, and comes to the same weights.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from tinyfl.errors import ConfigError, UsageError

FILE = "ledger.sqlite"
VERSION = 4
ROOM = "make room or permit writing, or set TINYFL_BUILD; what was written is kept: tinyfl run … --resume"

SCHEMA = """
CREATE TABLE run (
    id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER, name TEXT, created TEXT, finished TEXT,
    identity TEXT, settings TEXT, members TEXT, result TEXT);
CREATE TABLE rounds (
    round INTEGER PRIMARY KEY, clusters INTEGER, masters BLOB, shifts TEXT, selected TEXT, seconds REAL,
    bytes_up INTEGER, bytes_down INTEGER, payload_up INTEGER, body_up INTEGER, body_down INTEGER,
    measuring INTEGER, moments BLOB);
CREATE TABLE updates (
    round INTEGER, board TEXT, samples INTEGER, loss REAL, max_delta INTEGER, deltas BLOB,
    bytes_up INTEGER, bytes_down INTEGER,
    embeddings INTEGER, embed_instructions INTEGER, steps INTEGER, step_instructions INTEGER, first_loss INTEGER,
    cluster INTEGER,
    PRIMARY KEY (round, board));
CREATE TABLE drops (round INTEGER, board TEXT, phase TEXT, reason TEXT, at TEXT);
CREATE TABLE metrics (
    round INTEGER, model TEXT, board TEXT, samples INTEGER, correct INTEGER, cluster INTEGER,
    PRIMARY KEY (round, model, board));
CREATE TABLE local_heads (board TEXT PRIMARY KEY, weights BLOB);
CREATE TABLE own_heads (board TEXT PRIMARY KEY, weights BLOB, tuned INTEGER);
"""


@dataclass(frozen=True)
class UpdateRow:
    """What one board gave to a round. Instructions are None where its target does not count them."""

    board: str
    samples: int
    loss: float
    max_delta: int  # of tensor 0: 0 where that is private
    deltas: npt.NDArray[np.int8]  # as they were sent: coded
    bytes_up: int = 0
    bytes_down: int = 0
    embeddings: int = 0
    embed_instructions: int | None = None
    steps: int = 0
    step_instructions: int | None = None
    first_loss: int = 0  # mean of 1 - p[label] in the first epoch, in 1/256: how well the head fits before it trains
    cluster: int = 0  # whose head it changed


@dataclass(frozen=True)
class RoundRow:
    """One round that is over: shared master weights after it (int32, wire order, a row a cluster); who was asked."""

    round: int
    masters: npt.NDArray[np.int32]
    shifts: tuple[int, ...] = ()  # of each shared tensor
    selected: tuple[str, ...] = ()
    seconds: float = 0.0
    bytes_up: int = 0
    bytes_down: int = 0
    payload_up: int = 0  # coded deltas
    body_up: int = 0  # bodies of all messages
    body_down: int = 0
    measuring: int = 0  # bytes both ways, after the round
    moments: bytes = b""  # the server's optimiser's, equally many of each cluster


@dataclass(frozen=True)
class DropRow:
    """A board that was left out of a round, in which phase and why."""

    round: int
    board: str
    phase: str
    reason: str


@dataclass(frozen=True)
class MetricRow:
    """Right answers of a model on one board's test data. ``model``: "federated", "local:<board that trained it>", or
    "own:<board whose it is>"."""

    round: int
    model: str
    board: str
    samples: int
    correct: int
    cluster: int = 0  # whose head it was


class Ledger:
    """One run's file, held by one process at a time; ``with`` closes it."""

    def __init__(self, folder: Path, *, write: bool = True) -> None:
        """Opens the ledger in ``folder``. Raises ConfigError where there is none, or another process has it."""
        self.folder = folder
        self._lock: IO[bytes] | None = None
        path = folder / FILE
        if not path.is_file():
            raise ConfigError(f"{folder}: no {FILE} there", "tinyfl run RECIPE makes one")
        with _explained(path):
            if write:
                self._lock = lock(folder)
            mode = "rw" if write else "ro"
            uri = f"{path.resolve().as_uri()}?mode={mode}"
            self._db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
            row = self._db.execute("SELECT version FROM run").fetchone()
        if row is None or row[0] != VERSION:
            raise ConfigError(f"{path}: version {row and row[0]}, expected {VERSION}", "use the tinyfl that wrote it")

    @classmethod
    def create(
        cls,
        runs: Path,
        identity: dict[str, Any],
        settings: dict[str, Any],
        members: Sequence[dict[str, Any]],
        *,
        at: Path | None = None,
    ) -> Ledger:
        """A new folder ``0001``, ``0002``, ... below ``runs``, or ``at``, with an empty ledger, whole or not at all."""
        folder = at or new_folder(runs)
        made = folder / f".{FILE}"
        with _explained(folder / FILE):
            folder.mkdir(parents=True, exist_ok=True)
            for left in folder.glob(f".{FILE}*"):  # by one that was killed here
                left.unlink()
            db = sqlite3.connect(made, isolation_level=None)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("BEGIN")
            for statement in SCHEMA.split(";"):
                db.execute(statement)
            documents = [json.dumps(value) for value in (identity, settings, list(members))]
            db.execute(
                "INSERT INTO run VALUES (1, ?, ?, ?, NULL, ?, ?, ?, NULL)", (VERSION, folder.name, _now(), *documents)
            )
            db.execute("COMMIT")
            db.close()
            made.rename(folder / FILE)
        return cls(folder)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets another process have it."""
        self._db.close()
        if self._lock is not None:
            self._lock.close()

    # -- writing -----------------------------------------------------------------------------------------------------

    def start(self, masters: npt.NDArray[np.int32], metrics: Sequence[MetricRow]) -> None:
        """Round 0: the head as it was compiled, and how good it is."""
        with self._transaction():
            self._put_round(RoundRow(0, masters))
            self._put_metrics(metrics)

    def commit(
        self, row: RoundRow, updates: Sequence[UpdateRow], drops: Sequence[DropRow], metrics: Sequence[MetricRow]
    ) -> None:
        """A round that is over, whole."""
        with self._transaction():
            self._put_round(row)
            self._put_drops(drops)
            self._put_metrics(metrics)
            for u in updates:
                counts = (u.embeddings, u.embed_instructions, u.steps, u.step_instructions, u.first_loss, u.cluster)
                values = (row.round, u.board, u.samples, u.loss, u.max_delta, _blob(u.deltas, "<i1"))
                self._db.execute(
                    f"INSERT INTO updates VALUES ({_marks(14)})", (*values, u.bytes_up, u.bytes_down, *counts)
                )

    def put_drops(self, drops: Sequence[DropRow]) -> None:
        """Drops of a round that did not count, or outside any round."""
        with self._transaction():
            self._put_drops(drops)

    def put_local(self, board: str, weights: npt.NDArray[np.int16], metrics: Sequence[MetricRow]) -> None:
        """The head that ``board`` learned alone, and how good it is on every board."""
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO local_heads VALUES (?, ?)", (board, _blob(weights, "<i2")))
            self._put_metrics(metrics)

    def put_own(self, board: str, weights: npt.NDArray[np.int16], tuned: bool, metrics: Sequence[MetricRow]) -> None:
        """The head that ``board`` keeps for itself, tuned or not, and how good it is on every board."""
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO own_heads VALUES (?, ?, ?)", (board, _blob(weights, "<i2"), tuned))
            self._put_metrics(metrics)

    def change_settings(self, settings: dict[str, Any]) -> None:
        """Settings that a resumed run may change: they decide when a round counts, never what it computes."""
        with self._transaction():
            self._db.execute("UPDATE run SET settings = ?", (json.dumps(settings),))

    def finish(self, result: dict[str, Any]) -> None:
        """The run is over."""
        with self._transaction():
            self._db.execute("UPDATE run SET finished = ?, result = ?", (_now(), json.dumps(result)))

    # -- reading -----------------------------------------------------------------------------------------------------

    def identity(self) -> dict[str, Any]:
        """What must be the same to resume: recipe, model hash, data hash."""
        identity: dict[str, Any] = self._document("identity")
        return identity

    def settings(self) -> dict[str, Any]:
        """The run's settings."""
        settings: dict[str, Any] = self._document("settings")
        return settings

    def members(self) -> list[dict[str, Any]]:
        """The boards of the run."""
        members: list[dict[str, Any]] = self._document("members")
        return members

    def result(self) -> dict[str, Any] | None:
        """What ``finish`` was given; None while the run is not over."""
        result: dict[str, Any] | None = self._document("result")
        return result

    def times(self) -> tuple[str, str | None]:
        """(created, finished or None), ISO 8601."""
        created, finished = self._rows("SELECT created, finished FROM run")[0]
        return created, finished

    def rounds(self) -> list[RoundRow]:
        """All rounds that are over, round 0 first."""
        columns = (
            "round, clusters, masters, shifts, selected, "
            "seconds, bytes_up, bytes_down, payload_up, body_up, body_down, measuring, moments"
        )
        return [_round(row) for row in self._rows(f"SELECT {columns} FROM rounds ORDER BY round")]

    def last_round(self) -> RoundRow | None:
        """The last round that is over; None before round 0."""
        rounds = self.rounds()
        return rounds[-1] if rounds else None

    def updates(self, round: int | None = None) -> list[tuple[int, UpdateRow]]:
        """(round, update), in the order of rounds, then of boards."""
        where = "" if round is None else f"WHERE round = {int(round)}"
        rows = self._rows(f"SELECT * FROM updates {where} ORDER BY round, rowid")
        return [(row[0], _update(row)) for row in rows]

    def drops(self) -> list[DropRow]:
        """All drops in the order in which they happened."""
        return [DropRow(*row) for row in self._rows("SELECT round, board, phase, reason FROM drops ORDER BY rowid")]

    def metrics(self, model: str | None = None) -> list[MetricRow]:
        """All measurements, of one model if it is named, in the order of rounds."""
        rows = self._rows("SELECT * FROM metrics ORDER BY round, rowid")
        return [MetricRow(*row) for row in rows if model in (None, row[1])]

    def local_heads(self) -> dict[str, npt.NDArray[np.int16]]:
        """What boards learned alone, by board."""
        rows = self._rows("SELECT board, weights FROM local_heads ORDER BY rowid")
        return {board: np.frombuffer(weights, "<i2").astype(np.int16) for board, weights in rows}

    def own_heads(self) -> dict[str, tuple[npt.NDArray[np.int16], bool]]:
        """What boards keep for themselves, by board, and whether that was tuned."""
        rows = self._rows("SELECT board, weights, tuned FROM own_heads ORDER BY rowid")
        return {board: (np.frombuffer(weights, "<i2").astype(np.int16), bool(tuned)) for board, weights, tuned in rows}

    # -- within ------------------------------------------------------------------------------------------------------

    def _put_round(self, row: RoundRow) -> None:
        masters = np.atleast_2d(row.masters)
        texts = json.dumps(row.shifts), json.dumps(row.selected)
        values = (row.round, len(masters), _blob(masters, "<i4"), *texts)
        counts = (row.seconds, row.bytes_up, row.bytes_down, row.payload_up, row.body_up, row.body_down, row.measuring)
        self._db.execute(f"INSERT INTO rounds VALUES ({_marks(13)})", (*values, *counts, row.moments))

    def _put_drops(self, drops: Sequence[DropRow]) -> None:
        values = [(d.round, d.board, d.phase, d.reason, _now()) for d in drops]
        self._db.executemany(f"INSERT INTO drops VALUES ({_marks(5)})", values)

    def _put_metrics(self, metrics: Sequence[MetricRow]) -> None:
        values = [(m.round, m.model, m.board, m.samples, m.correct, m.cluster) for m in metrics]
        self._db.executemany(f"INSERT OR REPLACE INTO metrics VALUES ({_marks(6)})", values)

    def _rows(self, statement: str) -> list[Any]:
        with _explained(self.folder / FILE):
            return self._db.execute(statement).fetchall()

    def _document(self, column: str) -> Any:
        text = self._rows(f"SELECT {column} FROM run")[0][0]
        try:
            return None if text is None else json.loads(text)
        except ValueError as error:
            raise ConfigError(
                f"{self.folder / FILE}: {column} is damaged: {error}", "this run cannot be used"
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _explained(self.folder / FILE):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # SQLite rolls back by itself when the disk is full
                    self._db.execute("ROLLBACK")
                raise


def find_run(runs: Path, name: str | None, *, unfinished: bool = False) -> Path:
    """The folder of a run: a path, a name below ``runs``, or the latest (the latest ``unfinished`` one)."""
    if name is not None:
        for folder in (Path(name), runs / name):
            if (folder / FILE).is_file():
                return folder
        known = ", ".join(path.name for path in run_folders(runs)[-5:]) or "none"
        raise UsageError(f"no run {name!r}; the last ones in {runs}: {known}", "give a run's folder or its name")
    for folder in reversed(run_folders(runs)):
        if not unfinished or not _is_finished(folder):
            return folder
    kind = "unfinished run" if unfinished else "run"
    raise UsageError(f"no {kind} in {runs}", "leave --resume out to start one" if unfinished else "tinyfl run RECIPE")


def run_folders(runs: Path) -> list[Path]:
    """All runs below ``runs``, oldest first."""
    return sorted(path.parent for path in runs.glob(f"*/{FILE}"))


def _is_finished(folder: Path) -> bool:
    with Ledger(folder, write=False) as ledger:
        return ledger.result() is not None


def new_folder(runs: Path) -> Path:
    """The next number: sorts by age, and no clock can make two runs share a folder."""
    with _explained(runs):
        runs.mkdir(parents=True, exist_ok=True)
        taken = [int(path.name) for path in runs.iterdir() if path.name.isdigit()]
        number = max(taken, default=0) + 1
        while True:
            folder = runs / f"{number:04d}"
            try:
                folder.mkdir()
                return folder
            except FileExistsError:  # another run was faster
                number += 1


def lock(folder: Path, what: str = "run") -> IO[bytes]:
    """Of this process; it goes away with the process, however that ends. Raises ConfigError where another has it."""
    file = (folder / "lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise ConfigError(f"{folder}: another tinyfl is working on this {what}", "wait for it, or end it") from error
    return file


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns what SQLite and the file system say into one error with a hint."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        damaged = not isinstance(error, sqlite3.OperationalError)
        raise ConfigError(f"{path}: {error}", "this ledger is damaged: start a new run" if damaged else ROOM) from error
    except OSError as error:
        raise ConfigError(f"{error.filename or path}: {error.strerror}", ROOM) from error


def _blob(array: npt.NDArray[Any], kind: str) -> bytes:
    return array.astype(kind).tobytes()


def _round(row: Sequence[Any]) -> RoundRow:
    round, clusters, masters, shifts, selected, *rest = row
    weights = np.frombuffer(masters, "<i4").astype(np.int32).reshape(clusters, -1)
    return RoundRow(round, weights, tuple(json.loads(shifts)), tuple(json.loads(selected)), *rest)


def _update(row: Sequence[Any]) -> UpdateRow:
    _, board, samples, loss, max_delta, deltas, *counts = row
    return UpdateRow(board, samples, loss, max_delta, np.frombuffer(deltas, np.int8), *counts)


def _marks(count: int) -> str:
    return ", ".join("?" * count)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

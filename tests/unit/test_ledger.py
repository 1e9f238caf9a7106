"""The ledger: what is written is read, a transaction is whole or not there, and what the disk says is said."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinyfl.errors import ConfigError, UsageError
from tinyfl_host.ledger import FILE, DropRow, Ledger, MetricRow, RoundRow, UpdateRow, find_run, run_folders

MASTER = np.array([-(2**30), -1, 0, 1, 2**30 - 1], np.int32)


def create(runs: Path) -> Ledger:
    return Ledger.create(runs, {"recipe": "r", "model": "m"}, {"rounds": 3}, [{"name": "b0"}])


def row(round: int) -> RoundRow:
    return RoundRow(round, MASTER + round, (4, 3), ("b0", "b1"), 1.5, 100, 200, 5)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    with create(tmp_path) as ledger:
        metric = MetricRow(0, "federated", "b0", 10, 7)
        ledger.start(MASTER, [metric])
        update = UpdateRow("b0", 20, 0.25, 900, np.arange(-2, 3, dtype=np.int8), 60, 70, 20, 400, 100, None)
        drop = DropRow(1, "b1", "train", "gone")
        ledger.commit(row(1), [update], [drop], [MetricRow(1, "federated", "b0", 10, 8)])
        ledger.put_local("b0", np.array([1, -2], np.int16), [MetricRow(1, "local:b0", "b0", 10, 9)])
        ledger.finish({"event": "run_done"})
    with Ledger(tmp_path / "0001", write=False) as ledger:
        assert [r.round for r in ledger.rounds()] == [0, 1]
        last = ledger.last_round()
        assert last is not None and last.masters.tolist() == [(MASTER + 1).tolist()] and last.selected == ("b0", "b1")
        [(number, read)] = ledger.updates(1)
        assert number == 1 and read.deltas.tolist() == [-2, -1, 0, 1, 2]
        assert (read.samples, read.bytes_down, read.embed_instructions, read.step_instructions) == (20, 70, 400, None)
        assert ledger.drops() == [drop] and ledger.metrics("federated")[0] == metric
        assert ledger.local_heads()["b0"].tolist() == [1, -2]
        assert ledger.result() == {"event": "run_done"} and ledger.settings() == {"rounds": 3}


def test_runs_are_numbered_and_the_latest_unfinished_is_found(tmp_path: Path) -> None:
    for _ in range(3):
        create(tmp_path).close()
    assert [folder.name for folder in run_folders(tmp_path)] == ["0001", "0002", "0003"]
    with Ledger(tmp_path / "0003") as ledger:
        ledger.finish({})
    assert find_run(tmp_path, None).name == "0003"
    assert find_run(tmp_path, None, unfinished=True).name == "0002"
    assert find_run(tmp_path, "0001") == tmp_path / "0001" == find_run(tmp_path, str(tmp_path / "0001"))
    with pytest.raises(UsageError, match="no run '9'"):
        find_run(tmp_path, "9")
    with pytest.raises(UsageError, match="no unfinished run"):
        find_run(tmp_path / "none", None, unfinished=True)


def test_a_ledger_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    with create(tmp_path), pytest.raises(ConfigError, match="another tinyfl is working on this run"):
        Ledger(tmp_path / "0001")
    Ledger(tmp_path / "0001").close()


def test_a_round_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """The second update breaks the primary key: nothing of the round may stay."""
    update = UpdateRow("b0", 1, 0.0, 0, np.zeros(1, np.int8))
    with create(tmp_path) as ledger:
        ledger.start(MASTER, [])
        with pytest.raises(ConfigError):
            ledger.commit(row(1), [update, update], [], [])
        assert [r.round for r in ledger.rounds()] == [0] and ledger.updates() == []
        ledger.commit(row(1), [update], [], [])
        assert len(ledger.updates()) == 1


def test_a_full_disk_loses_nothing_that_was_there(tmp_path: Path) -> None:
    with create(tmp_path) as ledger:
        ledger.start(MASTER, [])
        pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
        ledger._db.execute(f"PRAGMA max_page_count = {pages}")
        big = UpdateRow("b0", 1, 0.0, 0, np.zeros(200_000, np.int8))
        with pytest.raises(ConfigError, match="full") as error:
            ledger.commit(row(1), [big], [], [])
        assert error.value.exit_code == 3 and "--resume" in error.value.hint
    with Ledger(tmp_path / "0001") as ledger:
        last = ledger.last_round()
        assert last is not None and last.round == 0
        ledger.commit(row(1), [], [], [])


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file") as error:
        create(tmp_path / "file" / "runs")
    assert error.value.exit_code == 3 and "TINYFL_BUILD" in error.value.hint


def test_a_read_only_ledger_is_named(tmp_path: Path) -> None:
    with create(tmp_path) as ledger:
        ledger._db.execute("PRAGMA query_only = 1")
        with pytest.raises(ConfigError, match="readonly"):
            ledger.start(MASTER, [])


@pytest.mark.parametrize("content", [b"", b"no database at all, but long enough to look like one" * 40])
def test_a_damaged_ledger_is_said_to_be(tmp_path: Path, content: bytes) -> None:
    create(tmp_path).close()
    (tmp_path / "0001" / FILE).write_bytes(content)
    with pytest.raises(ConfigError, match=FILE):
        Ledger(tmp_path / "0001")


def test_another_version_is_refused(tmp_path: Path) -> None:
    create(tmp_path).close()
    with sqlite3.connect(tmp_path / "0001" / FILE) as db:
        db.execute("UPDATE run SET version = 99")
    db.close()
    with pytest.raises(ConfigError, match="version 99, expected 4"):
        Ledger(tmp_path / "0001")


def test_a_process_that_is_killed_leaves_the_last_whole_round_and_no_lock(tmp_path: Path) -> None:
    program = f"""
import os, signal, numpy as np
from pathlib import Path
from tinyfl_host.ledger import Ledger, RoundRow
ledger = Ledger.create(Path({str(tmp_path)!r}), {{}}, {{}}, [])
ledger.start(np.zeros(3, np.int32), [])
ledger.commit(RoundRow(1, np.ones(3, np.int32)), [], [], [])
ledger._db.execute("BEGIN IMMEDIATE")
ledger._put_round(RoundRow(2, np.ones(3, np.int32)))
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    with Ledger(tmp_path / "0001") as ledger:
        assert [r.round for r in ledger.rounds()] == [0, 1]
        ledger.commit(RoundRow(2, np.ones(3, np.int32)), [], [], [])


def test_a_ledger_comes_whole_even_where_one_was_killed_while_it_was_made(tmp_path: Path) -> None:
    for name in (".ledger.sqlite", ".ledger.sqlite-wal", ".ledger.sqlite-journal"):
        (tmp_path / name).write_bytes(b"torn" * 999)
    with Ledger.create(tmp_path / "runs", {"recipe": "r"}, {"rounds": 3}, [], at=tmp_path) as ledger:
        assert ledger.folder == tmp_path and ledger.settings() == {"rounds": 3}
    assert {path.name for path in tmp_path.iterdir()} <= {
        "ledger.sqlite",
        "lock",
        "ledger.sqlite-wal",
        "ledger.sqlite-shm",
    }

"""A run's report from its ledger: HTML that loads nothing, CSV of the rounds, JSON of everything."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from importlib import resources
from pathlib import Path
from typing import Any

from tinyfl.errors import ConfigError, UsageError
from tinyfl_host import charts
from tinyfl_host.artifacts import build_root
from tinyfl_host.ledger import FILE, Ledger
from tinyfl_host.summary import BoardFigures, Summary, summarise

CSV_COLUMNS = (
    *("round", "clients", "unseen", "boards", "selected", "shift", "loss"),
    *("bytes_up", "bytes_down", "payload_up", "body_up", "body_down", "seconds"),
)
SETTINGS = {
    "on": "boards",
    "draw": "draw",
    "rounds": "rounds",
    "epochs": "epochs a round",
    "rate": "learning rate",
    "local_rate": "learning rate alone",
    "fraction": "share of boards a round",
    "quorum": "quorum",
    "deadline": "deadline, s",
    "seed": "seed",
}


def locate(run: str | None) -> Path:
    """A run's folder: as it is named, its number where only one recipe has it, or the latest of all recipes."""
    folders = sorted(path.parent for path in build_root().glob(f"*/runs/*/{FILE}"))
    if run is None:
        if not folders:
            raise UsageError(f"no runs in {build_root()}", "make one: tinyfl run RECIPE --on emu:qemu-m4")
        return max(folders, key=lambda folder: ((folder / FILE).stat().st_mtime_ns, folder.name))
    if (Path(run) / FILE).is_file():
        return Path(run)
    named = [folder for folder in folders if folder.name == run]
    if len(named) != 1:
        known = ", ".join(str(folder) for folder in (named or folders)[-4:]) or "none"
        raise UsageError(
            f"{'several runs are' if named else 'no run is'} named {run!r}; there are {known}", "name a folder"
        )
    return named[0]


def read_summary(folder: Path) -> Summary:
    """The figures of the run in ``folder``; a run that goes on just now can be read too."""
    with Ledger(folder, write=False) as ledger:
        return summarise(ledger)


def write_report(summary: Summary, html: Path | None, csv_file: Path | None, json_file: Path | None) -> list[Path]:
    """Writes what was asked for; returns what was written. Raises ConfigError where it cannot be."""
    written = []
    wanted = ((html, as_html), (csv_file, as_csv), (json_file, as_json))
    for path, render in wanted:
        if path is None:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(render(summary), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}", "name files that can be written") from error
        written.append(path)
    return written


def as_json(summary: Summary) -> str:
    """All figures."""
    return json.dumps(dataclasses.asdict(summary), indent=2, allow_nan=False) + "\n"


def as_csv(summary: Summary) -> str:
    """One line a round."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in summary.rounds:
        values = {**dataclasses.asdict(row), "clients": row.accuracy.clients, "unseen": row.accuracy.unseen}
        writer.writerow(["" if values[key] is None else values[key] for key in CSV_COLUMNS])
    return text.getvalue()


def as_html(summary: Summary) -> str:
    """One page; every name in it is escaped."""
    import jinja2
    from markupsafe import Markup

    undefined = jinja2.StrictUndefined
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=undefined)
    environment.filters["percent"] = charts.percent
    environment.filters["points"] = _points
    environment.filters["bytes"] = _bytes
    template = resources.files("tinyfl_host").joinpath("templates", "report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        s=summary,
        name=Path(summary.run).name,
        settings=[(label, summary.settings.get(key)) for key, label in SETTINGS.items()],
        per_update=_per_update(summary),
        **{key: Markup(svg) for key, svg in _charts(summary).items()},
    )


def _charts(summary: Summary) -> dict[str, str]:
    """The SVG of each chart."""
    lines = [
        charts.Series("clients", "clients", [(r.round, r.accuracy.clients) for r in summary.rounds]),
        charts.Series("never seen", "unseen", [(r.round, r.accuracy.unseen) for r in summary.rounds]),
    ]
    alone = summary.local_only.accuracy.clients
    levels = [charts.Level("alone", "alone", alone)] if alone is not None else []
    if summary.before.clients is not None:
        levels.append(charts.Level("before", "before", summary.before.clients))
    sizes = [(r.round, r.payload_up, r.bytes_up, r.bytes_down) for r in summary.rounds if r.round]
    return {
        "accuracy": charts.accuracy_chart(lines, levels, summary.rounds[-1].round),
        "boards": charts.board_chart([_row(board) for board in summary.boards]),
        "traffic": charts.byte_chart(sizes) if any(up + down for _, _, up, down in sizes) else "",
    }


def _row(board: BoardFigures) -> charts.Row:
    trained = f"{board.samples:,} samples" if board.samples is not None else "took no part"
    detail = trained if board.role == "client" else "never seen"
    style = "clients" if board.role == "client" else "unseen"
    return charts.Row(board.name, detail, style, board.before, board.after, board.local)


def _per_update(summary: Summary) -> int | None:
    """Bytes of one board's deltas in one round."""
    updates = sum(board.rounds for board in summary.boards)
    return round(summary.payload_up / updates) if updates else None


def _points(after: float | None, before: float | None) -> str:
    return "" if after is None or before is None else f"{100 * (after - before):+.1f} points"


def _bytes(count: Any) -> str:
    return f"{count / 1000:,.1f} kB" if count >= 1000 else f"{count} B"

"""Reports of a run, or of several side by side: HTML that loads nothing, CSV of the rounds, JSON of everything."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from tinyfl.errors import ConfigError, UsageError
from tinyfl_host import charts
from tinyfl_host.artifacts import build_root
from tinyfl_host.compare import Comparison, Row, Spread, document, front
from tinyfl_host.grid import REPEATS, shown
from tinyfl_host.ledger import FILE, Ledger
from tinyfl_host.summary import BoardFigures, Summary, quantile, summarise

CSV_COLUMNS = (
    *("round", "clients", "unseen", "boards", "selected", "shifts", "loss"),
    *("bytes_up", "bytes_down", "payload_up", "body_up", "body_down", "measuring", "seconds"),
)
COLOURS = 8  # lines of a chart that can be told apart
SHORT, LABEL = 12, 24  # letters at a line's end: where other lines go on, and where all end
MANY = 40  # boards; above, they are shown together
NEAR = 0.01  # of the best accuracy
ROLES = (("client", "clients", "clients"), ("unseen", "unseen", "never seen"))  # role, CSS class, name
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


def write_report(
    of: Summary | Comparison, html: Path | None, csv_file: Path | None, json_file: Path | None
) -> list[Path]:
    """Writes what was asked for; returns what was written. Raises ConfigError where it cannot be."""
    written = []
    forms = (as_html, as_csv, as_json) if isinstance(of, Summary) else (compared_html, compared_csv, compared_json)
    wanted: Sequence[tuple[Path | None, Callable[[Any], str]]] = tuple(
        zip((html, csv_file, json_file), forms, strict=True)
    )
    for path, render in wanted:
        if path is None:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(render(of), encoding="utf-8")
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
    writer.writerows(_lines(summary))
    return text.getvalue()


def _lines(summary: Summary) -> Iterator[list[Any]]:
    for row in summary.rounds:
        shares = {"clients": row.accuracy.clients, "unseen": row.accuracy.unseen}
        values = {**dataclasses.asdict(row), **shares, "shifts": " ".join(map(str, row.shifts))}
        yield ["" if values[key] is None else values[key] for key in CSV_COLUMNS]


def compared_json(compared: Comparison) -> str:
    """Rows with their curves; the runs by their folders."""
    return json.dumps(document(compared), indent=2, allow_nan=False) + "\n"


def compared_csv(compared: Comparison) -> str:
    """One line a run and round: the run, what tells its row from others, draw and seed, then as for a single run."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("run", *compared.keys, *REPEATS, *CSV_COLUMNS))
    for row, run in _members(compared):
        own = (run.run, *(row.values[key] for key in compared.keys), *(run.settings.get(key) for key in REPEATS))
        writer.writerows([*own, *line] for line in _lines(run))
    return text.getvalue()


def compared_html(compared: Comparison) -> str:
    """One page; every name in it is escaped."""
    rows = compared.rows
    known = [row for row in rows if row.clients is not None]
    best = max(known, key=lambda row: row.clients.mean if row.clients else 0.0, default=None)
    near = [
        row for row in known if best and row.clients and best.clients and row.clients.mean > best.clients.mean - NEAR
    ]
    styles = _styles(compared)
    return page(
        "compare.html.j2",
        _compared_charts(compared, styles),
        c=compared,
        best=best,
        frugal=min(near, key=lambda row: row.last.up, default=None),
        first=min((row for row in rows if row.reached), key=lambda row: row.reached.up, default=None),  # type: ignore[union-attr]
        styles=styles,
        grey="rest" in styles,
        numbered=_longest(compared, styles) > SHORT,
        runs=[(rows.index(row) + 1, run) for row, run in _members(compared)],
    )


def _members(compared: Comparison) -> list[tuple[Row, Summary]]:
    """Each run with its row, row by row."""
    runs = {run.run: run for run in compared.runs}
    return [(row, runs[name]) for row in compared.rows for name in row.runs]


def _styles(compared: Comparison) -> list[str]:
    """A colour for each row; of many rows, for those that none beats in both accuracy and bytes."""
    rows = list(compared.rows)
    chosen = rows if len(rows) <= COLOURS else sorted(front(rows), key=lambda row: row.last.up)
    if len(chosen) > COLOURS:
        chosen = [chosen[i * (len(chosen) - 1) // (COLOURS - 1)] for i in range(COLOURS)]
    places = {id(row): place for place, row in enumerate(chosen)}
    return [f"c{places[id(row)]}" if id(row) in places else "rest" for row in rows]


def _longest(compared: Comparison, styles: Sequence[str]) -> int:
    """Letters of the longest name that has a colour."""
    return max(len(row.name) * (style != "rest") for row, style in zip(compared.rows, styles, strict=True))


def _compared_charts(compared: Comparison, styles: Sequence[str]) -> dict[str, str]:
    def trails(at: str, who: str) -> list[charts.Trail]:
        made, named = [], _longest(compared, styles) <= (SHORT if at == "up" else LABEL)
        for number, (row, style) in enumerate(zip(compared.rows, styles, strict=True), 1):
            label = "" if style == "rest" else row.name if named else str(number)
            known = [(getattr(moment, at), getattr(moment, who)) for moment in row.curve]
            points = [(float(x), s.mean, s.deviation or 0.0) for x, s in known if s is not None]
            made.append(charts.Trail(f"{number}: {row.name}", label, style, points))
        return made

    unseen = trails("round", "unseen")
    return {
        "trade": charts.trail_chart("Accuracy against bytes", trails("up", "clients"), "bytes"),
        "clients": charts.trail_chart("Clients by round", trails("round", "clients"), "round"),
        "unseen": charts.trail_chart("Never seen by round", unseen, "round") if any(t.points for t in unseen) else "",
    }


def as_html(summary: Summary) -> str:
    """One page; every name in it is escaped."""
    return page(
        "report.html.j2",
        _charts(summary),
        s=summary,
        name=Path(summary.run).name,
        settings=[
            *((label, summary.settings.get(key)) for key, label in SETTINGS.items()),
            ("updates", _updates(summary.settings["update"])),
            (
                "shared weights",
                f"{summary.shared_weights:,}" + (f"; the {summary.private} is private" if summary.private else ""),
            ),
        ],
        per_update=_per_update(summary),
        spread=_board_spread(summary) if len(summary.boards) > MANY else [],
    )


def page(template: str, drawings: Mapping[str, str], **values: Any) -> str:
    """A template with its values escaped; ``drawings`` go in as they are."""
    import jinja2
    from markupsafe import Markup

    undefined = jinja2.StrictUndefined
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=undefined)
    filters = {"percent": charts.percent, "points": _points, "bytes": _bytes, "spread": _spread, "shown": shown}
    environment.filters.update(filters)
    texts = {"style": _template("page.css"), **drawings}
    return environment.from_string(_template(template)).render(
        **values, **{key: Markup(text) for key, text in texts.items()}
    )


def _template(name: str) -> str:
    return resources.files("tinyfl_host").joinpath("templates", name).read_text(encoding="utf-8")


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
        "boards": _board_chart(summary.boards),
        "traffic": charts.byte_chart(sizes) if any(up + down for _, _, up, down in sizes) else "",
    }


def _board_chart(boards: Sequence[BoardFigures]) -> str:
    """A bar for each board; of many a line for each role: before, after, and what each learned alone."""
    if len(boards) <= MANY:
        return charts.board_chart([_row(board) for board in boards])
    lines = []
    for role, style, name in ROLES:
        those = list(enumerate(board for board in boards if board.role == role))
        lines.append(charts.Series("", style, [(i, board.before) for i, board in those]))
        lines.append(charts.Series(name, style, [(i, board.after) for i, board in those]))
    lines.append(charts.Series("alone", "alone", [(i, board.local) for i, board in enumerate(boards)]))
    return charts.spread_chart(lines)


def _board_spread(summary: Summary) -> list[tuple[str, int, list[float]]]:
    """Of each role: what was measured, on how many boards, and its quantiles."""
    rows = []
    for role, _, name in ROLES:
        those = [board for board in summary.boards if board.role == role]
        for key, what in (("before", "before"), ("after", "after"), ("local", "alone"), ("own", "heads of their own")):
            known = [value for board in those if (value := getattr(board, key)) is not None]
            if known:
                rows.append((f"{name}, {what}", len(known), [quantile(known, share) for share in charts.QUANTILES]))
    return rows


def _row(board: BoardFigures) -> charts.Row:
    trained = f"{board.samples:,} samples" if board.samples is not None else "took no part"
    detail = trained if board.role == "client" else "never seen"
    detail += "" if board.cluster is None else f", cluster {board.cluster}"
    style = "clients" if board.role == "client" else "unseen"
    return charts.Row(board.name, detail, style, board.before, board.after, board.local)


def _per_update(summary: Summary) -> int | None:
    """Bytes of one board's deltas in one round."""
    updates = sum(board.rounds for board in summary.boards)
    return round(summary.payload_up / updates) if updates else None


def _updates(update: dict[str, Any]) -> str:
    """``int4, top 10 %, entropy coding, error feedback; head as difference``."""
    share = f"{100 * update['share']:g} %" if update["count"] == -1 else update["count"]
    parts = [
        update["codec"],
        "" if update["select"] == "all" else f"{update['select']} {share}",
        "entropy coding" if update["entropy"] else "",
        "error feedback" if update["feedback"] else "",
        f"{update['dense_rounds']} dense rounds first" if update["dense_rounds"] else "",
    ]
    return f"{', '.join(filter(None, parts))}; head as {update['downlink']}"


def _points(after: float | None, before: float | None) -> str:
    return "" if after is None or before is None else f"{100 * (after - before):+.1f} points"


def _bytes(count: Any) -> str:
    return f"{count / 1000:,.1f} kB" if count >= 1000 else f"{count:.0f} B"


def _spread(spread: Spread | None) -> str:
    """``78.3 ±1.2``, or a dash."""
    if spread is None:
        return "–"
    return f"{100 * spread.mean:.1f}" + ("" if spread.deviation is None else f" ±{100 * spread.deviation:.1f}")

"""``tinyfl report``: a run's report as HTML, CSV and JSON; of several runs or of a sweep their comparison."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinyfl_host.cli import console

if TYPE_CHECKING:
    from tinyfl_host.compare import Comparison


@click.command(
    epilog=console.examples(
        "tinyfl report",
        "tinyfl report build/har/runs/0001 --html har.html",
        "tinyfl report build/har/runs/0001 build/har/runs/0002",
        "tinyfl report build/har/sweeps/0001 --target 0.8",
    )
)
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="The page [RUN/report.html].")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), metavar="FILE", help="A line a round.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="All figures.")
@click.option("--target", type=float, metavar="ACC", help="Of a comparison: also the bytes until ACC is reached.")
def command(
    runs: tuple[str, ...], html: Path | None, csv_file: Path | None, json_file: Path | None, target: float | None
) -> None:
    """Write the report of a run: one HTML page that loads nothing, CSV, JSON.

    RUN is a run's folder; without it the latest run is taken. Several RUNs, or
    the folder of a sweep, are compared: accuracy against bytes, curves with
    their spread over draws and seeds, a table. Without options all three files
    are written into the folder of the run (the last one) or of the sweep.
    """
    from tinyfl.errors import UsageError
    from tinyfl_host.cli.sweep import table
    from tinyfl_host.report import locate, read_summary, write_report
    from tinyfl_host.sweep import check_target, is_sweep, read, result

    check_target(target)
    swept = [Path(run) for run in runs if is_sweep(Path(run))]
    if swept and len(runs) > 1:
        raise UsageError(
            f"{swept[0]} is a sweep, beside other runs", "give one sweep, or runs: build/NAME/sweeps/0001/0001"
        )
    compared: Comparison | None = None
    if swept:
        folder, name, compared = swept[0], "report", result(read(swept[0]), target)
    elif len(runs) > 1:
        (folder, compared), name = _several(runs, target), "compare"
    else:
        folder, name = locate(runs[0] if runs else None), "report"
        if target is not None:
            raise UsageError("--target compares several runs", "name more of them, or a sweep")
    if html is None and csv_file is None and json_file is None:
        html, csv_file, json_file = (folder / f"{name}.{kind}" for kind in ("html", "csv", "json"))
    if compared is not None:
        console.result(table(compared) + "\n")
    for path in write_report(compared or read_summary(folder), html, csv_file, json_file):
        console.result(console.visible(str(path)))


def _several(runs: tuple[str, ...], target: float | None) -> tuple[Path, Comparison]:
    """The last run's folder, and all that are over compared."""
    from tinyfl.errors import UsageError
    from tinyfl_host.compare import compare
    from tinyfl_host.report import locate, read_summary

    folders = [locate(run) for run in runs]
    for folder in folders:
        if [other.resolve() for other in folders].count(folder.resolve()) > 1:
            raise UsageError(f"{folder} is named twice", "name each run once")
    summaries = [read_summary(folder) for folder in folders]
    missing = {
        f"run {summary.run}": "not over: go on with --resume" for summary in summaries if summary.finished is None
    }
    finished = [summary for summary in summaries if summary.finished is not None]
    if not finished:
        raise UsageError("none of these runs is over", "go on: tinyfl run RECIPE --resume RUN")
    return folders[-1], compare(finished, target=target, missing=missing)

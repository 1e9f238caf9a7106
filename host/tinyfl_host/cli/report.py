"""``tinyfl report``: a run's report as HTML, CSV and JSON."""

from __future__ import annotations

from pathlib import Path

import click

from tinyfl_host.cli import console


@click.command(
    epilog=console.examples(
        "tinyfl report",
        "tinyfl report build/har/runs/0001 --html har.html",
        "tinyfl report build/har/runs/0001 --csv rounds.csv --json run.json",
    )
)
@click.argument("run", required=False)
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="The page [RUN/report.html].")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), metavar="FILE", help="A line a round.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="All figures.")
def command(run: str | None, html: Path | None, csv_file: Path | None, json_file: Path | None) -> None:
    """Write the report of a run: one HTML page that loads nothing, CSV, JSON.

    RUN is a run's folder; without it the latest run is taken. Without options
    all three files are written into the run's folder.
    """
    from tinyfl_host.report import locate, read_summary, write_report

    folder = locate(run)
    if html is None and csv_file is None and json_file is None:
        html, csv_file, json_file = (folder / f"report.{kind}" for kind in ("html", "csv", "json"))
    for path in write_report(read_summary(folder), html, csv_file, json_file):
        console.result(console.visible(str(path)))

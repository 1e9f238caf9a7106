"""``tinyfl evaluate``: how good a head is on the boards' test data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinyfl_host.cli import console
from tinyfl_host.cli.links import ble_backend_option
from tinyfl_host.cli.run import EACH

if TYPE_CHECKING:
    from tinyfl_host.ledger import MetricRow


@click.command(
    epilog=console.examples(
        "tinyfl evaluate models/har --on posix",
        "tinyfl evaluate models/har --on emu:qemu-m4 --run 0001 --json",
        "tinyfl evaluate models/har --on pty:/dev/pts/4 --run build/har/runs/0001",
    )
)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--on", metavar="LINK", help="What to boot (emu:ENV, posix, sim:N, twin), or the link of one board.")
@click.option("--fleet", type=click.Path(path_type=Path), metavar="FILE", help="A fleet.toml that names the boards.")
@click.option("--boards", type=int, metavar="N", help="How many boards [all of the draw].")
@click.option("--draw", type=int, default=0, show_default=True, metavar="K", help="Which users are never seen.")
@click.option("--no-auth", is_flag=True, help="Also take boards that this host has no key for.")
@ble_backend_option
@click.option("--run", metavar="RUN", help="The final head of this run [the head as it was compiled].")
@console.json_option
def command(recipe: Path, as_json: bool, **options: Any) -> None:
    """Measure a head on the boards' own test data.

    Without --run it is the head that was compiled into the firmware.
    """
    from tinyfl_host.events import BoardDropped, Event, Step
    from tinyfl_host.launch import Request, evaluate

    def show(event: Event) -> None:
        if isinstance(event, Step) and options["no_auth"]:
            console.log(event.text)
        if isinstance(event, BoardDropped):
            console.log(f"{event.board} dropped in {event.phase}: {event.reason}")

    run = options.pop("run")
    places = {key: options[key] for key in ("on", "fleet", "boards", "no_auth")}
    request = Request(recipe, **places, given={"draw": options["draw"]})
    score, rows = evaluate(request, run, show)
    if as_json:
        boards = [{"board": r.board, "samples": r.samples, "correct": r.correct} for r in rows]
        whole = {"clients": score.clients, "unseen": score.unseen}
        console.document({"recipe": str(recipe), "run": run, "accuracy": whole, "boards": boards})
        return
    console.result(_few(rows) if len(rows) <= EACH else _many(rows))
    console.result(f"\nclients {_percent(score.clients)}, never-seen users {_percent(score.unseen)}")


def _few(rows: Sequence[MetricRow]) -> str:
    lines = [(row.board, row.samples, row.correct, _percent(_share(row))) for row in rows]
    return console.table(("board", "samples", "right", "accuracy"), lines)


def _many(rows: Sequence[MetricRow]) -> str:
    """The lowest, the median and the highest figure of all boards, each column by itself."""
    from tinyfl_host.summary import quantile

    columns: list[list[Any]] = [[r.samples for r in rows], [r.correct for r in rows], [_share(r) for r in rows]]
    lines = []
    for name, share in (("lowest", 0.0), ("median", 0.5), ("highest", 1.0)):
        samples, right, accuracy = (quantile(column, share) for column in columns)
        lines.append((len(rows), name, samples, right, _percent(accuracy)))
    return console.table(("boards", "the", "samples", "right", "accuracy"), lines)


def _share(row: MetricRow) -> float | None:
    return row.correct / row.samples if row.samples else None


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"

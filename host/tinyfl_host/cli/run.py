"""``tinyfl run``: federated rounds over boards."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinyfl_host.cli import console
from tinyfl_host.cli.links import ble_backend_option

if TYPE_CHECKING:
    from tinyfl_host.summary import BoardFigures, Summary

OPTIONS = ("draw", "rounds", "epochs", "rate", "local_rate", "fraction", "quorum", "deadline", "seed", "evaluate_every")


class Quorum(click.ParamType):  # type: ignore[type-arg]
    """A count (``3``) or a fraction (``0.5``, ``1.0``)."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | float:
        try:
            return int(value) if str(value).strip().isdigit() else float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a count (3) nor a fraction (0.5)", param, ctx)


@click.command(
    epilog=console.examples(
        "tinyfl run models/har --on emu:qemu-m4 --boards 6",
        "tinyfl run models/har --on posix --rounds 5 --json",
        "tinyfl run models/har --fleet fleet.toml --quorum 3",
        "tinyfl run models/har --resume",
    )
)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--on", metavar="LINK", help="What to boot: emu:ENV, posix or twin.")
@click.option("--fleet", type=click.Path(path_type=Path), metavar="FILE", help="A fleet.toml that names the boards.")
@click.option("--boards", type=int, metavar="N", help="How many boards [all of the draw].")
@click.option("--draw", type=int, metavar="K", help="Which users are left out of training [0].")
@click.option("--rounds", type=int, metavar="R", help="Rounds [recipe].")
@click.option("--epochs", type=int, metavar="E", help="Local epochs a round [recipe].")
@click.option("--rate", type=float, metavar="ETA", help="Learning rate on the boards [recipe].")
@click.option("--local-rate", type=float, metavar="ETA", help="The same where each board learns alone [recipe].")
@click.option("--fraction", type=float, metavar="F", help="Share of the boards that train in a round [recipe].")
@click.option("--quorum", type=Quorum(), metavar="Q", help="Boards that must finish: count or fraction [recipe].")
@click.option("--deadline", type=float, metavar="S", help="Seconds for a round [recipe].")
@click.option("--seed", type=int, metavar="S", help="Of order and rounding on the boards [recipe].")
@click.option("--evaluate-every", type=int, metavar="R", help="Measure after every R-th round [1].")
@click.option("--local-only/--no-local-only", default=None, help="Also train each board alone, to compare [recipe].")
@click.option("--resume", is_flag=False, flag_value="", metavar="[RUN]", help="Go on with a run [the last unfinished].")
@click.option("--no-auth", is_flag=True, help="Also take boards that this host has no key for.")
@ble_backend_option
@click.option("--trace", type=click.Path(path_type=Path), metavar="FILE", help="Record all bytes on the links.")
@click.option("--json", "as_json", is_flag=True, help="Print events as JSON Lines.")
def command(recipe: Path, as_json: bool, **options: Any) -> None:
    """Run federated rounds: select boards, broadcast the head, train on the
    boards, collect int8 deltas, aggregate, evaluate.

    RECIPE is a recipe folder. One board holds one user's data. The ledger in
    build/NAME/runs/ keeps every round, so a run that was interrupted goes on
    with --resume and ends with the same weights.
    """
    from tinyfl_host.cli.progress import display, json_lines
    from tinyfl_host.launch import Request, launch
    from tinyfl_host.ledger import Ledger
    from tinyfl_host.summary import summarise

    given = {key: options[key] for key in (*OPTIONS, "local_only")}
    places = {key: options[key] for key in ("on", "fleet", "boards", "resume", "no_auth", "trace")}
    request = Request(folder=recipe, **places, given=given)
    signal.signal(signal.SIGTERM, _interrupt)
    if as_json:
        launch(request, json_lines)
        return
    with display() as emit:
        done = launch(request, emit)
    with Ledger(Path(done.run), write=False) as ledger:
        console.result(final_table(summarise(ledger)))


def _interrupt(number: int, frame: object) -> None:
    """A polite end is Ctrl-C: the boards are let go and the hint says how to go on."""
    raise KeyboardInterrupt


def final_table(summary: Summary) -> str:
    """The run in at most 80 columns."""
    settings, local = summary.settings, summary.local_only
    head = f"{summary.recipe} on {settings['on']}: {summary.rounds[-1].round} rounds, {len(summary.boards)} boards"
    head += f", {len(summary.drops)} dropped" if summary.drops else ""
    whole = [
        ("before", percent(summary.before.clients), percent(summary.before.unseen)),
        ("after", percent(summary.after.clients), percent(summary.after.unseen)),
    ]
    if local.accuracy.clients is not None:
        own = f"local-only ({percent(local.own)} on own data)"
        whole.append((own, percent(local.accuracy.clients), percent(local.accuracy.unseen)))
    boards = [
        (b.name, b.role, b.samples, percent(b.before), percent(b.after), percent(b.local), *traffic(b), b.drops)
        for b in summary.boards
    ]
    columns = ("board", "role", "samples", "before", "after", "local", "up", "down", "drops")
    parts = [
        head,
        console.table(("accuracy", "clients", "never-seen users"), whole),
        console.table(columns, boards),
        "\n".join(costs(summary)),
    ]
    return "\n\n".join(parts)


def costs(summary: Summary) -> list[str]:
    """Bytes and instructions, then where to find the run."""
    payload, up, down = (console.kilobytes(n) for n in (summary.payload_up, summary.bytes_up, summary.bytes_down))
    link = f"{up} up ({payload} of it int8 deltas), {down} down"
    link += "" if summary.overhead is None else f"; {100 * summary.overhead:.1f} % on top of the messages"
    counts = [
        f"{n:,}" if n else "not counted" for n in (summary.instructions_per_window, summary.instructions_per_step)
    ]
    return [
        f"bytes         {link}",
        f"instructions  {counts[0]} per window, {counts[1]} per training step",
        f"head sha256   {summary.head_sha256}",
        f"run           {console.visible(summary.run)} (tinyfl report {console.visible(summary.run)})",
    ]


def traffic(board: BoardFigures) -> tuple[str, str]:
    """Bytes up and down of one board; dashes where it took part in no round."""
    if not board.rounds:
        return "-", "-"
    return console.kilobytes(board.bytes_up), console.kilobytes(board.bytes_down)


def percent(value: float | None) -> str:
    """``78.3 %``, or a dash."""
    return "-" if value is None else f"{100 * value:.1f} %"

"""``tinyfl run``: federated rounds over boards."""

from __future__ import annotations

import dataclasses
import os
import signal
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinyfl_host.cli import console
from tinyfl_host.cli.links import ble_backend_option

if TYPE_CHECKING:
    from tinyfl_host.summary import BoardFigures, Summary

EACH = 12  # boards that get a line of their own
SPREAD = ("samples", "before", "after", "local", "own", "rounds", "bytes_up", "bytes_down", "drops")
OPTIONS = (
    *("draw", "rounds", "epochs", "rate", "local_rate", "adapter_rate", "fraction", "quorum", "deadline", "seed"),
    *("codec", "select", "share", "count", "entropy", "feedback", "dense_rounds", "downlink"),
    *("optimiser", "server_rate", "server_momentum", "server_decay", "server_floor", "aggregate", "liars", "mixing"),
    *("client_select", "candidates", "mu", "clusters", "tune", "mix", "private", "local_only", "evaluate_every"),
)
CODECS, SELECTIONS = ("int8", "int4", "int2", "sign"), ("all", "top", "random")  # without numpy, for --help
DOWNLINKS = ("int16", "int8", "difference")
OPTIMISERS = ("fedavg", "fedavgm", "reptile", "fedadagrad", "fedadam", "fedyogi")
RULES = ("mean", "median", "trimmed", "krum", "multi-krum", "clip", "fltrust")
POLICIES = ("random", "all", "link", "power")
PRIVATE = ("none", "head", "adapter")


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
        "tinyfl run models/har --on sim:1000",
        "tinyfl run models/har --fleet fleet.toml --quorum 3",
        "tinyfl run models/har --resume",
    )
)
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--on", metavar="LINK", help="What to boot: emu:ENV, posix, sim:N or twin.")
@click.option("--fleet", type=click.Path(path_type=Path), metavar="FILE", help="A fleet.toml that names the boards.")
@click.option("--boards", type=int, metavar="N", help="How many boards [all of the draw].")
@click.option("--draw", type=int, metavar="K", help="Which users are left out of training [0].")
@click.option("--rounds", type=int, metavar="R", help="Rounds [recipe].")
@click.option("--epochs", type=int, metavar="E", help="Local epochs a round [recipe].")
@click.option("--rate", type=float, metavar="ETA", help="Learning rate on the boards [recipe].")
@click.option("--local-rate", type=float, metavar="ETA", help="The same where each board learns alone [recipe].")
@click.option("--adapter-rate", type=float, metavar="ETA", help="Learning rate of the adapter [recipe].")
@click.option("--fraction", type=float, metavar="F", help="Share of the boards that train in a round [recipe].")
@click.option("--quorum", type=Quorum(), metavar="Q", help="Boards that must finish: count or fraction [recipe].")
@click.option("--deadline", type=float, metavar="S", help="Seconds for a round [recipe].")
@click.option("--seed", type=int, metavar="S", help="Of order and rounding on the boards [recipe].")
@click.option("--evaluate-every", type=int, metavar="R", help="Measure after every R-th round [1].")
@click.option("--codec", type=click.Choice(CODECS), help="What the boards' deltas are rounded to [recipe].")
@click.option("--select", type=click.Choice(SELECTIONS), help="Which weights of the head they send [recipe].")
@click.option("--share", type=float, metavar="F", help="How many, with --select top or random [recipe].")
@click.option("--count", type=int, metavar="N", help="The same as a number of weights [recipe].")
@click.option("--entropy/--no-entropy", default=None, help="Entropy coding of the deltas [recipe].")
@click.option("--feedback/--no-feedback", default=None, help="What an update leaves out joins the next one [recipe].")
@click.option("--dense-rounds", type=int, metavar="R", help="Rounds at the start that send all weights [recipe].")
@click.option("--downlink", type=click.Choice(DOWNLINKS), help="How the head goes to the boards [recipe].")
@click.option("--optimiser", type=click.Choice(OPTIMISERS), help="What a mean delta does to the head [recipe].")
@click.option("--server-rate", type=float, metavar="ETA", help="Its rate; 0: its own [recipe].")
@click.option("--server-momentum", type=float, metavar="B", help="Of fedavgm, fedadam, fedyogi, fedadagrad [recipe].")
@click.option("--server-decay", type=float, metavar="B", help="Of fedadam and fedyogi [recipe].")
@click.option("--server-floor", type=float, metavar="T", help="Of fedadam, fedyogi and fedadagrad [recipe].")
@click.option("--aggregate", type=click.Choice(RULES), help="How the boards' updates become one [recipe].")
@click.option("--liars", type=float, metavar="F", help="Share of the boards that may be wrong [recipe].")
@click.option("--mixing/--no-mixing", default=None, help="Mix each update with the nearest ones first [recipe].")
@click.option("--client-select", type=click.Choice(POLICIES), help="Which boards train in a round [recipe].")
@click.option("--candidates", type=float, metavar="F", help="Share that --client-select power draws from [recipe].")
@click.option("--mu", type=float, metavar="MU", help="FedProx: how boards hold on to the head they got [recipe].")
@click.option("--clusters", type=int, metavar="K", help="Heads, one for each group of boards [recipe].")
@click.option("--tune", type=int, metavar="E", help="Epochs to make the final head a board's own [recipe].")
@click.option("--mix", type=float, metavar="F", help="How far its own head goes from the final one to it [recipe].")
@click.option("--private", type=click.Choice(PRIVATE), help="What is trained and stays on each board [recipe].")
@click.option("--local-only/--no-local-only", default=None, help="Also train each board alone, to compare [recipe].")
@click.option("--resume", is_flag=False, flag_value="", metavar="[RUN]", help="Go on with a run [the last unfinished].")
@console.optimise_option
@click.option("--no-auth", is_flag=True, help="Also take boards that this host has no key for.")
@ble_backend_option
@click.option("--trace", type=click.Path(path_type=Path), metavar="FILE", help="Record all bytes on the links.")
@click.option("--json", "as_json", is_flag=True, help="Print events as JSON Lines.")
def command(recipe: Path, goal: str | None, as_json: bool, **options: Any) -> None:
    """Run federated rounds: select boards, broadcast the head, train on the
    boards, collect deltas, aggregate, evaluate.

    RECIPE is a recipe folder. One board holds one user's data. The ledger in
    build/NAME/runs/ keeps every round, so a run that was interrupted goes on
    with --resume and ends with the same weights.
    """
    from tinyfl_host.cli.progress import display, json_lines
    from tinyfl_host.launch import Request, launch
    from tinyfl_host.ledger import Ledger
    from tinyfl_host.summary import summarise

    if goal is not None:
        os.environ["TINYFL_OPTIMISE"] = goal
    given = {key: options[key] for key in OPTIONS}
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
    after = f"after (each client with its own {summary.private})" if summary.private else "after"
    whole = [
        ("before", percent(summary.before.clients), percent(summary.before.unseen)),
        (after, percent(summary.after.clients), percent(summary.after.unseen)),
    ]
    if local.accuracy.clients is not None:
        own = f"local-only ({percent(local.own)} on own data)"
        whole.append((own, percent(local.accuracy.clients), percent(local.accuracy.unseen)))
    kept = summary.personal
    if kept is not None:
        tuned = f"own ({percent(kept.own)} on own data, {kept.tuned} of {kept.boards} tuned)"
        whole.append((tuned, percent(kept.accuracy.clients), percent(kept.accuracy.unseen)))
    parts = [
        head,
        console.table(("accuracy", "clients", "never-seen users"), whole),
        boards_table(summary),
        "\n".join(costs(summary)),
    ]
    return "\n\n".join(parts)


def boards_table(summary: Summary) -> str:
    """Each board, or of many the spread; cluster and own head where there are such."""
    boards, own, clusters = summary.boards, summary.personal is not None, summary.boards[0].cluster is not None
    figures = ("samples", "before", "after", "local", *(("own",) if own else ()), "up", "down", "drops")
    if len(boards) > EACH:
        return console.table(("role", "boards", "the", *figures), spread(boards, own))
    rows = [(b.name, b.role, *((b.cluster,) if clusters else ()), *row(b, own)) for b in boards]
    return console.table(("board", "role", *(("cluster",) if clusters else ()), *figures), rows)


def row(board: BoardFigures, own: bool = False) -> tuple[Any, ...]:
    """One board's figures."""
    accuracies = map(percent, (board.before, board.after, board.local, *((board.own,) if own else ())))
    return (board.samples, *accuracies, *traffic(board), board.drops)


def spread(boards: Sequence[BoardFigures], own: bool = False) -> list[tuple[Any, ...]]:
    """For each role the lowest, the median and the highest figure of its boards, each column by itself."""
    from tinyfl_host.summary import quantile

    rows: list[tuple[Any, ...]] = []
    for role in dict.fromkeys(board.role for board in boards):
        those = [board for board in boards if board.role == role]
        for name, share in (("lowest", 0.0), ("median", 0.5), ("highest", 1.0)):
            figures = {key: quantile([getattr(board, key) for board in those], share) for key in SPREAD}
            rows.append((role, len(those), name, *row(dataclasses.replace(those[0], **figures), own)))
    return rows


def costs(summary: Summary) -> list[str]:
    """Bytes and instructions, then where to find the run."""
    payload, up, down = (console.kilobytes(n) for n in (summary.payload_up, summary.bytes_up, summary.bytes_down))
    link = f"{up} up ({payload} of it deltas), {down} down"
    link += "" if summary.overhead is None else f"; {100 * summary.overhead:.1f} % framing"
    counts = [
        f"{n:,}" if n else "not counted" for n in (summary.instructions_per_window, summary.instructions_per_step)
    ]
    seconds = [done.seconds for done in summary.rounds if done.round]
    weights = f"{summary.shared_weights:,} shared"
    weights += f"; the {summary.private} is private: it stays on each board" if summary.private else ""
    return [
        f"weights       {weights}",
        f"time          {statistics.median(seconds or [0.0]):.2f} s a round (median), {sum(seconds):.1f} s in all",
        f"bytes         {link}",
        f"measuring     {console.kilobytes(summary.measuring)} more, both ways",
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

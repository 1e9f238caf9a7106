"""A whole run: all rounds, each kept in the ledger, measured before and after, and each board alone to compare."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from tinyfl.errors import QuorumError
from tinyfl.federated import optimisers
from tinyfl.federated.codecs import broadcast
from tinyfl.federated.optimisers import State
from tinyfl.reference import head
from tinyfl_host import events
from tinyfl_host.crew import Crew, instructions
from tinyfl_host.evaluation import FEDERATED, accuracy, boards_alone, local_accuracy, measure
from tinyfl_host.events import Emit
from tinyfl_host.history import History, Past, Took
from tinyfl_host.ledger import DropRow, Ledger, RoundRow, UpdateRow
from tinyfl_host.personal import boards_own
from tinyfl_host.plan import Plan
from tinyfl_host.rounds import Round, federated_round, require_quorum
from tinyfl_host.serving import server
from tinyfl_host.traffic import Traffic

BYTES = ("bytes_up", "bytes_down", "payload_up", "body_up", "body_down", "measuring")


def run_rounds(crew: Crew, plan: Plan, ledger: Ledger, emit: Emit) -> events.RunDone:
    """All rounds that the ledger does not hold yet, then each board alone and its own head, then the figures.

    Boards that keep a private tensor from round to round learn alone before the rounds: nothing may come between.
    """
    if ledger.last_round() is None:
        start(crew, plan, ledger, emit)
    crew.history = remembered(ledger)
    last = ledger.last_round()
    assert last is not None
    models = restored(plan, last)
    alone = plan.settings.local_only
    if alone and plan.private:
        boards_alone(crew, plan, ledger, emit)
    for number in range(last.round + 1, plan.settings.rounds + 1):
        models = record_round(crew, plan, ledger, models, number, emit)
    clusters = plan.settings.clusters.count
    if len(models) < clusters:
        emit(events.Step(f"never did {clusters} boards learn something in one round: there is one head for all"))
    if alone and not plan.private:
        boards_alone(crew, plan, ledger, emit)
    if plan.settings.personal.tune:
        boards_own(crew, plan, ledger, emit)
    return finish(crew, plan, ledger, emit)


def initial_models(plan: Plan) -> Sequence[State]:
    """The server's one model before the first round."""
    return [optimisers.start(server(plan).optimiser, plan.initial.astype(np.int64) << 16)]


def restored(plan: Plan, row: RoundRow) -> Sequence[State]:
    """The server's models after a round that the ledger holds."""
    rule, masters, size = server(plan).optimiser, row.masters.astype(np.int64), len(row.moments) // len(row.masters)
    return [
        optimisers.restore(rule, master, row.moments[i * size : (i + 1) * size]) for i, master in enumerate(masters)
    ]


def start(crew: Crew, plan: Plan, ledger: Ledger, emit: Emit) -> None:
    """Round 0: measures the head as it was compiled."""
    crew.start_round(0)
    metrics = measure(crew, plan, [plan.initial], 0)
    ledger.put_drops(drop_rows(crew))
    require_quorum(crew, plan, 0, len(crew.clients), len({m.name for m in crew.clients} - crew.dropped()))
    ledger.start(np.stack([model.master for model in initial_models(plan)]).astype(np.int32), metrics)
    emit(events.Evaluated(0, accuracy(crew.members, metrics)))


def remembered(ledger: Ledger, own: Collection[str] | None = None) -> History:
    """The rounds that are over, for boards that keep something from round to round; of the boards ``own`` alone."""
    history, rounds = History(), ledger.rounds()
    for before, row in itertools.pairwise(rounds):
        updates = [update for _, update in ledger.updates(row.round) if own is None or update.board in own]
        boards = {update.board: Took(update.first_loss, update.cluster) for update in updates}
        history.add(Past(row.round, heads_after(ledger, before), row.shifts, boards))
    history.resume(heads_after(ledger, rounds[-1]))
    return history


def record_round(
    crew: Crew, plan: Plan, ledger: Ledger, models: Sequence[State], number: int, emit: Emit
) -> Sequence[State]:
    """One round, measured and written to the ledger as a whole; of one that missed the quorum its drops alone."""
    crew.start_round(number)
    before = crew.traffic()
    try:
        done = federated_round(crew, plan, models, number, emit)
    except QuorumError:
        ledger.put_drops(drop_rows(crew))
        raise
    over = crew.traffic()
    metrics = []
    if number % plan.settings.evaluate_every == 0 or number == plan.settings.rounds:
        weights = [plan.broadcast(model.master) for model in done.models]
        metrics = measure(crew, plan, weights, number, keep=number == plan.settings.rounds)
    rule, traffic = server(plan).optimiser, difference(over, before)
    moments = b"".join(optimisers.moments(rule, model) for model in done.models)
    row = round_row(done, traffic, difference(crew.traffic(), over), moments)
    ledger.commit(row, update_rows(crew, done, traffic), drop_rows(crew), metrics)
    used = events.Bytes(*(getattr(row, key) for key in BYTES))
    score = accuracy(crew.members, metrics) if metrics else None
    emit(events.RoundDone(number, score, len(done.updates), list(done.shifts), done.loss, used, done.seconds))
    return done.models


def finish(crew: Crew, plan: Plan, ledger: Ledger, emit: Emit) -> events.RunDone:
    """The figures of the whole run, from the ledger."""
    rounds, metrics = ledger.rounds(), ledger.metrics(FEDERATED)
    last = rounds[-1]
    done = events.RunDone(
        run=str(ledger.folder),
        rounds=last.round,
        before=accuracy(crew.members, [m for m in metrics if m.round == 0]),
        after=accuracy(crew.members, [m for m in metrics if m.round == last.round]),
        local_only=local_accuracy(crew.members, ledger).accuracy,
        head_sha256=head_sha256(*heads_after(ledger, last)),
        bytes=events.Bytes(*(sum(getattr(row, key) for row in rounds) for key in BYTES)),
        boards=len(crew.members),
        dropped=len(ledger.drops()),
    )
    ledger.finish(events.as_document(done))
    emit(done)
    return done


def heads_after(ledger: Ledger, last: RoundRow) -> list[npt.NDArray[np.int16]]:
    """What the boards get after this round, a head for each cluster."""
    downlink = ledger.settings()["update"]["downlink"]
    return [broadcast(master, downlink) for master in last.masters.astype(np.int64)]


def head_sha256(*heads: npt.NDArray[np.int16]) -> str:
    """SHA-256 over heads as they are broadcast, a cluster after the other: int16, little-endian, wire order."""
    return hashlib.sha256(np.concatenate(heads).astype("<i2").tobytes()).hexdigest()


def difference(after: dict[str, Traffic], before: dict[str, Traffic]) -> dict[str, Traffic]:
    """Bytes of each board between two readings."""
    return {name: traffic - before[name] for name, traffic in after.items()}


def round_row(done: Round, traffic: dict[str, Traffic], measuring: dict[str, Traffic], moments: bytes) -> RoundRow:
    """The round as the ledger keeps it."""
    used, more = (sum(each.values(), start=Traffic()) for each in (traffic, measuring))
    return RoundRow(
        round=done.round,
        masters=np.stack([model.master for model in done.models]).astype(np.int32),
        shifts=tuple(done.shifts),
        selected=tuple(done.selected),
        seconds=done.seconds,
        bytes_up=used.up,
        bytes_down=used.down,
        payload_up=sum(len(update.payload) for update in done.updates.values()),
        body_up=used.body_up,
        body_down=used.body_down,
        measuring=more.up + more.down,
        moments=moments,
    )


def update_rows(crew: Crew, done: Round, traffic: dict[str, Traffic]) -> list[UpdateRow]:
    """The updates as the ledger keeps them."""
    rows = []
    for name, update in done.updates.items():
        reply, welcome = done.trained[name], crew.welcomes.get(name)
        rows.append(
            UpdateRow(
                board=name,
                samples=update.samples,
                loss=reply.loss / head.ONE,
                max_delta=reply.max_delta,
                deltas=update.payload.view(np.int8),
                bytes_up=traffic[name].up,
                bytes_down=traffic[name].down,
                embeddings=reply.embeddings,
                embed_instructions=instructions(welcome, reply.embed_ticks),
                steps=reply.steps,
                step_instructions=instructions(welcome, reply.step_ticks),
                first_loss=reply.first_loss,
                cluster=crew.history.cluster(name) or 0,
            )
        )
    return rows


def drop_rows(crew: Crew) -> list[DropRow]:
    """The drops of this round as the ledger keeps them."""
    return [DropRow(drop.round, drop.board, drop.phase, drop.reason) for drop in crew.drops]

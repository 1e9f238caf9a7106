"""A whole run: all rounds, each kept in the ledger, measured before and after, and each board alone to compare."""

from __future__ import annotations

import hashlib

import numpy as np

from tinyfl.errors import QuorumError
from tinyfl.reference import head
from tinyfl_host import events
from tinyfl_host.crew import Crew, instructions
from tinyfl_host.evaluation import FEDERATED, accuracy, boards_alone, local_accuracy, measure
from tinyfl_host.events import Emit
from tinyfl_host.ledger import DropRow, Ledger, RoundRow, UpdateRow
from tinyfl_host.rounds import Int64, Plan, Round, federated_round, require_quorum
from tinyfl_host.traffic import Traffic

BYTES = ("bytes_up", "bytes_down", "payload_up", "body_up", "body_down")


def run_rounds(crew: Crew, plan: Plan, ledger: Ledger, emit: Emit) -> events.RunDone:
    """All rounds that the ledger does not hold yet, then each board alone, then the figures of the whole run."""
    if ledger.last_round() is None:
        start(crew, plan, ledger, emit)
    last = ledger.last_round()
    assert last is not None
    master = last.master.astype(np.int64)
    for number in range(last.round + 1, plan.settings.rounds + 1):
        master = record_round(crew, plan, ledger, master, number, emit)
    if plan.settings.local_only:
        boards_alone(crew, plan.settings, plan.local_rate, plan.initial, ledger, emit)
    return finish(crew, ledger, emit)


def start(crew: Crew, plan: Plan, ledger: Ledger, emit: Emit) -> None:
    """Round 0: measures the head as it was compiled."""
    crew.start_round(0)
    metrics = measure(crew, plan.initial, 0, plan.settings.deadline)
    ledger.put_drops(drop_rows(crew))
    require_quorum(crew, plan, 0, len(crew.clients), len({m.name for m in crew.clients} - crew.dropped()))
    ledger.start((plan.initial.astype(np.int64) << 16).astype(np.int32), metrics)
    emit(events.Evaluated(0, accuracy(crew.members, metrics)))


def record_round(crew: Crew, plan: Plan, ledger: Ledger, master: Int64, number: int, emit: Emit) -> Int64:
    """One round, measured and written to the ledger as a whole; of one that missed the quorum its drops alone."""
    crew.start_round(number)
    before = crew.traffic()
    try:
        done = federated_round(crew, plan, master, number, emit)
    except QuorumError:
        ledger.put_drops(drop_rows(crew))
        raise
    traffic = difference(crew.traffic(), before)
    metrics = []
    if number % plan.settings.evaluate_every == 0 or number == plan.settings.rounds:
        last = number == plan.settings.rounds
        metrics = measure(crew, head.broadcast(done.master), number, plan.settings.deadline, keep=last)
    row = round_row(done, traffic)
    ledger.commit(row, update_rows(crew, done, traffic), drop_rows(crew), metrics)
    used = events.Bytes(row.bytes_up, row.bytes_down, row.payload_up, row.body_up, row.body_down)
    score = accuracy(crew.members, metrics) if metrics else None
    emit(events.RoundDone(number, score, len(done.updates), done.shift, done.loss, used, done.seconds))
    return done.master


def finish(crew: Crew, ledger: Ledger, emit: Emit) -> events.RunDone:
    """The figures of the whole run, from the ledger."""
    rounds, metrics = ledger.rounds(), ledger.metrics(FEDERATED)
    last = rounds[-1]
    done = events.RunDone(
        run=str(ledger.folder),
        rounds=last.round,
        before=accuracy(crew.members, [m for m in metrics if m.round == 0]),
        after=accuracy(crew.members, [m for m in metrics if m.round == last.round]),
        local_only=local_accuracy(crew.members, ledger).accuracy,
        head_sha256=head_sha256(last.master.astype(np.int64)),
        bytes=events.Bytes(*(sum(getattr(row, key) for row in rounds) for key in BYTES)),
        boards=len(crew.members),
        dropped=len(ledger.drops()),
    )
    ledger.finish(events.as_document(done))
    emit(done)
    return done


def head_sha256(master: Int64) -> str:
    """SHA-256 over the broadcast head of these master weights: int16, little-endian, wire order."""
    return hashlib.sha256(head.broadcast(master).astype("<i2").tobytes()).hexdigest()


def difference(after: dict[str, Traffic], before: dict[str, Traffic]) -> dict[str, Traffic]:
    """Bytes of each board between two readings."""
    return {name: traffic - before[name] for name, traffic in after.items()}


def round_row(done: Round, traffic: dict[str, Traffic]) -> RoundRow:
    """The round as the ledger keeps it."""
    used = sum(traffic.values(), start=Traffic())
    return RoundRow(
        round=done.round,
        master=done.master.astype(np.int32),
        shift=done.shift,
        selected=tuple(done.selected),
        seconds=done.seconds,
        bytes_up=used.up,
        bytes_down=used.down,
        payload_up=sum(len(update.deltas) for update in done.updates.values()),
        body_up=used.body_up,
        body_down=used.body_down,
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
                deltas=update.deltas,
                bytes_up=traffic[name].up,
                bytes_down=traffic[name].down,
                embeddings=reply.embeddings,
                embed_instructions=instructions(welcome, reply.embed_ticks),
                steps=reply.steps,
                step_instructions=instructions(welcome, reply.step_ticks),
            )
        )
    return rows


def drop_rows(crew: Crew) -> list[DropRow]:
    """The drops of this round as the ledger keeps them."""
    return [DropRow(drop.round, drop.board, drop.phase, drop.reason) for drop in crew.drops]

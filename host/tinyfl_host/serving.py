"""The server's part of a round: which boards it asks (``[clients]``), what it makes of the answers (``[server]``)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyfl.errors import ConfigError
from tinyfl.federated import compatible, selection
from tinyfl.federated.clusters import check_clusters, parted
from tinyfl.federated.codecs import fleet_shift
from tinyfl.federated.optimisers import RATES, Optimiser, State
from tinyfl.federated.robust import Rule
from tinyfl.federated.server import Server
from tinyfl.federated.update import Update
from tinyfl.reference import tensors
from tinyfl.reference.fixed import Int64
from tinyfl.wire.messages import Trained
from tinyfl_host.fleet import Member
from tinyfl_host.history import History, Past, Took
from tinyfl_host.links.serial import parse_serial
from tinyfl_host.plan import Plan
from tinyfl_host.settings import SECTIONS, Settings

LINK_SHARE = 0.5  # of a round's deadline, for its bytes; the rest is for the training
ENVELOPE = 256  # bytes of a round beside weights and deltas: TRAIN, TRAINED, COLLECT, DELTA, in frames
SERIAL_BITS = 10  # on the line for a byte: start, eight, stop


def server(plan: Plan) -> Server:
    """Its rules. Raises ConfigError for constants out of range."""
    own = plan.settings.server
    rate = own.rate or RATES.get(own.optimiser, 1.0)
    optimiser = Optimiser(own.optimiser, rate, own.momentum, own.decay, own.floor)
    return Server(optimiser, Rule(own.aggregate, own.liars, own.mixing), tensors.units(plan.format, plan.shared))


def choose(plan: Plan, clients: Sequence[Member], history: History, round: int) -> list[Member]:
    """The boards of a round, in the order of the fleet: by seed, round and the ledger alone."""
    settings, policy = plan.settings, plan.settings.clients
    if policy.select == "power":
        losses = [history.loss(member.name) for member in clients]
        candidates = policy.candidates or min(1.0, 2 * settings.fraction)
        chosen = selection.by_power(losses, settings.fraction, candidates, settings.seed, round)
    elif policy.select == "link":
        rates, count, time = [rate(member) for member in clients], round_bytes(plan, round), settings.deadline
        chosen = selection.by_link(rates, count, LINK_SHARE * time, settings.fraction, settings.seed, round)
    else:
        chosen = selection.select(len(clients), settings.fraction, settings.seed, round)
    return [clients[place] for place in chosen]


def rate(member: Member) -> float | None:
    """Bytes a second of the board's link: as fleet.toml says, or a serial line's baud rate; None: not known."""
    if member.rate or not member.link.startswith("serial:"):
        return member.rate or None
    return parse_serial(member.link.removeprefix("serial:")).baud / SERIAL_BITS


def round_bytes(plan: Plan, round: int) -> int:
    """Bytes of a round over one board's link, both ways, at most: the codings shorten them, but not always."""
    weights = plan.initial.size
    down = weights + 1 if plan.settings.update.downlink == "int8" else 2 * weights
    down *= plan.settings.clusters.count  # each is offered
    up = sum(plan.codec(round, tensor).most_bytes(plan.learns[tensor].size) for tensor in plan.tensors)
    return math.ceil(1.01 * (down + up)) + ENVELOPE * len(plan.tensors)  # a byte in a hundred for framing


def shifts(plan: Plan, round: int, replies: Sequence[Trained]) -> tuple[int, ...]:
    """The fleet's shift of each shared tensor."""
    rules = server(plan)
    return tuple(
        fleet_shift(plan.codec(round, tensor), rules.believed(replies, tensor), tensor) for tensor in plan.tensors
    )


def took(
    plan: Plan,
    heads: Sequence[npt.NDArray[np.int16]],
    shifts: Sequence[int],
    trained: Mapping[str, Trained],
    updates: Mapping[str, Update],
) -> dict[str, Took]:
    """What the updates of a round say beside their deltas, of boards that chose among these heads."""
    chosen = {name: reply.cluster for name, reply in trained.items()}
    scale = tensors.scales(plan.format, plan.shared, shifts)
    clusters = parted(updates, chosen, len(heads), plan.settings.clusters.count, scale)
    return {name: Took(trained[name].first_loss, cluster) for name, cluster in clusters.items()}


def step(plan: Plan, models: Sequence[State], past: Past, updates: Mapping[str, Update]) -> tuple[State, ...]:
    """The models after a round, each with the updates of its own boards; where clusters were found, so many."""
    rules, heads, clusters = server(plan), past.heads, {name: took.cluster for name, took in past.boards.items()}
    if len(models) == 1 and any(clusters.values()):
        models, heads = [models[0]] * plan.settings.clusters.count, [heads[0]] * plan.settings.clusters.count
    after = []
    for cluster, (model, weights) in enumerate(zip(models, heads, strict=True)):
        own = [update for name, update in updates.items() if clusters[name] == cluster]
        own_update = reference(plan, past.round, weights)
        after.append(rules.step(model, own, past.shifts, tensors.slices(plan.format, plan.shared), own_update))
    return tuple(after)


def reference(plan: Plan, round: int, weights: npt.NDArray[np.int16]) -> Int64 | None:
    """The server's own update from these weights, where its rule needs one."""
    settings = plan.settings
    if plan.lab is None:
        return None
    return plan.lab.learn(plan.format, weights, (settings.seed, round), settings.epochs, plan.rate)


def check(plan: Plan, members: Sequence[Member]) -> None:
    """Refuses, before anything is started, settings that do not go together, or that no round could do."""
    clients = [member for member in members if member.trains]
    settings = plan.settings
    compatible.check(
        {
            **flat(settings),
            "compile.adapter": plan.format.adapter.group if plan.format.adapter else 0,
            "boards": selection.wanted(len(clients), settings.fraction),
            "board.rate": sum(rate(member) is not None for member in clients),
        }
    )
    server(plan)
    check_clusters(settings.clusters.count, selection.wanted(len(clients), settings.fraction))
    for round in (1, settings.rounds):  # the first ones may be dense
        if not choose(plan, clients, History(), round):
            count, seconds = round_bytes(plan, round), LINK_SHARE * settings.deadline
            raise ConfigError(
                f"no board's link moves the {count} bytes of a round in {seconds:g} s, half of its deadline",
                f"a longer deadline, a shorter update, or mend {compatible.name('board.rate')} in fleet.toml",
            )


def flat(settings: Settings) -> dict[str, Any]:
    """The settings by ``section.key``; what has no section of its own is of [run]."""
    values: dict[str, Any] = {}
    for key, value in dataclasses.asdict(settings).items():
        values |= {f"{key}.{own}": entry for own, entry in value.items()} if key in SECTIONS else {f"run.{key}": value}
    return values

"""Starts a run, or goes on with one: settles what it runs on, opens its ledger, brings up its boards, runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyfl.errors import ConfigError, Interrupted, LinkError, UsageError
from tinyfl.graph import HeadFormat
from tinyfl_host.crew import Crew
from tinyfl_host.evaluation import FEW, accuracy, measure
from tinyfl_host.events import Accuracy, Emit, RunDone, RunStart, Step
from tinyfl_host.fleet import Member, read_fleet
from tinyfl_host.history import History
from tinyfl_host.keys import load_keys
from tinyfl_host.lab import load_lab
from tinyfl_host.ledger import Ledger, MetricRow, find_run
from tinyfl_host.links import SCHEMES
from tinyfl_host.links.trace import Trace
from tinyfl_host.parts import recipe_members, shares
from tinyfl_host.plan import Plan
from tinyfl_host.recipe import Recipe
from tinyfl_host.runs import heads_after, remembered, run_rounds
from tinyfl_host.scenario import Auth, Model, Scenario, bring_up, load_model, prepare, require_samples
from tinyfl_host.serving import check
from tinyfl_host.settings import Settings, resettle, settle

NAMED = "fleet"  # settings.on of a run whose boards a fleet.toml names


@dataclass(frozen=True)
class Request:
    """What ``tinyfl run`` was asked for; ``given`` holds the settings that were named (None: not)."""

    folder: Path
    on: str | None = None
    fleet: Path | None = None
    boards: int | None = None
    resume: str | None = None  # a run's name or folder, "" for the last unfinished one
    trace: Path | None = None
    no_auth: bool = False
    place: Path | None = None  # the folder of a new run; None: the next number in build/NAME/runs
    given: dict[str, Any] = dataclasses.field(default_factory=dict)


def launch(request: Request, emit: Emit) -> RunDone:
    """Runs all rounds that are not done yet. Raises Interrupted, with how to go on, where Ctrl-C ended it."""
    if request.on and request.fleet:
        raise UsageError("--on and --fleet both say where the boards are", "give one of them")
    emit(Step(f"compiling {request.folder}"))
    model = load_model(request.folder)
    if request.resume is None:
        members, plan = begin(request, model)
        plan = dataclasses.replace(plan, settings=_without_alone(plan.settings, request, emit))
        scenario, settings = prepare(model, members), plan.settings
        require_samples(scenario)
        documents = (scenario.identity, dataclasses.asdict(settings), _documents(members))
        ledger = Ledger.create(scenario.runs, *documents, at=request.place)
    else:
        runs = model[1].folder / "runs"
        ledger = Ledger(find_run(runs, request.resume or None, unfinished=True))
        scenario, settings = _kept(request, model, ledger)
        plan = _plan(scenario.format, scenario.members, settings)
        ledger.change_settings(dataclasses.asdict(settings))
    with ledger:
        try:
            return _run(request, scenario, plan, ledger, emit)
        except KeyboardInterrupt as error:
            last = ledger.last_round()
            done = "before round 1" if last is None else f"after round {last.round} of {settings.rounds}"
            raise Interrupted(f"interrupted {done}", _resume_hint(request.folder, ledger)) from error


def begin(request: Request, model: Model) -> tuple[list[Member], Plan]:
    """The boards and the plan of a new run; refuses what ``launch`` would, before anything is started."""
    members = _new_members(request, model[0])
    _check_trace(request, members)
    settings = settle(model[0], request.on or NAMED, len(members), request.given)
    return members, _plan(model[2], members, settings)


def _check_trace(request: Request, members: Sequence[Member]) -> None:
    """An empty record would look as if nothing had been sent."""
    if request.trace is not None and not any(member.linked for member in members):
        raise UsageError(
            "--trace records what crosses links, sim boards and twins have none",
            "--on posix: the same boards as processes, the same messages over a link",
        )


def _without_alone(settings: Settings, request: Request, emit: Emit) -> Settings:
    """What each board learns alone is computed only where it was asked for, if it takes long, or would send the host
    what a board learned of a tensor that is private."""
    if not settings.local_only or request.given.get("local_only") is not None:
        return settings
    if settings.personal.private != "none":
        why = f"the {settings.personal.private} is private"
    elif settings.boards > FEW:
        why = f"{settings.boards} boards"
    else:
        return settings
    emit(Step(f"{why}: what each learns alone is left out (--local-only asks for it)"))
    return dataclasses.replace(settings, local_only=False)


def evaluate(request: Request, run: str | None, emit: Emit) -> tuple[Accuracy, list[MetricRow]]:
    """How good the compiled weights, or the final ones of ``run``, are on the boards. LinkError where none answers.

    Of a run with a private tensor each of its boards has its own, as the run left it; any other has the compiled one.
    """
    model = load_model(request.folder)
    members = _evaluated_members(request, model[0])
    scenario = prepare(model, members)
    settings = settle(model[0], request.on or NAMED, len(members), request.given)
    plan, history = Plan(scenario.format, settings), History()
    heads = [plan.initial]
    if run is not None:
        plan, heads, history = _finished(scenario, plan, run)
    with bring_up(scenario, _keys(request, emit)) as fleet, Crew(fleet, emit) as crew:
        crew.history = history
        rows = measure(crew, plan, heads, 0)
    if not rows:
        raise LinkError(f"no board answered{crew.reasons()}", "mend the boards and try again")
    return accuracy(members, rows), rows


def _evaluated_members(request: Request, recipe: Recipe) -> list[Member]:
    """As for a run; one link alone is one board, with its own data."""
    scheme = (request.on or "").partition(":")[0]
    if request.fleet is None and scheme in SCHEMES and scheme not in ("emu", "posix"):
        return [Member("board", 0, str(request.on))]
    return _new_members(request, recipe)


def _finished(scenario: Scenario, plan: Plan, run: str) -> tuple[Plan, list[npt.NDArray[np.int16]], History]:
    """The final weights of a run; where a tensor of it is private, with its plan and the rounds of its own boards."""
    with Ledger(find_run(scenario.runs, run), write=False) as ledger:
        model, last = ledger.identity()["model"], ledger.last_round()
        if model != scenario.identity["model"]:
            now = scenario.identity["model"]
            raise ConfigError(f"run {run} trained the model {model[:16]}, {scenario.recipe.folder} now is {now[:16]}")
        if last is None:
            raise ConfigError(f"run {run} ended before its first round", "go on with --resume")
        settings, weights = resettle(ledger.settings(), {}, run), heads_after(ledger, last)
        if settings.personal.private == "none":
            return plan, weights, History()
        own = {_place(Member(**document)) for document in ledger.members()}
        history = remembered(ledger, {member.name for member in scenario.members if _place(member) in own})
        return dataclasses.replace(plan, settings=settings), weights, history


def _place(member: Member) -> Member:
    """Who a board is, wherever it is."""
    return dataclasses.replace(member, link="", rate=0.0)


def _run(request: Request, scenario: Scenario, plan: Plan, ledger: Ledger, emit: Emit) -> RunDone:
    trace = Trace(request.trace) if request.trace else None
    try:
        _announce(scenario, plan, ledger, emit)
        if plan.settings.server.aggregate == "fltrust":
            plan = dataclasses.replace(plan, lab=load_lab(scenario, plan.settings.seed))
        with bring_up(scenario, _keys(request, emit), trace) as fleet, Crew(fleet, emit) as crew:
            if fleet.sim is not None:
                emit(fleet.sim.memory())
            return run_rounds(crew, plan, ledger, emit)
    finally:
        if trace is not None:
            trace.close()


def _keys(request: Request, emit: Emit) -> Callable[[Member], Auth]:
    """How each board is authenticated: who has a key always is; who has none is refused on a real line once any has."""
    keys = load_keys()
    if request.no_auth:
        emit(Step("authentication is off (--no-auth): boards without a key on this host are taken as they are"))
    strict = not request.no_auth and not keys.empty
    return lambda member: Auth(keys.get, strict and member.link.startswith(("serial:", "ble:")))


def _announce(scenario: Scenario, plan: Plan, ledger: Ledger, emit: Emit) -> None:
    last = ledger.last_round()
    settings = dataclasses.asdict(plan.settings)
    boards = [{key: value for key, value in _document(m).items() if key != "data"} for m in scenario.members]
    model = scenario.artifacts.manifest["hash"]
    emit(RunStart(str(ledger.folder), scenario.recipe.name, model, boards, settings, last.round if last else 0))
    if shares(scenario.members):
        emit(Step(shares(scenario.members)))
    emit(Step(f"bringing up {len(scenario.members)} boards"))


def _new_members(request: Request, recipe: Recipe) -> list[Member]:
    if request.fleet:
        if request.boards is not None:
            raise UsageError("--boards does not go with --fleet", "the fleet file names its boards")
        return read_fleet(request.fleet)
    if request.on is None:
        raise UsageError(
            "where are the boards? neither --on nor --fleet was given",
            f"try: tinyfl run {request.folder} --on emu:qemu-m4",
        )
    return recipe_members(recipe, request.on, request.boards, request.given.get("draw") or 0)


def _kept(request: Request, model: Any, ledger: Ledger) -> tuple[Scenario, Settings]:
    """Scenario and settings of a run that was begun; UsageError or ConfigError naming both sides where they differ."""
    name = ledger.folder.name
    if ledger.result() is not None:
        raise UsageError(f"run {name} is over", f"its report: tinyfl report {ledger.folder}")
    given = {**request.given, "on": NAMED if request.fleet else request.on, "boards": request.boards}
    settings = resettle(ledger.settings(), given, name)
    try:
        members = [Member(**document) for document in ledger.members()]
    except TypeError as error:
        raise ConfigError(f"run {name}: boards of another version: {error}", "start a new run") from error
    if request.fleet:
        members = _same_boards(members, read_fleet(request.fleet), request.fleet, name)
    _check_trace(request, members)
    scenario = prepare(model, members)
    for key, kept in ledger.identity().items():
        now = scenario.identity.get(key)
        if now != kept:
            raise ConfigError(
                f"run {name} was started with {key} {kept[:16]}, {request.folder} now has {key} {str(now)[:16]}",
                "restore it, or start a new run without --resume",
            )
    return scenario, settings


def _same_boards(kept: list[Member], now: list[Member], path: Path, run: str) -> list[Member]:
    """The boards as the file names them now: a link may have changed, who they are may not."""
    for before, after in zip(kept, now, strict=False):
        if dataclasses.replace(after, link=before.link) != before:
            raise UsageError(f"run {run} has the board {before}, {path} now says {after}", "only links may change")
    if len(kept) != len(now):
        raise UsageError(f"run {run} has {len(kept)} boards, {path} now names {len(now)}", "only links may change")
    return now


def _plan(format: HeadFormat, members: Sequence[Member], settings: Settings) -> Plan:
    """Refuses, before anything is started, what no round could do."""
    plan = Plan(format, settings)
    clients = sum(member.trains for member in members)
    if isinstance(settings.quorum, int) and settings.quorum > clients:
        raise UsageError(f"a quorum of {settings.quorum} boards, {clients} train", "ask for fewer, or for a fraction")
    _ = plan.rate, plan.local_rate, plan.adapting, plan.local, plan.pull
    for tensor in plan.tensors:
        plan.codec(1, tensor)
    check(plan, members)
    return plan


def _documents(members: list[Member]) -> list[dict[str, Any]]:
    return [_document(member) for member in members]


def _document(member: Member) -> dict[str, Any]:
    return dataclasses.asdict(member)


def _resume_hint(folder: Path, ledger: Ledger) -> str:
    run = ledger.folder.name if ledger.folder.parent.name == "runs" else ledger.folder
    return f"go on: tinyfl run {folder} --resume {run}"

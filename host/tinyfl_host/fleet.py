"""The boards of a run: who they are (``Member``), how each is opened, and the fleet.toml that names them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from tinyfl.errors import ConfigError, LinkError
from tinyfl.image import NAME_BYTES
from tinyfl.reference.codec import DENSE, Codec
from tinyfl.reference.tensors import Adapting
from tinyfl.wire import messages
from tinyfl_host.emulate import Emulator
from tinyfl_host.links import Link, open_link
from tinyfl_host.links.trace import Trace
from tinyfl_host.recipe import check_known
from tinyfl_host.sim import Simulation
from tinyfl_host.traffic import Traffic

ROLES = ("client", "unseen")
MOST_RATE = 10**9
KEYS = ("name", "link", "env", "user", "data", "role", "device", "rate")


class Board(Protocol):
    """A board over a link (node.Node), in this process (sim.SimBoard) or its numpy twin (reference.board.TwinBoard).

    ``deadline``: seconds for this call.
    """

    def hello(self, *, deadline: float = 60.0) -> messages.Welcome:
        """Starts a session."""

    def load(
        self,
        round: int,
        weights: npt.NDArray[np.int16],
        *,
        keep: bool = False,
        taken: int = 0,
        downlink: str = "int16",
        adapting: Adapting | None = None,
        deadline: float = 60.0,
    ) -> None:
        """Sends shared weights to measure, and to keep over a reset; all else as in ``train``."""

    def train(
        self,
        round: int,
        seed: int,
        board: int,
        epochs: int,
        rate: int,
        shift: int,
        weights: npt.NDArray[np.int16] | None = None,
        *,
        taken: int = 0,
        feedback: bool = False,
        pull: int = 0,
        downlink: str = "int16",
        adapting: Adapting | None = None,
        deadline: float = 60.0,
    ) -> messages.Trained:
        """Trains on the board's own samples, from the broadcast ``weights`` or from where it is.

        ``taken``: the last round in which this board's update counted (0: none). ``feedback``: what its updates left
        out until then is added. ``pull``: of FedProx (``reference.head.pull``). ``downlink``: how weights go over the
        wire, of ``codecs.DOWNLINKS``. ``adapting``: of a model with an adapter, which tensors ``weights`` are of (the
        others are private: they stay on the board) and the adapter's rate; None: there is no adapter.
        """

    def offer(
        self,
        round: int,
        cluster: int,
        weights: npt.NDArray[np.int16],
        *,
        taken: int = 0,
        downlink: str = "int16",
        adapting: Adapting | None = None,
        deadline: float = 60.0,
    ) -> messages.Offered:
        """Measures a cluster's head on the training samples; ``train`` without weights starts from the round's best."""

    def collect(
        self, round: int, shift: int, seed: int, *, codec: Codec = DENSE, tensor: int = 0, deadline: float = 60.0
    ) -> messages.Delta:
        """Asks for the update of a tensor, coded; ``codec.feedback`` must be what ``train`` said."""

    def evaluate(self, split: int, source: int, *, deadline: float = 60.0) -> messages.Evaluated:
        """Counts right answers."""

    def pull(self, *, deadline: float = 60.0) -> npt.NDArray[np.int16]:
        """Asks for the trained weights of all tensors; refused while one is private."""

    def infer(self, x: npt.NDArray[np.int8], *, deadline: float = 60.0) -> tuple[int, npt.NDArray[np.int8]]:
        """Runs the whole model on one input."""

    def close(self) -> None:
        """Lets the board go."""


@dataclass(frozen=True)
class Member:
    """One board of a run. ``index``: its number in seeds; ``link``: link string, emu:ENV, posix, sim or twin."""

    name: str
    index: int
    link: str
    user: str = ""  # whose data of the recipe it holds; empty: its own sensor's, or ``data``
    role: str = "client"  # "client": trains; "unseen": is only evaluated
    data: str = ""  # a data image file instead of a user's data
    device: str = ""  # the id that the board must have, 16 hex digits; empty: whatever board is at the link
    part: int = 0  # which of the ``parts`` of the user's data, where several boards share it
    parts: int = 1
    rate: float = 0.0  # bytes a second of its link; 0: not known
    classes: str = ""  # of the recipe's, by number: "0,3,5"; it holds samples of no others; empty: of all

    @property
    def trains(self) -> bool:
        """True for a client."""
        return self.role == "client"

    @property
    def env(self) -> str | None:
        """The environment that the run has to boot; None for a board that is there already, and for a twin."""
        return "posix" if self.link == "posix" else self.link.removeprefix("emu:") if self.emulated else None

    @property
    def emulated(self) -> bool:
        """True where the run boots the board."""
        return self.link == "posix" or self.link.startswith("emu:")

    @property
    def simulated(self) -> bool:
        """True for a board in this process."""
        return self.link == "sim"

    @property
    def linked(self) -> bool:
        """True where messages cross a link, False for a board or a twin in this process."""
        return not (self.simulated or self.link == "twin")

    @property
    def needs_data(self) -> bool:
        """True where the run gives the board its samples."""
        return self.emulated or not self.linked


class Fleet:
    """How the boards of a run are opened. Emulators are booted at the start, all other boards when they are needed.

    An emulator that ended is not booted again: to the run it is a board that went away. ``with`` ends what was booted.
    """

    def __init__(
        self,
        members: Sequence[Member],
        boot: Callable[[Member], Emulator],
        node: Callable[[Member, Callable[[], Link], Traffic], Board],
        twin: Callable[[Member], Board],
        trace: Trace | None = None,
        sim: Simulation | None = None,
    ) -> None:
        self.members = tuple(members)
        self.emulators: dict[str, Emulator] = {}
        self._node, self._twin, self._trace, self.sim = node, twin, trace, sim
        try:
            for member in self.members:
                if member.emulated:
                    self.emulators[member.name] = boot(member)
        except BaseException:
            self.close()
            raise

    def open(self, member: Member, traffic: Traffic) -> Board:
        """A new connection to the board, not greeted yet; LinkError where it is not there (it may be later)."""
        if member.link == "twin":
            return self._twin(member)
        if member.simulated and self.sim is not None:
            return self.sim.open(member.name, traffic)
        return self._node(member, lambda: self.connect(member), traffic)

    def connect(self, member: Member) -> Link:
        """The board's link, opened anew."""
        emulator = self.emulators.get(member.name)
        if emulator is not None and self.is_gone(member):
            raise LinkError(f"its emulator has ended {emulator.complaint()}".rstrip(), "start the run again")
        link = open_link(emulator.link if emulator else member.link)
        return link if self._trace is None else self._trace.wrap(member.name, link)

    def is_gone(self, member: Member) -> bool:
        """True for a board that this run booted and that has ended: it does not come back."""
        emulator = self.emulators.get(member.name)
        return emulator is not None and not emulator.running

    def close(self) -> None:
        """Ends the emulators."""
        for emulator in self.emulators.values():
            emulator.close()
        self.emulators.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def read_fleet(path: Path) -> list[Member]:
    """The boards of a fleet.toml, numbered in its order; ConfigError naming the board and the key."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}", "mend that line") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "name a fleet file: docs/RECIPES.md shows one") from error
    check_known(document, ("board",), f"{path}: unknown section")
    tables = document.get("board", [])
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{path}: no boards", "write each board as [[board]] with its name and link")
    members = [_member(table, index, f"{path}: board {index + 1}", path.parent) for index, table in enumerate(tables)]
    for member in members:
        if [other.name for other in members].count(member.name) > 1:
            raise ConfigError(f"{path}: two boards are named {member.name!r}", "name each once")
    if not any(member.trains for member in members):
        raise ConfigError(f"{path}: no board trains", f'give at least one board role = "{ROLES[0]}"')
    return members


def _member(table: dict[str, Any], index: int, where: str, folder: Path) -> Member:
    check_known(table, KEYS, f"{where}: unknown key")
    table = {**table, "rate": _rate(table.get("rate", 0.0), where)}
    for key, value in table.items():
        if key != "rate" and (not isinstance(value, str) or not value):
            raise ConfigError(f"{where}: {key} = {value!r}, expected a text", f'write {key} = "…"')
    for key in ("name", "link"):
        if key not in table:
            raise ConfigError(f"{where}: {key} is missing", 'for example name = "kitchen", link = "emu:qemu-m4"')
    if len(table["name"].encode()) > NAME_BYTES or not table["name"].isprintable():
        raise ConfigError(
            f"{where}: name {table['name']!r}, expected at most {NAME_BYTES} printable bytes", "shorten it"
        )
    if not re.fullmatch("([0-9a-f]{16})?", table.get("device", "")):
        raise ConfigError(f"{where}: device = {table['device']!r}", "16 hex digits: tinyfl device info LINK shows them")
    if table.get("role", ROLES[0]) not in ROLES:
        raise ConfigError(f"{where}: role = {table['role']!r}", f"expected {' or '.join(ROLES)}")
    if table.get("env", "") and table["link"] == f"emu:{table['env']}":
        table = {**table, "env": ""}
    member = Member(index=index, **{key: value for key, value in table.items() if key != "env"})
    if member.needs_data and bool(member.user) == bool(member.data):
        seen = "both" if member.user else "neither"
        raise ConfigError(f"{where}: {seen} user and data", f"{member.link} takes its samples from one of them")
    return Member(**{**member.__dict__, "data": str(folder / member.data)}) if member.data else member


def _rate(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (value == 0 or 1 <= value <= MOST_RATE):
        raise ConfigError(
            f"{where}: rate = {value!r}", f"bytes a second of its link, 1 to {MOST_RATE}; 960 is 9600 baud"
        )
    return float(value)

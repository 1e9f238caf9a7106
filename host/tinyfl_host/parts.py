"""The boards of a recipe: a user each, or several that share a user's data, and how it is dealt to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyfl.errors import ConfigError, UsageError
from tinyfl.image import NAME_BYTES
from tinyfl_host.boards import board
from tinyfl_host.dataset import Float32, UInt8
from tinyfl_host.fleet import ROLES, Member
from tinyfl_host.recipe import Recipe, draw_users

MOST_BOARDS = 1_000_000
LEAST = 32  # training samples of a board that shares a user's


@dataclass(frozen=True)
class Target:
    """``--on``: the link of each board and, of ``sim:N``, how many there are."""

    link: str
    boards: int | None = None


def recipe_members(recipe: Recipe, on: str, boards: int | None, draw: int) -> list[Member]:
    """One board a user: the draw's clients, then its never-seen users. Fewer ``boards`` leave out the last clients.

    More of them (``sim:N``) share the users evenly, and the data of each user as ``deal`` says.
    """
    target = read_target(on)
    if not recipe.users.federated:
        raise ConfigError(f"{recipe.folder / 'recipe.toml'}: [users] federated names nobody", "name who holds a board")
    if target.boards is not None and boards is not None:
        raise UsageError(f"--on {on} and --boards {boards} both say how many boards", "give one of them")
    drawn, boards = draw_users(recipe, draw), boards if target.boards is None else target.boards
    clients, unseen = len(drawn.clients), len(drawn.unseen)
    counts = [1] * (clients + unseen)
    if boards is not None and target.boards is not None and boards > clients + unseen:
        counts = [boards // len(counts) + (place < boards % len(counts)) for place in range(len(counts))]
    elif boards is not None:
        if not 1 <= boards <= clients + unseen:
            raise UsageError(
                f"--boards {boards}: the recipe names {clients + unseen} users that can hold a board",
                f"give --boards 1 to {clients + unseen}, or name more users in [users] federated",
            )
        clients = max(1, boards - unseen)
        unseen = boards - clients
    roles = [ROLES[0]] * clients + [ROLES[1]] * unseen
    users = (*drawn.clients[:clients], *drawn.unseen[:unseen])
    places = [
        (user, role, part, count)
        for user, role, count in zip(users, roles, counts, strict=False)
        for part in range(count)
    ]
    names = _names([(user, part if parts > 1 else None) for user, _, part, parts in places])
    return [
        Member(
            name, index, target.link, user, role, part=part, parts=parts, classes=_classes(recipe, role, draw, index)
        )
        for index, (name, (user, role, part, parts)) in enumerate(zip(names, places, strict=True))
    ]


def _classes(recipe: Recipe, role: str, draw: int, index: int) -> str:
    """Those that a client gets where it does not get all: others in each draw. Who is never seen keeps them all."""
    count, classes = recipe.users.classes_per_board, len(recipe.classes)
    if count in (0, classes) or role != ROLES[0]:
        return ""
    drawn = np.random.default_rng([draw, index]).permutation(classes)[:count]
    return ",".join(map(str, sorted(drawn.tolist())))


def read_target(on: str) -> Target:
    """Raises UsageError where ``--on`` is nothing that a run can boot."""
    scheme, _, rest = on.partition(":")
    if scheme == "emu" or on == "posix":
        spec = board(on.removeprefix("emu:"))
        if spec.machine is None and spec.env != "posix":
            raise UsageError(f"{on}: {spec.env} has no emulator", "take one of tinyfl device list")
        return Target(on)
    if scheme == "sim" and on != scheme:
        if not (rest.isascii() and rest.isdigit() and 1 <= int(rest) <= MOST_BOARDS):
            raise UsageError(f"--on {on}: expected sim:1 to sim:{MOST_BOARDS}", "sim alone is a board for each user")
        return Target(scheme, int(rest))
    if on not in ("twin", "sim"):
        raise UsageError(
            f"--on {on}: a run boots emu:ENV, posix, sim:N or twin",
            "boards that are there already are named in a fleet file: tinyfl run RECIPE --fleet fleet.toml",
        )
    return Target(on)


def deal(data: tuple[Float32, UInt8, Float32, UInt8], member: Member) -> tuple[Float32, UInt8, Float32, UInt8]:
    """(x_train, y_train, x_test, y_test) of one of the boards that share a user, of the board's classes alone.

    Both splits are dealt like cards: board ``part`` has the samples part, part + parts, ... in the order of the source.
    Where that gives fewer than LEAST to train on, each board draws so many of the user's instead, without putting any
    back: boards then have some in common. Test samples are always dealt, so the fleet is tested on each of them once.
    """
    x_train, y_train, x_test, y_test = data
    if member.classes:
        classes = [int(number) for number in member.classes.split(",")]
        held, tested = np.isin(y_train, classes), np.isin(y_test, classes)
        x_train, y_train, x_test, y_test = x_train[held], y_train[held], x_test[tested], y_test[tested]
    own: slice | list[int] = slice(member.part, None, member.parts)
    test, count = own, len(x_train)
    if member.parts > 1 and count < LEAST * member.parts:
        drawn = np.random.default_rng([member.part, member.parts]).permutation(count)[:LEAST]
        own = sorted(drawn.tolist())
    return x_train[own], y_train[own], x_test[test], y_test[test]


def shares(members: Sequence[Member]) -> str:
    """How boards share users, for people; empty where each has a user of its own."""
    parts = sorted({member.parts for member in members})
    if parts[-1] == 1:
        return ""
    users, boards = len({member.user for member in members}), "-".join(map(str, dict.fromkeys((parts[0], parts[-1]))))
    return f"{len(members)} boards share the samples of {users} users, {boards} boards those of each"


def _names(places: Sequence[tuple[str, int | None]]) -> list[str]:
    """``user-5``, ``user-5.0`` for a part: a name of at most 16 bytes for each board, all different."""
    names: dict[str, None] = {}
    for place, (user, part) in enumerate(places):
        plain = "".join(char if char.isalnum() or char in "._-" else "_" for char in user)
        name = (f"user-{plain}" if plain.isdigit() else plain).encode("ascii", "replace").decode().replace("?", "_")
        tail = "" if part is None else f".{part}"
        short = name[: NAME_BYTES - len(tail)] + tail
        names[short if short and short not in names else f"{name[: NAME_BYTES - 8]}~{place}"] = None
    return list(names)

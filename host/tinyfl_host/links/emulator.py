"""``emu:ENV`` and ``posix``: boards that a command has to start; started ones are reached by ``unix:``."""

from __future__ import annotations

from tinyfl.errors import UsageError
from tinyfl_host.links.link import Link


def open_emulator(env: str) -> Link:
    """Never a link by itself: it needs a model and a data image. Raises UsageError that says how to get one."""
    raise UsageError(
        f"no emulated board {env!r} is running here",
        f"start one: tinyfl emulate MODEL --env {env} prints the unix: link to use",
    )

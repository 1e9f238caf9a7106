"""Options of all commands that open links."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def ble_backend_option(command: Command) -> Command:
    """The option ``--ble-backend``. It says what the process's BLE links use; the command is not told."""
    return click.option(
        "--ble-backend",
        metavar="BACKEND",
        expose_value=False,
        callback=_use,
        help="Bluetooth of ble: links: auto (the system's, default) or bumble:TRANSPORT (docs/BLE.md).",
    )(command)


def _use(context: click.Context, parameter: click.Parameter, backend: str | None) -> None:
    from tinyfl_host.links.ble import use_backend

    use_backend(backend)

"""Lines to boards, named by link strings: ``open_link("serial:/dev/ttyACM0,115200")``. One file a scheme."""

from __future__ import annotations

from collections.abc import Callable

from tinyfl.errors import UsageError
from tinyfl_host.links.ble import open_ble
from tinyfl_host.links.emulator import open_emulator
from tinyfl_host.links.link import Link
from tinyfl_host.links.pty import open_pty
from tinyfl_host.links.serial import open_serial
from tinyfl_host.links.tcp import open_tcp
from tinyfl_host.links.unix import open_unix

__all__ = ["SCHEMES", "Link", "open_link"]

SCHEMES: dict[str, tuple[Callable[[str], Link], str]] = {
    "serial": (open_serial, "serial:/dev/ttyACM0,115200"),
    "ble": (open_ble, "ble:name=tfl-01"),
    "tcp": (open_tcp, "tcp:localhost:3456"),
    "unix": (open_unix, "unix:/tmp/board"),
    "pty": (open_pty, "pty:/dev/pts/4"),
    "emu": (open_emulator, "emu:qemu-m4"),
    "posix": (lambda _: open_emulator("posix"), "posix"),
}
ALONE = ("ble", "emu", "posix")  # schemes that need nothing behind them


def open_link(link: str) -> Link:
    """The line that a link string names. Raises UsageError where it is none, LinkError where it cannot be had."""
    scheme, _, rest = link.partition(":")
    if scheme not in SCHEMES:
        forms = ", ".join(form for _, form in SCHEMES.values())
        raise UsageError(f"{link!r} is no link", f"links look like: {forms}")
    opener, form = SCHEMES[scheme]
    if not rest and scheme not in ALONE:
        raise UsageError(f"{link!r} names nothing to open", f"write it like {form}")
    return opener(rest)

"""``unix:PATH``: a Unix socket, as emulators and posix boards offer it."""

from __future__ import annotations

import socket

from tinyfl.errors import LinkError
from tinyfl_host.links.link import DescriptorLink, Link

HINT = "is the emulator running? tinyfl emulate prints its link"


def open_unix(path: str) -> Link:
    """Connects; raises LinkError."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.connect(path)
        line.setblocking(False)
    except (OSError, ValueError) as error:
        line.close()
        raise LinkError(f"unix:{path}: {getattr(error, 'strerror', None) or error}", HINT) from error
    return DescriptorLink(f"unix:{path}", line.fileno(), line.close)

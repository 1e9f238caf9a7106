"""``tcp:HOST:PORT``: a socket, for example of ser2net or of an emulator elsewhere."""

from __future__ import annotations

import socket

from tinyfl.errors import LinkError, UsageError
from tinyfl_host.links.link import DescriptorLink, Link

CONNECT_PATIENCE = 5.0


def open_tcp(address: str) -> Link:
    """Connects without Nagle's delay; raises LinkError, or UsageError for an address without a port."""
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"tcp:{address}: no HOST:PORT", "write it like tcp:localhost:3456")
    try:
        line = socket.create_connection((host.strip("[]"), int(port)), CONNECT_PATIENCE)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise LinkError(f"tcp:{address}: {reason}", "is something listening there?") from error
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.setblocking(False)
    return DescriptorLink(f"tcp:{address}", line.fileno(), line.close)

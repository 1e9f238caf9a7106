"""``pty:PATH``: a pseudo terminal, as emulators and socat offer it: serial without baud rate and control lines."""

from __future__ import annotations

import os
import tty

from tinyfl.errors import LinkError
from tinyfl_host.links.link import DescriptorLink, Link


def open_pty(path: str) -> Link:
    """Opens it raw; raises LinkError."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise LinkError(f"pty:{path}: {reason}", "is the other side still there?") from error
    if not os.isatty(descriptor):
        os.close(descriptor)
        raise LinkError(f"pty:{path}: no terminal", "give the /dev/pts path that the other side printed")
    tty.setraw(descriptor)
    return DescriptorLink(f"pty:{path}", descriptor, lambda: os.close(descriptor))

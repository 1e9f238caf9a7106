"""``serial:PORT[,BAUD]``: a real serial port, for this process alone, DTR left alone where that can be had."""

from __future__ import annotations

import errno
import termios
from typing import TYPE_CHECKING

from tinyfl.errors import LinkError, UsageError
from tinyfl_host.links.link import DescriptorLink, Link

if TYPE_CHECKING:
    from serial import Serial

BAUD = 115200


def open_serial(address: str) -> Link:
    """Opens the port; raises LinkError with what to do where it is missing, busy or not permitted."""
    import serial

    path, baud = parse_serial(address)
    port = serial.Serial(baudrate=baud, exclusive=True, timeout=0)
    port.port = path
    try:
        port.open()
    except (OSError, ValueError) as error:  # SerialException is an OSError
        raise _refused(path, error) from error
    _keep_dtr(port)
    return DescriptorLink(f"serial:{path}", port.fileno(), port.close)


def parse_serial(address: str) -> tuple[str, int]:
    """(port, baud rate); raises UsageError."""
    path, comma, rate = address.partition(",")
    if not comma:
        return path, BAUD
    if not rate.isascii() or not rate.isdigit() or int(rate) == 0:
        raise UsageError(f"serial:{address}: {rate!r} is no baud rate", f"write it like serial:{path},{BAUD}")
    return path, int(rate)


def _keep_dtr(port: Serial) -> None:
    """The kernel raises DTR on opening, which resets many boards; not dropping it on close spares the next reset."""
    try:
        settings = termios.tcgetattr(port.fileno())
        settings[2] &= ~termios.HUPCL
        termios.tcsetattr(port.fileno(), termios.TCSANOW, settings)
    except termios.error:
        return  # a port without modem lines


def _refused(path: str, error: OSError | ValueError) -> LinkError:
    number = getattr(error, "errno", None)
    text = str(error)
    if number == errno.EACCES:
        hint = "add yourself to the group of the port (Debian: sudo adduser $USER dialout), then log in again"
        return LinkError(f"serial:{path}: permission denied", hint)
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return LinkError(f"serial:{path}: no such port", _ports())
    if number in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in text:
        return LinkError(f"serial:{path}: in use by another program", "close the monitor or run that holds it")
    return LinkError(f"serial:{path}: {text}", _ports())


def _ports() -> str:
    from serial.tools.list_ports import comports

    names = sorted(port.device for port in comports() if port.vid is not None)
    return f"ports with a USB device: {', '.join(names)}" if names else "no USB serial device is plugged in"

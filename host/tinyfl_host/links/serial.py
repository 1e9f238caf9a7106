"""``serial:PORT[,BAUD][,dtr=on|off][,rts=on|off]``: a serial port, for this process alone.

PORT is a path, ``usb=SERIALNUMBER``, ``rfc2217://HOST:PORT``, or ``socket://HOST:PORT`` (``tcp:`` by pyserial's name,
without baud rate and lines).

DTR and RTS are held asserted unless told otherwise. Linux asserts both while it opens a port, before any program has a
say; to take one back afterwards is the edge that does the harm:

- Arduino Uno and its kin reset when DTR goes from off to on. Left on after closing too, that is once after plugging in.
- ESP32 boards reset while RTS is on and DTR is off; both on, or both off, mean nothing to them.
- Boards with USB of their own (RP2040, nRF52840, Leonardo) send nothing while DTR is off.
- micro:bit and other DAPLink boards, ST-LINK and plain CP210x converters do not care.

Off is for boards that wire a line straight to reset or boot mode. HELLO waits for a board that resets all the same.
"""

from __future__ import annotations

import errno
import termios
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tinyfl.errors import LinkError, UsageError
from tinyfl_host.links import usb
from tinyfl_host.links.link import DescriptorLink, Link
from tinyfl_host.links.rfc2217 import open_rfc2217
from tinyfl_host.links.tcp import open_tcp

if TYPE_CHECKING:
    from serial import Serial

BAUD = 115200
SOCKET, RFC2217, USB = "socket://", "rfc2217://", "usb="
OPTIONS = f"serial:/dev/ttyACM0,{BAUD},dtr=on,rts=off"


@dataclass(frozen=True)
class SerialAddress:
    """A ``serial:`` link taken apart."""

    port: str
    baud: int = BAUD
    dtr: bool = True
    rts: bool = True


def open_serial(address: str) -> Link:
    """Opens the port; raises LinkError with what to do where it is missing, busy or not permitted, or UsageError."""
    wanted = parse_serial(address)
    if wanted.port.startswith(SOCKET):
        return open_tcp(wanted.port.removeprefix(SOCKET))
    if wanted.port.startswith(RFC2217):
        return open_rfc2217(wanted.port, wanted.baud, wanted.dtr, wanted.rts)
    by_number = wanted.port.startswith(USB)
    path = usb.find(wanted.port.removeprefix(USB)) if by_number else usb.locate(wanted.port)
    port = _open_port(replace(wanted, port=path))
    usb.remember(wanted.port, path)
    return DescriptorLink(
        f"serial:{path}", port.fileno(), port.close, "unplugged", "plug the board in again, then open it again"
    )


def parse_serial(address: str) -> SerialAddress:
    """Raises UsageError where a part is neither baud rate nor option."""
    port, *parts = address.split(",")
    parsed = SerialAddress(port)
    if "://" in port and not port.startswith((SOCKET, RFC2217)):
        raise UsageError(f"serial:{address}: unknown kind of port", f"write it like serial:{RFC2217}localhost:2217")
    for part in parts:
        name, equals, value = part.partition("=")
        if name == "dtr" and value in ("on", "off"):
            parsed = replace(parsed, dtr=value == "on")
        elif name == "rts" and value in ("on", "off"):
            parsed = replace(parsed, rts=value == "on")
        elif equals:
            raise UsageError(f"serial:{address}: {part!r} is no option", f"write it like {OPTIONS}")
        elif not part.isascii() or not part.isdigit() or int(part) == 0:
            raise UsageError(f"serial:{address}: {part!r} is no baud rate", f"write it like {OPTIONS}")
        else:
            parsed = replace(parsed, baud=int(part))
    return parsed


def _open_port(address: SerialAddress) -> Serial:
    """The open port. Opening throws away what came before: boot chatter, the rest of an old frame."""
    import serial

    port = serial.Serial(baudrate=address.baud, exclusive=True, timeout=0)
    port.port, port.dtr, port.rts = address.port, address.dtr, address.rts
    try:
        port.open()
    except (OSError, ValueError) as error:  # SerialException is an OSError
        raise _refused(address.port, error) from error
    _keep_lines(port)
    _ask_low_latency(port)
    return port


def _keep_lines(port: Serial) -> None:
    """Closing would drop DTR and RTS, and the next opening reset the board."""
    try:
        settings = termios.tcgetattr(port.fileno())
        settings[2] &= ~termios.HUPCL
        termios.tcsetattr(port.fileno(), termios.TCSANOW, settings)
    except termios.error:
        return  # a port without modem lines


def _ask_low_latency(port: Serial) -> None:
    """An FTDI converter then waits 1 ms for more bytes before it passes them on, not 16; most drivers just refuse."""
    try:
        port.set_low_latency_mode(True)
    except (ValueError, NotImplementedError):
        return


def _refused(path: str, error: OSError | ValueError) -> LinkError:
    number = getattr(error, "errno", None)
    text = str(error)
    if number == errno.EACCES:
        hint = "add yourself to the group of the port (Debian: sudo adduser $USER dialout), then log in again"
        return LinkError(f"serial:{path}: permission denied", hint)
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return LinkError(f"serial:{path}: no such port", usb.plugged_in())
    if number in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in text:
        return LinkError(f"serial:{path}: in use by another program", "close the monitor or run that holds it")
    return LinkError(f"serial:{path}: {text}", usb.plugged_in())

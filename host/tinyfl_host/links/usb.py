"""Which USB device stands behind a serial port: a board is found again when it comes back under another port name."""

from __future__ import annotations

import os
from dataclasses import dataclass

from tinyfl.errors import LinkError


@dataclass(frozen=True)
class UsbPort:
    """One port of a USB device. Cheap converters share serial numbers, so that two may be equal."""

    vid: int
    pid: int
    serial_number: str
    function: str  # configuration and interface ("1.2") where the device has several ports


_seen: dict[str, UsbPort] = {}  # port name -> what stood behind it when this process opened it first


def usb_ports() -> dict[str, UsbPort]:
    """Port path -> USB identity, of all ports that have one. Opens none."""
    from serial.tools.list_ports import comports

    return {
        p.device: UsbPort(p.vid, p.pid, p.serial_number, (p.location or "").partition(":")[2])
        for p in comports()
        if p.vid is not None and p.serial_number
    }


def remember(name: str, path: str) -> None:
    """``name`` means, from now on, the USB device that is at ``path``."""
    port = usb_ports().get(os.path.realpath(path))
    if port is not None:
        _seen.setdefault(name, port)


def locate(name: str) -> str:
    """Where the board that was first opened as ``name`` is now; ``name`` itself where nothing else is known.

    Raises LinkError where another device has taken the name: its board must not be taken for the one that left.
    """
    known = _seen.get(name)
    if known is None:
        return name
    ports = usb_ports()
    here = ports.get(os.path.realpath(name))
    places = [path for path, port in ports.items() if port == known]
    if here == known or (here is None and len(places) != 1):
        return name
    if len(places) == 1:
        return places[0]
    raise LinkError(
        f"serial:{name}: another USB device has this name now: serial number {here.serial_number if here else '?'}",
        f"plug in the one with serial number {known.serial_number}, or start again with the port that you mean",
    )


def find(serial_number: str) -> str:
    """The path of the one port whose USB device has this serial number; raises LinkError."""
    places = sorted(path for path, port in usb_ports().items() if port.serial_number == serial_number)
    if len(places) == 1:
        return places[0]
    if places:
        several = f"{len(places)} ports have this serial number: {', '.join(places)}"
        raise LinkError(f"serial:usb={serial_number}: {several}", f"name one by its path: serial:{places[0]}")
    raise LinkError(f"serial:usb={serial_number}: no port has this serial number", plugged_in())


def plugged_in() -> str:
    """A hint: what could have been named instead."""
    from serial.tools.list_ports import comports

    names = sorted(f"{p.device} (usb={p.serial_number})" if p.serial_number else p.device for p in comports() if p.vid)
    return f"ports with a USB device: {', '.join(names)}" if names else "no USB serial device is plugged in"

"""What could be a board: BLE boards that advertise, serial ports with a USB device. Nothing is opened."""

from __future__ import annotations

from dataclasses import dataclass

from tinyfl.errors import LinkError
from tinyfl_host.devices import Port, list_ports
from tinyfl_host.links import ble


@dataclass(frozen=True)
class Scan:
    """``trouble``: why no BLE board could be looked for; empty: one could."""

    ble: tuple[ble.Seen, ...]
    ports: tuple[Port, ...]
    trouble: str


def scan(seconds: float) -> Scan:
    """Listens for BLE boards for ``seconds``; ports are read from the system's list."""
    ports = tuple(list_ports())
    try:
        return Scan(tuple(ble.scan(seconds)), ports, "")
    except LinkError as error:
        return Scan((), ports, f"{error.message}; {error.hint}")

"""``tinyfl device``: which boards are there, what one says of itself, what crosses its line."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from tinyfl_host.cli import console
from tinyfl_host.cli.links import ble_backend_option


@click.group(epilog=console.examples("tinyfl device list", "tinyfl device info serial:/dev/ttyACM0"))
def command() -> None:
    """List boards, ask one what it is, watch its frames."""


@command.command("list", epilog=console.examples("tinyfl device list --json"))
@console.json_option
def list_command(as_json: bool) -> None:
    """List serial ports by their USB ids. None is opened: no board is reset."""
    from tinyfl_host.devices import list_ports

    ports = list_ports()
    if as_json:
        console.document([asdict(port) for port in ports])
    elif ports:
        rows = [(p.link, p.usb, p.product, p.serial_number) for p in ports]
        console.result(console.table(("link", "USB id", "product", "serial number"), rows))
    else:
        console.log("no USB serial device is plugged in")


@command.command("scan", epilog=console.examples("tinyfl device scan --seconds 5"))
@click.option("--seconds", default=3.0, show_default=True, type=click.FloatRange(0.1, 60.0), help="How long to listen.")
@console.json_option
@ble_backend_option
def scan_command(seconds: float, as_json: bool) -> None:
    """List BLE boards that advertise and serial ports by their USB ids. None is
    opened or connected to.
    """
    from tinyfl_host.scan import scan

    found = scan(seconds)
    if as_json:
        console.document(asdict(found))
        return
    rows = [(f"ble:{board.address}", board.name, f"{board.rssi} dBm") for board in found.ble]
    rows += [(port.link, port.product, f"USB {port.usb}") for port in found.ports]
    if rows:
        console.result(console.table(("link", "name", "seen by"), rows))
    elif not found.trouble:
        console.log("no BLE board advertises, no USB serial device is plugged in")
    if found.trouble:
        console.log(found.trouble)


@command.command("info", epilog=console.examples("tinyfl device info serial:/dev/ttyACM0,115200"))
@click.argument("link")
@console.json_option
@ble_backend_option
def info_command(link: str, as_json: bool) -> None:
    """Say HELLO over LINK and print what the board answers."""
    from tinyfl_host.devices import board_info

    info = board_info(link)
    if as_json:
        console.document(info)
    else:
        console.result(console.table(("field", "value"), [(key, str(value)) for key, value in info.items()]))


@command.command("enrol", epilog=console.examples("tinyfl device enrol serial:/dev/ttyACM0,115200"))
@click.argument("link")
@click.option("--replace", is_flag=True, help="Give a new key to a board that has one.")
@console.json_option
def enrol_command(link: str, replace: bool, as_json: bool) -> None:
    """Give the board at LINK a key of its own. From then on it obeys this host
    alone: the key file (TINYFL_KEYS) is all that speaks for it.
    """
    from tinyfl_host.enrolment import enrol

    done = enrol(link, replace)
    if as_json:
        console.document(asdict(done))
    else:
        name = console.visible(done.name)
        console.result(f"device {done.device} ({name}) holds a key; this host's copy is in {done.keys}")


@command.command("monitor", epilog=console.examples("tinyfl device monitor --replay trace.jsonl"))
@click.argument("link", required=False)
@click.option("--replay", type=click.Path(path_type=Path), metavar="FILE", help="Print the frames of a trace.")
@ble_backend_option
def monitor_command(link: str | None, replay: Path | None) -> None:
    """Print the frames that a board sends over LINK until Ctrl-C, or those of
    a trace that tinyfl run --trace recorded.
    """
    from tinyfl.errors import UsageError
    from tinyfl_host import devices

    if (link is None) == (replay is None):
        raise UsageError("give a LINK or --replay FILE", "tinyfl device monitor --help shows how")
    for line in devices.replay(replay) if replay is not None else devices.watch(str(link)):
        console.result(console.visible(line))

"""``ble:name=NAME``, ``ble:ADDRESS``, ``ble:``: a board behind a Nordic UART Service, by bleak.

bleak lives in one asyncio loop in a thread of its own, for the whole process. Boards are found by the service that they
advertise, then by name or address; who a board is, its authenticated id alone tells (docs/BLE.md).
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import re
import threading
import weakref
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from tinyfl.errors import LinkError, UsageError
from tinyfl_host.links.link import WRITE_PATIENCE, Link

if TYPE_CHECKING:
    from bleak import BleakClient
    from bleak.backends.characteristic import BleakGATTCharacteristic
    from bleak.backends.device import BLEDevice

SERVICE = "6e400001-b5a3-f393-e0a9-e50e24dcca9e"  # Nordic UART Service
RECEIVER = "6e400002-b5a3-f393-e0a9-e50e24dcca9e"  # the board's: we write
SENDER = "6e400003-b5a3-f393-e0a9-e50e24dcca9e"  # the board's: it notifies
LEAST, MOST = 20, 244  # bytes a write: every link takes the one; more than the other may vanish without an error
LOOK = 1.0  # seconds to listen before another link may; a named board ends it
LOOKS = 5
LOOK_AROUND = 3.0  # seconds to listen for all boards
PAUSES = (0.0, 0.2, 0.4, 0.8)  # seconds before each attempt to connect
PATIENCE = 10.0  # seconds for any one thing that the Bluetooth stack is asked to do
GRACE = 5.0  # more for a connection: the stack's own deadline must come first, or it goes on trying
BACKEND = "TINYFL_BLE_BACKEND"
INSTALL = "pip install -e '.[ble]'"
ADDRESS = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

Result = TypeVar("Result")
_backend = ""


@dataclass(frozen=True)
class Seen:
    """A board that advertises; ``rssi`` in dBm."""

    name: str
    address: str
    rssi: int

    def __str__(self) -> str:
        return f"{self.name or 'nameless'} ({self.address})"


@dataclass(frozen=True)
class Wanted:
    """What a link string asks for; neither: the only board there is."""

    text: str
    name: str = ""
    address: str = ""

    def fits(self, seen: Seen) -> bool:
        """Whether this is the one."""
        if self.address:
            return seen.address.lower() == self.address.lower()
        return not self.name or seen.name == self.name


class Inbox:
    """What came and was not read yet: filled in the loop's thread, emptied in the link's."""

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._received = bytearray()
        self.ended = False

    def put(self, data: bytes | bytearray) -> None:
        """Bytes of a notification."""
        with self._turn:
            self._received += data
            self._turn.notify_all()

    def end(self) -> None:
        """Nothing comes any more."""
        with self._turn:
            self.ended = True
            self._turn.notify_all()

    def take(self, timeout: float) -> bytes:
        """All that is there, waiting for some; empty: nothing came, or the end."""
        with self._turn:
            self._turn.wait_for(lambda: self._received or self.ended, timeout)
            data = bytes(self._received)
            self._received.clear()
            return data


class BleLink:
    """One connected board."""

    def __init__(self, name: str, client: BleakClient, receiver: BleakGATTCharacteristic, inbox: Inbox) -> None:
        self.name = name
        self._client, self._receiver, self._inbox = client, receiver, inbox
        self._closed = False

    def read(self, timeout: float) -> bytes:
        """See Link. What came before the board went away is still handed out."""
        data = b"" if self._closed else self._inbox.take(timeout)
        if not data and self._inbox.ended:
            raise self._lost()
        return data

    def write(self, data: bytes) -> None:
        """See Link. A write without response may be lost in silence: frames are repeated above."""
        _call(self.name, self._send(data))

    def close(self) -> None:
        """See Link."""
        if not self._closed:
            self._closed = True
            self._inbox.end()
            with contextlib.suppress(LinkError):
                _call(self.name, asyncio.wait_for(self._client.disconnect(), PATIENCE))

    async def _send(self, data: bytes) -> None:
        while data:
            if self._inbox.ended:  # some stacks take writes to a board that is gone
                raise self._lost()
            size = max(LEAST, min(MOST, self._receiver.max_write_without_response_size))
            write = self._client.write_gatt_char(self._receiver, data[:size], response=False)
            await asyncio.wait_for(write, WRITE_PATIENCE)
            data = data[size:]

    def _lost(self) -> LinkError:
        if self._closed:
            return LinkError(f"{self.name}: closed")
        return LinkError(f"{self.name}: the board has disconnected", "is it still powered and near?")


def open_ble(address: str) -> Link:
    """Finds the board and connects; raises LinkError, or UsageError for what is neither name nor address."""
    wanted = parse_ble(address)
    link = _call(wanted.text, _open(wanted))
    _links.add(link)
    return link


def parse_ble(address: str) -> Wanted:
    """What stands behind ``ble:``; raises UsageError."""
    text = f"ble:{address}"
    key, equals, name = address.partition("=")
    if not address:
        return Wanted(text)
    if equals and key == "name" and name:
        return Wanted(text, name=name)
    if ADDRESS.fullmatch(address):
        return Wanted(text, address=address)
    raise UsageError(f"{text!r} is neither a name nor an address", "write ble:name=tfl-01 or ble:AA:BB:CC:DD:EE:FF")


def scan(seconds: float = LOOK_AROUND) -> list[Seen]:
    """The boards that advertise the service, the nearest first. Raises LinkError where there is no Bluetooth."""
    return [seen for seen, _ in _call("ble", _look(seconds, lambda seen: False))]


def use_backend(spec: str | None) -> None:
    """What Bluetooth this process uses from now on: ``auto``, ``bumble:TRANSPORT``; None: what the environment says."""
    global _backend
    _options(spec or "auto")
    _backend = spec or ""


def _options(spec: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments for bleak's scanner and client; raises UsageError."""
    kind, _, transport = spec.partition(":")
    if spec == "auto":
        return {}, {}
    if kind != "bumble" or not transport:
        raise UsageError(f"{spec!r} is no BLE backend", "write auto, or bumble:TRANSPORT as in bumble:usb:0")
    try:
        from tinyfl_host.links.ble_bumble import BumbleClient, BumbleScanner
    except ModuleNotFoundError as error:
        raise LinkError(f"{error.name} is not installed: no {spec}", "pip install -e '.[bumble]'") from error
    return {"backend": BumbleScanner, "transport": transport}, {"backend": BumbleClient}


def _spec() -> str:
    return _backend or os.environ.get(BACKEND) or "auto"


async def _open(wanted: Wanted) -> BleLink:
    """Finds and connects, with pauses between attempts: right after its end a board often refuses the next one."""
    reason = ""
    for pause in PAUSES:
        await asyncio.sleep(pause)
        board = await _find(wanted)
        try:
            return await _connect(wanted, board)
        except (_bleak_error(), OSError) as error:  # TimeoutError is an OSError
            reason = str(error) or "no answer"
    raise LinkError(
        f"{wanted.text}: no connection in {len(PAUSES)} attempts: {reason}",
        "is it near? Does another program hold it? Reset the board",
    )


async def _find(wanted: Wanted) -> BLEDevice:
    """The board to connect to; raises LinkError that names the boards which were there."""
    named = bool(wanted.name or wanted.address)
    others: dict[str, Seen] = {}
    for _ in range(LOOKS if named else 1):
        boards = await _look(LOOK, wanted.fits) if named else await _look(LOOK_AROUND, lambda seen: False)
        fitting = [board for seen, board in boards if wanted.fits(seen)]
        others |= {seen.address: seen for seen, _ in boards}
        if len(fitting) == 1 or (named and fitting):
            return fitting[0]
    names = ", ".join(sorted(map(str, others.values())))
    if not names:
        hint = "is it powered, near, and not connected to another host? It must advertise the Nordic UART Service"
        raise LinkError(f"{wanted.text}: no board is advertising", hint)
    if named:
        raise LinkError(f"{wanted.text}: not found; boards that were: {names}", "name one of them")
    raise LinkError(f"{wanted.text}: {len(others)} boards are there: {names}", "name one: ble:name=NAME or ble:ADDRESS")


async def _look(seconds: float, enough: Callable[[Seen], bool]) -> list[tuple[Seen, BLEDevice]]:
    """The boards that are heard within ``seconds``, the nearest first; ends with the first that is enough."""
    from bleak import BleakScanner

    heard: dict[str, tuple[Seen, BLEDevice]] = {}
    done = asyncio.Event()

    def hear(board: BLEDevice, said: Any) -> None:
        seen = Seen(said.local_name or board.name or "", board.address, said.rssi)
        heard[board.address] = seen, board
        if enough(seen):
            done.set()

    async with _air():
        scanner = BleakScanner(hear, [SERVICE], **_options(_spec())[0])
        try:
            await asyncio.wait_for(scanner.start(), PATIENCE)
        except (_bleak_error(), OSError, ValueError, ImportError) as error:
            raise _deaf(error) from error
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), seconds)
        finally:
            with contextlib.suppress(_bleak_error(), OSError):
                await asyncio.wait_for(scanner.stop(), PATIENCE)
    return sorted(heard.values(), key=lambda pair: -pair[0].rssi)


async def _connect(wanted: Wanted, board: BLEDevice) -> BleLink:
    """Connects once. Whatever fails, no half-made connection stays."""
    from bleak import BleakClient

    inbox = Inbox()
    client = BleakClient(board, lambda _: inbox.end(), [SERVICE], timeout=PATIENCE, **_options(_spec())[1])
    try:
        async with _air():
            await asyncio.wait_for(client.connect(), PATIENCE + GRACE)
        receiver, sender = _ends(wanted, client)
        await asyncio.wait_for(client.start_notify(sender, lambda _, data: inbox.put(data)), PATIENCE)
    except BaseException:
        with contextlib.suppress(_bleak_error(), OSError):
            await asyncio.wait_for(client.disconnect(), PATIENCE)
        raise
    return BleLink(wanted.text, client, receiver, inbox)


def _ends(wanted: Wanted, client: BleakClient) -> tuple[BleakGATTCharacteristic, BleakGATTCharacteristic]:
    """The board's receiver and sender."""
    service = client.services.get_service(SERVICE)
    receiver = service.get_characteristic(RECEIVER) if service else None
    sender = service.get_characteristic(SENDER) if service else None
    if receiver is None or sender is None:
        raise LinkError(
            f"{wanted.text}: advertises the Nordic UART Service, but does not offer it",
            "flash firmware with that service, or name another board",
        )
    return receiver, sender


def _deaf(error: BaseException) -> LinkError:
    """Why nothing can be heard."""
    spec = _spec()
    reason = getattr(error, "strerror", None) or str(error) or "no answer"
    if spec != "auto":
        return LinkError(
            f"no Bluetooth by {spec}: {reason}", "is the controller there? bumble's documents list transports"
        )
    if isinstance(error, OSError) and error.errno:
        reason = f"BlueZ cannot be reached by D-Bus ({reason})"
    return LinkError(
        f"no Bluetooth here: {reason}",
        "is an adapter there and on, does bluetoothd run? A USB adapter without BlueZ: --ble-backend bumble:usb:0",
    )


def _bleak_error() -> type[Exception]:
    from bleak.exc import BleakError

    return BleakError


def _call(name: str, work: Coroutine[Any, Any, Result]) -> Result:
    """Does it in the loop's thread and waits; each step of it has a deadline of its own."""
    try:
        error = _bleak_error()
    except ModuleNotFoundError as missing:
        work.close()
        raise LinkError("bleak is not installed: no BLE links", INSTALL) from missing
    future = asyncio.run_coroutine_threadsafe(work, _loop())
    try:
        return future.result()
    except TimeoutError as late:
        raise LinkError(
            f"{name}: Bluetooth does not answer", "reset the board, switch the adapter off and on"
        ) from late
    except (error, OSError) as failed:
        raise LinkError(f"{name}: {failed}", "is the board still powered and near?") from failed
    finally:
        future.cancel()  # after Ctrl-C


_starting = threading.Lock()


def _loop() -> asyncio.AbstractEventLoop:
    """The one loop of the process."""
    with _starting:
        return _started()


@cache
def _started() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="ble", daemon=True).start()
    return loop


@cache
def _air() -> asyncio.Lock:
    """One scans or connects at a time: adapters cannot do both, nor either twice. Used in the loop's thread alone."""
    return asyncio.Lock()


_links: weakref.WeakSet[BleLink] = weakref.WeakSet()


@atexit.register
def _hang_up() -> None:
    """A board that stays connected to nobody would not advertise again."""
    for link in list(_links):
        link.close()

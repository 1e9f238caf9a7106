"""bleak over bumble: Bluetooth LE without the system's own, by a controller on USB or serial, or a virtual one.

``BleakClient(board, backend=BumbleClient)``, ``BleakScanner(..., backend=BumbleScanner, transport="usb:0")``. What BLE
links need is here; descriptors and pairing are not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Iterator
from typing import Any

from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient, NotifyCallback
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, AdvertisementDataCallback, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakError
from bleak.uuids import normalize_uuid_str
from bumble.core import UUID, BaseBumbleError
from bumble.core import AdvertisingData as Fields
from bumble.device import Advertisement, Connection, Device, Peer
from bumble.gatt_client import ServiceProxy
from bumble.hci import Address
from bumble.transport import open_transport

MTU = 247  # fits one packet of the link layer: 251 bytes with L2CAP's header
DEPTH = 16  # packets that may wait for the controller
NAMES = (Fields.Type.COMPLETE_LOCAL_NAME, Fields.Type.SHORTENED_LOCAL_NAME)
SERVICES = (
    Fields.Type.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
    Fields.Type.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
)

logging.getLogger("bumble").addHandler(logging.NullHandler())  # what it logs is for who asks for it

_radios: dict[str, Device] = {}  # by transport; an event loop's own, and the process has one


async def radio(transport: str) -> Device:
    """The controller behind a transport: opened once, kept while the transport lives. One caller at a time."""
    if transport not in _radios:
        source, sink = opened = await open_transport(transport)
        device = Device.with_hci("tinyfl", Address.generate_static_address(), source, sink)
        try:
            await device.power_on()
        except BaseException:
            await opened.close()
            raise
        _radios[transport] = device
        source.terminated.add_done_callback(lambda _: _radios.pop(transport, None))
    return _radios[transport]


@contextlib.contextmanager
def bleak_errors() -> Iterator[None]:
    """bumble's errors as bleak's. It cancels a request whose connection ends: that is no cancellation of the caller."""
    try:
        yield
    except BaseBumbleError as error:
        raise BleakError(str(error) or type(error).__name__) from error
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise BleakError("the connection ended") from None


class BumbleScanner(BaseBleakScanner):
    """See BaseBleakScanner."""

    def __init__(
        self,
        detection_callback: AdvertisementDataCallback | None,
        service_uuids: list[str] | None,
        scanning_mode: str,
        *,
        transport: str,
        **_: Any,
    ) -> None:
        super().__init__(detection_callback, service_uuids)
        self._transport = transport
        self._active = scanning_mode == "active"
        self._device: Device | None = None

    async def start(self) -> None:
        """Starts to listen."""
        self.seen_devices = {}
        with bleak_errors():
            self._device = await radio(self._transport)
            self._device.on(Device.EVENT_ADVERTISEMENT, self._hear)
            await self._device.start_scanning(active=self._active)

    async def stop(self) -> None:
        """Ends listening."""
        device, self._device = self._device, None
        if device is not None:
            device.remove_listener(Device.EVENT_ADVERTISEMENT, self._hear)
            with bleak_errors():
                await device.stop_scanning()

    def _hear(self, heard: Advertisement) -> None:
        uuids = [_uuid(uuid) for uuids in _fields(heard, SERVICES) for uuid in uuids]
        if not self.is_allowed_uuid(uuids):
            return
        name = next(iter(_fields(heard, NAMES)), None)
        address = heard.address.to_string(with_type_qualifier=False)
        said = AdvertisementData(name, {}, {}, uuids, None, heard.rssi, (heard,))
        details = (self._device, heard.address)
        self.call_detection_callbacks(self.create_or_update_device(address, address, name, details, said), said)


class BumbleClient(BaseBleakClient):
    """See BaseBleakClient. Connects to what a BumbleScanner saw."""

    def __init__(self, board: BLEDevice, **options: Any) -> None:
        super().__init__(board, **options)
        self._board = board
        self._connection: Connection | None = None

    @property
    def name(self) -> str:
        """As advertised, or the address."""
        return self._board.name or self.address

    @property
    def mtu_size(self) -> int:
        """That of the attribute protocol."""
        return self._connection.att_mtu if self._connection is not None else 23

    @property
    def is_connected(self) -> bool:
        """Until either side or the controller ends the connection."""
        return self._connection is not None

    async def connect(self, pair: bool, **_: Any) -> None:
        """Connects, agrees on the MTU and reads what the board offers; ``pair`` is ignored."""
        device, address = self._board.details
        with bleak_errors():
            connection = await device.connect_le(address, timeout=self._timeout)
            if device.connections.get(connection.handle) is not connection:
                raise BleakError("the board ended the connection at once")
            self._connection = connection
            connection.on(Connection.EVENT_DISCONNECTION, self._ended)
            peer = Peer(connection)
            try:
                await peer.request_mtu(MTU)
                await peer.discover_services()
                for service in peer.services:
                    await service.discover_characteristics()
            except BaseException:
                await self.disconnect()
                raise
            self.services = self._collect(peer.services)

    async def disconnect(self) -> None:
        """Ends the connection, if there is one."""
        if self._connection is not None:
            with bleak_errors():
                await self._connection.disconnect()

    async def write_gatt_char(self, characteristic: BleakGATTCharacteristic, data: Any, response: bool) -> None:
        """Waits while many packets are queued: bumble's queue has no end."""
        connection = self._connection
        if connection is None:
            raise BleakError("not connected")
        with bleak_errors():
            await characteristic.obj.write_value(bytes(data), with_response=response)
            queue = connection.data_packet_queue
            if queue is not None and queue.pending > DEPTH:
                await connection.drain()

    async def start_notify(self, characteristic: BleakGATTCharacteristic, callback: NotifyCallback, **_: Any) -> None:
        """Each notification's bytes go to ``callback``."""
        with bleak_errors():
            await characteristic.obj.subscribe(lambda value: callback(bytearray(value)))

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        """No callback is called any more."""
        with bleak_errors():
            await characteristic.obj.unsubscribe()

    async def read_gatt_char(self, characteristic: BleakGATTCharacteristic, **_: Any) -> bytearray:
        """The value as it is now."""
        with bleak_errors():
            return bytearray(await characteristic.obj.read_value())

    async def read_gatt_descriptor(self, descriptor: BleakGATTDescriptor, **_: Any) -> bytearray:
        """Not here."""
        raise NotImplementedError

    async def write_gatt_descriptor(self, descriptor: BleakGATTDescriptor, data: Any) -> None:
        """Not here."""
        raise NotImplementedError

    async def pair(self, *_: Any, **__: Any) -> None:
        """Not here."""
        raise NotImplementedError

    async def unpair(self) -> None:
        """Not here."""
        raise NotImplementedError

    def _ended(self, _: int) -> None:
        self._connection = None
        if self._disconnected_callback is not None:
            self._disconnected_callback()

    def _collect(self, services: list[ServiceProxy]) -> BleakGATTServiceCollection:
        """What the board offers, in bleak's terms."""
        found = BleakGATTServiceCollection()
        for proxy in services:
            service = BleakGATTService(proxy, proxy.handle, _uuid(proxy.uuid))
            found.add_service(service)
            for item in proxy.characteristics:
                found.add_characteristic(
                    BleakGATTCharacteristic(item, item.handle, _uuid(item.uuid), [], lambda: self.mtu_size - 3, service)
                )
        return found


def _fields(heard: Advertisement, kinds: Iterable[Fields.Type]) -> list[Any]:
    return [field for kind in kinds for field in heard.data.get_all(kind)]


def _uuid(uuid: UUID) -> str:
    return normalize_uuid_str(uuid.to_hex_str("-"))

"""A virtual piece of air: bumble controllers in a loop of their own, one for the host, one for each board in it.

The host's controller listens on a TCP port, so that the real bleak client reaches it as it would reach a dongle
(``air.backend``). bumble never drops a link when its TCP client goes: take new air for each test.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import pytest

pytest.importorskip("bleak", reason="bleak is not installed: pip install -e '.[dev]'")
pytest.importorskip("bumble", reason="bumble is not installed: pip install -e '.[dev]'")

from bumble import hci
from bumble.controller import Controller
from bumble.core import UUID, AdvertisingData
from bumble.device import Connection, Device
from bumble.gatt import Attribute, Characteristic, CharacteristicValue, Service
from bumble.hci import Address
from bumble.host import Host
from bumble.link import LocalLink
from bumble.transport.tcp_server import open_tcp_server_transport_with_socket
from support_rounds import ProcessFleet

from tinyfl_host.fleet import Member
from tinyfl_host.links import Link, open_link
from tinyfl_host.links.ble import RECEIVER, SENDER, SERVICE

Result = TypeVar("Result")
PACKET = 251  # bytes in a packet of the link layer; bumble's 27 is ten times slower
OVERHEAD = 3  # bytes of a write or notification beside its value


class Radio(Controller):
    """A controller that ends an attempt to connect when it is told to, as real ones do and bumble's does not."""

    def on_hci_le_create_connection_cancel_command(
        self, _: hci.HCI_LE_Create_Connection_Cancel_Command
    ) -> hci.HCI_StatusReturnParameters:
        """Bluetooth Core 5.4, volume 4, part E, 7.8.13."""
        if self.pending_le_connection is None:
            return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.COMMAND_DISALLOWED_ERROR)
        address, self.pending_le_connection = self.pending_le_connection.peer_address, None
        event = hci.HCI_LE_Connection_Complete_Event(
            status=hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
            connection_handle=0,
            role=hci.Role.CENTRAL,
            peer_address_type=address.address_type,
            peer_address=address,
            connection_interval=0,
            peripheral_latency=0,
            supervision_timeout=0,
            central_clock_accuracy=0,
        )
        asyncio.get_running_loop().call_soon(self.send_hci_packet, event)
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)


class Air:
    """A loop in a thread, the host's controller in it, and boards that come and go."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._link = LocalLink()
        self._boards = 0
        self.backend = self.do(self._listen())

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Does it in the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def board(
        self, name: str = "tfl-01", *, mtu: int = 247, uart: str = "", advertises: bool = True, offers: bool = True
    ) -> Peripheral:
        """A new board. ``uart``: a Unix socket's path to bridge to; none: what comes goes back.

        Without ``advertises`` it tells its name alone; without ``offers`` it does not have the service.
        """
        self._boards += 1
        return self.do(self._put(name, mtu, uart, advertises, offers))

    def unplug(self) -> None:
        """The host's controller goes away."""
        self.do(self._unplug())

    async def _listen(self) -> str:
        line = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio turns off Nagle's delay
        line.bind(("127.0.0.1", 0))  # only where the protocol is named: without it each step costs 40 ms
        self._transport = await open_tcp_server_transport_with_socket(line)
        self._control("host", self._transport.source, self._transport.sink)
        return f"bumble:tcp-client:127.0.0.1:{line.getsockname()[1]}"

    async def _put(self, name: str, mtu: int, uart: str, advertises: bool, offers: bool) -> Peripheral:
        host = Host()
        host.controller = self._control(name)
        device = Device(name=name, address=Address(f"C0:00:00:00:00:{self._boards:02X}"), host=host)
        board = Peripheral(self, device, mtu, advertises)
        if offers:
            device.add_service(Service(UUID(SERVICE), board.characteristics))
        await device.power_on()
        if uart:
            await board.bridge(uart)
        await board.advertise()
        return board

    def _control(self, name: str, source: Any = None, sink: Any = None) -> Radio:
        controller = Radio(name, host_source=source, host_sink=sink, link=self._link)
        controller.le_acl_data_packet_length = PACKET
        return controller

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _unplug(self) -> None:
        self._transport.server.close()
        if self._transport.sink.transport is not None:
            self._transport.sink.transport.close()

    async def _end(self) -> None:
        await self._unplug()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Peripheral:
    """A board's radio: the Nordic UART Service before an echo, or before the UART of an emulated board."""

    def __init__(self, air: Air, device: Device, mtu: int, advertises: bool) -> None:
        self.writes: list[int] = []  # bytes of each write that came
        self.longest = mtu - OVERHEAD
        self.refusals = 0  # connections to end at once
        self.connections = 0  # that there were
        self._air, self._device, self._advertises = air, device, advertises
        self._uart: asyncio.StreamWriter | None = None
        self._out: asyncio.Queue[bytes] = asyncio.Queue()
        self._connection: Connection | None = None
        self._fault: tuple[int, float] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        flags, rights = Characteristic.Properties, Attribute.Permissions
        write = flags.WRITE_WITHOUT_RESPONSE | flags.WRITE
        value = CharacteristicValue(write=self._receive)
        self._sender = Characteristic[bytes](UUID(SENDER), flags.NOTIFY, rights.READABLE)
        self.characteristics = [Characteristic(UUID(RECEIVER), write, rights.WRITEABLE, value), self._sender]
        device.gatt_server.max_mtu = mtu
        device.on(Device.EVENT_CONNECTION, self._connect)
        self._start(self._notify())

    @property
    def name(self) -> str:
        """As advertised."""
        return self._device.name

    @property
    def address(self) -> str:
        """As a link string names it."""
        return self._device.random_address.to_string(with_type_qualifier=False)

    @property
    def connected(self) -> bool:
        """True while a host is."""
        return self._connection is not None

    def vanish(self) -> None:
        """Ends the connection and advertises no more, until ``appear``."""
        self._air.do(self._vanish())

    def appear(self) -> None:
        """Advertises again."""
        self._air.do(self.advertise())

    def vanish_after(self, count: int, seconds: float) -> None:
        """Vanishes once this many more bytes have come, and appears ``seconds`` later."""
        self._fault = count, seconds

    async def bridge(self, path: str) -> None:
        """Bytes go to and come from a Unix socket from now on."""
        reader, self._uart = await asyncio.open_unix_connection(path)

        async def pump() -> None:
            with contextlib.suppress(OSError):  # the board was killed
                while data := await reader.read(4096):
                    self._out.put_nowait(data)

        self._start(pump())

    async def advertise(self) -> None:
        """In 31 bytes: the service takes 18 of them, a name has eight at most."""
        types = AdvertisingData.Type
        fields = [(types.FLAGS, bytes([6])), (types.COMPLETE_LOCAL_NAME, self._device.name.encode())]
        if self._advertises:
            fields.append((types.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS, bytes(UUID(SERVICE))))
        await self._device.start_advertising(
            auto_restart=True,
            advertising_data=bytes(AdvertisingData(fields)),
            advertising_interval_min=20,
            advertising_interval_max=20,
        )

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _vanish(self) -> None:
        await self._device.stop_advertising()
        if self._connection is not None:
            await self._connection.disconnect()

    async def _vanish_for(self, seconds: float) -> None:
        await self._vanish()
        await asyncio.sleep(seconds)
        await self.advertise()

    def _connect(self, connection: Connection) -> None:
        self._connection = connection
        self.connections += 1
        connection.on(Connection.EVENT_DISCONNECTION, self._disconnect)
        if self.refusals > 0:
            self.refusals -= 1
            self._start(connection.disconnect())

    def _disconnect(self, _: int) -> None:
        """What was not sent is lost, as in a module's buffer."""
        self._connection = None
        while not self._out.empty():
            self._out.get_nowait()

    def _receive(self, _: Connection, data: bytes) -> None:
        self.writes.append(len(data))
        if self._uart is not None:
            self._uart.write(data)
        else:
            self._out.put_nowait(data)
        if self._fault is not None:
            left, seconds = self._fault[0] - len(data), self._fault[1]
            self._fault = (left, seconds) if left > 0 else None
            if left <= 0:
                self._start(self._vanish_for(seconds))

    async def _notify(self) -> None:
        """Sends in pieces that fit, one after the other; to nobody when nobody is there."""
        while True:
            data = await self._out.get()
            while data and (connection := self._connection) is not None:
                size = connection.att_mtu - OVERHEAD
                await self._device.notify_subscriber(connection, self._sender, data[:size])
                await connection.drain()
                data = data[size:]


class BleFleet(ProcessFleet):
    """Emulated boards, each behind a radio of its own: all of a run goes through the air."""

    def __init__(self, air: Air, env: str, firmware: Path, members: Sequence[Member], mtu: int = 247) -> None:
        super().__init__(env, firmware, members)
        self.radios = {
            name: air.board(name, mtu=mtu, uart=emulator.link.removeprefix("unix:"))
            for name, emulator in self.emulators.items()
        }

    def connect(self, member: Member) -> Link:
        """See Fleet."""
        return open_link(f"ble:name={member.name}")

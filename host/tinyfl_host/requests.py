"""What a host asks a board: the requests of the Board interface in docs/DESIGN.md, whatever carries them.

``node.Node`` sends them over a link, ``sim.SimBoard`` hands them to the firmware core in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tinyfl.errors import BoardError, FrameError, MismatchError
from tinyfl.federated.codecs import DIFFERENCE, INT16, encode_weights
from tinyfl.reference.codec import DENSE, Codec
from tinyfl.reference.tensors import ALL, Adapting
from tinyfl.wire import messages as wire
from tinyfl.wire.packing import Message
from tinyfl.wire.refusal import refusal

Reply = TypeVar("Reply", bound=Message)

Int16 = npt.NDArray[np.int16]
UInt8 = npt.NDArray[np.uint8]

NO_WEIGHTS = np.zeros(0, np.uint8)


class Requests:
    """Base of boards that answer messages. ``welcome``: what the board said of itself, once it has.

    ``manifest`` (model.json): what it must hold; None: nobody knows.
    """

    name: str
    welcome: wire.Welcome | None
    manifest: Mapping[str, Any] | None
    _held: tuple[int, Int16] | None = None  # the broadcast weights of the board, where it said that it has them, and
    # the mask of their tensors
    _offers: Mapping[int, tuple[int, Int16]] = MappingProxyType({})  # of clusters, since the last TRAIN

    def _ask(self, request: Message, expected: type[Reply], deadline: float) -> Reply:
        """One request and its reply within ``deadline`` seconds, after HELLO if there is need for one."""
        raise NotImplementedError

    def _void(self) -> None:
        """Nothing that the board said is believed any more: the next call says HELLO again."""
        raise NotImplementedError

    def load(
        self,
        round: int,
        weights: Int16,
        *,
        keep: bool = False,
        taken: int = 0,
        downlink: str = "int16",
        adapting: Adapting | None = None,
        deadline: float = 60.0,
    ) -> None:
        """Sends shared weights to measure, int16 in wire order; ``keep``: the board stores them, where it has a store.

        ``taken``: the last round in which the board's update counted. ``downlink``: how weights go over the wire.
        ``adapting``: which tensors they are of, where the model has an adapter.
        """

        def head(coding: int, coded: UInt8) -> wire.Head:
            return wire.Head(round, int(keep), taken, coding, coded)

        self._send(head, wire.Done, weights, downlink, adapting, deadline)

    def offer(
        self,
        round: int,
        cluster: int,
        weights: Int16,
        *,
        taken: int = 0,
        downlink: str = "int16",
        adapting: Adapting | None = None,
        deadline: float = 3600.0,
    ) -> wire.Offered:
        """The board measures a cluster's head; see OFFER in docs/WIRE.md."""

        def request(coding: int, coded: UInt8) -> wire.Offer:
            return wire.Offer(round, taken, cluster, coding, coded)

        offers = {**self._offers, cluster: (_mask(adapting), weights)}
        reply = self._send(request, wire.Offered, weights, downlink, adapting, deadline)
        self._offers = offers
        return reply

    def train(
        self,
        round: int,
        seed: int,
        board: int,
        epochs: int,
        rate: int,
        shift: int,
        weights: Int16 | None = None,
        *,
        taken: int = 0,
        feedback: bool = False,
        pull: int = 0,
        downlink: str = "int16",
        adapting: Adapting | None = None,
        deadline: float = 3600.0,
    ) -> wire.Trained:
        """Trains on the board's own samples, from ``weights`` if they are given; see TRAIN in docs/WIRE.md.

        ``adapting``: which tensors they are of, and the adapter's rate, where the model has one.
        """

        def request(coding: int, coded: UInt8) -> wire.Train:
            return wire.Train(round, seed, board, taken, epochs, rate, shift, pull, int(feedback), coding, coded)

        if weights is None or weights.size == 0:
            held, self._held = self._held, None
            bare = NO_WEIGHTS if adapting is None else adapting.prefix(loads=False, trains=True)
            reply = self._ask(request(INT16, bare), wire.Trained, deadline)
            self._held = self._offers.get(reply.cluster) if self._offers else held
            self._offers = {}
            return reply
        return self._send(request, wire.Trained, weights, downlink, adapting, deadline)

    def collect(
        self, round: int, shift: int, seed: int, *, codec: Codec = DENSE, tensor: int = 0, deadline: float = 60.0
    ) -> wire.Delta:
        """A tensor's update in units of 2^shift, as coded; raises FrameError where it is of another round."""
        delta = self._ask(wire.Collect(round, tensor, shift, seed, codec.code, codec.count), wire.Delta, deadline)
        if delta.round != round:
            raise self._liar(f"asked for round {round}, the DELTA is of round {delta.round}")
        return delta

    def _send(
        self,
        request: Callable[[int, UInt8], Message],
        expected: type[Reply],
        weights: Int16,
        downlink: str,
        adapting: Adapting | None,
        deadline: float,
    ) -> Reply:
        """A request with coded weights. A board that held others than the difference is to gets them whole."""
        held, self._held, self._offers, mask = self._held, None, {}, _mask(adapting)
        known = held[1] if held is not None and held[0] == mask else None

        def ask(coding: int, coded: UInt8) -> Reply:
            if adapting is not None:
                coded = np.concatenate([adapting.prefix(trains=expected is wire.Trained), coded])
            return self._ask(request(coding, coded), expected, deadline)

        coding, coded = encode_weights(weights, downlink, known)
        try:
            reply = ask(coding, coded)
        except BoardError as error:
            if coding != DIFFERENCE or error.status != wire.Status.ERROR_DIGEST:
                raise
            reply = ask(*encode_weights(weights, "int16", None))
        self._held = mask, weights
        return reply

    def evaluate(self, split: int, source: int, *, deadline: float = 3600.0) -> wire.Evaluated:
        """Right answers on a split (0 train, 1 test) of the broadcast (0) or the trained head (1)."""
        return self._ask(wire.Evaluate(split, source), wire.Evaluated, deadline)

    def pull(self, *, deadline: float = 60.0) -> npt.NDArray[np.int16]:
        """The trained weights of all tensors, int16 in wire order; refused where one is private."""
        weights = self._ask(wire.Pull(), wire.Weights, deadline).weights
        self._check_count("WEIGHTS", len(weights))
        return weights

    def infer(self, x: npt.NDArray[np.int8], *, deadline: float = 60.0) -> tuple[int, npt.NDArray[np.int8]]:
        """Ticks and the model's output for one input, both flat or shaped as the caller likes; the output is flat."""
        reply = self._ask(wire.Infer(np.ravel(x)), wire.Inferred, deadline)
        if self.welcome is not None and len(reply.output) != self.welcome.output_bytes:
            count, expected = len(reply.output), self.welcome.output_bytes
            raise self._liar(f"INFERRED holds {count} outputs, the board said {expected}")
        return reply.ticks, reply.output

    def feed(self, split: int, label: int, x: npt.NDArray[np.int8], *, deadline: float = 60.0) -> wire.Fed:
        """Gives a board without data of its own one sample."""
        return self._ask(wire.Feed(split, label, np.ravel(x)), wire.Fed, deadline)

    def _liar(self, message: str) -> FrameError:
        """The error of a board that contradicts itself: nothing of this session is believed any more."""
        self._void()
        return FrameError(f"{self.name}: {message}", "build and flash the firmware again")

    def _read(self, request: type[Message], expected: type[Reply], reply: tuple[int, bytes]) -> Reply:
        """The reply as the message that it must be; an ERROR as the exception that it stands for."""
        kind, body = reply
        try:
            if kind == wire.Error.TYPE:
                error = wire.Error.unpack(body)
                raise refusal(self.name, request.NAME, error.status, error.detail)
            if kind != expected.TYPE:
                name = wire.MESSAGES[kind].NAME if kind in wire.MESSAGES else f"type 0x{kind:02X}"
                raise FrameError(f"answered by {name}, expected {expected.NAME}")
            if expected is wire.Welcome:
                check_protocol(body, self.name)
            return expected.unpack(body)
        except FrameError as error:
            raise self._liar(f"{request.NAME}: {error.message}") from error
        except MismatchError:
            self._void()
            raise

    def _check_count(self, message: str, count: int) -> None:
        """Raises FrameError where the board's tensors have another size than it and its model say."""
        welcome, head = self.welcome, (self.manifest or {}).get("head") or {}
        expected = 0 if welcome is None else (welcome.head_features + 1) * welcome.head_classes
        expected += head.get("adapter", {}).get("count", 0)
        if count != expected:
            raise self._liar(f"{message} holds {count} weights, there are {expected}")


def _mask(adapting: Adapting | None) -> int:
    return ALL if adapting is None else adapting.shared


def check_protocol(welcome: bytes, board: str) -> None:
    """Raises MismatchError where a WELCOME, of which only the first six bytes never change, is of another protocol."""
    protocol, schema = int.from_bytes(welcome[:2], "little"), int.from_bytes(welcome[2:6], "little")
    if (protocol, schema) != (wire.PROTOCOL, wire.SCHEMA):
        raise MismatchError(
            f"{board}: speaks protocol {protocol}, schema {schema:08x}; this host speaks protocol {wire.PROTOCOL}, "
            f"schema {wire.SCHEMA:08x}",
            "build and flash the firmware of this version of tinyfl",
            wire.Status.ERROR_PROTOCOL,
        )


def check_model(welcome: wire.Welcome, manifest: Mapping[str, Any], board: str) -> None:
    """Raises MismatchError where the board's model is not the manifest's, both sides named."""
    head = manifest.get("head") or {}
    shape = f"{head['features']} features, {head['classes']} classes" if head.get("features") else "none"
    sides = [
        ("model", welcome.model.hex(), str(manifest["hash"])[: 2 * len(welcome.model)]),
        ("head", _shape(welcome), shape),
        ("input", f"{welcome.input_bytes} bytes", f"{manifest['input']['bytes']} bytes"),
        ("output", f"{welcome.output_bytes} bytes", f"{manifest['output']['bytes']} bytes"),
    ]
    for what, found, expected in sides:
        if found != expected:
            name = manifest.get("name", "this model")
            raise MismatchError(
                f"{board}: holds another {what}: {found}; {name} on this host has {expected}",
                "build and flash the firmware of this model: tinyfl build, tinyfl flash",
                wire.Status.ERROR_MODEL,
            )


def _shape(welcome: wire.Welcome) -> str:
    if welcome.head_features == 0:
        return "none"
    return f"{welcome.head_features} features, {welcome.head_classes} classes"

"""One board over one link: the Board interface of docs/DESIGN.md. Pumps a session; every call has a deadline.

A Node belongs to one thread at a time. After any failure the session is void: the next call says HELLO again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tinyfl.errors import DeadlineError, FrameError, LinkError, MismatchError
from tinyfl.wire import messages as wire
from tinyfl.wire.frame import MAX_PAYLOAD
from tinyfl.wire.packing import Message
from tinyfl.wire.refusal import refusal
from tinyfl.wire.session import OPEN_BYTES, Session
from tinyfl_host.links import Link

Reply = TypeVar("Reply", bound=Message)

HELLO_INTERVAL = 0.1  # seconds: an emulator loses bytes that come before it listens
HELLO_ATTEMPT = 2.0  # then a new session number: the board may remember this one
SILENCE = 5.0  # seconds without an answer to any repeat: the board is gone; one sample takes less on every board
LEAST_CHUNK = OPEN_BYTES + wire.Welcome.BYTES


class Node:
    """``manifest`` (model.json) is what the board must hold; without one HELLO checks the protocol alone."""

    def __init__(
        self,
        link: Link,
        manifest: Mapping[str, Any] | None = None,
        name: str = "board",
        silence: float = SILENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.welcome: wire.Welcome | None = None
        self.bytes_up = 0  # board to host, framing and repeats included
        self.bytes_down = 0
        self.payload_up = 0  # deltas alone
        self.logs: list[str] = []  # what the board said outside messages
        self._link, self._manifest = link, manifest
        self._silence, self._clock = silence, clock
        self._session: Session | None = None
        self._number = random.randrange(1, 0x10000)

    def hello(self, deadline: float = HELLO_ATTEMPT * 3) -> wire.Welcome:
        """Opens a new session; raises MismatchError where the board is not the one that the manifest describes."""
        body = wire.Hello(wire.PROTOCOL, wire.SCHEMA, 0).pack()
        end = self._clock() + deadline
        while True:
            self._session = Session(self._next_number())
            self._session.request(wire.Hello.TYPE, body, self._clock(), HELLO_INTERVAL)
            attempt = min(HELLO_ATTEMPT, max(0.0, end - self._clock()))
            try:
                reply = self._finish(self._session, "HELLO", attempt, attempt)
                break
            except DeadlineError as error:
                if self._clock() >= end:
                    raise DeadlineError(
                        f"{self.name}: no answer to HELLO in {deadline:.3g} s",
                        "is this the board's port, does it run tinyfl's firmware, is the speed right?",
                    ) from error
        welcome = self._check_welcome(self._read(wire.Hello, wire.Welcome, reply))
        session, self._session = self._session, None
        if self._manifest is not None:
            check_model(welcome, self._manifest, self.name)
        self._session = session
        session.chunk, session.credits = welcome.chunk, max(1, welcome.credits)
        self.welcome = welcome
        return welcome

    def load(self, round: int, weights: npt.NDArray[np.int16], *, deadline: float = 60.0) -> None:
        """Broadcasts the head, int16 in wire order."""
        self._ask(wire.Head(round, weights), wire.Done, deadline)

    def train(
        self, round: int, seed: int, board: int, epochs: int, rate: int, shift: int, *, deadline: float = 3600.0
    ) -> wire.Trained:
        """Trains on the board's own samples; see TRAIN in docs/WIRE.md."""
        return self._ask(wire.Train(round, seed, board, epochs, rate, shift), wire.Trained, deadline)

    def collect(self, round: int, shift: int, seed: int, *, deadline: float = 60.0) -> wire.Delta:
        """The delta in units of 2^shift; raises FrameError where it is of another round or size."""
        delta = self._ask(wire.Collect(round, 0, shift, seed), wire.Delta, deadline)
        if delta.round != round:
            raise self._liar(f"asked for round {round}, the DELTA is of round {delta.round}")
        self._check_count("DELTA", len(delta.deltas))
        self.payload_up += len(delta.deltas)
        return delta

    def evaluate(self, split: int, source: int, *, deadline: float = 3600.0) -> wire.Evaluated:
        """Right answers on a split (0 train, 1 test) of the broadcast (0) or the trained head (1)."""
        return self._ask(wire.Evaluate(split, source), wire.Evaluated, deadline)

    def pull(self, *, deadline: float = 60.0) -> npt.NDArray[np.int16]:
        """The trained head, int16 in wire order."""
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

    def close(self) -> None:
        """Gives the link back."""
        self._session = None
        self._link.close()

    def _next_number(self) -> int:
        self._number = self._number % 0xFFFF + 1
        return self._number

    def _liar(self, message: str) -> FrameError:
        """The error of a board that contradicts itself: nothing of this session is believed any more."""
        self._session = None
        return FrameError(f"{self.name}: {message}", "build and flash the firmware again")

    def _ask(self, request: Message, expected: type[Reply], deadline: float) -> Reply:
        """One request and its reply, after HELLO if no session is open."""
        end = self._clock() + deadline
        if self._session is None:
            self.hello(min(deadline, 3 * HELLO_ATTEMPT))
        session = self._session
        assert session is not None
        session.request(request.TYPE, request.pack(), self._clock())
        reply = self._finish(session, request.NAME, max(0.0, end - self._clock()), self._silence)
        return self._read(type(request), expected, reply)

    def _finish(self, session: Session, phase: str, deadline: float, silence: float) -> tuple[int, bytes]:
        """Pumps the session until the reply is there. Whatever goes wrong, an interrupt too, voids the session."""
        try:
            return self._pump(session, phase, deadline, silence)
        except FrameError as error:
            self._session = None
            raise FrameError(f"{self.name}: {phase}: {error.message}", "reset the board") from error
        except LinkError as error:
            self._session = None
            if error.message.startswith(f"{self.name}: "):
                raise
            raise LinkError(f"{self.name}: {phase}: {error.message}", error.hint) from error
        except BaseException:
            self._session = None
            raise
        finally:
            self.logs += session.logs
            session.logs = []

    def _pump(self, session: Session, phase: str, deadline: float, silence: float) -> tuple[int, bytes]:
        end = self._clock() + deadline
        while session.reply is None:
            now = self._clock()
            if session.lost:
                raise self._lost(phase)
            if now >= end:
                raise DeadlineError(f"{self.name}: {phase} not done after {deadline:.3g} s", "give it a later deadline")
            if now - session.heard >= silence:
                raise DeadlineError(
                    f"{self.name}: {phase}: no answer for {silence:.3g} s, {session.repeats} repeats",
                    "is the board still powered and connected? Reset it",
                )
            self._write(session.send(now))
            wait = min(session.wakeup(now), end - now, session.heard + silence - now)
            data = self._link.read(max(0.0, wait))
            self.bytes_up += len(data)
            session.receive(data, self._clock())
        return session.reply

    def _write(self, data: bytes) -> None:
        if data:
            self._link.write(data)
            self.bytes_down += len(data)

    def _lost(self, phase: str) -> LinkError:
        """RESET: in HELLO the board remembers this number as an old one, so that another attempt will do."""
        if phase == "HELLO":
            return DeadlineError(f"{self.name}: the session number is used up")
        return LinkError(
            f"{self.name}: {phase}: the board was reset and has lost its session", "the next HELLO joins it"
        )

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
            self._session = None
            raise

    def _check_welcome(self, welcome: wire.Welcome) -> wire.Welcome:
        if not LEAST_CHUNK <= welcome.chunk <= MAX_PAYLOAD:
            raise self._liar(f"a chunk of {welcome.chunk} bytes, legal are {LEAST_CHUNK} to {MAX_PAYLOAD}")
        return welcome

    def _check_count(self, message: str, count: int) -> None:
        """Raises FrameError where the board's head has another size than it said."""
        welcome = self.welcome
        expected = 0 if welcome is None else (welcome.head_features + 1) * welcome.head_classes
        if count != expected:
            raise self._liar(f"{message} holds {count} weights, the head has {expected}")


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

"""One board over one link: ``requests.Requests``. Pumps a session; every call has a deadline.

A Node belongs to one thread at a time. A link that fails is opened again, if ``reopen`` is given, and the call goes on
in the same session. After any other failure the session is void: the next call says HELLO again.
"""

from __future__ import annotations

import contextlib
import hmac
import math
import os
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from tinyfl.errors import AuthError, DeadlineError, FrameError, LinkError
from tinyfl.wire import auth
from tinyfl.wire import messages as wire
from tinyfl.wire.frame import frame_bytes
from tinyfl.wire.packing import Message
from tinyfl.wire.session import Session
from tinyfl_host.links import Link
from tinyfl_host.requests import Reply, Requests, check_model
from tinyfl_host.traffic import Traffic

Keys = Callable[[bytes], bytes | None]  # a board's key by its device id

HELLO_INTERVAL = 0.1  # seconds: an emulator loses bytes that come before it listens
HELLO_ATTEMPT = 2.0  # then a new session number: the board may remember this one
SILENCE = 5.0  # seconds without an answer to any repeat: the board is gone; one sample takes less on every board
FIRST_PAUSE, MOST_PAUSE = 0.05, 1.0  # seconds between tries to open a link again
CHUNKS = range(wire.Welcome.BYTES, 15 * wire.UNIT + 1, wire.UNIT)  # legal bytes of a body in one frame


class Node(Requests):
    """``manifest`` (model.json) is what the board must hold; without one HELLO checks the protocol alone.

    ``reopen`` opens a lost link again; a LinkError of it is tried again for ``patience`` seconds, at most until the
    call's deadline. ``keys``: this host takes part in authentication; ``require_auth``: it talks to no board without.
    """

    def __init__(
        self,
        link: Link,
        manifest: Mapping[str, Any] | None = None,
        name: str = "board",
        silence: float = SILENCE,
        clock: Callable[[], float] = time.monotonic,
        *,
        reopen: Callable[[], Link] | None = None,
        patience: float = math.inf,
        keys: Keys | None = None,
        require_auth: bool = False,
        traffic: Traffic | None = None,
        nonce: Callable[[int], bytes] = os.urandom,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.welcome: wire.Welcome | None = None
        self.traffic = traffic or Traffic()
        self.repeats = 0  # frames that were sent again, questions included
        self.forged = 0  # replies whose MAC did not hold
        self.logs: list[str] = []  # what the board said outside messages
        self._link, self.manifest = link, manifest
        self._silence, self._clock, self._sleep = silence, clock, sleep
        self._reopen, self._patience, self._pause = reopen, patience, FIRST_PAUSE
        self._keys, self._require_auth, self._nonce = keys, require_auth, nonce
        self._boots: dict[bytes, int] = {}  # device -> the last boot that it proved
        self._session: Session | None = None
        self._number = random.randrange(1, 0x10000)
        self._closed = False

    @property
    def bytes_up(self) -> int:
        """Board to host, framing and repeats included."""
        return self.traffic.up

    @property
    def bytes_down(self) -> int:
        """Host to board."""
        return self.traffic.down

    def hello(self, deadline: float = HELLO_ATTEMPT * 3) -> wire.Welcome:
        """Opens a new session; MismatchError or AuthError where the board is not the one that it must be."""
        request = wire.Hello(wire.PROTOCOL, wire.SCHEMA, self._features(), self._nonce(16)).pack()
        session, reply = self._greet(request, deadline)
        self._session = None  # until the board has passed
        welcome = self._check_welcome(self._read(wire.Hello, wire.Welcome, reply))
        channel = self._authenticate(welcome, auth.base(request, reply[1]))
        if self.manifest is not None:
            check_model(welcome, self.manifest, self.name)
        session.agree(welcome.chunk, welcome.window, channel)
        self._session, self.welcome = session, welcome
        return welcome

    def identify(self, deadline: float = HELLO_ATTEMPT * 3) -> wire.Welcome:
        """Who the board says it is, believed as it stands; the next call says HELLO again."""
        request = wire.Hello(wire.PROTOCOL, wire.SCHEMA, self._features(), self._nonce(16)).pack()
        _, reply = self._greet(request, deadline)
        self._session = None
        return self._read(wire.Hello, wire.Welcome, reply)

    def enrol(self, key: bytes, *, deadline: float = 60.0) -> None:
        """Gives the board its key. The next call opens a new session, which needs it."""
        self._ask(wire.Enrol(key), wire.Done, deadline)
        self._session = None

    def close(self) -> None:
        """Gives the link back; it is not opened again."""
        self._closed = True
        self._session = None
        self._link.close()

    # First contact

    def _features(self) -> int:
        return int(wire.Feature.AUTH) if self._keys is not None else 0

    def _next_number(self) -> int:
        self._number = self._number % 0xFFFF + 1
        return self._number

    def _greet(self, request: bytes, deadline: float) -> tuple[Session, tuple[int, bytes]]:
        """The session and what answered HELLO, in several attempts."""
        end = self._clock() + deadline
        while True:
            session = self._session = Session(self._next_number())
            session.request(wire.Hello.TYPE, request, self._clock(), HELLO_INTERVAL)
            attempt = min(HELLO_ATTEMPT, max(0.0, end - self._clock()))
            try:
                reply = self._finish(session, "HELLO", self._clock() + attempt, end, attempt)
                self.traffic.body_down += len(request)
                return session, reply
            except DeadlineError as error:
                if self._clock() >= end:
                    raise DeadlineError(
                        f"{self.name}: no answer to HELLO in {deadline:.3g} s",
                        "is this the board's port, does it run tinyfl's firmware, is the speed right?",
                    ) from error

    def _check_welcome(self, welcome: wire.Welcome) -> wire.Welcome:
        if welcome.chunk not in CHUNKS:
            legal = f"multiples of {CHUNKS.step} from {CHUNKS[0]} to {CHUNKS[-1]}"
            raise self._liar(f"a chunk of {welcome.chunk} bytes, legal are {legal}")
        frame = frame_bytes(1 + wire.MAC_BYTES + welcome.chunk)
        if welcome.window < frame:
            raise self._liar(f"a window of {welcome.window} bytes does not hold its frames of {frame}")
        return welcome

    def _authenticate(self, welcome: wire.Welcome, base: bytes) -> auth.Channel | None:
        """The session's MACs, None where neither side asks for them; AuthError where the board must not be trusted."""
        device, enrolled = welcome.device.hex(), bool(welcome.features & wire.Feature.AUTH)
        key = self._keys(welcome.device) if self._keys is not None else None
        if key is None and enrolled:
            raise AuthError(
                f"{self.name}: the board holds a key, this host has none for device {device}",
                "use the host that enrolled it, or copy its key file; --no-auth does not help: the board insists",
            )
        if key is None:
            if self._require_auth:
                raise AuthError(
                    f"{self.name}: device {device} is not enrolled, nothing proves who it is",
                    "tinyfl device enrol LINK gives it a key; --no-auth does without",
                )
            return None
        if not enrolled:
            raise AuthError(
                f"{self.name}: device {device} is enrolled, but this board holds no key",
                "another board says that it is this one, or its flash was erased: then enrol it again",
            )
        if not hmac.compare_digest(welcome.proof, auth.proof(key, base)):
            raise AuthError(
                f"{self.name}: the board does not know the key of device {device}",
                "another board says that it is this one, or it was enrolled by another host",
            )
        last = self._boots.get(welcome.device, 0)
        if welcome.boot < last:
            raise AuthError(
                f"{self.name}: device {device} is in boot {welcome.boot}, it was in {last} before",
                "a boot counter only rises: was the board's flash put back to an older state?",
            )
        self._boots[welcome.device] = welcome.boot
        return auth.Channel(auth.session_key(key, base))

    # One request and its reply

    def _void(self) -> None:
        """The next call says HELLO again."""
        self._session = None

    def _ask(self, request: Message, expected: type[Reply], deadline: float) -> Reply:
        """One request and its reply, after HELLO if no session is open."""
        body, end = request.pack(), self._clock() + deadline
        if self._session is None:
            self.hello(min(deadline, 3 * HELLO_ATTEMPT))
        session = self._session
        assert session is not None
        session.request(request.TYPE, body, self._clock())
        reply = self._finish(session, request.NAME, end, end, self._silence)
        self.traffic.body_down += len(body)
        return self._read(type(request), expected, reply)

    def _finish(self, session: Session, phase: str, end: float, until: float, silence: float) -> tuple[int, bytes]:
        """Pumps the session until the reply is there: by ``end``, or by ``until`` while the link is lost.

        Whatever goes wrong, an interrupt too, voids the session.
        """
        try:
            reply = self._pump(session, phase, end, until, silence)
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
            self.repeats, self.forged = self.repeats + session.repeats, self.forged + session.forged
            session.logs, session.repeats, session.forged = [], 0, 0
        self.traffic.body_up += len(reply[1])
        return reply

    def _pump(self, session: Session, phase: str, end: float, until: float, silence: float) -> tuple[int, bytes]:
        began = self._clock()
        while session.reply is None:
            now = self._clock()
            if session.lost:
                raise self._lost(phase)
            if now >= end:
                raise DeadlineError(
                    f"{self.name}: {phase} not done after {now - began:.3g} s", "give it a later deadline"
                )
            if now - session.heard >= silence:
                raise DeadlineError(
                    f"{self.name}: {phase}: no answer for {silence:.3g} s, {session.repeats} repeats",
                    "is the board still powered and connected? Reset it",
                )
            try:
                self._exchange(session, min(end, session.heard + silence))
            except DeadlineError:
                raise
            except LinkError as error:
                self._reconnect(error, until)
                session.reconnected(self._clock())
        return session.reply

    def _exchange(self, session: Session, end: float) -> None:
        """Writes what is to be written, reads until the session has something to do."""
        out = session.send(self._clock())
        if out:
            self._link.write(out)
            self.traffic.down += len(out)
        now = self._clock()
        data = self._link.read(max(0.0, min(session.wakeup(now), end - now)))
        if data:
            self._pause = FIRST_PAUSE
        self.traffic.up += len(data)
        session.receive(data, self._clock())

    def _reconnect(self, error: LinkError, until: float) -> None:
        """Opens the link again; raises the last LinkError when there is no time left, or no way."""
        until = min(until, self._clock() + self._patience)
        while self._reopen is not None and not self._closed and self._clock() + self._pause < until:
            with contextlib.suppress(LinkError, OSError):
                self._link.close()
            self._sleep(self._pause)
            self._pause = min(2 * self._pause, MOST_PAUSE)
            try:
                self._link = self._reopen()
            except LinkError as again:
                error = again
            else:
                if self._closed:  # meanwhile, by another thread
                    self._link.close()
                return
        raise error

    def _lost(self, phase: str) -> LinkError:
        """RESET: in HELLO the board remembers this number as an old one, so that another attempt will do."""
        if phase == "HELLO":
            return DeadlineError(f"{self.name}: the session number is used up")
        return LinkError(
            f"{self.name}: {phase}: the board was reset and has lost its session", "the next HELLO joins it"
        )

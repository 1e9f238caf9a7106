"""A posix board as the tests build it, with sanitizers, and a conversation with it by real frames over a socket."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from support_kept import FIRMWARE, digest_of, kept
from support_monocypher import monocypher
from support_runner import FLAGS, SANITIZE

from tinyfl.compiler import CompiledModel
from tinyfl.wire import auth
from tinyfl.wire.messages import PROTOCOL, SCHEMA, Error, Hello, Welcome
from tinyfl.wire.packing import Message
from tinyfl.wire.session import Session


def build_board(compiler: str, model: CompiledModel, folder: Path, extra: Iterable[str] = ()) -> Path:
    """The firmware of a board as a process; skips where the compiler is not installed.

    Built once for all tests and runs that want the same, and the core once for all models: build/tests/<hash of what
    goes in>; linked into ``folder``.
    """
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    extra = list(extra)
    flags = [compiler, *FLAGS, *SANITIZE, "-D_POSIX_C_SOURCE=200809L", "-I", str(FIRMWARE / "include")]
    flags += [flag for flag in extra if flag.startswith("-D")]
    core = kept(digest_of(flags, {}), "core.a", lambda made: _compile_core(flags, made))
    own = digest_of([*flags, *extra], model.sources)
    program = kept(own, "firmware", lambda made: _link([*flags, *extra], model, core, made))
    (folder / "firmware").unlink(missing_ok=True)
    return Path(shutil.copy(program, folder / "firmware"))


def _compile_core(flags: list[str], made: Path) -> None:
    """Everything but the model, the port and main()."""
    includes = [flag for flag in monocypher(flags[0]) if flag.startswith("-")]
    sources = [path for part in ("core", "core/ops") for path in sorted((FIRMWARE / part).glob("*.c"))]
    for path in sources:
        _run([*flags, *includes, "-c", str(path), "-o", str(made.parent / f"{path.stem}.o")])
    _run(["ar", "rcs", str(made), *(str(made.parent / f"{path.stem}.o") for path in sources)])


def _link(flags: list[str], model: CompiledModel, core: Path, made: Path) -> None:
    for name, text in model.sources.items():
        (made.parent / name).write_text(text)
    sources = [*sorted((FIRMWARE / "ports/posix").glob("*.c")), FIRMWARE / "app/main.c", made.parent / "model.c"]
    objects = [str(core), *monocypher(flags[0])]
    _run([*flags, "-I", str(made.parent), *map(str, sources), *objects, "-o", str(made)])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


class Conversation:
    """One board process at the other end of a socket pair, and a session with it; ``key``: the board's, if any."""

    def __init__(self, program: Path, *options: str, number: int = 1, key: bytes | None = None) -> None:
        self._socket, theirs = socket.socketpair()
        arguments = [str(program), "--fd", str(theirs.fileno()), *options]
        self.process = subprocess.Popen(arguments, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE)
        theirs.close()
        self.key = key
        self.stderr = ""  # once it has ended
        self.restart(number)

    def restart(self, number: int) -> None:
        """Forgets the session; the next request must be HELLO."""
        self.session = Session(number)

    def hello(self) -> tuple[type[Message] | None, bytes]:
        """Says HELLO as a host of this version; what follows carries MACs, if it has the key."""
        hello = Hello(PROTOCOL, SCHEMA, 0, bytes(16))
        kind, body = self.ask(hello)
        if kind is Welcome:
            welcome, base, channel = Welcome.unpack(body), auth.base(hello.pack(), body), None
            if self.key is not None:
                assert welcome.proof == auth.proof(self.key, base)
                channel = auth.Channel(auth.session_key(self.key, base))
            self.session.agree(welcome.chunk, welcome.window, channel)
        return kind, body

    def welcome(self, number: int) -> Welcome:
        """Opens a new session."""
        self.restart(number)
        kind, body = self.hello()
        assert kind is Welcome
        return Welcome.unpack(body)

    def ask(self, message: Message, seconds: float = 30.0) -> tuple[type[Message] | None, bytes]:
        """The reply: (its class, its body)."""
        self.start(message)
        return self.finish(seconds)

    def expect(self, message: Message, kind: type[Message]) -> Message:
        """The reply, which must be of this class."""
        got, body = self.ask(message)
        assert got is kind, (got, Error.unpack(body) if got is Error else body)
        return kind.unpack(body)

    def refused(self, message: Message) -> Error:
        """The ERROR that must be the reply."""
        reply = self.expect(message, Error)
        assert isinstance(reply, Error)
        return reply

    def start(self, message: Message) -> None:
        """Sends a request and does not wait for what becomes of it."""
        now = time.monotonic()
        self.session.request(message.TYPE, message.pack(), now)
        self._socket.sendall(self.session.send(now))

    def finish(self, seconds: float = 30.0) -> tuple[type[Message] | None, bytes]:
        """The reply to what was started."""
        session, end = self.session, time.monotonic() + seconds
        while session.reply is None:
            assert time.monotonic() < end, "no reply"
            out = session.send(time.monotonic())
            if out:
                self._socket.sendall(out)
            self._socket.settimeout(max(0.001, session.wakeup(time.monotonic())))
            try:
                data = self._socket.recv(4096)
            except TimeoutError:
                continue
            assert data, f"the board ended: {self.complaint()}"
            session.receive(data, time.monotonic())
        kind = {cls.TYPE: cls for cls in Message.__subclasses__()}.get(session.reply[0])
        return kind, session.reply[1]

    def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        self._socket.sendall(data)

    def complaint(self) -> str:
        """What the board wrote to stderr; it has ended or is ended."""
        self.process.kill()
        return self.process.communicate(timeout=10)[1].decode(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """The board ends with its line; a sanitizer's complaint is a failure."""
        self._socket.close()
        try:
            code = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        stderr = self.stderr = self.process.stderr.read().decode(errors="replace") if self.process.stderr else ""
        if self.process.stderr:
            self.process.stderr.close()
        if kind is None:
            assert code == 0, (code, stderr)

"""A posix board with a store, somebody on its line, and a host made by hand: what an attacker has and what he lacks."""

from __future__ import annotations

import socket
import struct
import subprocess
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from support_tflite import small_classifier

from tinyfl.compiler import compile_model
from tinyfl.image import build_image
from tinyfl.wire import auth
from tinyfl.wire import messages as wire
from tinyfl.wire.frame import Frame, FrameDecoder, encode_frame, kind_byte
from tinyfl.wire.messages import FrameKind
from tinyfl.wire.packing import Message
from tinyfl.wire.session import Session
from tinyfl_host.links import Link
from tinyfl_host.links.link import DescriptorLink

RNG = np.random.default_rng(4)
X = RNG.integers(-128, 128, (24, 10, 1, 3)).astype(np.int8)
Y = RNG.integers(0, 5, 24).astype(np.uint8)
MODEL = compile_model(small_classifier(), "small", X)
UNIT = wire.UNIT
Hook = Callable[[Frame], Iterable[Frame]]


def head(seed: int) -> np.ndarray:
    """Weights that fit the model's head."""
    assert MODEL.head is not None
    return np.random.default_rng(seed).integers(-900, 900, MODEL.head.initial.size).astype(np.int16)


class PosixBoard:
    """A board process that keeps its flash in a file; it ends with its line, as if its plug were pulled."""

    def __init__(self, program: Path, folder: Path, name: str = "board-7") -> None:
        self.store, self._image = folder / f"{name}.store", folder / f"{name}.bin"
        self._image.write_bytes(build_image(X[:16], Y[:16], X[16:], Y[16:], name))
        self._program = program
        self._processes: list[subprocess.Popen[bytes]] = []

    def power_on(self) -> DescriptorLink:
        """The line of a board that has just been reset."""
        ours, theirs = socket.socketpair()
        options = ["--fd", str(theirs.fileno()), "--image", str(self._image), "--store", str(self.store)]
        process = subprocess.Popen([str(self._program), *options], pass_fds=[theirs.fileno()], stderr=subprocess.PIPE)
        self._processes.append(process)
        theirs.close()
        ours.setblocking(False)
        return DescriptorLink("board", ours.fileno(), ours.close)

    def check(self) -> None:
        """All lives have ended without a complaint of a sanitizer; the lines must be closed."""
        for process in self._processes:
            _, complaint = process.communicate(timeout=10)
            assert process.returncode == 0, complaint.decode(errors="replace")


def as_it_is(frame: Frame) -> Iterable[Frame]:
    """Nobody on the line."""
    return [frame]


class Mallory:
    """A line with somebody on it who sees every frame and sends on what he likes, with right CRCs."""

    def __init__(self, link: Link, down: Hook = as_it_is, up: Hook = as_it_is) -> None:
        self.link, self.down, self.up = link, down, up
        self.went_down: list[Frame] = []
        self.went_up: list[Frame] = []
        self._decoders = FrameDecoder(), FrameDecoder()

    def write(self, data: bytes) -> None:
        for frame in self._decoders[0].feed(data):
            self.went_down.append(frame)
            self.inject(*self.down(frame))

    def read(self, timeout: float) -> bytes:
        out = b""
        for frame in self._decoders[1].feed(self.link.read(timeout)):
            self.went_up.append(frame)
            out += b"".join(encode_frame(sent, True) for sent in self.up(frame))
        return out

    def inject(self, *frames: Frame) -> None:
        """Frames to the board."""
        self.link.write(b"".join(encode_frame(frame, True) for frame in frames))

    def close(self) -> None:
        self.link.close()


class Hand:
    """A host made by hand. What ``ask`` says is right; ``seal`` and ``send`` say anything."""

    def __init__(self, link: Link, key: bytes, number: int) -> None:
        self.session = Session(number)
        self.frames: list[Frame] = []  # all that the board has sent
        self._link, self._decoder = link, FrameDecoder()
        hello = wire.Hello(wire.PROTOCOL, wire.SCHEMA, int(wire.Feature.AUTH), bytes(range(16))).pack()
        _, welcome = self._ask(wire.Hello.TYPE, hello)
        base = auth.base(hello, welcome)
        self.proved = wire.Welcome.unpack(welcome).proof == auth.proof(key, base)
        self.channel = auth.Channel(auth.session_key(key, base))
        self.session.agree(512, 2048, self.channel)

    def ask(self, message: Message) -> Message:
        """The reply to the next message."""
        type, body = self._ask(message.TYPE, message.pack())
        return wire.MESSAGES[type].unpack(body)

    def pull(self) -> np.ndarray:
        """The head that the board holds."""
        reply = self.ask(wire.Pull())
        assert isinstance(reply, wire.Weights)
        return reply.weights

    @property
    def replies(self) -> list[int]:
        """The numbers of the messages that were answered."""
        return [f.message for f in self.frames if f.purpose in (FrameKind.WHOLE, FrameKind.OPEN)]

    def seal(self, counter: int, message: Message) -> Frame:
        """A WHOLE as the host of this session would send it."""
        body = message.pack()
        return self.whole(counter, message.TYPE, self.channel.mac(False, counter, message.TYPE, body), body)

    def whole(self, counter: int, type: int, mac: bytes, body: bytes) -> Frame:
        """A WHOLE of any content."""
        return Frame(FrameKind.WHOLE, counter % 256, self.session.number, bytes([type]) + mac + body)

    def long(self, counter: int, type: int, mac: bytes, body: bytes) -> list[Frame]:
        """OPEN and a DATA for each unit, with a right digest."""
        payload = struct.pack("<BII", type, len(body), zlib.crc32(body)) + mac
        frames = [Frame(FrameKind.OPEN, counter % 256, self.session.number, payload)]
        for unit in range(-(-len(body) // UNIT)):
            data = unit.to_bytes(2, "little") + body[unit * UNIT :][:UNIT]
            frames.append(Frame(FrameKind.DATA, counter % 256, self.session.number, data))
        return frames

    def shaped(self, shape: str, counter: int, type: int, mac: bytes, body: bytes) -> list[Frame]:
        """One frame ("whole") or several ("long")."""
        return [self.whole(counter, type, mac, body)] if shape == "whole" else self.long(counter, type, mac, body)

    def send(self, *frames: Frame) -> None:
        """Frames to the board, which works them off in this order before what comes next."""
        self._link.write(b"".join(encode_frame(frame, True) for frame in frames))

    def _ask(self, type: int, body: bytes) -> tuple[int, bytes]:
        session, end = self.session, time.monotonic() + 10.0
        session.request(type, body, time.monotonic())
        while session.reply is None:
            assert time.monotonic() < end, "no reply"
            out = session.send(time.monotonic())
            if out:
                self._link.write(out)
            data = self._link.read(session.wakeup(time.monotonic()))
            self.frames += self._decoder.feed(data)
            session.receive(data, time.monotonic())
        return session.reply


def to_host(purpose: int, message: int, session: int, payload: bytes) -> Frame:
    """A frame as a board would send it."""
    return Frame(kind_byte(purpose, to_host=True), message, session, payload)

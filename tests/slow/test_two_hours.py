"""Two hours of a run in virtual time on a bad line: every 50th frame lost, every board reset each minute."""

import ctypes
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from support_messages import plain
from support_rounds import TwinFleet, contents, final, members, run, settings, twin
from support_session import CBoard, FaultyLink, build_session

from tinyfl.errors import BoardError
from tinyfl.reference.board import TwinBoard
from tinyfl.wire import messages as wire
from tinyfl_host.events import BoardDropped
from tinyfl_host.fleet import Board, Member
from tinyfl_host.node import Node
from tinyfl_host.traffic import Traffic

HOURS, MINUTE = 2, 60.0
TRAINING = 20.0  # seconds of virtual time that TRAIN takes
LOSS = 0.02
KEY = bytes(range(32))
ROUNDS = 280


class Program:
    """What a board does, by the twin; a reset forgets it."""

    def __init__(self, member: Member) -> None:
        self._member, self.boots = member, 0
        self.reset()

    def reset(self) -> None:
        self._twin, self.boots = twin(self._member), self.boots + 1

    def __call__(self, type: int, body: bytes) -> tuple[int, bytes, float]:
        try:
            reply = answer(self._twin, wire.MESSAGES[type].unpack(body), self.boots)
        except BoardError as error:
            reply = wire.Error(error.status, 0)
        return reply.TYPE, reply.pack(), TRAINING if type == wire.Train.TYPE else 0.01


def answer(board: TwinBoard, request: object, boot: int) -> wire.Message:
    """The reply to a request."""
    match request:
        case wire.Hello():
            values = {**vars(board.hello()), "chunk": 512, "window": 1100, "boot": boot, "features": 1}
            return wire.Welcome(**values)
        case wire.Head():
            board.load(request.round, plain(request.weights))
            return wire.Done()
        case wire.Train(r, seed, index, _, epochs, rate, shift, _, _, _, weights):
            return board.train(r, seed, index, epochs, rate, shift, plain(weights))
        case wire.Collect():
            return board.collect(request.round, request.shift, request.seed)
        case wire.Evaluate():
            return board.evaluate(request.split, request.source)
        case _:
            return wire.Error(wire.Status.ERROR_TYPE, 0)


class Minutes(FaultyLink):
    """A line to a board that is reset at every full minute of its own clock."""

    def __init__(self, board: CBoard, program: Program, seed: int) -> None:
        draw = random.Random(seed)

        def lossy(data: bytes) -> Iterator[tuple[float, bytes]]:
            for frame in data.split(b"\0"):
                if frame and draw.random() >= LOSS:
                    yield 0.0, frame + b"\0"

        super().__init__(board, lossy, lossy)
        self._program, self._next, self.resets = program, self.now + MINUTE, 0

    def read(self, timeout: float) -> bytes:
        """See Link."""
        data = super().read(min(timeout, max(self._next - self.now, 0.001)))
        if self.now >= self._next:
            self._next += MINUTE
            self.resets += 1
            self._program.reset()
            self.board.reset()
        return data

    def close(self) -> None:
        """The line stays: the next connection is to the same board."""


class MinuteFleet(TwinFleet):
    """Boards over such lines."""

    def __init__(self, library: ctypes.CDLL) -> None:
        super().__init__(members(2, 0))
        self.lines: dict[str, Minutes] = {}
        for seed, member in enumerate(self.members):
            program = Program(member)
            self.lines[member.name] = Minutes(CBoard(library, program, 4096, 1100, KEY), program, seed)

    def open(self, member: Member, traffic: Traffic) -> Board:
        """A Node on the line's clock."""
        line = self.lines[member.name]
        clock: Callable[[], float] = lambda: line.now  # noqa: E731
        node = Node(line, None, member.name, clock=clock, keys=lambda device: KEY, require_auth=True, traffic=traffic)
        return cast(Board, node)


@pytest.mark.slow
def test_two_hours_of_loss_and_resets_come_to_the_twins_weights(tmp_path: Path) -> None:
    library = build_session(tmp_path)
    plan = settings(rounds=ROUNDS, deadline=1e6, local_only=False, evaluate_every=ROUNDS, quorum=1.0)
    fleet = MinuteFleet(library)
    outcome = run(tmp_path / "lines", fleet, plan, patience=30.0)
    run(tmp_path / "twin", TwinFleet(members(2, 0)), plan)
    assert outcome.done is not None and outcome.done.rounds == ROUNDS and not outcome.of(BoardDropped)
    assert final(tmp_path / "lines") == final(tmp_path / "twin")
    assert contents(tmp_path / "lines") == contents(tmp_path / "twin")
    for line in fleet.lines.values():
        assert line.now - 100.0 >= HOURS * 3600 and line.resets >= HOURS * 60 - 1
    assert np.isfinite(outcome.done.after.clients or 0.0)

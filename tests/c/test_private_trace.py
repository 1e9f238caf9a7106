"""What is private never enters a frame: all that boards ever held of it is looked for in the whole trace of a run."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from support_board import build_board
from support_rounds import ADAPTED, ProcessFleet, TwinFleet, contents, head_format, members, run, settings, twin

from tinyfl.errors import BoardError
from tinyfl.reference import adapter, head, tensors
from tinyfl.reference.board import TwinBoard
from tinyfl.reference.fixed import mix
from tinyfl.reference.tensors import ADAPTER, HEAD, Adapting
from tinyfl.wire import messages as wire
from tinyfl.wire.frame import FrameDecoder
from tinyfl.wire.messages import FrameKind, Status
from tinyfl_host.fleet import Board, Member
from tinyfl_host.links import open_link
from tinyfl_host.links.trace import Chunk, Trace, read_trace
from tinyfl_host.node import Node
from tinyfl_host.recipe import PersonalSettings
from tinyfl_host.traffic import Traffic

WINDOW = 8  # bytes: four weights of int16, eight deltas of int8
ROUNDS = 4
SHIFTS = range(head.MAX_DELTA_SHIFT + 1)
FORMAT = head_format(ADAPTED)
PLAN = settings(rounds=ROUNDS, epochs=5)


class Watched(TwinBoard):
    """A twin that remembers all that it ever held: (tensor, round, broadcast weights, delta)."""

    held: list[tuple[int, int, npt.NDArray[np.int16], npt.NDArray[np.int64]]]

    def _remember(self, round: int) -> None:
        self.held += [(number, round, tensor.sent(), tensor.delta()) for number, tensor in enumerate(self._tensors)]

    def load(self, round: int, *arguments: Any, **named: Any) -> None:
        super().load(round, *arguments, **named)
        self._remember(round)

    def train(self, round: int, *arguments: Any, **named: Any) -> wire.Trained:
        reply = super().train(round, *arguments, **named)
        self._remember(round)
        return reply


class WatchedFleet(TwinFleet):
    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__(members, None, ADAPTED)
        self.boards: dict[str, Any] = {member.name: twin(member, ADAPTED) for member in members}
        for board in self.boards.values():
            board.__class__, board.held = Watched, []

    def open(self, member: Member, traffic: Traffic) -> Board:
        return typing.cast(Board, self.boards[member.name])


def windows(data: bytes) -> set[bytes]:
    return {data[i : i + WINDOW] for i in range(len(data) - WINDOW + 1)}


def of_weights(weights: npt.NDArray[np.int16]) -> set[bytes]:
    """Windows of int16 weights that say something: not nearly all zeros, which are everywhere."""
    parts = [weights[i : i + WINDOW // 2] for i in range(len(weights) - WINDOW // 2 + 1)]
    return {part.astype("<i2").tobytes() for part in parts if len(set(part[part != 0].tolist())) >= 3}


def of_deltas(deltas: npt.NDArray[np.int64]) -> set[bytes]:
    """Windows of int8 deltas that are not there by chance: of four values at least, one of them large."""
    parts = [deltas[i : i + WINDOW] for i in range(len(deltas) - WINDOW + 1)]
    return {
        part.astype(np.int8).tobytes()
        for part in parts
        if len(set(part[part != 0].tolist())) >= 4 and np.abs(part).max() >= 16
    }


def rounded(delta: npt.NDArray[np.int64], seeds: Sequence[int], shift: int) -> Iterator[npt.NDArray[np.int64]]:
    """Deltas as COLLECT would send them with either tensor's seed, to the nearest, and rounded down."""
    for seed in seeds:
        yield head.round_delta(delta, shift, seed).astype(np.int64)
    half = 1 << shift >> 1
    for q in ((delta + half) >> shift, delta >> shift):
        yield np.clip(q, -127, 127)


def everything(weights: npt.NDArray[np.int16], delta: npt.NDArray[np.int64], seeds: Sequence[int]) -> set[bytes]:
    """All that could stand for a tensor: weights before and after training, int32, deltas under any shift."""
    master = (weights.astype(np.int64) << 16) + delta
    words = master.astype("<i4").view("<i2")
    found = of_weights(weights) | of_weights(head.broadcast(master)) | of_weights(words)
    for shift in SHIFTS:
        for q in rounded(delta, seeds, shift):
            found |= of_deltas(q)
    return found


def frames(chunks: Sequence[Chunk]) -> Iterator[bytes]:
    """What crossed links: bytes as they were, frames decoded, bodies of several frames put together."""
    for link in sorted({chunk.link for chunk in chunks}):
        for sent in (True, False):
            raw = b"".join(chunk.data for chunk in chunks if (chunk.link, chunk.sent) == (link, sent))
            yield raw
            decoded = list(FrameDecoder().feed(raw))
            yield from (frame.payload for frame in decoded)
            yield b"".join(frame.payload[2:] for frame in decoded if frame.purpose == FrameKind.DATA)


def asked(chunks: Sequence[Chunk], kind: type[wire.Message]) -> list[Any]:
    """The messages of a type in the trace; here each is a frame."""
    found = []
    for link in sorted({chunk.link for chunk in chunks}):
        for sent in (True, False):
            raw = b"".join(chunk.data for chunk in chunks if (chunk.link, chunk.sent) == (link, sent))
            whole = [frame.payload for frame in FrameDecoder().feed(raw) if frame.purpose == FrameKind.WHOLE]
            found += [kind.unpack(payload[1:]) for payload in whole if payload[0] == kind.TYPE]
    return found


@pytest.mark.parametrize(
    ("private", "own", "shared"),
    [("head", HEAD, ADAPTER), pytest.param("adapter", ADAPTER, HEAD, marks=pytest.mark.slow)],
)
def test_no_private_weight_is_in_any_frame(tmp_path: Path, private: str, own: int, shared: int) -> None:
    """What is shared is found by the same search; and what is private too, where it belongs: in each board's flash."""
    plan = dataclasses.replace(PLAN, personal=PersonalSettings(private=private), local_only=False)
    (tmp_path / "flash").mkdir()
    trace = Trace(tmp_path / "trace")
    firmware = build_board("gcc", ADAPTED, tmp_path / "board")
    with ProcessFleet("posix", firmware, members(), ADAPTED, trace, tmp_path / "flash") as fleet:
        run(tmp_path / "posix", fleet, plan)
    trace.close()
    watched = WatchedFleet(members())
    run(tmp_path / "twin", watched, plan)
    assert contents(tmp_path / "posix") == contents(tmp_path / "twin")

    chunks = list(read_trace(tmp_path / "trace"))
    seen = set().union(*map(windows, frames(chunks)))
    for member in members():
        stored = windows((tmp_path / "flash" / member.name).read_bytes())
        for tensor, round, weights, delta in watched.boards[member.name].held:
            seeds = [mix(plan.seed, round, stream, member.index) for stream in tensors.STREAMS]
            if tensor == own:
                assert not everything(weights, delta, seeds) & seen
            else:
                assert of_weights(weights) <= seen
        last = [entry for entry in watched.boards[member.name].held if entry[0] == own][-1]
        assert len(of_weights(last[2])) > 30 or not member.trains
        assert of_weights(last[2]) <= stored
    sent = {(c.round, c.shift, c.seed, c.tensor) for c in asked(chunks, wire.Collect)}
    assert {tensor for *_, tensor in sent} == {shared} and len(sent) == ROUNDS * 4
    learned = {
        (member.index, round): delta
        for member in members()
        for tensor, round, _, delta in watched.boards[member.name].held
        if tensor == shared and delta.any()
    }
    for round, shift, seed, _ in sent:
        [index] = [m.index for m in members() if mix(plan.seed, round, tensors.STREAMS[shared], m.index) == seed]
        found = of_deltas(head.round_delta(learned[index, round], shift, seed).astype(np.int64))
        assert len(found) > 20 and found <= seen
    for reply in asked(chunks, wire.Trained):
        most = [(reply.max_delta, reply.mean_delta), tuple(np.frombuffer(reply.more.tobytes(), "<u4").tolist())]
        assert most[own] == (0, 0) and all(most[shared])


def test_a_private_tensor_is_neither_pulled_nor_collected(tmp_path: Path) -> None:
    """Whoever asks, in whichever way."""
    firmware, [member] = build_board("gcc", ADAPTED, tmp_path / "board"), members(1, 0)
    with ProcessFleet("posix", firmware, [member], ADAPTED) as fleet:
        node = Node(open_link(fleet.emulators["b0"].link), ADAPTED.manifest, "b0")
        boards: list[Any] = [node, twin(member, ADAPTED)]
        rates = head.rate(0.5, FORMAT.r2, FORMAT.fw), adapter.rate(0.25, FORMAT)
        for board in boards:
            board.hello()
            for own, shared in ((HEAD, ADAPTER), (ADAPTER, HEAD)):
                adapting = Adapting(1 << shared, rates[1])
                board.train(1, 3, 0, 2, *rates[0], tensors.initial(FORMAT, 1 << shared), adapting=adapting)
                board.collect(1, 10, 9, tensor=shared)
                for refused in (lambda board: board.pull(), lambda board, own=own: board.collect(1, 10, 9, tensor=own)):
                    with pytest.raises(BoardError) as error:
                        refused(board)
                    assert error.value.status == Status.ERROR_STATE
                board.train(2, 3, 0, 2, *rates[0], adapting=adapting)  # trains on: private as before
                with pytest.raises(BoardError):
                    board.pull()
            board.load(0, tensors.initial(FORMAT), adapting=Adapting(3))
            assert not (board.pull() != tensors.initial(FORMAT)).any()  # the compiled ones, which everybody knows
        node.close()

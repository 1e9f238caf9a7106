"""The tensors that are trained: the head, and the adapter where there is one. Their weights are one vector, W of them.

``shared`` is a bit mask of those that the server has (1: head, 2: adapter): the others are private to their boards.
What is shared is one slice of the vector; the server's weights, a broadcast and an update are of that slice alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyfl.graph import HeadFormat
from tinyfl.reference.adapter import UNIT_SHIFT
from tinyfl.reference.fixed import Int64
from tinyfl.reference.head import Learns, learning, to_wire

HEAD, ADAPTER = 0, 1  # tensors' numbers
ALL = 3  # the mask of both
STREAMS = (0xFFFF, 0xFFFB)  # by tensor: the "epoch" of the deltas' rounding in mix()
NAMES = ("head", "adapter")


@dataclass(frozen=True)
class Adapting:
    """What TRAIN, HEAD and OFFER say beside weights where the model has an adapter."""

    shared: int  # mask: which tensors' weights go down
    rate: tuple[int, int] = (0, 0)  # of the adapter, as the board takes it: (factor, shift)

    def prefix(self, *, loads: bool = True, trains: bool = False) -> npt.NDArray[np.uint8]:
        """The four bytes before coded weights: a message that ``loads`` none names no tensor, TRAIN alone a rate."""
        factor, shift = self.rate if trains else (0, 0)
        return np.array([self.shared if loads else 0, factor & 255, factor >> 8, shift], np.uint8)


def numbers(format: HeadFormat, shared: int = ALL) -> tuple[int, ...]:
    """The tensors in a mask that the model has, in their order."""
    there = (HEAD,) if format.adapter is None else (HEAD, ADAPTER)
    return tuple(number for number in there if shared >> number & 1)


def size(format: HeadFormat, number: int) -> int:
    """How many weights a tensor has."""
    if number == HEAD or format.adapter is None:
        return format.size
    return format.adapter.size


def count(format: HeadFormat, shared: int = ALL) -> int:
    """How many weights all tensors in a mask have."""
    return sum(size(format, number) for number in numbers(format, shared))


def slices(format: HeadFormat, shared: int = ALL) -> tuple[slice, ...]:
    """Where the tensors in a mask lie in the vector of these alone."""
    ends = itertools.accumulate((size(format, number) for number in numbers(format, shared)), initial=0)
    return tuple(slice(begin, end) for begin, end in itertools.pairwise(ends))


def initial(format: HeadFormat, shared: int = ALL) -> npt.NDArray[np.int16]:
    """The weights at the start, in wire order: the compiled head, an adapter of zeros."""
    parts = [
        to_wire(format.initial) if number == HEAD else np.zeros(size(format, number), np.int16)
        for number in numbers(format, shared)
    ]
    return np.concatenate(parts).astype(np.int16)


def learns(format: HeadFormat, shared: int = ALL) -> Learns:
    """Which weights learn: all but those that a pruned head holds."""
    parts = [
        learning(format) if number == HEAD else np.ones(size(format, number), np.bool_)
        for number in numbers(format, shared)
    ]
    return np.concatenate(parts)


def units(format: HeadFormat, shared: int = ALL) -> npt.NDArray[np.float64]:
    """Master units of each weight in 1 / R: what a server's step is measured in (``federated.optimisers``)."""
    real = [2.0 ** (format.fw + 16) / math.sqrt(format.r2)]
    if format.adapter is not None:
        real.append(2.0 ** (UNIT_SHIFT + 16) / math.sqrt(format.adapter.curvature))
    return _each(format, shared, [real[number] for number in numbers(format, shared)])


def scales(format: HeadFormat, shared: int, shifts: Sequence[int]) -> Int64:
    """2^shift of each weight; ``shifts``: of the tensors in the mask."""
    return _each(format, shared, [1 << shift for shift in shifts]).astype(np.int64)


def _each(format: HeadFormat, shared: int, values: Sequence[float]) -> npt.NDArray[np.float64]:
    """A tensor's value for each of its weights."""
    return np.repeat(np.array(values, np.float64), [size(format, number) for number in numbers(format, shared)])

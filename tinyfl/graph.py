"""The model in memory: ``Graph``, ``Layer``, ``Tensor``, ``Quantization``; what is trained: ``HeadFormat``.

Frozen data without behaviour: the compiler reads a ``.tflite`` into a ``Graph``; the compiler's emitter, the numpy twin
and the reports all read the same one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Quantization:
    """Affine quantisation: real = scale * (q - zero_point); one scale per tensor, or one per slice along ``axis``."""

    scales: tuple[float, ...]  # each exactly a float32
    zero_points: tuple[int, ...]
    axis: int = 0

    @property
    def scale(self) -> float:
        """The scale of a per-tensor quantisation."""
        return self.scales[0]

    @property
    def zero_point(self) -> int:
        """The zero point of a per-tensor quantisation."""
        return self.zero_points[0]


@dataclass(frozen=True)
class Tensor:
    """One tensor: activations have ``data is None``; constants (weights, biases) carry their integers."""

    index: int
    name: str
    shape: tuple[int, ...]  # batch dimension included, always 1 for activations
    dtype: str  # "int8" or "int32"
    quantization: Quantization | None
    data: npt.NDArray[Any] | None = field(default=None, compare=False)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Layer:
    """One operator; ``op`` names its module in ``compiler/ops``, ``reference/ops`` and ``firmware/core/ops``."""

    index: int
    op: str  # conv2d, depthwise_conv2d, dense, average_pool, max_pool, mean, add, reshape, softmax, pad, quantize
    inputs: tuple[int, ...]  # tensor indices: activations first, then weights, bias
    outputs: tuple[int, ...]
    options: dict[str, Any]  # stride_h, stride_w, padding (same, valid), activation (none, relu, relu6), ...


@dataclass(frozen=True)
class Graph:
    """A full-int8 model in execution order, one input and one output tensor."""

    name: str
    tensors: tuple[Tensor, ...]
    layers: tuple[Layer, ...]
    input: int
    output: int
    goal: str = "balanced"  # one of settings.GOALS: what compiled code is to be good at

    def tensor(self, index: int) -> Tensor:
        """The tensor with this index."""
        return self.tensors[index]


@dataclass(frozen=True)
class AdapterFormat:
    """The constants of an adapter between embedding and head (docs/DESIGN.md, "Adapter"), folded as the head's are."""

    offset: npt.NDArray[np.int8]  # (N,), zero point of each feature of the backbone's embedding
    group: int  # features of a group, 1..N; the last group has what is left
    curvature: float  # what the rate is relative to: squared norm of a group's features times that of a class's weights

    @property
    def size(self) -> int:
        """How many weights there are."""
        groups, left = divmod(len(self.offset), self.group)
        return groups * self.group * (self.group + 1) + left * (left + 1)


@dataclass(frozen=True)
class HeadFormat:
    """The constants of the trainable head (docs/DESIGN.md, "Training in integers"), folded from calibration embeddings.

    Weights are (features + 1) x classes, row ``features`` belongs to the bias feature of constant value ``bias_value``.
    """

    features: int  # N <= 256
    classes: int
    offset: npt.NDArray[np.int8]  # (N,), zero point of each feature that the head sees
    bias_value: int  # xb: power of two, 1..128
    r2: float  # E[sum x_i^2] + xb^2, in squared embedding LSB
    fw: int  # fraction bits of weights and logits, 5..20
    initial: npt.NDArray[np.int16]  # w0, (N + 1, C) row-major, unit 2^-fw
    held: npt.NDArray[np.bool_] | None = None  # (N + 1, C): weights that were pruned and do not learn; None: all do
    adapter: AdapterFormat | None = None  # what is trained before it

    @property
    def size(self) -> int:
        """How many weights there are, without the adapter's."""
        return (self.features + 1) * self.classes

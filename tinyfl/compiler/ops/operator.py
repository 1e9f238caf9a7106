"""What the compiler asks of an operator's module, and what an operator tells the emitter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tflite

from tinyfl.errors import ModelError
from tinyfl.graph import Graph, Layer, Tensor


@dataclass(frozen=True)
class RawOperator:
    """One operator of the flatbuffer, before it becomes a ``Layer``."""

    index: int
    builtin: str  # the schema's name, "CONV_2D"
    inputs: tuple[int, ...]  # tensor indices of the file, -1 where an optional input is absent
    outputs: tuple[int, ...]
    table: Any  # tflite.Operator
    constant: Callable[[int], npt.NDArray[Any] | None]  # integers of a constant tensor; None: it is no constant

    @property
    def where(self) -> str:
        """How messages name it."""
        return f"operator {self.index} ({self.builtin})"

    def fail(self, problem: str) -> ModelError:
        """The error to raise for this operator."""
        return ModelError(f"{self.where}: {problem}", "docs/OPERATORS.md lists what each operator supports")

    def options(self, kind: type[Any]) -> Any:
        """The builtin options as the schema class ``kind``."""
        union = self.table.BuiltinOptions()
        if union is None or self.table.BuiltinOptionsType() != getattr(tflite.BuiltinOptions, kind.__name__):
            raise self.fail(f"its {kind.__name__} are missing")
        options = kind()
        options.Init(union.Bytes, union.Pos)
        return options

    def input_constant(self, position: int, what: str) -> list[int]:
        """The constant integers at an input position."""
        if position < len(self.inputs) and self.inputs[position] >= 0:
            values = self.constant(self.inputs[position])
            if values is not None:
                return [int(v) for v in values.ravel()]
        raise self.fail(f"{what} must be a constant")


@dataclass(frozen=True)
class Array:
    """A constant C array of one layer."""

    name: str
    ctype: str  # int8_t, int32_t
    data: npt.NDArray[Any]
    macro: str = ""  # takes a row of the data and gives the values in the form that the CPU likes
    width: int = 0  # how many it gives at most; as many as it takes where this is 0
    fixed: bool = True  # it gives as many on every CPU

    @property
    def length(self) -> int:
        """Values in C."""
        return int(self.data.size) * self.width // self.data.shape[-1] if self.width else int(self.data.size)

    @property
    def bytes(self) -> int:
        """What it takes in flash."""
        return int(np.dtype(self.ctype.removesuffix("_t")).itemsize) * self.length

    def items(self) -> list[str]:
        """The initialisers."""
        if not self.macro:
            return [number_text(v) for v in self.data.ravel().tolist()]
        rows = self.data.reshape(-1, self.data.shape[-1]).tolist()
        return [f"{self.macro}({', '.join(map(number_text, row))})" for row in rows]


@dataclass(frozen=True)
class Folded:
    """A layer as C: ``const struct tfl_<op>`` with these fields; a field that names one of the arrays points to it."""

    fields: tuple[tuple[str, int | str], ...]
    arrays: tuple[Array, ...] = ()
    struct: str = ""  # where it is not tfl_<op>


@dataclass(frozen=True)
class Overlap:
    """How a layer's output may share bytes with an activation that it reads and nobody reads afterwards.

    A kernel in streaming order writes its output front to back; it is safe where the input starts at least ``gap``
    bytes behind the output: what is overwritten is not needed again. ``exact``: safe only where both start together.
    """

    gap: int = 0
    exact: bool = False


# Shares of the scratch that makes a kernel fast, as compiler/choice.py deals them out (layer.options["scratch"]).
FULL, HALF, LEAST = "full", "half", "least"


ONLY = "one kernel for all shapes"  # a reason


def share(layer: Layer) -> str:
    """A layer's share of scratch."""
    return str(layer.options.get("scratch", FULL))


def number_text(value: int | str) -> str:
    """A C integer constant; the smallest int32 has no literal of its own."""
    return "(-2147483647 - 1)" if value == -(2**31) else str(value)


class Operator(Protocol):
    """One module of ``compiler/ops``; its name is that of the twin's module and of the kernel ``tfl_<name>``.

    It may also have (``compiler/demand.py`` asks): ``scratch(graph, layer)``, the bytes of memory that any CPU's kernel
    needs while it runs (the kernel then takes a pointer to them as its last argument) with the layer's ``share``,
    ``overlap(graph, layer)``, how the output may share bytes with an input, and ``kernel(graph, layer)``, the kernel's
    name and why this one.
    """

    @property
    def BUILTIN(self) -> str:  # noqa: N802
        """The schema's name of the operator."""

    @property
    def ACTIVATIONS(self) -> int:  # noqa: N802
        """How many of the inputs are activations; they come first."""

    @property
    def CONSTANTS(self) -> int:  # noqa: N802
        """How many inputs behind the activations become constants of the layer (weights, bias)."""

    def read(self, raw: RawOperator) -> dict[str, Any]:
        """The options of the layer; raises ModelError for what is not supported."""

    def check(self, graph: Graph, layer: Layer) -> None:
        """Raises ValueError where shapes, types or scales do not fit together."""

    def fold(self, graph: Graph, layer: Layer) -> Folded | None:
        """Descriptor and constants; None: nothing is left to do on the board."""

    def macs(self, graph: Graph, layer: Layer) -> int:
        """Multiply-accumulates of one inference."""


ACTIVATIONS = {0: "none", 1: "relu", 3: "relu6"}
PADDINGS = {0: "same", 1: "valid"}


def read_activation(raw: RawOperator, code: int) -> str:
    """The fused activation's name."""
    if code not in ACTIVATIONS:
        raise raw.fail(f"fused activation {code} is not supported, only none, relu (1) and relu6 (3)")
    return ACTIVATIONS[code]


def read_window(raw: RawOperator, options: Any) -> dict[str, Any]:
    """Stride, padding and fused activation, which convolutions and pools have in common."""
    stride_h, stride_w = options.StrideH(), options.StrideW()
    if not (1 <= stride_h <= 255 and 1 <= stride_w <= 255):
        raise raw.fail(f"stride {stride_h}x{stride_w} is outside 1..255")
    if options.Padding() not in PADDINGS:
        raise raw.fail(f"padding {options.Padding()} is neither same (0) nor valid (1)")
    return {
        "stride_h": stride_h,
        "stride_w": stride_w,
        "padding": PADDINGS[options.Padding()],
        "activation": read_activation(raw, options.FusedActivationFunction()),
    }


def refuse_dilation(raw: RawOperator, options: Any) -> None:
    """Dilated convolutions are not supported."""
    dilation = (options.DilationHFactor(), options.DilationWFactor())
    if dilation != (1, 1):
        raise raw.fail(f"dilation {dilation[0]}x{dilation[1]} is not supported, only 1x1")


def expect(holds: bool, problem: str) -> None:
    """Raises ValueError(problem) unless it holds."""
    if not holds:
        raise ValueError(problem)


def activations(graph: Graph, layer: Layer) -> tuple[Tensor, Tensor]:
    """First input and output tensor of a layer."""
    return graph.tensor(layer.inputs[0]), graph.tensor(layer.outputs[0])


def expect_image(*tensors: Tensor) -> None:
    """Each tensor is 1 x H x W x C."""
    for tensor in tensors:
        expect(len(tensor.shape) == 4, f"tensor '{tensor.name}' has shape {tensor.shape}, expected 1 x H x W x C")


def expect_shape(tensor: Tensor, shape: tuple[int, ...]) -> None:
    """The tensor has this shape."""
    expect(tensor.shape == shape, f"tensor '{tensor.name}' has shape {tensor.shape}, expected {shape}")

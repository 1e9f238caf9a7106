"""From the bytes of a full-int8 ``.tflite`` to a ``Graph``; hostile bytes end in ModelError and nothing else."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tflite
from flatbuffers.number_types import Int32Flags

from tinyfl.compiler.ops import BY_BUILTIN, OPERATORS
from tinyfl.compiler.ops.operator import RawOperator
from tinyfl.errors import ModelError
from tinyfl.graph import Graph, Layer, Quantization, Tensor

MAX_ITEMS = 4096  # tensors, operators, buffers
MAX_RANK = 6
MAX_ELEMENTS = 1 << 24
MAX_NAME = 120
MAX_SIDE = 65535  # of a dimension: the C structs hold 16 bits

_TYPES = {v: k.lower() for k, v in vars(tflite.TensorType).items() if not k.startswith("_")}
_BUILTINS = {v: k for k, v in vars(tflite.BuiltinOperator).items() if not k.startswith("_")}
_CONSTANT_TYPES: dict[str, np.dtype[Any]] = {
    "int8": np.dtype("<i1"),
    "int32": np.dtype("<i4"),
    "int64": np.dtype("<i8"),
}
_EXPORT_HINT = "export a full-int8 model: TFLiteConverter with a representative dataset and int8 input and output"
# What the flatbuffers reader and numpy raise on bytes that do not hold what they promise.
_GARBAGE = (struct.error, IndexError, ValueError, TypeError, OverflowError, AttributeError, MemoryError, KeyError)


def read_tflite(data: bytes, name: str) -> Graph:
    """The model in execution order; raises ModelError for anything that cannot be compiled."""
    if len(data) < 16 or data[4:8] != b"TFL3":
        raise ModelError(f"{name}: not a .tflite file ({len(data)} bytes without the mark TFL3)", _EXPORT_HINT)
    try:
        return _File(data, name).graph()
    except ModelError as error:
        raise ModelError(f"{name}: {error.message}", error.hint) from error
    except _GARBAGE as error:
        raise ModelError(
            f"{name}: these {len(data)} bytes are no whole .tflite",
            "the file is truncated or damaged: copy it again, or export the model again",
        ) from error


class _File:
    """The flatbuffer while it is read."""

    def __init__(self, data: bytes, name: str) -> None:
        self.name = name
        self.model = tflite.Model.GetRootAs(bytes(data), 0)
        if self.model.Version() != 3:
            raise ModelError(f"schema version {self.model.Version()}, expected 3", _EXPORT_HINT)
        if self.model.SubgraphsLength() != 1:
            raise ModelError(f"{self.model.SubgraphsLength()} subgraphs, expected 1", _EXPORT_HINT)
        self.subgraph = self.model.Subgraphs(0)
        counts = (self.subgraph.TensorsLength(), self.subgraph.OperatorsLength(), self.model.BuffersLength())
        if max(counts) > MAX_ITEMS:
            raise ModelError(f"{max(counts)} tensors, operators or buffers, at most {MAX_ITEMS}", _EXPORT_HINT)

    def graph(self) -> Graph:
        """All of it."""
        entry = self._only("input", self.subgraph.InputsLength(), self.subgraph.Inputs)
        exit_ = self._only("output", self.subgraph.OutputsLength(), self.subgraph.Outputs)
        live = self._live([self._operator(i) for i in range(self.subgraph.OperatorsLength())], exit_)
        self._refuse_unsupported(live)
        used = [entry, *(i for raw in live for i in (*self._operands(raw), *raw.outputs))]
        order = {index: position for position, index in enumerate(dict.fromkeys(used))}
        if exit_ not in order:
            raise ModelError("no operator computes the output", _EXPORT_HINT)
        tensors = tuple(self._tensor(index, position) for index, position in order.items())
        layers = tuple(self._layer(i, raw, order) for i, raw in enumerate(live))
        graph = Graph(self.name, tensors, layers, order[entry], order[exit_])
        _check(graph, live)
        return graph

    def _only(self, what: str, length: int, item: Callable[[int], int]) -> int:
        if length != 1:
            raise ModelError(f"{length} {what}s, expected 1", _EXPORT_HINT)
        return self._tensor_index(item(0))

    def _tensor_index(self, index: int) -> int:
        if not 0 <= index < self.subgraph.TensorsLength():
            raise ModelError(f"tensor {index} does not exist, there are {self.subgraph.TensorsLength()}")
        return int(index)

    def _operator(self, index: int) -> RawOperator:
        table = self.subgraph.Operators(index)
        if not 0 <= table.OpcodeIndex() < self.model.OperatorCodesLength():
            raise ModelError(f"operator {index} has no operator code {table.OpcodeIndex()}")
        code = self.model.OperatorCodes(table.OpcodeIndex())
        builtin = _BUILTINS.get(_builtin_code(code), "UNKNOWN")
        if max(table.InputsLength(), table.OutputsLength()) > 64:
            raise ModelError(f"operator {index} ({builtin}) has {table.InputsLength()} inputs, at most 64")
        inputs = tuple(
            -1 if (t := table.Inputs(i)) == -1 else self._tensor_index(t) for i in range(table.InputsLength())
        )
        outputs = tuple(self._tensor_index(table.Outputs(i)) for i in range(table.OutputsLength()))
        return RawOperator(index, builtin, inputs, outputs, table, self._integers)

    def _operands(self, raw: RawOperator) -> tuple[int, ...]:
        """The inputs that become inputs of the layer: activations, weights, bias; not shapes and axes."""
        operator = OPERATORS[BY_BUILTIN[raw.builtin]]
        wanted = raw.inputs[: operator.ACTIVATIONS + operator.CONSTANTS]
        while wanted and wanted[-1] == -1:
            wanted = wanted[:-1]
        if len(wanted) < operator.ACTIVATIONS + min(operator.CONSTANTS, 1) or -1 in wanted or len(raw.outputs) != 1:
            raise raw.fail(f"{len(wanted)} inputs and {len(raw.outputs)} outputs are too few or too many")
        return wanted

    def _live(self, operators: list[RawOperator], exit_: int) -> list[RawOperator]:
        """Those that the output depends on; computing a static shape, for one, is dead."""
        wanted, live = {exit_}, []
        for raw in reversed(operators):
            if wanted & set(raw.outputs):
                live.append(raw)
                wanted.update(self._operands(raw) if raw.builtin in BY_BUILTIN else raw.inputs)
        return live[::-1]

    def _refuse_unsupported(self, operators: list[RawOperator]) -> None:
        for raw in operators:
            if raw.builtin not in BY_BUILTIN:
                problem = f"{raw.where} is not supported"
                raise ModelError(problem, f"supported operators: {', '.join(BY_BUILTIN)}")

    def _layer(self, position: int, raw: RawOperator, order: dict[int, int]) -> Layer:
        op = BY_BUILTIN[raw.builtin]
        inputs = tuple(order[i] for i in self._operands(raw))
        return Layer(position, op, inputs, (order[raw.outputs[0]],), OPERATORS[op].read(raw))

    def _shape(self, table: Any, name: str) -> tuple[int, ...]:
        if table.ShapeLength() > MAX_RANK:
            raise ModelError(f"tensor '{name}' has {table.ShapeLength()} dimensions, at most {MAX_RANK}")
        shape = tuple(int(table.Shape(i)) for i in range(table.ShapeLength()))
        shape = (1, *shape[1:]) if shape and shape[0] == -1 else shape  # a dynamic batch
        if not shape or not all(1 <= n <= MAX_SIDE for n in shape) or math.prod(shape) > MAX_ELEMENTS:
            raise ModelError(f"tensor '{name}' has shape {shape}, which is empty, dynamic or too large")
        return shape

    def _bytes(self, table: Any) -> npt.NDArray[np.uint8] | None:
        if not 0 <= table.Buffer() < self.model.BuffersLength():
            raise ModelError(f"buffer {table.Buffer()} does not exist, there are {self.model.BuffersLength()}")
        buffer = self.model.Buffers(table.Buffer())
        return None if buffer.DataLength() == 0 else buffer.DataAsNumpy()

    def _integers(self, index: int) -> npt.NDArray[Any] | None:
        """The integers of a constant tensor as a vector; None for an activation."""
        table = self.subgraph.Tensors(index)
        raw, dtype = self._bytes(table), _CONSTANT_TYPES.get(_TYPES.get(table.Type(), ""))
        return None if raw is None or dtype is None else np.frombuffer(raw.tobytes(), dtype)

    def _tensor(self, index: int, position: int) -> Tensor:
        table = self.subgraph.Tensors(index)
        name = _printable(table.Name() or b"")
        kind = _TYPES.get(table.Type(), str(table.Type()))
        if kind not in ("int8", "int32"):
            raise ModelError(f"tensor '{name}' is {kind}, expected int8: only full-int8 models run", _EXPORT_HINT)
        shape, data = self._shape(table, name), self._integers(index)
        if data is not None:
            if len(data) != math.prod(shape):
                raise ModelError(f"tensor '{name}' of shape {shape} holds {len(data)} values")
            data = data.reshape(shape)
            data.flags.writeable = False
        elif kind != "int8" or shape[0] != 1:
            raise ModelError(f"activation '{name}' is {kind} {shape}, expected int8 with a batch of 1", _EXPORT_HINT)
        quantization = _quantization(table.Quantization(), name, constant=data is not None) if kind == "int8" else None
        return Tensor(position, name, shape, kind, quantization, data)


def _builtin_code(code: Any) -> int:
    """The larger of the two fields, as TFLite takes it; the class's own ``BuiltinCode`` mostly gives the older one."""
    place = code._tab.Offset(10)
    newer = code._tab.Get(Int32Flags, code._tab.Pos + place) if place else 0
    return max(int(newer), int(code.DeprecatedBuiltinCode()))


def _printable(name: bytes) -> str:
    """A tensor's name as it may stand in a message: one line, no control characters, not too long."""
    text = name[: 4 * MAX_NAME].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "?" for c in text)[:MAX_NAME]


def _quantization(table: Any, name: str, constant: bool) -> Quantization:
    """Scales and zero points of an int8 tensor; weights are symmetric, activations have one scale."""
    count = 0 if table is None else table.ScaleLength()
    if count < 1 or (count > 1 and not constant) or count > MAX_SIDE:
        raise ModelError(f"int8 tensor '{name}' has {count} scales, expected 1", _EXPORT_HINT)
    scales = tuple(float(table.Scale(i)) for i in range(count))
    if not all(math.isfinite(s) and s > 0.0 for s in scales):
        raise ModelError(f"tensor '{name}' has a scale that is not positive", _EXPORT_HINT)
    zeros = tuple(int(table.ZeroPoint(i)) for i in range(min(table.ZeroPointLength(), count))) or (0,)
    if constant and any(zeros):
        raise ModelError(f"weights '{name}' have zero point {zeros[0]}, expected 0", _EXPORT_HINT)
    if not all(-128 <= z <= 127 for z in zeros):
        raise ModelError(f"tensor '{name}' has a zero point outside -128..127", _EXPORT_HINT)
    return Quantization(scales, zeros, int(table.QuantizedDimension()))


def _check(graph: Graph, raws: list[RawOperator]) -> None:
    """Each layer reads what was computed before it, and its operator accepts its shapes."""
    known = {graph.input}
    for layer, raw in zip(graph.layers, raws, strict=True):
        operator = OPERATORS[layer.op]
        if any(i not in known for i in layer.inputs[: operator.ACTIVATIONS]):
            raise raw.fail("reads a tensor that no operator before it computes")
        try:
            operator.check(graph, layer)
        except ValueError as error:
            raise raw.fail(str(error)) from error
        if layer.outputs[0] in known or graph.tensor(layer.outputs[0]).data is not None:
            raise raw.fail("writes a tensor that is a constant or was written before")
        known.add(layer.outputs[0])

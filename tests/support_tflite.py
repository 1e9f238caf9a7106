"""Small .tflite files written with the schema's builder functions, and the reference interpreter that runs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import tflite

TYPES = {"int8": tflite.TensorType.INT8, "int32": tflite.TensorType.INT32, "float32": tflite.TensorType.FLOAT32}
OPTIONS = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "ADD": "AddOptions",
    "RESHAPE": "ReshapeOptions",
    "EXPAND_DIMS": "ExpandDimsOptions",
    "SQUEEZE": "SqueezeOptions",
    "SOFTMAX": "SoftmaxOptions",
    "PAD": "PadOptions",
    "QUANTIZE": "QuantizeOptions",
    "LOGISTIC": None,
}
# An operator is only as new as its types: per-channel int8 kernels ask for at least these versions.
VERSIONS = {"FULLY_CONNECTED": 4, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "ADD": 2, "MEAN": 2, "SOFTMAX": 2, "PAD": 2,
            "AVERAGE_POOL_2D": 2, "MAX_POOL_2D": 2, "QUANTIZE": 2, "LOGISTIC": 2}  # fmt: skip


@dataclass
class T:
    """A tensor to write."""

    shape: Sequence[int]
    scales: Sequence[float] = (1.0,)
    zero_point: int = 0
    data: Any = None
    type: str = "int8"
    axis: int = 0


@dataclass
class Op:
    """An operator to write; options by the builder's names, `StrideW=2`."""

    builtin: str
    inputs: Sequence[int]
    outputs: Sequence[int]
    options: dict[str, Any] = field(default_factory=dict)


def write_tflite(tensors: Sequence[T], ops: Sequence[Op], inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
    """The bytes of a .tflite with one subgraph."""
    b = flatbuffers.Builder(1024)
    buffers = [_buffer(b, None)]
    tables = []
    for i, tensor in enumerate(tensors):
        if tensor.data is not None:
            buffers.append(_buffer(b, np.asarray(tensor.data, tensor.type)))
        tables.append(_tensor(b, tensor, f"t{i}", len(buffers) - 1 if tensor.data is not None else 0))
    names = sorted({op.builtin for op in ops})
    codes = [_code(b, name) for name in names]
    operators = [_operator(b, op, names.index(op.builtin)) for op in ops]
    subgraph = _subgraph(b, tables, operators, inputs, outputs)
    parts = {"OperatorCodes": codes, "Subgraphs": [subgraph], "Buffers": buffers}
    vectors = {name: _offsets(b, items) for name, items in parts.items()}
    tflite.ModelStart(b)
    tflite.ModelAddVersion(b, 3)
    for name, vector in vectors.items():
        getattr(tflite, f"ModelAdd{name}")(b, vector)
    b.Finish(tflite.ModelEnd(b), file_identifier=b"TFL3")
    return bytes(b.Output())


def _offsets(b: Any, items: Sequence[int]) -> int:
    b.StartVector(4, len(items), 4)
    for item in reversed(items):
        b.PrependUOffsetTRelative(item)
    return b.EndVector()


def _vector(b: Any, values: Any, dtype: str) -> int:
    return b.CreateNumpyVector(np.asarray(list(values), dtype))


def _buffer(b: Any, data: Any) -> int:
    vector = None if data is None else b.CreateNumpyVector(np.frombuffer(data.tobytes(), np.uint8))
    tflite.BufferStart(b)
    if vector is not None:
        tflite.BufferAddData(b, vector)
    return tflite.BufferEnd(b)


def _tensor(b: Any, tensor: T, name: str, buffer: int) -> int:
    text, shape = b.CreateString(name), _vector(b, tensor.shape, "<i4")
    scales = _vector(b, tensor.scales, "<f4")
    zeros = _vector(b, [tensor.zero_point] * len(tensor.scales), "<i8")
    tflite.QuantizationParametersStart(b)
    tflite.QuantizationParametersAddScale(b, scales)
    tflite.QuantizationParametersAddZeroPoint(b, zeros)
    tflite.QuantizationParametersAddQuantizedDimension(b, tensor.axis)
    quantization = tflite.QuantizationParametersEnd(b)
    tflite.TensorStart(b)
    tflite.TensorAddShape(b, shape)
    tflite.TensorAddType(b, TYPES[tensor.type])
    tflite.TensorAddBuffer(b, buffer)
    tflite.TensorAddName(b, text)
    tflite.TensorAddQuantization(b, quantization)
    return tflite.TensorEnd(b)


def _code(b: Any, name: str) -> int:
    code = getattr(tflite.BuiltinOperator, name)
    tflite.OperatorCodeStart(b)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(b, code)
    tflite.OperatorCodeAddBuiltinCode(b, code)
    tflite.OperatorCodeAddVersion(b, VERSIONS.get(name, 1))
    return tflite.OperatorCodeEnd(b)


def _operator(b: Any, op: Op, code: int) -> int:
    inputs, outputs = _vector(b, op.inputs, "<i4"), _vector(b, op.outputs, "<i4")
    kind = OPTIONS[op.builtin]
    chosen = {k: _vector(b, v, "<i4") if isinstance(v, tuple) else v for k, v in op.options.items()}
    if kind:
        getattr(tflite, f"{kind}Start")(b)
        for name, value in chosen.items():
            getattr(tflite, f"{kind}Add{name}")(b, value)
        options = getattr(tflite, f"{kind}End")(b)
    tflite.OperatorStart(b)
    tflite.OperatorAddOpcodeIndex(b, code)
    tflite.OperatorAddInputs(b, inputs)
    tflite.OperatorAddOutputs(b, outputs)
    if kind:
        tflite.OperatorAddBuiltinOptionsType(b, getattr(tflite.BuiltinOptions, kind))
        tflite.OperatorAddBuiltinOptions(b, options)
    return tflite.OperatorEnd(b)


def _subgraph(b: Any, tensors: Any, operators: Any, inputs: Any, outputs: Any) -> int:
    tensors, operators = _offsets(b, tensors), _offsets(b, operators)
    inputs, outputs = _vector(b, inputs, "<i4"), _vector(b, outputs, "<i4")
    tflite.SubGraphStart(b)
    tflite.SubGraphAddTensors(b, tensors)
    tflite.SubGraphAddInputs(b, inputs)
    tflite.SubGraphAddOutputs(b, outputs)
    tflite.SubGraphAddOperators(b, operators)
    return tflite.SubGraphEnd(b)


def run_oracle(data: bytes, x: np.ndarray) -> np.ndarray:
    """What tflite-runtime's reference kernels make of an int8 batch (n, *shape), one sample at a time."""
    import pytest

    runtime = pytest.importorskip("tflite_runtime.interpreter", reason="tflite-runtime has no wheel for this Python")
    interpreter = runtime.Interpreter(
        model_content=data, experimental_op_resolver_type=runtime.OpResolverType.BUILTIN_REF, num_threads=1
    )
    interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    outputs = []
    for sample in x:
        interpreter.set_tensor(source, sample[None])
        interpreter.invoke()
        y = interpreter.get_tensor(sink)
        outputs.append((y[0] if len(y) == 1 else y).copy())
    return np.array(outputs)


def edge_inputs(rng: np.random.Generator, shape: Sequence[int], count: int) -> np.ndarray:
    """Random int8 inputs (count, *shape); the first are all -128, all 127, alternating and sparse."""
    x = rng.integers(-128, 128, (count, *shape)).astype(np.int8)
    x[0], x[1] = -128, 127
    flat = x.reshape(count, -1)
    flat[2, ::2], flat[2, 1::2] = -128, 127
    flat[3] = np.where(rng.random(flat.shape[1]) < 0.9, 0, flat[3])
    return x


def model_inputs(rng: np.random.Generator, tensor: Any, count: int) -> np.ndarray:
    """int8 inputs of a graph's tensor: edges, noise, then slow waves around zero, faint to clipped."""
    x = edge_inputs(rng, tensor.shape[1:], count)
    x[4] = tensor.quantization.zero_point
    steps, *others = tensor.shape[1:]
    waves = (count - count // 2, 1, *others)
    turns = rng.uniform(0, 8, waves) * np.linspace(0, 1, steps).reshape(1, -1, *(1 for _ in others))
    loudness = np.exp(rng.uniform(0, np.log(300), (len(turns), *(1 for _ in tensor.shape[1:]))))
    signal = loudness * (np.sin(2 * np.pi * (turns + rng.random(waves))) + rng.normal(0, 0.1, turns.shape))
    x[count // 2 :] = np.clip(np.round(signal) + tensor.quantization.zero_point, -128, 127)
    return x


def small_classifier(seed: int = 0, features: int = 12, classes: int = 5, softmax: bool = True) -> bytes:
    """conv2d -> reshape -> dense -> dense (-> softmax) on 10x1x3 inputs: a head behind a small backbone."""
    rng = np.random.default_rng(seed)
    tensors = [
        T((1, 10, 1, 3), [0.05], 3),
        T((4, 3, 1, 3), rng.uniform(0.002, 0.01, 4), 0, rng.integers(-127, 128, (4, 3, 1, 3))),
        T((4,), [1.0], 0, rng.integers(-500, 500, 4), "int32"),
        T((1, 4, 1, 4), [0.04], -128),
        T((1, 16), [0.04], -128),
        T((features, 16), [0.004], 0, rng.integers(-127, 128, (features, 16))),
        T((features,), [0.04 * 0.004], 0, rng.integers(-500, 500, features), "int32"),
        T((1, features), [0.05], -100),
        T((classes, features), [0.006], 0, rng.integers(-127, 128, (classes, features))),
        T((classes,), [0.05 * 0.006], 0, rng.integers(-500, 500, classes), "int32"),
        T((1, classes), [0.1], 10),
        T((1, classes), [1 / 256], -128),
    ]
    conv = {"StrideH": 2, "StrideW": 1, "Padding": 1, "FusedActivationFunction": 1}
    ops = [
        Op("CONV_2D", [0, 1, 2], [3], {**conv, "DilationHFactor": 1, "DilationWFactor": 1}),
        Op("RESHAPE", [3], [4], {"NewShape": (1, 16)}),
        Op("FULLY_CONNECTED", [4, 5, 6], [7], {"FusedActivationFunction": 1}),
        Op("FULLY_CONNECTED", [7, 8, 9], [10], {}),
        Op("SOFTMAX", [10], [11], {"Beta": 1.0}),
    ]
    return write_tflite(tensors, ops if softmax else ops[:-1], [0], [11 if softmax else 10])

"""Random .tflite models of one operator: what `write(rng, case)` gives is set by the random numbers and the case.

tests/generate_models.py writes them to files and runs one again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from support_tflite import Op, T, write_tflite

Rng = np.random.Generator
Write = Callable[[Rng, int], bytes]
WEIGHTS = 6000  # bytes a model, so that hundreds fit into the flash of an emulated board
PRODUCTS = 120_000  # of an inference, roughly


@dataclass(frozen=True)
class Family:
    """Models of one kind."""

    write: Write
    cases: int
    seed: int


def scale(rng: Rng, low: float = 0.003, high: float = 0.2) -> float:
    """A float32 scale."""
    return float(np.float32(np.exp(rng.uniform(np.log(low), np.log(high)))))


def zero_point(rng: Rng) -> int:
    """Both ends of the range as often as its inside."""
    return int(rng.choice([-128, 127, int(rng.integers(-127, 127))]))


def activation_of(rng: Rng, shape: Sequence[int], clamped: bool = False) -> T:
    """An int8 activation; behind a ReLU mostly one of which something is left."""
    zero = zero_point(rng)
    if clamped and rng.random() < 0.8:
        zero = int(rng.choice([-128, rng.integers(-128, 0)]))
    return T(shape, [scale(rng)], zero)


def even_scales(rng: Rng, *tensors: T) -> None:
    """Now and then powers of two: products then lie just between two values, and the roundings' ties show."""
    if rng.random() < 0.2:
        for tensor in tensors:
            tensor.scales = [float(2.0 ** np.round(np.log2(scale))) for scale in tensor.scales]


def size(rng: Rng, most: int) -> int:
    """Small numbers as often as large ones."""
    return int(rng.integers(1, 1 + int(rng.choice([3, min(9, most), most]))))


def stride_padding(rng: Rng, activation: int) -> dict[str, Any]:
    """Options that convolutions and pools share; padding 0 same, 1 valid."""
    strides = {"StrideH": int(rng.integers(1, 4)), "StrideW": int(rng.integers(1, 4))}
    return {**strides, "Padding": int(rng.integers(0, 2)), "FusedActivationFunction": activation}


def out_size(length: int, kernel: int, stride: int, padding: int) -> int:
    """TFLite's own rule, written down once more."""
    return (length + stride - 1) // stride if padding == 0 else (length + stride - kernel) // stride


def windows_of(shape: Sequence[int], kernel: Sequence[int], options: dict[str, Any]) -> tuple[int, int]:
    """Height and width of what a window leaves."""
    h = out_size(shape[1], kernel[0], options["StrideH"], options["Padding"])
    return h, out_size(shape[2], kernel[1], options["StrideW"], options["Padding"])


def image(rng: Rng, kernel: Sequence[int], channels: int, padding: int = 1, more: int = 7) -> tuple[int, int, int, int]:
    """A shape that the kernel fits into; with padding "same" it may be smaller than the kernel."""
    low = [k if padding else int(rng.integers(1, k + 1)) for k in kernel]
    h, w = (int(rng.integers(n, n + more)) for n in low)
    return 1, h, w, channels


def weights_of(rng: Rng, shape: Sequence[int], axis: int = 0) -> np.ndarray:
    """Anything, or pruned (single weights, fours of them, whole filters), or at the ends of the range."""
    weights = rng.integers(-127, 128, shape)
    kind = rng.choice(["any", "pruned", "fours", "filters", "same", "ends"], p=[0.4, 0.22, 0.1, 0.08, 0.1, 0.1])
    if kind in ("pruned", "fours", "filters"):
        zeros = rng.choice([0.4, 0.6, 0.6, 0.8, 0.97])
        channels = np.moveaxis(weights, axis, 0)  # a view
        run = {"pruned": 1, "fours": 4, "filters": 1 << 20}[str(kind)]
        taps = channels[0].size
        gone = np.repeat(rng.random((len(channels), -(-taps // run))) < zeros, run, axis=1)[:, :taps]
        channels[gone.reshape(channels.shape)] = 0
    elif kind == "same":
        weights[:] = rng.choice([-128, -127, 127])
    elif kind == "ends":
        weights = rng.choice([-128, -127, 0, 127], shape)
    return weights


def biases(rng: Rng, x: T, rows: np.ndarray, spread: float) -> np.ndarray:
    """One for each row of weights: most bring the sums of random inputs near to zero, some are huge."""
    bias = rng.integers(-int(spread), int(spread) + 1, len(rows)) * int(rng.choice([0, 1, 2]))
    if rng.random() < 0.7:
        bias += x.zero_point * rows.sum(axis=1)
    if rng.random() < 0.2:
        huge = rng.integers(-(2**30), 2**30, len(rows)) >> int(rng.integers(0, 3))
        bias = np.where(rng.random(len(rows)) < 0.3, huge, bias)
    return bias


def weighted_tensors(rng: Rng, builtin: str, x: T, shape: Sequence[int], out: Sequence[int], clamped: bool) -> list[T]:
    """Weights, bias (or none) and output, per tensor or per channel; outputs saturate or hardly move now and then.

    Some scales ask for a shift to the left, some multipliers vanish, some accumulators are too large for the kernels'
    fast requantisation.
    """
    channels, axis = out[-1], 3 if builtin == "DEPTHWISE_CONV_2D" else 0
    per_channel = rng.random() < (0.5 if builtin == "FULLY_CONNECTED" else 0.8)
    ends = (1e-9, 0.5) if rng.random() < 0.08 else (0.001, 0.05) if rng.random() < 0.3 else (0.005, 0.02)
    scales = [scale(rng, *ends) for _ in range(channels if per_channel else 1)]
    weights = weights_of(rng, shape, axis)
    rows = np.moveaxis(weights, axis, 0).reshape(channels, -1)
    spread = 1 + 74 * float(np.sqrt((rows**2).sum(axis=1).max()))  # of an accumulator
    steps = rng.choice([1, 20, 60, 127, 2000, 30000], p=[0.03, 0.17, 0.3, 0.36, 0.08, 0.06])
    y = activation_of(rng, out, clamped)
    y.scales = [float(np.float32(x.scales[0] * np.mean(scales) * spread / steps))]
    tensors = [T(shape, scales, 0, weights, axis=axis)]
    even_scales(rng, x, tensors[0], y)
    if builtin == "CONV_2D" or rng.random() < 0.8:  # the reference's CONV_2D must have a bias
        bias = biases(rng, x, rows, spread)
        tensors.append(T([channels], [x.scales[0] * s for s in tensors[0].scales], 0, bias, "int32"))
    return [*tensors, y]


def weighted(rng: Rng, builtin: str, x: T, shape: Sequence[int], out: Sequence[int], options: dict[str, Any]) -> bytes:
    """A model of one operator with random weights."""
    clamped = options["FusedActivationFunction"] != 0
    tensors = [x, *weighted_tensors(rng, builtin, x, shape, out, clamped)]
    last = len(tensors) - 1
    operands = [0, 1, 2] if last == 3 else [0, 1, -1] if builtin == "FULLY_CONNECTED" and rng.random() < 0.5 else [0, 1]
    return write_tflite(tensors, [Op(builtin, operands, [last], options)], [0], [last])


def kernel_of(rng: Rng, case: int) -> tuple[int, int]:
    """1x1, 3x3, and any other up to 7."""
    if case % 4 < 2:
        return ((1, 1), (3, 3))[case % 4]
    h, w = (int(v) for v in rng.integers(1, 8, 2))
    return h, w


def conv2d(rng: Rng, case: int) -> bytes:
    """CONV_2D: 1x1 and larger kernels, few and many channels, one pixel and many."""
    kernel = kernel_of(rng, case)
    options = stride_padding(rng, activation=(0, 1, 3)[case % 3])
    depth = min(size(rng, 70), WEIGHTS // (kernel[0] * kernel[1]))
    filters = max(1, min(size(rng, 70), WEIGHTS // (kernel[0] * kernel[1] * depth)))
    weights = filters * depth * kernel[0] * kernel[1]
    shape = image(rng, kernel, depth, options["Padding"], more=9 if weights < PRODUCTS // 100 else 3)
    if case % 10 == 0:
        shape = (1, *kernel, depth)  # one pixel
    h, w = windows_of(shape, kernel, options)
    options |= {"DilationHFactor": 1, "DilationWFactor": 1}
    out = (1, h, w, filters)
    return weighted(rng, "CONV_2D", activation_of(rng, shape), (filters, *kernel, depth), out, options)


def depthwise_conv2d(rng: Rng, case: int) -> bytes:
    """DEPTHWISE_CONV_2D: 3x3 and any other kernel, depth multipliers, planes that go through scratch band by band."""
    kernel = (3, 3) if case % 2 == 0 else kernel_of(rng, case)
    options = stride_padding(rng, activation=(0, 1, 3)[case % 3])
    if rng.random() < 0.8:
        options["StrideW"] = options["StrideH"]
    depth, fan_out = size(rng, 70), 1 if case % 3 else int(rng.integers(1, 6))
    depth = max(1, min(depth, WEIGHTS // (kernel[0] * kernel[1] * fan_out)))
    shape = image(rng, kernel, depth, options["Padding"])
    if case % 3 == 1:
        shape = (1, int(rng.integers(10, 60)), int(rng.integers(10, 60)), min(depth, 3))
    h, w = windows_of(shape, kernel, options)
    options |= {"DepthMultiplier": fan_out, "DilationHFactor": 1, "DilationWFactor": 1}
    out = (1, h, w, shape[3] * fan_out)
    return weighted(rng, "DEPTHWISE_CONV_2D", activation_of(rng, shape), (1, *kernel, out[3]), out, options)


def dense(rng: Rng, case: int) -> bytes:
    """FULLY_CONNECTED: short vectors, and long ones, of which partial sums would leave 32 bits."""
    inputs, outputs = int(rng.integers(1, 70)), int(rng.integers(1, 40))
    if case % 5 == 0:
        inputs, outputs = int(rng.integers(400, 1700)), int(rng.integers(1, 7))
    options = {"FusedActivationFunction": (0, 1, 3)[case % 3]}
    x = activation_of(rng, (1, inputs))
    return weighted(rng, "FULLY_CONNECTED", x, (outputs, inputs), (1, outputs), options)


def _pool(builtin: str) -> Write:
    def write(rng: Rng, case: int) -> bytes:
        kernel = kernel_of(rng, case)
        options = stride_padding(rng, activation=(0, 1, 3)[case % 3])
        shape = image(rng, kernel, size(rng, 40), options["Padding"])
        options |= {"FilterHeight": kernel[0], "FilterWidth": kernel[1]}
        x = activation_of(rng, shape, clamped=case % 3 > 0)
        y = T((1, *windows_of(shape, kernel, options), shape[3]), x.scales, x.zero_point)
        return write_tflite([x, y], [Op(builtin, [0], [1], options)], [0], [1])

    return write


AXES = [(4, (1, 2)), (4, (2, 1)), (4, (1,)), (4, (2,)), (4, (3,)), (4, (-1, -2)), (3, (1,)), (3, (2,)), (2, (1,))]
AXES += [(4, (1, 2, 3)), (4, (2, 3)), (3, (-2, -1))]


def mean(rng: Rng, case: int) -> bytes:
    """MEAN over height and width, one of them, the channels, time, and all."""
    rank, axes = AXES[case % len(AXES)]
    keep = bool(case % 2)
    shape = (1, *(size(rng, 20) for _ in range(rank - 1)))
    reduced = {a % rank for a in axes}
    out = [1 if i in reduced else n for i, n in enumerate(shape) if keep or i not in reduced]
    x = activation_of(rng, shape)
    y = T(out, [x.scales[0] if case % 5 == 0 else x.scales[0] * rng.uniform(0.05, 3)], zero_point(rng))
    if case % 3:
        y.zero_point = x.zero_point
    even_scales(rng, x, y)
    tensors = [x, T([len(axes)], [1.0], 0, axes, "int32"), y]
    return write_tflite(tensors, [Op("MEAN", [0, 1], [2], {"KeepDims": keep})], [0], [2])


def add(rng: Rng, case: int) -> bytes:
    """ADD: x + quantize(x), so that the operands differ in scale and zero point, and x + x."""
    shape = (1, *(size(rng, 12) for _ in range(3)))
    tensors = [activation_of(rng, shape, clamped=case % 3 > 0) for _ in range(3)]
    options = {"FusedActivationFunction": (0, 1, 3)[case % 3]}
    even_scales(rng, *tensors)
    if rng.random() < 0.7:
        tensors[1].zero_point = tensors[2].zero_point = tensors[0].zero_point
    if case % 4 == 0:
        return write_tflite([tensors[0], tensors[2]], [Op("ADD", [0, 0], [1], options)], [0], [1])
    ops = [Op("QUANTIZE", [0], [1]), Op("ADD", [1, 0] if case % 2 else [0, 1], [2], options)]
    return write_tflite(tensors, ops, [0], [2])


def reshape(rng: Rng, case: int) -> bytes:
    """RESHAPE with the shape as a tensor and as an option, EXPAND_DIMS, SQUEEZE: alone and before a QUANTIZE."""
    h, w, c = (size(rng, 7) for _ in range(3))
    flat = (1, h * w * c)
    ops = [
        (Op("RESHAPE", [0, 3], [1]), (1, h, w, c), flat, flat),
        (Op("RESHAPE", [0], [1], {"NewShape": flat}), (1, h, w, c), flat, ()),
        (Op("EXPAND_DIMS", [0, 3], [1]), (1, h, w), (1, h, 1, w), (2,)),
        (Op("SQUEEZE", [0], [1], {"SqueezeDims": (1,)}), (1, 1, w, c), (1, w, c), ()),
    ]
    op, before, after, constant = ops[case % 4]
    x, y = activation_of(rng, before), activation_of(rng, after)
    tensors = [x, T(after, x.scales, x.zero_point), y]
    if constant:
        tensors.append(T([len(constant)], [1.0], 0, constant, "int32"))
    if case % 8 < 4:
        return write_tflite(tensors, [op], [0], [1])
    return write_tflite(tensors, [op, Op("QUANTIZE", [1], [2])], [0], [2])


def softmax(rng: Rng, case: int) -> bytes:
    """SOFTMAX from flat to one-hot."""
    classes = (511, 2, 1)[case] if case < 3 else int(rng.integers(2, 40))
    shape = (1, classes) if case % 3 else (1, int(rng.integers(1, 5)), classes)
    tensors = [T(shape, [scale(rng, 0.0005, 3.0)], zero_point(rng)), T(shape, [1 / 256], -128)]
    beta = 1.0 if case % 2 else float(rng.uniform(0.2, 3))
    return write_tflite(tensors, [Op("SOFTMAX", [0], [1], {"Beta": beta})], [0], [1])


def pad(rng: Rng, case: int) -> bytes:
    """PAD on any side, of up to three dimensions."""
    rank = (4, 4, 3, 2)[case % 4]
    shape = (1, *(size(rng, 9) for _ in range(rank - 1)))
    pairs = [(0, 0), *(tuple(int(v) for v in rng.integers(0, 5, 2)) for _ in shape[1:])]
    out = [n + a + b for n, (a, b) in zip(shape, pairs, strict=True)]
    x = activation_of(rng, shape)
    tensors = [x, T((rank, 2), [1.0], 0, pairs, "int32"), T(out, x.scales, x.zero_point)]
    return write_tflite(tensors, [Op("PAD", [0, 1], [2])], [0], [2])


def quantize(rng: Rng, case: int) -> bytes:
    """QUANTIZE int8 to int8, of scales that are equal, near and far from each other."""
    shape = (1, int(rng.integers(1, 300)))
    tensors = [activation_of(rng, shape), activation_of(rng, shape)]
    if case % 6 == 0:
        tensors[1].scales = tensors[0].scales
    if case % 6 == 1:
        tensors[1].scales = [scale(rng, 1e-6, 10)]
    even_scales(rng, *tensors)
    return write_tflite(tensors, [Op("QUANTIZE", [0], [1])], [0], [1])


FAMILIES = {
    "conv2d": Family(conv2d, 180, 1),
    "depthwise_conv2d": Family(depthwise_conv2d, 150, 2),
    "dense": Family(dense, 100, 3),
    "average_pool": Family(_pool("AVERAGE_POOL_2D"), 48, 4),
    "max_pool": Family(_pool("MAX_POOL_2D"), 40, 5),
    "mean": Family(mean, 60, 6),
    "add": Family(add, 60, 7),
    "quantize": Family(quantize, 48, 8),
    "pad": Family(pad, 40, 9),
    "softmax": Family(softmax, 48, 10),
    "reshape": Family(reshape, 16, 11),
}

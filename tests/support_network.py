"""Random small networks, which ask for all that the arena's planner can do.

In place, an expanding 1x1 over its input, residual adds, branches, scratch next to activations, aliases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from support_layers import Rng, activation_of, stride_padding, windows_of
from support_tflite import Op, T, write_tflite

CHANNELS = (1, 2, 3, 4, 5, 8, 12, 16, 24)
SIDE = 14
VALUES = 4000  # of an activation


@dataclass
class Net:
    """A model that grows; places are indices of tensors."""

    rng: Rng
    tensors: list[T] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)

    def put(self, tensor: T) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def apply(self, builtin: str, inputs: Sequence[int], out: T, options: dict[str, Any] | None = None) -> int:
        self.ops.append(Op(builtin, inputs, [self.put(out)], options or {}))
        return self.ops[-1].outputs[0]

    def weighted(self, builtin: str, x: int, shape: Sequence[int], out: Sequence[int], options: dict[str, Any]) -> int:
        """Outputs that use their range: whatever goes wrong shall reach the end."""
        axis = 3 if builtin == "DEPTHWISE_CONV_2D" else 0
        channels, x_scale = out[-1], self.tensors[x].scales[0]
        y = activation_of(self.rng, out)
        y.zero_point = int(self.rng.choice([-128, self.rng.integers(-128, 1)]))
        values = self.rng.integers(-127, 128, shape) * (self.rng.random(shape) < self.rng.choice([0.4, 1, 1]))
        rows = np.moveaxis(values, axis, 0).reshape(channels, -1)
        spread = 1 + 74 * float(np.sqrt((rows**2).sum(axis=1).max()))
        usual = y.scales[0] * 120 / (x_scale * spread)
        scales = list(np.float32(usual * self.rng.uniform(0.5, 1.5, channels if self.rng.random() < 0.7 else 1)))
        weights = self.put(T(shape, scales, 0, values, axis=axis))
        bias = self.rng.integers(-int(spread), int(spread) + 1, channels) // 2
        bias_at = self.put(T([channels], [x_scale * float(s) for s in scales], 0, bias, "int32"))
        return self.apply(builtin, [x, weights, bias_at], y, options)

    def same(self, x: int, shape: Sequence[int]) -> T:
        """An activation with another shape, quantised as x."""
        return T(shape, self.tensors[x].scales, self.tensors[x].zero_point)


def window_options(net: Net, kernel: Sequence[int], shape: Sequence[int], same: bool = False) -> dict[str, Any]:
    """Strides and padding that leave something; `same`: of the input's size."""
    options = stride_padding(net.rng, activation=int(net.rng.choice([0, 1, 3])))
    if same or min(n - k for n, k in zip(shape[1:3], kernel, strict=True)) < 0:
        options["Padding"] = 0
    if same or net.rng.random() < 0.6:
        options["StrideH"] = options["StrideW"] = 1
    return options


def kernel_of(net: Net) -> tuple[int, int]:
    h, w = ((3, 3) if net.rng.random() < 0.5 else tuple(int(v) for v in net.rng.integers(1, 6, 2)))[:2]
    return h, w


def conv(net: Net, x: int, kernel: tuple[int, int] | None = None, channels: int = 0) -> int:
    shape = net.tensors[x].shape
    same, kernel = kernel is not None, kernel or kernel_of(net)
    options = window_options(net, kernel, shape, same)
    h, w = windows_of(shape, kernel, options)
    most = max(1, VALUES // (h * w))
    channels = channels or min(most, int(net.rng.choice(CHANNELS)))
    options |= {"DilationHFactor": 1, "DilationWFactor": 1}
    return net.weighted("CONV_2D", x, (channels, *kernel, shape[3]), (1, h, w, channels), options)


def expand(net: Net, x: int) -> int:
    """1x1 to more channels."""
    _, h, w, c = net.tensors[x].shape
    return conv(net, x, (1, 1), min(6 * c, max(1, VALUES // (h * w))))


def depthwise(net: Net, x: int, same: bool = False) -> int:
    shape, kernel = net.tensors[x].shape, kernel_of(net)
    options = window_options(net, kernel, shape, same)
    h, w = windows_of(shape, kernel, options)
    fan_out = 2 if not same and net.rng.random() < 0.2 and 2 * shape[3] * h * w < VALUES else 1
    options |= {"DepthMultiplier": fan_out, "DilationHFactor": 1, "DilationWFactor": 1}
    c = shape[3] * fan_out
    return net.weighted("DEPTHWISE_CONV_2D", x, (1, *kernel, c), (1, h, w, c), options)


def pool(net: Net, x: int) -> int:
    shape, kernel = net.tensors[x].shape, kernel_of(net)
    options = window_options(net, kernel, shape) | {"FilterHeight": kernel[0], "FilterWidth": kernel[1]}
    options["FusedActivationFunction"] = 0
    builtin = str(net.rng.choice(["AVERAGE_POOL_2D", "MAX_POOL_2D"]))
    return net.apply(builtin, [x], net.same(x, (1, *windows_of(shape, kernel, options), shape[3])), options)


def pad(net: Net, x: int) -> int:
    shape = net.tensors[x].shape
    if max(shape[1:3]) > SIDE or int(np.prod(shape)) > VALUES // 3:
        return quantize(net, x)
    pairs = [(0, 0), *([int(v) for v in net.rng.integers(0, 3, 2)] for _ in range(2)), (0, 0)]
    at = net.put(T((4, 2), [1.0], 0, pairs, "int32"))
    out = [n + a + b for n, (a, b) in zip(shape, pairs, strict=True)]
    return net.apply("PAD", [x, at], net.same(x, out))


def quantize(net: Net, x: int) -> int:
    out = net.same(x, net.tensors[x].shape)
    out.scales = [out.scales[0] * net.rng.uniform(0.7, 1.5)]
    out.zero_point = int(np.clip(out.zero_point + net.rng.integers(-30, 31), -128, 127))
    return net.apply("QUANTIZE", [x], out)


def join(net: Net, a: int, b: int) -> int:
    out = net.same(a, net.tensors[a].shape)
    out.scales = [float(out.scales[0] + net.tensors[b].scales[0])]
    return net.apply("ADD", [a, b], out, {"FusedActivationFunction": int(net.rng.choice([0, 0, 1]))})


def residual(net: Net, x: int) -> int:
    """x + f(x), where f is a bottleneck, a depthwise convolution or both."""
    y = x
    if net.rng.random() < 0.7:
        y = expand(net, y)
    if net.rng.random() < 0.7 or y == x:
        y = depthwise(net, y, same=True)
    if net.tensors[y].shape[3] != net.tensors[x].shape[3]:
        y = conv(net, y, (1, 1), net.tensors[x].shape[3])
    return join(net, *((x, y) if net.rng.random() < 0.5 else (y, x)))


def branches(net: Net, x: int) -> int:
    """Two ways from x that meet again."""
    a, b = conv(net, x, (1, 1)), conv(net, x, (3, 3))
    if net.tensors[a].shape != net.tensors[b].shape:
        b = conv(net, b, (1, 1), net.tensors[a].shape[3])
    return join(net, pool_same(net, a), b)


def pool_same(net: Net, x: int) -> int:
    options = {"StrideH": 1, "StrideW": 1, "Padding": 0, "FusedActivationFunction": 0}
    options |= {"FilterHeight": 3, "FilterWidth": 2}
    return net.apply("MAX_POOL_2D", [x], net.same(x, net.tensors[x].shape), options)


def classifier(net: Net, x: int) -> int:
    """A flattened or averaged image, dense layers, softmax."""
    shape = net.tensors[x].shape
    if net.rng.random() < 0.5 or int(np.prod(shape)) > 600:
        at = net.put(T([2], [1.0], 0, (1, 2), "int32"))
        x = net.apply("MEAN", [x, at], net.same(x, (1, shape[3])), {"KeepDims": False})
    else:
        flat = (1, int(np.prod(shape)))
        x = net.apply("RESHAPE", [x], net.same(x, flat), {"NewShape": flat})
    for _ in range(int(net.rng.integers(1, 3))):
        outputs = int(net.rng.integers(2, 14))
        options = {"FusedActivationFunction": int(net.rng.choice([0, 1]))}
        x = net.weighted("FULLY_CONNECTED", x, (outputs, net.tensors[x].shape[1]), (1, outputs), options)
    if net.rng.random() < 0.4:
        x = net.apply("SOFTMAX", [x], T(net.tensors[x].shape, [1 / 256], -128), {"Beta": 1.0})
    return x


def network(rng: Rng, case: int) -> bytes:
    """Two to six parts, and a classifier behind two of three."""
    net = Net(rng)
    shape = (1, *(int(v) for v in rng.integers(4, SIDE, 2)), int(rng.choice(CHANNELS[:6])))
    first = x = net.put(activation_of(rng, shape))
    parts = (conv, expand, depthwise, pool, pad, quantize, residual, residual, branches)
    for part in rng.choice(len(parts), int(rng.integers(2, 7))):
        x = parts[part](net, x)
    if case % 3:
        x = classifier(net, x)
    return write_tflite(net.tensors, net.ops, [first], [x])

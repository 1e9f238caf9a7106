"""Models of other shapes than the repo's: int8, random weights, after published nets and everyday ones.

    python tools/bench/zoo.py FOLDER      writes them as .tflite

tools/bench/performance.py measures them; tests/emulated/test_zoo.py holds them below the peer's estimate.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]

from support_tflite import Op, T, write_tflite  # noqa: E402

SAME, VALID = 0, 1
NONE, RELU, RELU6 = 0, 1, 3
TYPICAL_INPUT, TYPICAL_WEIGHT = 60, 40  # root mean squares, of values as they are stored
UNDILATED = {"DilationHFactor": 1, "DilationWFactor": 1}
Size = int | tuple[int, int]


def pair(size: Size) -> tuple[int, int]:
    """Height and width."""
    return (size, size) if isinstance(size, int) else size


class Net:
    """A model that grows layer by layer from ``at``, the latest activation. Scales keep values inside int8."""

    def __init__(self, shape: Sequence[int], seed: int, zero_point: int = -128, per_channel: bool = True) -> None:
        self.rng = np.random.default_rng(seed)
        self.per_channel = per_channel
        self.zero_point = zero_point  # of activations behind a ReLU
        self.tensors = [T((1, *shape), [0.02], -5)]
        self.ops: list[Op] = []
        self.at = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the latest activation."""
        return tuple(self.tensors[self.at].shape)

    def conv(self, filters: int, kernel: Size, stride: Size = 1, padding: int = SAME, act: int = RELU) -> Net:
        """CONV_2D."""
        depth = self.shape[3]
        options = self._window(kernel, stride, padding, act) | UNDILATED
        taps = (*pair(kernel), depth)
        return self._weighted("CONV_2D", (filters, *taps), 0, (*self._out(kernel, stride, padding), filters), options)

    def depthwise(self, kernel: Size, stride: Size = 1, times: int = 1, padding: int = SAME, act: int = RELU) -> Net:
        """DEPTHWISE_CONV_2D."""
        channels = self.shape[3] * times
        options = self._window(kernel, stride, padding, act) | UNDILATED | {"DepthMultiplier": times}
        out = (*self._out(kernel, stride, padding), channels)
        return self._weighted("DEPTHWISE_CONV_2D", (1, *pair(kernel), channels), 3, out, options)

    def dense(self, outputs: int, act: int = RELU) -> Net:
        """FULLY_CONNECTED on the flattened activation."""
        if len(self.shape) > 2:
            self.flatten()
        shape = (outputs, self.shape[1])
        return self._weighted("FULLY_CONNECTED", shape, 0, (outputs,), {"FusedActivationFunction": act})

    def pool(self, kind: str, kernel: Size, stride: Size | None = None, padding: int = VALID) -> Net:
        """MAX_POOL_2D or AVERAGE_POOL_2D."""
        stride = kernel if stride is None else stride
        height, width = pair(kernel)
        options = self._window(kernel, stride, padding, NONE) | {"FilterHeight": height, "FilterWidth": width}
        return self._append(kind, [], (*self._out(kernel, stride, padding), self.shape[3]), self._same(), options)

    def mean(self) -> Net:
        """MEAN over height and width."""
        axes = self._constant((2,), [1, 2])
        return self._append("MEAN", [axes], (self.shape[3],), (self._scale(), self.zero_point), {"KeepDims": False})

    def add(self, other: int, act: int = RELU) -> Net:
        """ADD of an earlier activation."""
        scale = 1.4 * max(self._scale(), float(self.tensors[other].scales[0]))
        quantisation = (scale, self.zero_point if act else 3)
        return self._append("ADD", [other], self.shape[1:], quantisation, {"FusedActivationFunction": act})

    def pad(self, before: Size, after: Size) -> Net:
        """PAD of height and width."""
        pairs = [(0, 0), *zip(pair(before), pair(after), strict=True), (0, 0)]
        constant = self._constant((4, 2), pairs)
        sizes = [n + sum(p) for n, p in zip(self.shape[1:], pairs[1:], strict=True)]
        return self._append("PAD", [constant], sizes, self._same(), {})

    def flatten(self) -> Net:
        """RESHAPE to a vector."""
        size = int(np.prod(self.shape))
        return self._append("RESHAPE", [], (size,), self._same(), {"NewShape": (1, size)})

    def softmax(self) -> Net:
        """SOFTMAX."""
        return self._append("SOFTMAX", [], self.shape[1:], (1 / 256, -128), {"Beta": 1.0})

    def requantize(self, scale: float, zero_point: int) -> Net:
        """QUANTIZE to another scale."""
        return self._append("QUANTIZE", [], self.shape[1:], (scale, zero_point), {})

    def bytes(self) -> bytes:
        """The .tflite."""
        return write_tflite(self.tensors, self.ops, [0], [self.at])

    def _scale(self) -> float:
        return float(self.tensors[self.at].scales[0])

    def _same(self) -> tuple[float, int]:
        return self._scale(), self.tensors[self.at].zero_point

    def _out(self, kernel: Size, stride: Size, padding: int) -> tuple[int, int]:
        sizes = zip(self.shape[1:3], pair(kernel), pair(stride), strict=True)
        height, width = ((n + s - 1) // s if padding == SAME else (n - k) // s + 1 for n, k, s in sizes)
        return height, width

    def _window(self, kernel: Size, stride: Size, padding: int, act: int) -> dict[str, Any]:
        height, width = pair(stride)
        return {"StrideH": height, "StrideW": width, "Padding": padding, "FusedActivationFunction": act}

    def _constant(self, shape: Sequence[int], data: Any) -> int:
        self.tensors.append(T(shape, [1.0], 0, data, "int32"))
        return len(self.tensors) - 1

    def _weighted(self, builtin: str, shape: tuple[int, ...], axis: int, out: Sequence[int], options: Any) -> Net:
        channels, act = shape[axis], options["FusedActivationFunction"]
        split = self.per_channel and builtin != "FULLY_CONNECTED"
        taps = np.prod(shape) / channels
        out_scale = 6 / 255 if act == RELU6 else self.rng.uniform(0.015, 0.04)  # the range that ReLU6 leaves is full
        gain = (90 if act else 50) * out_scale / (self._scale() * TYPICAL_INPUT * TYPICAL_WEIGHT * np.sqrt(taps))
        scales = [float(s) for s in np.float32(gain * self.rng.uniform(0.6, 1.5, channels if split else 1))]
        weights = np.clip(np.round(self.rng.normal(0, TYPICAL_WEIGHT, shape)), -127, 127).astype(int)
        bias = self.rng.integers(-2000, 2000, channels)
        self.tensors.append(T(shape, scales, 0, weights, axis=axis))
        self.tensors.append(T((channels,), [self._scale() * s for s in scales], 0, bias, "int32"))
        operands = [len(self.tensors) - 2, len(self.tensors) - 1]
        return self._append(builtin, operands, out, (out_scale, self.zero_point if act else 3), options)

    def _append(self, builtin: str, more: list[int], out: Sequence[int], quantisation: Any, options: Any) -> Net:
        scale, zero_point = quantisation
        self.tensors.append(T((1, *out), [float(np.float32(scale))], zero_point))
        self.ops.append(Op(builtin, [self.at, *more], [len(self.tensors) - 1], options))
        self.at = len(self.tensors) - 1
        return self


def resnet8() -> Net:
    """Image classification as in MLPerf Tiny: 32x32x3, three stages with shortcuts."""
    net = Net((32, 32, 3), 1).conv(16, 3)
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        entry = net.at
        net.conv(filters, 3, stride).conv(filters, 3, act=NONE)
        trunk = net.at
        if stride > 1:
            net.at = entry
            net.conv(filters, 1, stride, act=NONE)
            net.add(trunk)
        else:
            net.add(entry)
    return net.pool("AVERAGE_POOL_2D", 8).dense(10, NONE).softmax()


def mobilenet_v1() -> Net:
    """Visual wake words as in MLPerf Tiny: width 0.25 on 96x96x3."""
    net = Net((96, 96, 3), 2).conv(8, 3, 2)
    blocks = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1)]
    for filters, stride in blocks:
        net.depthwise(3, stride).conv(filters, 1)
    return net.pool("AVERAGE_POOL_2D", 3).dense(2, NONE).softmax()


def mobilenet_v2() -> Net:
    """Inverted residuals on 48x48x1 with ReLU6, MEAN at the end."""
    net = Net((48, 48, 1), 3).conv(16, 3, 2, act=RELU6).depthwise(3, act=RELU6).conv(8, 1, act=NONE)
    for filters, stride in ((16, 2), (16, 1), (24, 2), (24, 1)):
        entry, depth = net.at, net.shape[3]
        net.conv(6 * depth, 1, act=RELU6).depthwise(3, stride, act=RELU6).conv(filters, 1, act=NONE)
        if stride == 1:
            net.add(entry, NONE)
    return net.conv(64, 1, act=RELU6).mean().dense(5, NONE).softmax()


def lenet() -> Net:
    """28x28x1: 5x5 kernels, max pools, three dense layers."""
    net = Net((28, 28, 1), 4).conv(6, 5).pool("MAX_POOL_2D", 2).conv(16, 5, padding=VALID).pool("MAX_POOL_2D", 2)
    return net.dense(120).dense(84).dense(10, NONE).softmax()


def imu() -> Net:
    """Three axes at 1 x 128: kernels 1 x 9, 1 x 5, max pools along time."""
    net = Net((1, 128, 3), 5).conv(16, (1, 9)).pool("MAX_POOL_2D", (1, 2)).conv(32, (1, 5)).pool("MAX_POOL_2D", (1, 2))
    return net.conv(32, (1, 3)).mean().dense(6, NONE).softmax()


def ecg() -> Net:
    """One lead, 187 x 1: kernels k x 1 with residuals, activations with a zero point inside the range."""
    net = Net((187, 1, 1), 6, zero_point=-17).conv(16, (7, 1), (2, 1))
    for _ in range(2):
        entry = net.at
        net.conv(16, (5, 1)).conv(16, (5, 1), act=NONE).add(entry).pool("MAX_POOL_2D", (2, 1))
    return net.dense(32).dense(5, NONE).softmax()


def mlp_small() -> Net:
    """64-32-10."""
    return Net((64,), 7).dense(32).dense(10, NONE).softmax()


def mlp_wide() -> Net:
    """561-128-64-6, one weight scale a layer."""
    return Net((561,), 8, per_channel=False).dense(128).dense(64).dense(6, NONE).softmax()


def mlp_regression() -> Net:
    """9-50-50-3 without softmax: rows that are no multiple of four."""
    return Net((9,), 9).dense(50).dense(50).dense(3, NONE)


def tiny_conv() -> Net:
    """49x40x1 speech: one depthwise 10x8 with multiplier 8 and stride 2, one dense layer."""
    return Net((49, 40, 1), 10).depthwise((10, 8), 2, times=8).dense(4, NONE).softmax()


def wide_kernels() -> Net:
    """64x64x2: 7x7 and 5x5 with stride 2, a large average pool."""
    net = Net((64, 64, 2), 11).conv(12, 7, 2).conv(24, 5, 2).depthwise(5, 1).conv(32, 1)
    return net.pool("AVERAGE_POOL_2D", 16).dense(4, NONE).softmax()


def padded() -> Net:
    """40x40x3: explicit PAD before valid convolutions, average pools that overlap, no activation in between."""
    net = Net((40, 40, 3), 12).pad(0, 1).conv(8, 3, 2, VALID, NONE).pad(1, 1).conv(16, 3, 1, VALID, NONE)
    net.pool("AVERAGE_POOL_2D", 3, 2, SAME).requantize(0.3, 11).pad(1, 1).conv(24, 3, 2, VALID)
    return net.pool("MAX_POOL_2D", 3, 1, SAME).mean().dense(7, NONE).softmax()


def separable_1d() -> Net:
    """100x6 vibration: depthwise k x 1 and 1x1, no padding, zero point 0."""
    net = Net((100, 1, 6), 13, zero_point=0).depthwise((5, 1), padding=VALID, times=2).conv(24, 1)
    net.depthwise((5, 1), (2, 2), padding=VALID).conv(32, 1).depthwise((3, 1), padding=VALID).conv(40, 1)
    return net.pool("AVERAGE_POOL_2D", (22, 1)).dense(8, NONE).softmax()


def fully_conv() -> Net:
    """24x32x3 segmentation of a heat map: 3x3 convolutions of 8 to 20 channels, a softmax for each pixel."""
    net = Net((24, 32, 3), 14).conv(10, 3).conv(14, 3, 2).conv(20, 3).conv(20, 1).conv(3, 1, act=NONE)
    return net.softmax()


ZOO: dict[str, Callable[[], Net]] = {
    net.__name__: net
    for net in (
        resnet8,
        mobilenet_v1,
        mobilenet_v2,
        lenet,
        imu,
        ecg,
        mlp_small,
        mlp_wide,
        mlp_regression,
        tiny_conv,
        wide_kernels,
        padded,
        separable_1d,
        fully_conv,
    )
}


def write_zoo(folder: Path) -> dict[str, Path]:
    """All of them as files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.tflite" for name in ZOO}
    for name, path in paths.items():
        path.write_bytes(ZOO[name]().bytes())
    return paths


def main() -> int:
    """Writes the models."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    for path in write_zoo(parser.parse_args().folder).values():
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())

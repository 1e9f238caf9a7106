"""MEAN, three ways, over height and width, one of them, the channels, and time."""

from pathlib import Path

import numpy as np
from support_operator import assert_three_ways, scale, zero_point
from support_tflite import Op, T, write_tflite

AXES = [(4, (1, 2)), (4, (2, 1)), (4, (1,)), (4, (2,)), (4, (3,)), (4, (-1, -2)), (3, (1,)), (3, (2,))]


def write(rng: np.random.Generator, case: int) -> bytes:
    rank, axes = AXES[case % len(AXES)]
    keep = bool(case % 2)
    shape = (1, *(int(v) for v in rng.integers(1, 12, rank - 1)))
    reduced = {a % rank for a in axes}
    out = [1 if i in reduced else n for i, n in enumerate(shape) if keep or i not in reduced]
    in_scale = scale(rng)
    out_scale = in_scale if case % 5 == 0 else in_scale * rng.uniform(0.05, 3)
    tensors = [
        T(shape, [in_scale], zero_point(rng)),
        T([len(axes)], [1.0], 0, axes, "int32"),
        T(out, [out_scale], zero_point(rng)),
    ]
    return write_tflite(tensors, [Op("MEAN", [0, 1], [2], {"KeepDims": keep})], [0], [2])


def test_mean_is_bit_exact(tmp_path: Path) -> None:
    assert_three_ways(write, 48, tmp_path, seed=6)

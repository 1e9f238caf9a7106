"""DEPTHWISE_CONV_2D, three ways."""

from pathlib import Path

import numpy as np
import pytest
from support_operator import assert_three_ways
from support_tflite import Op, T, write_tflite

from tinyfl.compiler import compile_model
from tinyfl.errors import ModelError


@pytest.mark.slow
def test_depthwise_conv2d_is_bit_exact(tmp_path: Path) -> None:
    assert_three_ways("depthwise_conv2d", tmp_path)


def test_dilation_is_refused() -> None:
    tensors = [T((1, 5, 5, 2)), T((1, 3, 3, 2), [0.1], 0, np.ones((1, 3, 3, 2)), axis=3), T((1, 5, 5, 2))]
    options = {"StrideH": 1, "StrideW": 1, "DepthMultiplier": 1, "DilationHFactor": 1, "DilationWFactor": 2}
    with pytest.raises(ModelError, match="dilation 1x2 is not supported, only 1x1"):
        compile_model(write_tflite(tensors, [Op("DEPTHWISE_CONV_2D", [0, 1], [2], options)], [0], [2]), "m", None)

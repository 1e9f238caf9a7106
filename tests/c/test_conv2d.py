"""CONV_2D, three ways."""

from pathlib import Path

import pytest
from support_operator import assert_three_ways


@pytest.mark.slow
def test_conv2d_is_bit_exact(tmp_path: Path) -> None:
    assert_three_ways("conv2d", tmp_path)

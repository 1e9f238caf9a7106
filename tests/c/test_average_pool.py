"""AVERAGE_POOL_2D, three ways."""

from pathlib import Path

import pytest
from support_operator import assert_three_ways

pytestmark = pytest.mark.slow


def test_average_pool_is_bit_exact(tmp_path: Path) -> None:
    assert_three_ways("average_pool", tmp_path)

"""AVERAGE_POOL_2D, three ways."""

from pathlib import Path

from support_operator import assert_three_ways


def test_average_pool_is_bit_exact(tmp_path: Path) -> None:
    assert_three_ways("average_pool", tmp_path)

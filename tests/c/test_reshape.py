"""RESHAPE, EXPAND_DIMS and SQUEEZE, three ways."""

from pathlib import Path

from support_operator import assert_three_ways


def test_reshape_is_bit_exact(tmp_path: Path) -> None:
    assert_three_ways("reshape", tmp_path)

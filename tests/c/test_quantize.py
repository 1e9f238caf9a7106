"""QUANTIZE, three ways."""

from pathlib import Path

from support_operator import assert_three_ways


def test_quantize_is_bit_exact(tmp_path: Path) -> None:
    assert_three_ways("quantize", tmp_path)

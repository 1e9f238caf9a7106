"""MEAN, three ways."""

from pathlib import Path

import pytest
from support_operator import assert_three_ways

pytestmark = pytest.mark.slow


def test_mean_is_bit_exact(tmp_path: Path) -> None:
    assert_three_ways("mean", tmp_path)

"""MAX_POOL_2D, three ways."""

from pathlib import Path

import pytest
from support_operator import assert_three_ways


@pytest.mark.slow
def test_max_pool_is_bit_exact(tmp_path: Path) -> None:
    assert_three_ways("max_pool", tmp_path)

"""ADD, three ways."""

from pathlib import Path

import pytest
from support_operator import assert_three_ways


@pytest.mark.slow
def test_add_is_bit_exact(tmp_path: Path) -> None:
    assert_three_ways("add", tmp_path)

"""MAX_POOL_2D."""

from __future__ import annotations

from tinyfl.compiler.ops.pooling import check, fold, macs, read

__all__ = ["ACTIVATIONS", "BUILTIN", "CONSTANTS", "IN_PLACE", "check", "fold", "macs", "read"]

BUILTIN = "MAX_POOL_2D"
ACTIVATIONS = 1
CONSTANTS = 0
IN_PLACE = False

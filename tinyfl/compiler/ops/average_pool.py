"""AVERAGE_POOL_2D."""

from __future__ import annotations

from tinyfl.compiler.ops.pooling import check, fold, macs, overlap, read

__all__ = ["ACTIVATIONS", "BUILTIN", "CONSTANTS", "check", "fold", "macs", "overlap", "read"]

BUILTIN = "AVERAGE_POOL_2D"
ACTIVATIONS = 1
CONSTANTS = 0

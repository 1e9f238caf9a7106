"""How a backbone is trained and compiled: sections of a recipe, readable without TensorFlow or numpy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def number(default: float, least: float, most: float) -> Any:
    """A dataclass field with its legal range, both ends included; the recipe reader checks it."""
    return field(default=default, metadata={"least": least, "most": most})


def choice(*names: str) -> Any:
    """A dataclass field with its legal texts, the default first."""
    return field(default=names[0], metadata={"choices": names})


GOALS = ("speed", "size", "balanced")  # what flash and RAM are spent for


@dataclass(frozen=True)
class CompileSettings:
    """``[compile]``."""

    optimise: str = field(default="balanced", metadata={"choices": GOALS})
    adapter: int = number(0, 0, 256)  # features of a group of the layer that is trained before the head; 0: none


@dataclass(frozen=True)
class TrainSettings:
    """Fit, prune, quantise: the numbers of ``tinyfl train``."""

    seed: int = number(0, 0, 2**31 - 1)
    epochs: int = number(30, 1, 100_000)
    learning_rate: float = number(1e-3, 1e-9, 10.0)
    batch: int = number(32, 1, 65_536)
    sparsity: float = number(0.6, 0.0, 0.95)  # share of zeros in each pruned layer; 0 leaves pruning out
    prune_epochs: int = number(15, 1, 100_000)
    qat_epochs: int = number(10, 1, 100_000)
    qat_learning_rate: float = number(5e-4, 1e-9, 10.0)

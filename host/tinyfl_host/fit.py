"""Whether a model fits a board: what is known before the build, from model.json and the limits of platformio.ini."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinyfl.compiler.cost import table
from tinyfl.errors import CheckError
from tinyfl_host.boards import BoardSpec, boards


@dataclass(frozen=True)
class Region:
    """A memory of the board that the firmware does not fit."""

    name: str  # FLASH or RAM
    size: int
    excess: int


class FitError(CheckError):
    """The firmware does not fit the board: ``regions`` says where and by how much."""

    def __init__(self, message: str, hint: str, regions: tuple[Region, ...]) -> None:
        super().__init__(message, hint)
        self.regions = regions


def needs(manifest: dict[str, Any], spec: BoardSpec, app: str = "profile") -> dict[str, int]:
    """The least that an image takes by region: the model's part, and of the firmware what every one has.

    Error feedback's residual is not counted: a firmware can be built without.
    """
    firmware = table().get("firmware", {}).get(app, {})
    count = manifest["head"]["count"] if app == "node" and manifest["head"]["trainable"] else 0
    return {
        "flash": manifest["constants_bytes"] + 2 * count + int(firmware.get("flash", 0)),
        "ram": manifest["arena_bytes"] + 6 * count + (spec.stack or 0) + int(firmware.get("ram", 0)),
    }


def shortage(manifest: dict[str, Any], spec: BoardSpec, app: str = "profile") -> dict[str, int]:
    """Bytes by region that are missing in any case; the linker may find more."""
    limits = {"flash": spec.flash, "ram": spec.ram}
    least = needs(manifest, spec, app)
    return {name: least[name] - size for name, size in limits.items() if size is not None and least[name] > size}


def require_fit(manifest: dict[str, Any], spec: BoardSpec, app: str) -> None:
    """Raises FitError where it is certain that the image cannot fit."""
    missing = shortage(manifest, spec, app)
    if missing:
        sizes = {"flash": spec.flash or 0, "ram": spec.ram or 0}
        regions = tuple(Region(name.upper(), sizes[name], excess) for name, excess in missing.items())
        raise misfit(manifest, spec, app, regions, "at least ")


def misfit(
    manifest: dict[str, Any], spec: BoardSpec, app: str, regions: tuple[Region, ...], least: str = ""
) -> FitError:
    """The error for regions that are too small; its hint names what to try next."""
    parts = [
        f"{r.name} needs {least}{r.size + r.excess:,} of {r.size:,} bytes ({r.excess:,} too many)" for r in regions
    ]
    others = [other for other in boards().values() if other.cpu and other.env != spec.env]
    larger = ", ".join(other.env for other in others if not shortage(manifest, other, app))
    board = f"a larger board ({larger})" if larger else "a smaller model: no board of platformio.ini holds it"
    small = "" if manifest["optimise"] == "size" else "--optimise size, or "
    return FitError(
        f"the {app} firmware does not fit {spec.env}: {'; '.join(parts)}",
        f"try {small}{board}; tinyfl profile MODEL --env {spec.env} shows what takes the room",
        regions,
    )

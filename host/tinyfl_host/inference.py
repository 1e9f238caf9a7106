"""A whole model on a board, in a process or in the numpy twin: int8 arrays in, int8 arrays out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tinyfl.errors import ConfigError, DataError, LinkError
from tinyfl.reference import run
from tinyfl_host.artifacts import Artifacts, write_atomically
from tinyfl_host.boards import board
from tinyfl_host.build import build_firmware
from tinyfl_host.emulate import boot
from tinyfl_host.links import open_link
from tinyfl_host.node import Node

Int8 = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Inference:
    """Outputs (n, *output shape) and, where the target counts, the mean of the instructions of one run."""

    output: Int8
    instructions: int | None


def infer(artifacts: Artifacts, on: str, x: Int8, progress: Callable[[int], None] | None = None) -> Inference:
    """Runs inputs (n, *input shape) on ``emu:ENV``, ``posix``, ``twin`` or any link to a board with this model."""
    check_input(artifacts, x)
    if on == "twin":
        return Inference(run(artifacts.graph, x), None)
    ticks: list[int] = []
    outputs: list[Int8] = []
    with _node(artifacts, on) as node:
        welcome = node.hello()
        for i, sample in enumerate(x):
            count, output = node.infer(sample)
            ticks.append(count)
            outputs.append(output.reshape(artifacts.manifest["output"]["shape"]))
            if progress is not None:
                progress(i + 1)
    instructions = None
    if ticks and welcome.tick_denominator:
        instructions = round(sum(ticks) * welcome.tick_numerator / (welcome.tick_denominator * len(ticks)))
    shape = (len(x), *artifacts.manifest["output"]["shape"])
    return Inference(np.array(outputs, np.int8).reshape(shape), instructions)


def read_input(path: Path) -> npt.NDArray[np.generic]:
    """An array from a .npy file; raises DataError where it is none. Pickled objects are refused."""
    try:
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}", "name a .npy file, written by numpy.save") from error
    except (ValueError, EOFError, SyntaxError) as error:
        raise DataError(f"{path}: no .npy file of numbers", "write it with numpy.save, as int8") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: an archive of arrays", "write one array with numpy.save")
    return array


def check_input(artifacts: Artifacts, x: npt.NDArray[np.generic]) -> None:
    """Raises DataError unless x is int8 (n, *input shape)."""
    shape = tuple(artifacts.manifest["input"]["shape"])
    if x.dtype != np.int8 or x.shape[1:] != shape or x.ndim != len(shape) + 1:
        wanted = ", ".join(["n", *map(str, shape)])
        scale, zero_point = (artifacts.manifest["input"][key] for key in ("scale", "zero_point"))
        raise DataError(
            f"the input is {x.dtype} {x.shape}, {artifacts.name} takes int8 ({wanted})",
            f"quantise: round(x / {scale:.6g}) + {zero_point}, clipped to int8",
        )


def write_output(path: Path, output: Int8) -> None:
    """Writes a .npy file, whole or not at all; raises ConfigError."""
    import io

    buffer = io.BytesIO()
    np.save(buffer, output)
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "name a file that can be written") from error


@contextmanager
def _node(artifacts: Artifacts, on: str) -> Iterator[Node]:
    """A node that is connected; what was booted for it ends with it."""
    if on != "posix" and not on.startswith("emu:"):
        yield from _connected(artifacts, on, on)
        return
    spec = board(on.removeprefix("emu:"))
    with boot(spec, build_firmware(artifacts, spec.env)) as emulator:
        try:
            yield from _connected(artifacts, emulator.link, on)
        except LinkError as error:
            raise LinkError(f"{error.message} {emulator.complaint()}".rstrip(), error.hint) from error


def _connected(artifacts: Artifacts, link: str, name: str) -> Iterator[Node]:
    node = Node(open_link(link), artifacts.manifest, name)
    try:
        yield node
    finally:
        node.close()

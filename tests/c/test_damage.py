"""Damaged models of one operator: each is refused with ModelError, or it computes what TFLite computes from it.

TFLite runs in a process of its own, since some damage ends it. Where it refuses or dies, twin and C still agree.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import resource
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from support_operator import FAMILIES, Case, assert_c_agrees, write_model
from support_tflite import model_inputs, run_oracle

from tinyfl.compiler import compile_model
from tinyfl.errors import ModelError
from tinyfl.reference import run

Item = tuple[bytes, np.ndarray]
DAMAGED = 160  # files a family
MEMORY, SECONDS = 4 << 30, 10  # of TFLite's process: some damage asks for more than there is
WORDS = (0, 1, 2, 3, 4, 5, 127, 128, 255, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
FLOATS = (0x3F800000, 0x3B800000, 0x7F800000, 0x7FC00000, 0x00000001, 0x49742400, 0x2EDBE6FF)  # 1, 1/256, inf, nan, ...


def damage(rng: np.random.Generator, data: bytes) -> bytes:
    """One or two bytes or words are others now."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 3))):
        if rng.random() < 0.5:
            changed[int(rng.integers(len(data)))] = int(rng.choice([0, 1, 2, 3, 127, 128, 255, rng.integers(256)]))
        else:
            at = 4 * int(rng.integers(len(data) // 4))
            changed[at : at + 4] = int(rng.choice(WORDS + FLOATS)).to_bytes(4, "little")
    return bytes(changed)


def small_models(family: str) -> list[bytes]:
    """Of few bytes, so that most damage is not in the weights."""
    files = sorted((write_model(family, number) for number in range(24)), key=len)
    return files[:6]


def accepted(family: str) -> list[Case]:
    """The damaged models that compile; any other exception than ModelError fails the test."""
    rng = np.random.default_rng([FAMILIES[family].seed, 4])
    files, kept = small_models(family), []
    for number in range(DAMAGED):
        data = damage(rng, files[number % len(files)])
        try:
            model = compile_model(data, f"damaged {family} {number}", None)
        except ModelError as error:
            assert "\n" not in error.message
            continue
        x = model_inputs(rng, model.graph.tensor(model.graph.input), 10)
        kept.append(Case(f"damaged {family}", number, data, model, x, run(model.graph, x)))
    return kept


def answer(items: Sequence[Item], sender: Connection) -> None:
    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for data, x in items:
        signal.alarm(SECONDS)
        try:
            sender.send(run_oracle(data, x))
        except (RuntimeError, ValueError, MemoryError):
            sender.send(None)


def tflite_apart(items: Sequence[Item]) -> list[np.ndarray | None]:
    """What TFLite makes of each; None where it refuses or dies."""
    context, answers = multiprocessing.get_context("fork"), list[np.ndarray | None]()
    while len(answers) < len(items):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=answer, args=(items[len(answers) :], sender))
        process.start()
        sender.close()
        try:
            while len(answers) < len(items):
                answers.append(receiver.recv())
        except EOFError:
            answers.append(None)
        process.join()
    return answers


@pytest.mark.slow
@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "network"])
def test_damaged_models_are_refused_or_computed_as_tflite_does(family: str, tmp_path: Path) -> None:
    pytest.importorskip("tflite_runtime.interpreter", reason="tflite-runtime has no wheel for this Python")
    kept = accepted(family)
    answers = tflite_apart([(case.data, case.inputs) for case in kept])
    compared = 0
    for case, y in zip(kept, answers, strict=True):
        if y is not None:  # a damaged shape of a RESHAPE is another shape for the same bytes
            compared += 1
            np.testing.assert_array_equal(case.twin.ravel(), y.ravel(), f"twin and TFLite: {case}")
    assert DAMAGED // 20 <= compared <= len(kept) < DAMAGED, "the damage says nothing"
    assert_c_agrees(tuple(kept), "gcc", tmp_path / "gcc")

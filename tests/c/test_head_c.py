"""firmware/core/head.c against tinyfl/reference/head.py, bit for bit: weights, deltas, losses, right answers."""

from __future__ import annotations

import importlib.util
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from support_runner import QUICK_COMPILERS, ROOT, build_probe

from tinyfl.graph import HeadFormat
from tinyfl.reference.codec import DENSE, encode
from tinyfl.reference.head import MASTER_MAX, MASTER_MIN, MAX_WEIGHT, TwinHead, fleet_shift, held_bits, to_wire

SHAPES = [(32, 7), (64, 12), (256, 4), (1, 2), (3, 3), (17, 5), (8, 6), (5, 1 + 8), (40, 2)]


@dataclass
class Case:
    format: HeadFormat
    x: np.ndarray
    y: np.ndarray
    epochs: int
    rate: tuple[int, int]
    stream: tuple[int, int, int]
    shift: int
    seed: int
    pull: int = 0

    def pack(self) -> bytes:
        f = self.format
        words = [f.features, f.classes, f.fw, f.bias_value, len(self.x), self.epochs, *self.rate, *self.stream]
        parts = [
            np.array([*words, self.shift, self.seed, self.pull], "<u4"),
            f.offset,
            to_wire(f.initial).astype("<i2"),
            np.frombuffer(held_bits(np.zeros(f.initial.shape, bool) if f.held is None else f.held), np.uint8),
            self.x,
            self.y,
        ]
        return b"".join(part.tobytes() for part in parts)


def random_case(rng: np.random.Generator, shape: tuple[int, int], samples: int, epochs: int) -> Case:
    features, classes = shape
    format = HeadFormat(
        features,
        classes,
        rng.integers(-128, 128, features).astype(np.int8),
        int(2 ** rng.integers(0, 8)),
        1.0,
        int(rng.integers(5, 21)),
        np.clip(rng.normal(0, 2000, (features + 1, classes)), -MAX_WEIGHT, MAX_WEIGHT).astype(np.int16),
    )
    x = rng.integers(-128, 128, (samples, features)).astype(np.int8)
    x = np.where(rng.random(x.shape) < 0.5, format.offset, x).astype(np.int8)  # half the features are zero
    rate = int(rng.integers(1 << 14, (1 << 15) + 1)), int(rng.integers(13, 31))
    y = rng.integers(0, classes, samples).astype(np.uint8)
    stream = tuple(int(v) for v in rng.integers(0, 2**32, 3))
    return Case(format, x, y, epochs, rate, stream, int(rng.integers(0, 26)), int(rng.integers(1, 2**32)))  # type: ignore[arg-type]


def extreme_case(features: int, classes: int, sign: int) -> Case:
    """Class 1 is right, but classes 0 and 2 win for more than 32 steps of the largest rate on the largest features:
    its first weight starts at the clamp and would leave int32 at the 33rd step without it."""
    offset = np.full(features, -128 if sign > 0 else 127, np.int8)
    initial = np.zeros((features + 1, classes), np.int16)
    initial[:-1, [0, 2]], initial[:-1, 1], initial[0, 1] = sign * MAX_WEIGHT, -sign * MAX_WEIGHT, sign * MAX_WEIGHT
    format = HeadFormat(features, classes, offset, 1, 1.0, 20, initial)
    x = np.full((75, features), 127 if sign > 0 else -128, np.int8)
    return Case(format, x, np.ones(75, np.uint8), 2, (1 << 15, 13), (1, 2, 3), 25, 7)


def clamped_case(rng: np.random.Generator, shape: tuple[int, int]) -> Case:
    """Weights that wander over the clamp and back: when it comes makes a difference."""
    case = random_case(rng, shape, 150, 2)
    case.format.initial[:] = rng.choice([-MAX_WEIGHT, MAX_WEIGHT], case.format.initial.shape)
    case.rate = 1 << 15, 13
    return case


@pytest.fixture(scope="module", params=QUICK_COMPILERS)
def probe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_probe(
        request.param,
        tmp_path_factory.mktemp("head"),
        "head",
        ("head", "tensor", "broadcast", "codec", "codec_entropy", "wire"),
    )


def compare(probe: Path, cases: list[Case]) -> list[TwinHead]:
    stdin = b"".join(case.pack() for case in cases)
    done = subprocess.run([str(probe)], input=stdin, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    position, heads = 0, []

    def take(dtype: str, count: int) -> np.ndarray:
        nonlocal position
        values = np.frombuffer(done.stdout, dtype, count, position)
        position += values.nbytes
        return values

    for case in cases:
        head, n, labels = TwinHead(case.format), len(case.x), case.y.tolist()
        loss = head.train(case.x, labels, case.stream, case.epochs, case.rate, case.pull)
        numbers = take("<u4", 6).tolist()
        assert (numbers[0] // n if n else 0) == loss
        assert numbers[1] == head.max_delta()
        for right, total, trained in ((*numbers[2:4], False), (*numbers[4:6], True)):
            assert (right, total // n if n else 0) == head.evaluate(case.x, labels, trained)
        count = case.format.initial.size
        sent = encode(DENSE, head.delta()[head.learns], case.shift, case.seed, 1).payload
        np.testing.assert_array_equal(take("<i4", count), to_wire(head.master))
        np.testing.assert_array_equal(take("u1", len(sent)), sent)
        np.testing.assert_array_equal(take("<i2", count), head.pull())
        heads.append(head)
    assert position == len(done.stdout)
    return heads


def test_random_heads(probe: Path) -> None:
    rng = np.random.default_rng(5)
    shapes = SHAPES + [(int(rng.integers(1, 65)), int(rng.integers(2, 14))) for _ in range(30)]
    compare(probe, [random_case(rng, shape, int(rng.integers(1, 100)), int(rng.integers(1, 4))) for shape in shapes])


def test_pruned_heads(probe: Path) -> None:
    rng = np.random.default_rng(12)
    cases = []
    for shape in SHAPES * 2:
        case = random_case(rng, shape, 70, 2)
        held = rng.random(case.format.initial.shape) < rng.choice([0.1, 0.6])
        held[-1] = False
        case.format = replace(case.format, held=held)
        cases.append(case)
    for case, head in zip(cases, compare(probe, cases), strict=True):
        held = case.format.held
        np.testing.assert_array_equal(head.master[held], head.broadcast[held] << 16)
        assert not head.delta()[~head.learns].any() and np.count_nonzero(head.learns) == np.count_nonzero(~held)


def test_thousands_of_steps(probe: Path) -> None:
    rng = np.random.default_rng(6)
    compare(probe, [random_case(rng, (32, 7), 350, 8), random_case(rng, (64, 12), 333, 4)])


def test_no_samples_change_nothing(probe: Path) -> None:
    head = compare(probe, [random_case(np.random.default_rng(7), (9, 4), 0, 3)])[0]
    assert head.max_delta() == 0


@pytest.mark.parametrize("sign", [1, -1])
def test_extremes_stay_in_int32(probe: Path, sign: int) -> None:
    for head in compare(probe, [extreme_case(256, 4, sign), extreme_case(256, 7, sign)]):
        assert head.master[0, 1] == (MASTER_MAX if sign > 0 else MASTER_MIN)
        assert fleet_shift([head.max_delta()]) <= 25


def test_the_clamp_comes_at_the_same_step(probe: Path) -> None:
    rng = np.random.default_rng(10)
    compare(probe, [clamped_case(rng, shape) for shape in SHAPES])


@pytest.mark.parametrize("pull", [1, 9700, 0x8000, 0xFFFF])
def test_the_proximal_step(probe: Path, pull: int) -> None:
    """Of any weights, of those that reach the clamp, and of the largest ways that an int32 holds."""
    rng = np.random.default_rng(pull)
    cases = [random_case(rng, shape, int(rng.integers(1, 100)), 2) for shape in SHAPES]
    cases += [clamped_case(rng, (17, 5)), extreme_case(256, 4, 1), extreme_case(256, 4, -1)]
    for case in cases:
        case.pull = pull
    compare(probe, cases)


def test_256_classes(probe: Path) -> None:
    compare(probe, [random_case(np.random.default_rng(8), (6, 256), 70, 1)])


def test_a_weight_out_of_range_is_refused(probe: Path) -> None:
    case = random_case(np.random.default_rng(9), (4, 3), 1, 1)
    case.format.initial[2, 1] = MAX_WEIGHT + 1
    assert subprocess.run([str(probe)], input=case.pack(), timeout=10).returncode == 2


def test_exp_table_is_what_the_tool_writes() -> None:
    path = ROOT / "tools/generate_tables.py"
    spec = importlib.util.spec_from_file_location("generate_tables", path)
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert (ROOT / "firmware/core/exp_table.h").read_text() == tool.exp_table()

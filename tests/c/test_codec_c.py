"""firmware/core/codec.c and broadcast.c against their twins, bit for bit, and the server's readers of both."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from support_runner import QUICK_COMPILERS, build_probe

from tinyfl.federated.codecs import DOWNLINKS, decode, encode_weights, rounded
from tinyfl.reference import codec as twin
from tinyfl.reference.codec import LEVELS, LIMITS, MAX_SHIFTS, MAX_VALUE, SELECTIONS, Codec
from tinyfl.reference.head import MAX_WEIGHT
from tinyfl.wire.messages import Status

CODECS = [
    Codec(level, selection, entropy, int(selection != "all"), feedback)
    for level, selection, entropy, feedback in itertools.product(LEVELS, SELECTIONS, (False, True), (False, True))
]


@dataclass(frozen=True)
class Case:
    codec: Codec
    delta: np.ndarray
    residual: np.ndarray
    shift: int
    seed: int
    random: int
    held: np.ndarray
    code: int = -1

    @property
    def v(self) -> np.ndarray:
        """Of the weights that learn."""
        v = twin.values(self.delta, self.residual) if self.codec.feedback else self.delta
        return v[~self.held]

    def pack(self) -> bytes:
        code = self.codec.code if self.code < 0 else self.code
        words = [len(self.delta), self.codec.feedback, self.seed, self.random, self.codec.count, self.shift, code]
        return (
            np.array(words, "<u4").tobytes()
            + self.delta.astype("<i4").tobytes()
            + self.residual.astype("<i4").tobytes()
            + np.packbits(self.held, bitorder="little").tobytes()
        )


@pytest.fixture(scope="module", params=QUICK_COMPILERS)
def probe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_probe(
        request.param,
        tmp_path_factory.mktemp("codec"),
        "codec",
        ("codec", "codec_entropy", "broadcast", "tensor", "wire"),
    )


def ask(probe: Path, cases: list[bytes]) -> bytes:
    done = subprocess.run([str(probe)], input=b"".join(cases), capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


def cases_of(codec: Codec, rng: np.random.Generator) -> Iterator[Case]:
    """Deltas as training makes them, ties, extremes; any count; shifts that fit and that do not; pruned heads."""
    for weights in (1, 2, 9, 65, 231, 650):
        for kind in range(5):
            scale = 2.0 ** rng.integers(2, 26)
            delta = np.clip(rng.laplace(0, scale, weights), -(2**31) + 65536, 2**31 - 65536).astype(np.int64)
            residual = rng.normal(0, scale, weights).astype(np.int64)
            if kind == 1:
                delta, residual = rng.integers(-2, 3, weights), rng.integers(-1, 2, weights)
            if kind == 2:
                delta, residual = delta * 0, residual * 0
            if kind == 3:
                edge = [-(2**31) + 65536, 2**31 - 65536, 0, 1, -1]
                delta, residual = rng.choice(edge, weights), rng.choice([MAX_VALUE, -MAX_VALUE, 0], weights)
            held = rng.random(weights) < rng.choice([0, 0.3, 0.8])
            held[-1] = False  # a bias
            delta, residual = np.where(held, 0, delta), np.where(held, 0, residual)
            free = int(np.count_nonzero(~held))
            count = int(rng.choice([1, free, int(rng.integers(1, free + 1))])) if codec.count else 0
            largest = int(np.abs(twin.values(delta, residual * codec.feedback)).max())
            shift = next(s for s in range(32) if largest <= LIMITS[codec.level] << s)
            shift = int(rng.choice([shift, max(0, shift - 4), 0])) if kind != 3 else MAX_SHIFTS[codec.level]
            seeds = (int(rng.integers(1, 2**32)), int(rng.integers(1, 2**32)))
            yield Case(replace(codec, count=count), delta, residual, shift, *seeds, held)


@pytest.mark.parametrize("codec", CODECS, ids=lambda c: f"{c.level}-{c.selection}-{c.entropy:d}-{c.feedback:d}")
def test_an_update_equals_the_twins_and_is_read_as_it_was_made(probe: Path, codec: Codec) -> None:
    cases = list(cases_of(codec, np.random.default_rng(CODECS.index(codec))))
    out, at = ask(probe, [case.pack() for case in cases]), 0

    def take(dtype: str, count: int) -> np.ndarray:
        nonlocal at
        values = np.frombuffer(out, dtype, count, at)
        at += values.nbytes
        return values

    for case in cases:
        v = case.v
        sent = twin.encode(case.codec, v, case.shift, case.seed, case.random)
        assert take("<i4", 1)[0] == 0
        assert take("<u4", 2).tolist() == [np.abs(v).max(), twin.mean_magnitude(v)]
        size = int(take("<u4", 1)[0])
        np.testing.assert_array_equal(take("u1", size), sent.payload)
        places, rest = take("<i4", 2 * len(v)).reshape(-1, 2).T
        np.testing.assert_array_equal(places, np.flatnonzero(~case.held))
        q = decode(case.codec, sent.payload, len(v), case.random)
        np.testing.assert_array_equal((q << case.shift) + sent.rest, v)  # nothing is lost
        if case.codec.feedback:  # else the rest of what was cut off may be beyond int32, and nobody asks for it
            np.testing.assert_array_equal(rest, sent.rest)
        assert np.count_nonzero(twin.chosen(case.codec, v, case.random)) == (case.codec.count or len(v))
        assert size <= len(v) + (len(v) + 7) // 8 + 1  # what a body has room for
    assert at == len(out)


def test_what_is_sent_is_never_longer_than_without_entropy_coding(probe: Path) -> None:
    rng = np.random.default_rng(3)
    for case in cases_of(Codec("int8", "all", True), rng):
        assert len(twin.encode(case.codec, case.v, case.shift, case.seed, 1).payload) <= len(case.v)


def test_an_update_that_does_not_exist_is_refused(probe: Path) -> None:
    all_learn = np.zeros(8, bool)
    base = Case(Codec("int8", "top", False, 3), np.arange(8), np.zeros(8, int), 0, 1, 1, all_learn)
    none, many = Codec("int8", "top", False, 0), Codec("int8", "random", False, 9)
    bad = [
        *[replace(base, codec=codec) for codec in (none, many, Codec("int8", "all", False, 3))],
        *[replace(base, code=code) for code in (4, 7, 3 << 3, 1 << 6, 1 << 7, 255)],
        *[replace(base, codec=Codec(level), shift=MAX_SHIFTS[level] + 1) for level in LEVELS],
    ]
    assert np.frombuffer(ask(probe, [c.pack() for c in bad]), "<i4").tolist() == [Status.ERROR_ARGUMENT] * len(bad)
    pruned = replace(base, codec=Codec("int8", "top", False, 7), delta=np.zeros(8, int), held=np.arange(8) == 3)
    assert np.frombuffer(ask(probe, [pruned.pack()]), "<i4", 1)[0] == 0
    pruned = replace(pruned, codec=Codec("int8", "top", False, 8))
    assert np.frombuffer(ask(probe, [pruned.pack()]), "<i4").tolist() == [Status.ERROR_ARGUMENT]
    for case in bad[:9]:
        code = case.codec.code if case.code < 0 else case.code
        assert twin.from_code(code, case.codec.count, 8, False) is None


def load(held: np.ndarray, coding: int, coded: np.ndarray) -> bytes:
    words = np.array([len(held), 2, len(coded), coding, 0, 0, 0], "<u4").tobytes()
    return words + held.astype("<i2").tobytes() + coded.astype(np.uint8).tobytes()


def loaded(probe: Path, held: np.ndarray, coding: int, coded: np.ndarray) -> tuple[int, np.ndarray]:
    out = ask(probe, [load(held, coding, coded)])
    return int(np.frombuffer(out, "<i4", 1)[0]), np.frombuffer(out, "<i2", offset=4)


@pytest.mark.parametrize("downlink", DOWNLINKS)
def test_heads_arrive_as_they_were_sent(probe: Path, downlink: str) -> None:
    rng = np.random.default_rng(8)
    for weights in (1, 7, 231):
        for scale in (0, 1, 30, 4000, 40000):
            held = np.clip(rng.normal(0, 3000, weights), -MAX_WEIGHT, MAX_WEIGHT).astype(np.int16)
            head = np.clip(held + rng.normal(0, scale, weights), -MAX_WEIGHT, MAX_WEIGHT).astype(np.int16)
            head = rounded(head) if downlink == "int8" else head
            coding, coded = encode_weights(head, downlink, held)
            status, got = loaded(probe, held, coding, coded)
            assert status == 0
            np.testing.assert_array_equal(got, head)
            assert len(coded) <= 2 * weights
            if weights == 231 and scale <= 30:
                assert coding == DOWNLINKS.index(downlink)


def test_rounding_a_head_to_int8_is_near_and_stable() -> None:
    for scale in (3, 200, 5000, 60000):
        head = np.clip(np.random.default_rng(1).normal(0, scale, 400), -MAX_WEIGHT, MAX_WEIGHT).astype(np.int16)
        near = rounded(head)
        power = next(p for p in range(8) if np.abs(head).max() <= 127 << p or p == 7)
        assert np.abs(near.astype(int) - head).max() <= (1 << power) // 2 + (127 if power == 7 else 0)
        np.testing.assert_array_equal(rounded(near), near)
        assert encode_weights(near, "int8", None)[0] == 1


def test_a_head_that_is_damaged_changes_nothing(probe: Path) -> None:
    """Every byte of every coding changed, and every length: refused, or, of codings without a digest, other weights."""
    rng = np.random.default_rng(9)
    held = rng.integers(-2000, 2000, 40).astype(np.int16)
    head = (held + rng.integers(-9, 9, 40)).astype(np.int16)
    for downlink in DOWNLINKS:
        coding, coded = encode_weights(rounded(head) if downlink == "int8" else head, downlink, held)
        assert coding == DOWNLINKS.index(downlink)
        damaged = [coded[:n] for n in range(len(coded))] + [np.append(coded, 0).astype(np.uint8)]
        damaged += [
            coded ^ (np.arange(len(coded)) == i) * np.uint8(1 << b) for i in range(len(coded)) for b in range(8)
        ]
        out, at = ask(probe, [load(held, coding, d) for d in damaged]), 0
        for d in damaged:
            status, got = int(np.frombuffer(out, "<i4", 1, at)[0]), np.frombuffer(out, "<i2", 40, at + 4)
            at += 4 + 80
            if status:
                np.testing.assert_array_equal(got, held)
            else:
                assert len(d) == len(coded) and np.abs(got.astype(int)).max() <= MAX_WEIGHT
            padding = coding == 2 and status == 0  # a bit behind the last one
            assert status or coding < 2 or (padding and np.array_equal(got, head))
    assert loaded(probe, held, 3, coded)[0] == Status.ERROR_ARGUMENT
    assert loaded(probe, head, *encode_weights(head + 1, "difference", held))[0] == Status.ERROR_DIGEST

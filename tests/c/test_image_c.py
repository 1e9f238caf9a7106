"""firmware/core/image.c reads what tinyfl/image.py writes, and nothing that is damaged."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support_runner import FLAGS, ROOT, SANITIZE

from tinyfl.errors import DataError
from tinyfl.image import Image, build_image, read_image

RNG = np.random.default_rng(3)
X = RNG.integers(-128, 128, (9, 5)).astype(np.int8)
Y = RNG.integers(0, 256, 9)
IMAGE = build_image(X[:6], Y[:6], X[6:], Y[6:], "board-1")


@pytest.fixture(scope="module", params=["gcc", pytest.param("clang-14", marks=pytest.mark.slow)])
def probe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    program = tmp_path_factory.mktemp("image") / "probe"
    sources = [ROOT / "tests/c/image_probe.c", ROOT / "firmware/core/image.c", ROOT / "firmware/core/wire.c"]
    command = [request.param, *FLAGS, *SANITIZE, "-I", str(ROOT / "firmware/include"), *map(str, sources)]
    subprocess.run([*command, "-o", str(program)], check=True, timeout=60)
    return program


def opened(probe: Path, images: list[bytes]) -> list[Image | None]:
    stdin = b"".join(np.uint32(len(image)).tobytes() + image for image in images)
    done = subprocess.run([str(probe)], input=stdin, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    results: list[Image | None] = []
    position = 0
    for _ in images:
        found, *sizes = np.frombuffer(done.stdout[position : position + 16].ljust(16, b"\0"), "<u4").tolist()
        position += 4
        if not found:
            results.append(None)
            continue
        size, train, test = sizes
        name = done.stdout[position + 12 : position + 28].rstrip(b"\0").decode(errors="replace")
        position += 28
        rows = np.frombuffer(done.stdout, np.int8, (train + test) * (size + 1), position).reshape(-1, size + 1)
        position += rows.size
        x, y = rows[:, 1:], rows[:, 0].view(np.uint8)
        results.append(Image(x[:train], y[:train], x[train:], y[train:], name))
    assert position == len(done.stdout)
    return results


def test_images_are_read_as_python_reads_them(probe: Path) -> None:
    empty = build_image(X[:0], [], X[:0], [], "")
    cases = [IMAGE, IMAGE + b"\xff" * 100, build_image(X, Y, X[:0], [], "0123456789abcdef"), empty]
    for image, got in zip(cases, opened(probe, cases), strict=True):
        expected = read_image(image)
        assert got is not None and got.name == expected.name
        for field in ("x_train", "y_train", "x_test", "y_test"):
            np.testing.assert_array_equal(getattr(got, field), getattr(expected, field))


def test_unwritten_flash_is_no_image(probe: Path) -> None:
    cases = [b"", b"\0" * 1000, b"\xff" * 1000, b"\0" * 47, b"TFLD", IMAGE[1:]]
    assert opened(probe, cases) == [None] * len(cases)


def test_damage_is_found_as_in_python(probe: Path) -> None:
    cases = [IMAGE[:n] for n in range(len(IMAGE))]
    for position in range(len(IMAGE)):
        for flip in (1, 0x80, 0xFF):
            damaged = bytearray(IMAGE)
            damaged[position] ^= flip
            cases.append(bytes(damaged))
    for image, got in zip(cases, opened(probe, cases), strict=True):
        assert (got is None) == refused(image)


@pytest.mark.slow
def test_sizes_that_wrap_are_refused(probe: Path) -> None:
    """Counts whose products or sums come out small, or right, modulo 2^32; the CRC fits what a wrapped size covers."""
    values = [0, 1, 3, 9, 2**16, 2**30, 2**31, 2**32 - 1, 2**32 - 3, 0x33333334]
    cases = []
    for size in values:
        for train in values:
            for test in values:
                header = np.array([size, train, test], "<u4").tobytes()
                cases.append(IMAGE[:8] + header + IMAGE[20:])
                cases.append(IMAGE[:8] + header + bytes(4) + IMAGE[24:])  # the CRC of nothing
    for image, got in zip(cases, opened(probe, cases), strict=True):
        assert (got is None) == refused(image), np.frombuffer(image, "<u4", 3, 8)


def refused(image: bytes) -> bool:
    try:
        read_image(image)
    except DataError:
        return True
    return False

"""The board table, and what PlatformIO's output says as an error."""

import itertools
from pathlib import Path

import pytest

from tinyfl.errors import ConfigError, ToolError, UsageError
from tinyfl_host import boards, build, fit
from tinyfl_host.emulate import flat_image

ENVS = ["qemu-m4", "qemu-m3", "qemu-m0", "qemu-m55", "microbit", "posix"]


def test_the_table_has_every_environment() -> None:
    assert list(boards.boards()) == ENVS
    microbit = boards.board("microbit")
    assert (microbit.ram, microbit.flash, microbit.upload) == (16384, 0x3DC00, "nrf51")
    assert not microbit.emulated and boards.board("qemu-m4").emulated
    assert boards.board("posix").machine is None and not boards.board("posix").counts


def test_code_data_and_store_lie_side_by_side() -> None:
    for spec in boards.boards().values():
        regions = [(0, min(spec.data_address, spec.flash or 0)), (spec.data_address, spec.data_bytes)]
        if spec.store_address:
            regions.append((spec.store_address, spec.store_pages * boards.PAGE_BYTES))
            assert spec.flash is not None and spec.flash <= spec.store_address
            assert spec.store_address % boards.PAGE_BYTES == 0
        for (start, size), (following, _) in itertools.pairwise(regions):
            assert start + size <= following, spec.env
        assert spec.machine is None or spec.store_pages >= 3
    microbit = boards.board("microbit")
    assert microbit.store_address + microbit.store_pages * boards.PAGE_BYTES == 256 * 1024  # the chip's flash


def test_an_unknown_environment_names_the_others() -> None:
    with pytest.raises(UsageError, match="qemu-m4, qemu-m3") as caught:
        boards.board("qemu-m5")
    assert "did you mean" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[env:x]\ncustom_port = cmsdk\n", "lacks custom_description"),
        ("[env:x]\ncustom_port = a\ncustom_description = b\ncustom_link = c\ncustom_ram = lots\n", "lots"),
    ],
)
def test_a_table_that_is_wrong(text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "platformio.ini").write_text(text)
    monkeypatch.setattr(boards, "ROOT", tmp_path)
    with pytest.raises(ConfigError, match=message):
        boards.boards()


def test_an_installed_wheel_says_that_it_has_no_firmware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "ROOT", tmp_path)
    with pytest.raises(ConfigError, match=r"no platformio\.ini"):
        boards.boards()


def test_the_linker_s_overflow_becomes_regions() -> None:
    output = "ld: region `RAM' overflowed by 1220 bytes\nld: region `FLASH' overflowed by 7 bytes\ncollect2: error"
    spec = boards.board("microbit")
    regions = build.overflows(spec, output)
    assert regions == (fit.Region("FLASH", 0x3DC00, 7), fit.Region("RAM", 16384, 1220))
    error = fit.misfit(SMALL, spec, "node", regions)
    assert "RAM needs 17,604 of 16,384 bytes (1,220 too many)" in error.message and error.exit_code == 8


SMALL = {"constants_bytes": 9, "arena_bytes": 9, "optimise": "balanced", "head": {"trainable": False}}


def test_what_cannot_fit_is_refused_before_the_build_with_a_way_out() -> None:
    spec = boards.board("microbit")
    fit.require_fit(SMALL, spec, "node")
    fit.require_fit({**SMALL, "arena_bytes": 10**9}, boards.board("posix"), "node")
    large = {**SMALL, "constants_bytes": (spec.flash or 0) + 5, "arena_bytes": spec.ram or 0}
    assert fit.shortage(large, spec).keys() == {"flash", "ram"} and fit.shortage(large, spec)["ram"] >= (
        spec.stack or 0
    )
    with pytest.raises(fit.FitError, match=r"does not fit microbit: FLASH needs at least .*; RAM needs") as caught:
        fit.require_fit(large, spec, "node")
    assert "--optimise size, or a larger board (qemu-m4" in caught.value.hint
    with pytest.raises(fit.FitError) as caught:
        fit.require_fit({**large, "optimise": "size", "constants_bytes": 10**9}, spec, "node")
    assert "--optimise" not in caught.value.hint and "a smaller model" in caught.value.hint


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("HTTPClientError: ", "could not fetch"),
        ("No connected debug probes\n*** Error 1", "no debug probe is connected"),
        ("a.c:1: error: oops\nmore", "a.c:1: error: oops"),
    ],
)
def test_a_failure_says_what_to_do(output: str, message: str) -> None:
    error = build._failure(boards.board("microbit"), output)
    assert type(error) is ToolError and message in error.message


def test_a_flat_image_puts_data_where_the_board_looks() -> None:
    spec = boards.board("microbit")
    assert flat_image(spec, b"code", None) == b"code"
    flat = flat_image(spec, b"code", b"data")
    assert flat[:4] == b"code" and flat[spec.data_address :] == b"data" and not any(flat[4 : spec.data_address])
    with pytest.raises(ConfigError, match=f"{spec.data_bytes + 1} bytes"):
        flat_image(spec, b"code", bytes(spec.data_bytes + 1))
    with pytest.raises(ToolError, match="data begin at"):
        flat_image(spec, bytes(spec.data_address + 1), b"data")

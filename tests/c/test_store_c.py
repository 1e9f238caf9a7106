"""store.c on a flash that enforces its rules and loses power at every operation: the old record or the new one, never a
mixture, never nothing; boots that only rise; a key that stays."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support_runner import QUICK_COMPILERS, ROOT, build_probe

CORE = ROOT / "firmware/core"
TEARS = range(5)  # how an operation is cut, see tear() in store_probe.c
FAILS = 5  # it is not cut: it reports an error
HEAD = random.Random(1).randbytes(462).hex()  # 231 weights
OTHER = random.Random(2).randbytes(462).hex()
RESIDUAL = random.Random(3).randbytes(101).hex()  # no whole words
KEY, KEY2 = bytes(range(32)).hex(), bytes(range(100, 132)).hex()
ROOM = 700
SPACE = "-8"
BROKEN = "-11"


@dataclass
class Probe:
    """A conversation with the probe."""

    process: subprocess.Popen[str]

    def __call__(self, *words: object) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the probe ended: {self.process.communicate()[1]}"
        return line.strip()

    def mount(self, payload: int = ROOM) -> int:
        """The boot of a mount that must succeed."""
        status, boot, capacity = self("mount", payload).split()
        assert (status, capacity) == ("0", str(payload))
        return int(boot)

    def operations(self, *command: object) -> int:
        """How many flash operations a command takes; it is carried out."""
        self("count")
        assert self(*command).split()[0] == "0"
        erases, programs, _ = map(int, self("count").split())
        return erases + programs


@pytest.fixture(scope="module", params=QUICK_COMPILERS)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_probe(request.param, tmp_path_factory.mktemp("store"), "store", ("store", "wire"))


@pytest.fixture
def probe(program: Path) -> Iterator[Probe]:
    pipe = subprocess.PIPE
    with subprocess.Popen([str(program)], stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        probe = Probe(process)
        yield probe
        assert process.communicate(timeout=10)[1] == "" and process.returncode == 0


GEOMETRIES = [(5, 1024), (32, 1024), (11, 256), (9, 256)]


@pytest.mark.parametrize(("pages", "size"), GEOMETRIES)
def test_a_cut_at_every_operation_of_a_write_leaves_the_old_or_the_new_record(
    probe: Probe, pages: int, size: int
) -> None:
    probe("new", pages, size, "ff")
    probe.mount()
    assert probe("enrol", KEY) == "0" and probe("write", 1, HEAD, "-") == "0"
    boot = probe.mount()
    probe("save")
    old, new = f"1 {HEAD} -", f"2 {OTHER} {RESIDUAL}"
    count = probe.operations("write", 2, OTHER, RESIDUAL)
    assert probe("find") == new and count >= 4
    for k in range(1, count + 1):
        for how in TEARS:
            probe("restore")
            assert probe.mount() == boot + 1
            probe("cut", k, how)
            assert probe("write", 2, OTHER, RESIDUAL) == "cut"
            assert probe.mount() == boot + 2
            found = probe("find")
            assert found == new if (k, how) == (count, 3) else found in (old, new) if k == count else found == old
            assert probe("key") == KEY
            assert probe("write", 3, OTHER, "-") == "0"
            assert probe.mount() == boot + 3 and probe("find") == f"3 {OTHER} -"


def test_a_second_cut_while_the_first_one_is_mended(probe: Probe) -> None:
    probe("new", 5, 1024, "00")
    probe.mount()
    probe("write", 1, HEAD, RESIDUAL)
    probe("save")
    old, new = f"1 {HEAD} {RESIDUAL}", f"2 {OTHER} {RESIDUAL}"
    count = probe.operations("write", 2, OTHER, RESIDUAL)
    for first in range(1, count + 1):
        for second in range(1, count + 1):
            probe("restore")
            assert probe.mount() == 2
            probe("cut", first, first % 5)
            assert probe("write", 2, OTHER, RESIDUAL) == "cut"
            probe("cut", 1, second % 5)
            assert probe("mount", ROOM) == "cut"
            boot = probe.mount()
            assert boot in (3, 4) and probe("find") in (old, new)  # a torn mark may count
            probe("cut", second, 4)
            assert probe("write", 3, OTHER, RESIDUAL) == "cut"
            assert probe.mount() == boot + 1 and probe("find") in (old, new, f"3 {OTHER} {RESIDUAL}")


@pytest.mark.parametrize("fill", ["ff", "00", "s1", "s2"])
def test_the_first_mount_of_all_may_be_cut(probe: Probe, fill: str) -> None:
    probe("new", 5, 1024, fill)
    probe("save")
    count = probe.operations("mount", ROOM)
    assert probe("find") == "none" and probe("key") == "none"
    for k in range(1, count + 1):
        for how in TEARS:
            probe("restore")
            probe("cut", k, how)
            assert probe("mount", ROOM) == "cut"
            boot = probe.mount()
            assert boot in (1, 2) and probe("find") == "none" and probe("key") == "none"
            assert probe("write", 1, HEAD, RESIDUAL) == "0"
            assert probe.mount() == boot + 1 and probe("find") == f"1 {HEAD} {RESIDUAL}"


def test_boots_are_counted_beyond_the_marks_of_a_record(probe: Probe) -> None:
    """The record is copied when its marks are full; writes between boots change nothing of the count."""
    probe("new", 7, 256, "ff")
    assert [probe.mount(100) for _ in range(200)] == list(range(1, 201))
    assert probe("write", 1, HEAD[:200], "-") == "0"
    probe("count")
    assert [probe.mount(100) for _ in range(200)] == list(range(201, 401)) and probe("find") == f"1 {HEAD[:200]} -"
    erases, programs, _ = map(int, probe("count").split())
    assert 2 <= erases < 10 and programs >= 200
    for n in range(200):
        assert probe("write", n, HEAD[:200], OTHER[: n % 90 // 2 * 2]) == ("0" if n % 90 < 2 else SPACE)
        assert probe.mount(100) == 401 + n


def test_a_cut_while_a_record_is_copied_for_more_marks(probe: Probe) -> None:
    probe("new", 7, 256, "00")
    probe.mount(100)
    probe("write", 5, HEAD[:180], OTHER[:20])
    boot = probe.mount(100)
    while True:
        probe("save")
        count = probe.operations("mount", 100)
        boot += 1
        if count > 1:
            break
    for k in range(1, count + 1):
        for how in TEARS:
            probe("restore")
            probe("cut", k, how)
            assert probe("mount", 100) == "cut"
            after = probe.mount(100)
            assert after in (boot, boot + 1) and probe("find") == f"5 {HEAD[:180]} {OTHER[:20]}"
            assert probe.mount(100) == after + 1


def test_a_key_is_never_lost(probe: Probe) -> None:
    for fill, before in (("ff", None), ("00", None), ("s4", None), ("ff", KEY)):
        probe("new", 3, 1024, fill)
        probe.mount()
        if before:
            assert probe("enrol", before) == "0"
        probe("save")
        count = probe.operations("enrol", KEY2)
        assert probe("key") == KEY2
        for k in range(1, count + 1):
            for how in TEARS:
                probe("restore")
                probe.mount()
                probe("cut", k, how)
                assert probe("enrol", KEY2) == "cut"
                probe.mount()
                key = probe("key")
                allowed = (before or "none", KEY2) if k == count else (before or "none",)
                assert key == KEY2 if (k, how) == (count, 3) else key in allowed
                assert probe("enrol", KEY2) == "0" and probe("key") == KEY2


def test_a_full_key_page_keeps_the_last_key(probe: Probe) -> None:
    probe("new", 3, 1024, "ff")
    probe.mount()
    for n in range(25):
        assert probe("enrol", f"{n:064x}") == "0"
    assert probe("enrol", KEY) == SPACE and probe("key") == f"{24:064x}"
    probe.mount()
    assert probe("key") == f"{24:064x}"


def test_an_operation_that_fails_is_reported_and_harms_nothing(probe: Probe) -> None:
    probe("new", 5, 1024, "ff")
    probe.mount()
    probe("enrol", KEY)
    probe("write", 1, HEAD, RESIDUAL)
    probe("save")
    writes = probe.operations("write", 2, OTHER, RESIDUAL)
    for k in range(1, writes + 1):
        probe("restore")
        probe.mount()
        probe("cut", k, FAILS)
        assert probe("write", 2, OTHER, RESIDUAL) == BROKEN and probe("find") == f"1 {HEAD} {RESIDUAL}"
        assert probe("write", 3, OTHER, "-") == "0" and probe("find") == f"3 {OTHER} -"
    for k in (1, 2):
        probe("cut", k, FAILS)
        assert probe("enrol", KEY2) == BROKEN and probe("key") == KEY
    probe("cut", 1, FAILS)
    assert probe("mount", ROOM) == f"{BROKEN} 3 0" and probe("key") == KEY and probe("write", 4, HEAD, "-") == BROKEN


def test_reads_that_fail_are_reported(probe: Probe) -> None:
    """The flash fails at each read of each call; a key that cannot be read is not taken for none."""
    probe("new", 3, 1024, "ff")
    probe.mount()
    probe("enrol", KEY)
    probe("write", 1, HEAD, RESIDUAL)
    probe("save")
    commands = [("mount", ROOM), ("write", 2, OTHER, "-"), ("find",), ("key",), ("enrol", KEY2)]
    for command in commands:
        k = 0
        while True:
            k += 1
            probe("restore")
            probe.mount()
            probe("blind", k)
            answer = probe(*command).removeprefix("bad: ")
            if not answer.startswith(BROKEN):
                break
        assert k > 1 and not answer.startswith("-")


def test_damage_is_never_taken_for_a_record(probe: Probe) -> None:
    """One byte of the newest record damaged: it is found whole (its boot marks were hit) or the older one is."""
    probe("new", 5, 1024, "ff")
    probe.mount()
    probe("write", 1, HEAD, "-")
    probe("write", 2, OTHER, RESIDUAL)
    probe("save")
    slot = next(n for n in (1024, 3072) if damaged(probe, n) != f"2 {OTHER} {RESIDUAL}")
    end = slot + 44 + len(OTHER + RESIDUAL) // 2
    for at in range(slot, slot + 1024, 3):
        assert damaged(probe, at) == (f"1 {HEAD} -" if at < end else f"2 {OTHER} {RESIDUAL}"), at - slot


def damaged(probe: Probe, at: int) -> str:
    probe("restore")
    probe("flip", at, "41")
    probe.mount()
    return probe("find")


def test_noise_is_no_record_and_no_key(probe: Probe) -> None:
    for seed in range(300):
        probe("new", 3 + seed % 8, (1024, 256, 2048)[seed % 3], f"s{seed}")
        assert probe("mount", 20) == "0 1 20"
        assert probe("find") == "none" and probe("key") == "none"
        assert probe("write", 1, KEY[:40], "-") == "0" and probe("enrol", KEY) == "0"
        assert probe("mount", 20) == "0 2 20" and probe("find") == f"1 {KEY[:40]} -" and probe("key") == KEY


@pytest.mark.parametrize(
    ("pages", "size", "payload", "answer"),
    [
        (0, 1024, 10, "0 7000000 0"),
        (2, 1024, 10, "0 7000000 0"),
        (3, 1026, 10, "0 7000000 0"),
        (3, 104, 10, "0 7000000 0"),
        (3, 1024, 916, "0 1 916"),
        (3, 1024, 917, "0 1 0"),
        (4, 1024, 917, "0 1 0"),
        (5, 1024, 917, "0 1 917"),
        (5, 1024, 4294967295, "0 1 0"),
        (5, 1024, 0, "0 1 0"),
    ],
)
def test_flash_that_is_too_small(probe: Probe, pages: int, size: int, payload: int, answer: str) -> None:
    """No slots: the port's own boot number, no key. Small slots: boots and a key, no head."""
    probe("new", pages, size, "ff")
    assert probe("mount", payload) == answer
    usable, room = answer.split()[1] == "1", int(answer.split()[2])
    assert probe("enrol", KEY) == ("0" if usable else BROKEN)
    assert probe("key") == (KEY if usable else "none")
    assert probe("write", 1, "00" * 20, "-") == ("0" if room else BROKEN)
    if room:
        assert probe("write", 1, "00" * room, "-") == "0"
        assert probe("write", 1, "00" * room, "00") == SPACE == probe("write", 1, "00" * (room + 1), "-")


def test_another_model_s_firmware_finds_the_boots_and_the_key(probe: Probe) -> None:
    probe("new", 9, 256, "ff")
    for boot, payload in enumerate((100, 700, 100, 500, 2000, 700), 1):
        assert probe("mount", payload) == f"0 {boot} {payload if payload < 1000 else 0}"
        if boot == 1:
            probe("enrol", KEY)
        assert probe("key") == KEY
        if payload < 1000:
            assert probe("write", boot, "ab" * payload, "-") == "0"


@pytest.mark.parametrize("seed", range(4))
def test_any_life_with_any_cuts(probe: Probe, seed: int) -> None:
    """Mounts, writes and enrolments, many of them cut: what is found was written whole, last or one before."""
    rng = random.Random(seed)
    probe("new", *rng.choice(GEOMETRIES), rng.choice(["00", "ff", "s9"]))
    boot, head, key = 0, {"none"}, {"none"}  # what may be found
    for step in range(250):
        if rng.random() < 0.5:
            probe("cut", rng.randrange(1, 3), rng.randrange(5))
        answer = probe("mount", ROOM)
        if answer == "cut":
            continue
        assert answer.split()[0] == "0" and int(answer.split()[1]) > boot
        boot = int(answer.split()[1])
        found, found_key = probe("find"), probe("key")
        assert found in head and found_key in key
        head, key = {found}, {found_key}
        size = rng.randrange(1, 300)
        record = f"{step} {rng.randbytes(size).hex()} {rng.randbytes(size).hex()}"
        for command, new, may in (("write", record, head), ("enrol", rng.randbytes(32).hex(), key)):
            if rng.random() < 0.6:
                probe("cut", rng.randrange(1, 14), rng.randrange(5))
            answer = probe(command, new)
            if answer == "0":
                may.clear()
            if answer != SPACE:
                may.add(new)
            if answer == "cut":
                break


def test_what_a_write_costs(probe: Probe, capsys: pytest.CaptureFixture[str]) -> None:
    probe("new", 5, 1024, "ff")
    probe.mount(len(HEAD) // 2)
    probe("write", 1, HEAD, "-")
    probe("count")
    probe("write", 2, HEAD, "-")
    erases, programs, size = map(int, probe("count").split())
    with capsys.disabled():
        print(f"\na head of 231 weights: {erases} page erased, {programs} programs of {size} bytes", end="")
    assert (erases, size) == (1, 8 + 36 + 464)

"""Every byte of an authenticated round, both directions, flipped, dropped, doubled, and the link cut there."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import pytest
from support_board import build_board
from support_faults import FAULTS, MEMBER, Fault, round_over, twins_round
from support_rounds import MODEL, image

from tinyfl_host.boards import board
from tinyfl_host.emulate import Emulator, boot
from tinyfl_host.links import open_link
from tinyfl_host.node import Node

BOARDS = 24  # most of the time a case waits for a timeout
KEY = bytes(range(32))
DEADLINE = 15.0


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Emulator]]:
    """Processes with sanitizers, each enrolled."""
    folder = tmp_path_factory.mktemp("fire")
    firmware = build_board("gcc", MODEL, folder)
    started = [
        boot(board("posix"), firmware, image(MEMBER), name=MEMBER.name, store=folder / f"store{i}")
        for i in range(BOARDS)
    ]
    for one in started:
        enrol(one)
    yield started
    for one in started:
        assert one.running, one.complaint()
        one.close()


def enrol(one: Emulator) -> None:
    node = Node(open_link(one.link))
    node.enrol(KEY)
    node.close()


def one_round(one: Emulator, fault: Fault) -> tuple[bytes, int, int]:
    """What the board said, and the bytes of both directions."""
    said, link = round_over(lambda: open_link(one.link), KEY, fault, DEADLINE)
    return said, link.up, link.down


def test_a_clean_round_is_the_twins(boards: list[Emulator]) -> None:
    said, up, down = one_round(boards[0], Fault())
    assert said == twins_round() and up > 200 and down > 200


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", FAULTS)
def test_no_byte_anywhere_can_change_what_a_round_comes_to(boards: list[Emulator], kind: str) -> None:
    """0 wrong weights, 0 hangs; as the fault is over after one byte, every round completes."""
    expected = twins_round()
    _, up, down = one_round(boards[0], Fault())
    free: SimpleQueue[Emulator] = SimpleQueue()
    for one in boards:
        free.put(one)

    def case(where: tuple[bool, int]) -> tuple[bool, int, float, str]:
        one, fault, start = free.get(), Fault(kind, *where), time.monotonic()
        try:
            said = one_round(one, fault)[0]
            wrong = "" if said == expected else "wrong"
            wrong = wrong or ("" if fault.done else "the fault did not happen")
        except Exception as error:  # noqa: BLE001 - shown with its place
            wrong = repr(error)
        finally:
            free.put(one)
        return (*where, time.monotonic() - start, wrong)

    places = [(True, i) for i in range(up)] + [(False, i) for i in range(down)]
    with ThreadPoolExecutor(BOARDS) as pool:
        results = list(pool.map(case, places))
    assert not [r for r in results if r[3]]
    assert max(r[2] for r in results) < 3 * DEADLINE

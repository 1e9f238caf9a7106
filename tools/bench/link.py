"""What the wire makes of a serial line: goodput as a share of the line rate, in virtual time (costs: line.py).

    python tools/bench/link.py            tables, after two minutes
    python tools/bench/link.py --write    into docs/LINKS.md too
    python tools/bench/link.py --json     all figures as one document

The host's end is tinyfl.wire.session, the board's end the compiled firmware/core/session.c. A transfer's time runs from
the first byte that its sender puts on the line to the byte that makes it whole at the receiver's UART (or converter).
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import json
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from line import HOST_WRITE, Costs, Line

from tinyfl.wire import messages as wire
from tinyfl.wire.chunks import Chunks
from tinyfl.wire.session import Session

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build/bench"
SOURCES = [ROOT / "tools/bench/link_board.c", *(ROOT / f"firmware/core/{n}.c" for n in ("session", "frame", "wire"))]
PAGE = ROOT / "docs/LINKS.md"
INCLUDES = (f"-I{ROOT}/firmware/include", f"-I{ROOT}/firmware/core")
BODY, WINDOW, TRANSMIT, MOST = 16384, 2048, 256, 512
BAUDS, LATENCIES = (115_200, 921_600), (0.001, 0.016)
RATES = (0.0, 1e-6, 1e-5, 1e-4)
CHUNKS = (64, 128, 256, 512, 0)  # 0: adaptive
WINDOWS = (512, 1024, 2048, 3072)
TRANSMITS = (0, 16, 64, 256)
SEEDS, TRANSFERS = 10, 3  # sessions of so many transfers each way, where there are errors
LIMIT = 600.0  # virtual seconds
PUT, GET = 0x41, 0x42  # no messages of tinyfl's: the session carries any
HAR_WEIGHTS = 32 * 7 + 7
CLEAN_GOAL, NOISY_GOAL, ROUND_GOAL = 0.95, 0.65, 0.06


@dataclass(frozen=True)
class Result:
    """Goodput as a share of the line rate, to the board and to the host."""

    baud: int
    latency: float
    bit_error_rate: float
    chunk: int
    window: int
    transmit: int
    down: float
    up: float
    overrun: int


class Fixed(Chunks):
    """Frames of one size, whatever is lost."""

    def _choose(self) -> None:
        return


class Board:
    """The compiled session; ``taken`` is called when a request has become whole."""

    def __init__(self, library: ctypes.CDLL, body_bytes: int = BODY) -> None:
        self._library = library
        self._board = ctypes.c_void_p(library.bench_new(body_bytes))
        self._out = ctypes.create_string_buffer(4 * body_bytes + 4096)
        self._count = 0
        self.taken: Callable[[], None] = lambda: None

    def __call__(self, data: bytes) -> bytes:
        """What it sends when it reads these bytes."""
        size = self._library.bench_feed(self._board, data, len(data), self._out)
        if self._library.bench_taken(self._board) != self._count:
            self._count = self._library.bench_taken(self._board)
            self.taken()
        return bytes(self._out[:size])

    def reply(self, size: int) -> None:
        """Replies have so many bytes of the body from now on."""
        self._library.bench_reply(self._board, size)

    def body(self, size: int) -> bytes:
        """The board's body: the last request, the next reply."""
        return ctypes.string_at(self._library.bench_body(self._board), size)

    def close(self) -> None:
        """Gives its memory back."""
        self._library.bench_free(self._board)


def build_board() -> ctypes.CDLL:
    """Compiles the board's side into build/bench."""
    BUILD.mkdir(parents=True, exist_ok=True)
    library = BUILD / "link_board.so"
    extra = [path for path in [ROOT / "firmware/core/retained.c"] if path.exists()]
    flags = ["gcc", "-std=c99", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", *INCLUDES]
    subprocess.run([*flags, *map(str, SOURCES + extra), "-o", str(library)], check=True, timeout=60)
    loaded = ctypes.CDLL(str(library))
    loaded.bench_new.restype = loaded.bench_body.restype = ctypes.c_void_p
    return loaded


class Exchange:
    """A session over a line, after HELLO."""

    def __init__(self, library: ctypes.CDLL, costs: Costs, chunk: int, seed: int) -> None:
        self.board = Board(library)
        self.session = Session(1 + seed)
        self.line = Line(costs, self.session, self.board, seed)
        self.ask(wire.Hello.TYPE, bytes(wire.Hello.BYTES), repeat_every=0.1)
        self.session.agree(MOST, costs.window)
        self.ask(GET, b"")  # the first message after HELLO costs a round trip more, if it is long: it may be half there
        if chunk:
            self.session.down, self.session.up = Fixed(chunk // wire.UNIT), Fixed(chunk // wire.UNIT)

    def ask(self, type: int, body: bytes, reply: int = 0, repeat_every: float | None = None) -> tuple[float, float]:
        """Seconds until the request was whole at the board, and the reply at the host."""
        line, session = self.line, self.session
        times: list[float] = []
        self.board.taken = lambda: times.append(line.now)
        self.board.reply(reply)
        start = line.now
        session.request(type, body, start, repeat_every)
        line.run(lambda: session.reply is not None, start + LIMIT)
        if len(times) != 1:
            raise RuntimeError(f"the board took the request {len(times)} times")
        if session.reply != (type | 0x80, self.board.body(reply)) or self.board.body(len(body)) != body:
            raise RuntimeError("wrong bytes arrived")
        return times[0] - start - HOST_WRITE, line.last_byte - times[0]


def measure(library: ctypes.CDLL, costs: Costs, chunk: int) -> Result:
    """Goodput over some sessions; on a clean line one is enough."""
    down = up = 0.0
    seeds, transfers = (SEEDS, TRANSFERS) if costs.bit_error_rate else (1, 1)
    overrun = 0
    for seed in range(seeds):
        exchange = Exchange(library, costs, chunk, seed)
        for _ in range(transfers):
            body = random.Random(seed).randbytes(BODY)
            down += exchange.ask(PUT, body)[0]
            up += exchange.ask(GET, b"", BODY)[1]
        overrun += exchange.line.overrun
        exchange.board.close()
    line_time = seeds * transfers * BODY * costs.byte_time
    figures = asdict(costs) | {"down": line_time / down, "up": line_time / up, "chunk": chunk, "overrun": overrun}
    return Result(**figures)


def har_round(library: ctypes.CDLL) -> dict[str, int]:
    """Bytes of TRAIN and COLLECT for the HAR head with all framing, and of their bodies alone."""
    exchange = Exchange(library, Costs(115_200, 0.001, 0.0, WINDOW, TRANSMIT), 0, 0)
    line = exchange.line
    down, up = line.sent_down, line.sent_up
    train, delta = wire.Train.BYTES + 2 * HAR_WEIGHTS, wire.Delta.BYTES + HAR_WEIGHTS
    exchange.ask(wire.Train.TYPE, bytes(train), wire.Trained.BYTES)
    exchange.ask(wire.Collect.TYPE, bytes(wire.Collect.BYTES), delta)
    exchange.board.close()
    bodies = train + wire.Trained.BYTES + wire.Collect.BYTES + delta
    return {"down": line.sent_down - down, "up": line.sent_up - up, "bodies": bodies}


def sweep(library: ctypes.CDLL) -> Iterator[Result]:
    """All figures."""
    for baud, latency in itertools.product(BAUDS, LATENCIES):
        for rate, chunk in itertools.product(RATES, CHUNKS):
            yield measure(library, Costs(baud, latency, rate, WINDOW, TRANSMIT), chunk)
        for window, chunk in itertools.product(WINDOWS, (128, 256, 512)):
            if window != WINDOW:
                yield measure(library, Costs(baud, latency, 0.0, window, TRANSMIT), chunk)
        for transmit in TRANSMITS[:-1]:
            yield measure(library, Costs(baud, latency, 0.0, WINDOW, transmit), 512)


def misses(results: list[Result], costs: dict[str, int]) -> list[str]:
    """Goals that were not reached."""
    lines = []
    for r in results:
        clean = r.bit_error_rate == 0 and not 0 < r.chunk < 256 and r.window >= WINDOW and r.transmit == TRANSMIT
        noisy = r.bit_error_rate == 1e-4 and r.chunk == 0
        goal = CLEAN_GOAL if clean else NOISY_GOAL if noisy else 0.0
        if min(r.down, r.up) < goal:
            lines.append(f"below {goal:.0%}: {r}")
    overhead = (costs["down"] + costs["up"]) / costs["bodies"] - 1
    return lines if overhead <= ROUND_GOAL else [*lines, f"a HAR round costs {overhead:.1%} beside its bodies"]


def table(results: list[Result], title: str, name: str, rows: dict[str, tuple[float, int, int, int]]) -> str:
    """A Markdown table: a row for each (bit error rate, chunk, window, transmit), a column for each line."""
    columns = list(itertools.product(BAUDS, LATENCIES))
    heads = [f"{baud:,} baud, {latency * 1000:.0f} ms" for baud, latency in columns]
    lines = [f"{title}:", "", f"| {name} | {' | '.join(heads)} |", "|---" * (len(columns) + 1) + "|"]
    for label, row in rows.items():
        found = {
            (r.baud, r.latency): f"{100 * r.down:.1f} / {100 * r.up:.1f}"
            for r in results
            if (r.bit_error_rate, r.chunk, r.window, r.transmit) == row
        }
        lines.append(f"| {label} | {' | '.join(found[column] for column in columns)} |")
    return "\n".join([*lines, ""])


def report(results: list[Result], costs: dict[str, int]) -> str:
    """The tables of docs/LINKS.md."""
    parts = []
    for rate in RATES:
        rows = {str(chunk or "adaptive"): (rate, chunk, WINDOW, TRANSMIT) for chunk in CHUNKS}
        parts.append(table(results, f"Bit error rate {rate:g}" if rate else "Clean line", "chunk", rows))
    windows = {f"{w}, {c}": (0.0, c, w, TRANSMIT) for w in WINDOWS for c in (128, 256, 512)}
    parts.append(table(results, "Clean line, by the board's window", "window, chunk", windows))
    buffers = {str(t): (0.0, 512, WINDOW, t) for t in TRANSMITS}
    parts.append(table(results, "Clean line, chunk 512, by the port's transmit buffer", "bytes", buffers))
    total = costs["down"] + costs["up"]
    parts.append(
        f"TRAIN and COLLECT for the HAR head ({HAR_WEIGHTS} weights) and their replies: {costs['down']} bytes to the "
        f"board, {costs['up']} to the host,\nfor bodies of {costs['bodies']}: {total / costs['bodies'] - 1:.1%} more. "
        f"Each question while the board trains costs another 26.\n"
    )
    return "\n".join(parts)


def write_page(text: str) -> None:
    """Puts the tables between the page's marks."""
    page = PAGE.read_text()
    marked = re.sub(r"(<!-- bench -->\n).*?(<!-- end -->)", lambda m: f"{m[1]}{text}{m[2]}", page, flags=re.S)
    PAGE.write_text(marked)


def main() -> int:
    """Prints the tables; 8 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one document instead of tables")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/LINKS.md")
    arguments = parser.parse_args()
    library = build_board()
    results, costs = list(sweep(library)), har_round(library)
    missed = misses(results, costs)
    if arguments.json:
        print(json.dumps({"results": [asdict(r) for r in results], "har_round": costs, "missed": missed}, indent=1))
    else:
        print(report(results, costs))
        if arguments.write:
            write_page(report(results, costs))
        print("\n".join(missed), file=sys.stderr)
    return 8 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

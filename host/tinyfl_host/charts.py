"""Charts as inline SVG: no script, no font, no load; colours come from the page's CSS variables by class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 720
LEFT, RIGHT = 48, 132  # room for the axis and for the names of lines
LABELS = 112  # room for the names of boards

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """A line: ``style`` is its CSS class; None where nothing was measured."""

    name: str
    style: str
    values: Sequence[tuple[int, float | None]]


@dataclass(frozen=True)
class Level:
    """A horizontal line that does not change with rounds."""

    name: str
    style: str
    value: float


@dataclass(frozen=True)
class Row:
    """One board's accuracies; ``detail`` stands small under its name."""

    name: str
    detail: str
    style: str
    before: float | None
    after: float | None
    local: float | None


def accuracy_chart(series: Sequence[Series], levels: Sequence[Level], rounds: int) -> str:
    """Accuracy by round, each line named at its end."""
    height, top, bottom = 320, 14, 34
    known = [v for s in series for _, v in s.values if v is not None] + [level.value for level in levels]
    low, high = _range(known)

    def x(round: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * round / max(1, rounds)

    def y(value: float) -> float:
        return top + (height - top - bottom) * (high - value) / (high - low)

    parts = [_grid(low, high, y), _round_axis(rounds, x, height - bottom)]
    for level in levels:
        title = f"<title>{escape(level.name)}: {percent(level.value)}</title>"
        path = f"M{x(0):.1f} {y(level.value):.1f}H{x(rounds):.1f}"
        parts.append(f'<path class="level {level.style}" d="{path}">{title}</path>')
    for one in series:
        parts.append(_line([(x(r), y(v)) for r, v in one.values if v is not None], one))
    ends = [(y(s.values[-1][1]), s.name, s.style, s.values[-1][1]) for s in series if s.values and s.values[-1][1]]
    ends += [(y(level.value), level.name, level.style, level.value) for level in levels]
    for at, (_, name, style, value) in zip(_apart([end[0] for end in sorted(ends)], 16), sorted(ends), strict=True):
        label = f"{escape(name)} {percent(value)}"
        parts.append(f'<text class="end {style}" x="{x(rounds) + 8:.1f}" y="{at + 4:.1f}">{label}</text>')
    return _svg(WIDTH, height, "Accuracy by round", parts)


def board_chart(rows: Sequence[Row]) -> str:
    """One bar a board: how far it came, where it began, and what it would have learned alone."""
    pitch, top = 38, 22
    height = top + pitch * len(rows) + 8
    left = LABELS + 12

    def x(value: float) -> float:
        return left + (WIDTH - left - 56) * value

    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<path class="grid" d="M{x(tick):.1f} {top - 4}V{height - 8}"/>')
        parts.append(f'<text class="tick middle" x="{x(tick):.1f}" y="{top - 10}">{percent(tick, 0)}</text>')
    for i, row in enumerate(rows):
        parts.append(_board_row(row, top + pitch * i + 6, x))
    return _svg(WIDTH, height, "Accuracy of each board", parts)


def byte_chart(rounds: Sequence[tuple[int, int, int, int]]) -> str:
    """Bytes of each round (round, payload up, all up, down), stacked."""
    height, top, bottom = 180, 12, 34
    most = max((up + down for _, _, up, down in rounds), default=0) or 1
    step = (WIDTH - LEFT - 12) / max(1, len(rounds))

    def y(value: float) -> float:
        return top + (height - top - bottom) * (1 - value / most)

    parts = []
    for tick in _ticks(0, most, 4):
        parts.append(f'<path class="grid" d="M{LEFT} {y(tick):.1f}H{WIDTH - 12}"/>')
        parts.append(f'<text class="tick end-anchor" x="{LEFT - 8}" y="{y(tick) + 4:.1f}">{_short(tick)}</text>')
    for i, (round, payload, up, down) in enumerate(rounds):
        width, level = min(step * 0.7, 40), 0
        at = LEFT + step * (i + 0.5) - width / 2
        title = f"<title>round {round}: {payload:,} B deltas, {up - payload:,} B framing up, {down:,} B down</title>"
        bars = []
        for style, count in (("payload", payload), ("framing", up - payload), ("down", down)):
            tall = y(level) - y(level + count)
            level += count
            place = f'x="{at:.1f}" y="{y(level):.1f}" width="{width:.1f}" height="{tall:.1f}"'
            bars.append(f'<rect class="{style}" {place}/>')
        parts.append(f"<g>{title}{''.join(bars)}</g>")
        if _labelled(i, len(rounds)):
            parts.append(f'<text class="tick middle" x="{at + width / 2:.1f}" y="{height - 14}">{round}</text>')
    return _svg(WIDTH, height, "Bytes by round", parts)


def percent(value: float | None, digits: int = 1) -> str:
    """``78.3 %``, or a dash."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def _board_row(row: Row, y: float, x: object) -> str:
    assert callable(x)
    parts = [f'<text class="name" x="0" y="{y + 11}">{escape(row.name)}</text>']
    parts.append(f'<text class="detail" x="0" y="{y + 25}">{escape(row.detail)}</text>')
    parts.append(f'<rect class="track" x="{x(0):.1f}" y="{y + 4}" width="{x(1) - x(0):.1f}" height="14" rx="3"/>')
    if row.after is not None:
        wide = x(row.after) - x(0)
        parts.append(
            f'<rect class="bar {row.style}" x="{x(0):.1f}" y="{y + 4}" width="{wide:.1f}" height="14" rx="3"/>'
        )
        parts.append(f'<text class="value" x="{WIDTH}" y="{y + 16}">{percent(row.after)}</text>')
    if row.before is not None:
        parts.append(f'<path class="was" d="M{x(row.before):.1f} {y + 1}v20"/>')
    if row.local is not None:
        parts.append(f'<circle class="alone" cx="{x(row.local):.1f}" cy="{y + 11}" r="4.5"/>')
    told = f"{row.name}: before {percent(row.before)}, after {percent(row.after)}, alone {percent(row.local)}"
    return f"<g><title>{escape(told)}</title>{''.join(parts)}</g>"


def _line(points: Sequence[Point], series: Series) -> str:
    if not points:
        return ""
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    told = [(r, v) for r, v in series.values if v is not None]
    dots = "".join(
        f'<circle class="dot {series.style}" cx="{x:.1f}" cy="{y:.1f}" r="2.6">'
        f"<title>{escape(series.name)}, round {r}: {percent(v)}</title></circle>"
        for (x, y), (r, v) in zip(points, told, strict=True)
    )
    return f'<path class="line {series.style}" d="{path}"/>{dots}'


def _grid(low: float, high: float, y: object) -> str:
    assert callable(y)
    lines = []
    for tick in _ticks(low, high, 6):
        lines.append(f'<path class="grid" d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}"/>')
        lines.append(f'<text class="tick end-anchor" x="{LEFT - 8}" y="{y(tick) + 4:.1f}">{percent(tick, 0)}</text>')
    return "".join(lines)


def _round_axis(rounds: int, x: object, y: float) -> str:
    assert callable(x)
    ticks = [int(t) for t in _ticks(0, max(1, rounds), 10) if t == int(t)]
    numbers = "".join(f'<text class="tick middle" x="{x(t):.1f}" y="{y + 18}">{t}</text>' for t in ticks)
    return f'{numbers}<text class="tick end-anchor" x="{LEFT - 8}" y="{y + 18}">round</text>'


def _range(values: Sequence[float]) -> tuple[float, float]:
    """A little more than the values take, in steps of five points."""
    if not values:
        return 0.0, 1.0
    low, high = math.floor(min(values) * 20 - 0.2) / 20, math.ceil(max(values) * 20 + 0.2) / 20
    return max(0.0, low), min(1.0, max(high, low + 0.1))


def _ticks(low: float, high: float, most: int) -> list[float]:
    """At most about ``most`` round numbers from low to high."""
    raw = (high - low) / most
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * k for k in (1, 2, 5, 10) if size * k >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(step * k, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _apart(places: Sequence[float], least: float) -> list[float]:
    """The places, in order, moved until neighbours are ``least`` apart, around where they were."""
    moved = list(places)
    for _ in range(40):
        for i in range(1, len(moved)):
            short = least - (moved[i] - moved[i - 1])
            if short > 0:
                moved[i - 1] -= short / 2
                moved[i] += short / 2
    return moved


def _labelled(place: int, count: int) -> bool:
    return (place + 1) % max(1, math.ceil(count / 20)) == 0


def _short(count: float) -> str:
    return f"{count / 1000:g} kB" if count >= 1000 else f"{count:g} B"


def _svg(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    inner = "".join(parts)
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">{inner}</svg>'

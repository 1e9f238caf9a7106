"""Charts as inline SVG: no script, no font, no load; colours come from the page's CSS variables by class."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 720
LEFT, RIGHT = 48, 132  # room for the axis and for the names of lines
LABELS = 112  # room for the names of boards

STANDALONE = 'xmlns="http://www.w3.org/2000/svg" font-family="system-ui, sans-serif" font-size="12"'
ARENA_STYLE = (
    "text{fill:#475569}.name{font-size:14px;font-weight:600;fill:#0f172a}"
    ".paper{fill:#ffffff}.grid{stroke:#e4e8ed}.end-anchor{text-anchor:end}.label{text-anchor:middle;fill:#0f172a}"
    "rect{stroke:#ffffff;stroke-width:1}.value0{fill:#9dc1f7}.value1{fill:#c3dafa}.value2{fill:#7facf0}"
    ".scratch{fill:url(#hatch)}"
)
HATCH = (
    '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="6" height="6" style="fill:#fdf0e0;stroke:none"/><path d="M0 0V6" stroke="#e9b27a" stroke-width="2"/>'
    "</pattern></defs>"
)

POINTS = 200  # of a line, at most
QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)
SPAN = 4  # how far apart ends may be on a linear scale

Point = tuple[float, float]
Scale = Callable[[float], float]


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


@dataclass(frozen=True)
class Trail:
    """A configuration on its way: (x, accuracy, deviation) by round; ``label`` stands at its end, empty for none."""

    name: str
    label: str
    style: str
    points: Sequence[tuple[float, float, float]]


@dataclass(frozen=True)
class Span:
    """Bytes of an arena that are taken from layer ``first`` to ``last`` (-1: before all layers)."""

    name: str
    detail: str
    start: int
    size: int
    first: int
    last: int
    style: str  # "value" or "scratch"


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


def spread_chart(series: Sequence[Series]) -> str:
    """Accuracies of many boards, each line's from its lowest to its highest; a line without a name is dashed."""
    height, top, bottom = 320, 14, 34
    low, high = _range([v for s in series for _, v in s.values if v is not None])

    def x(share: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * share

    def y(value: float) -> float:
        return top + (height - top - bottom) * (high - value) / (high - low)

    parts, ends = [_grid(low, high, y)], []
    for tick in QUANTILES:
        parts.append(f'<path class="grid" d="M{x(tick):.1f} {top}V{height - bottom}"/>')
        parts.append(
            f'<text class="tick middle" x="{x(tick):.1f}" y="{height - bottom + 18}">{percent(tick, 0)}</text>'
        )
    for one in series:
        values = sorted(v for _, v in one.values if v is not None)
        if not values:
            continue
        few = min(len(values), POINTS)
        places = [i * (len(values) - 1) // max(1, few - 1) for i in range(few)]
        path = "L".join(f"{x((i + 0.5) / len(values)):.1f} {y(values[i]):.1f}" for i in places)
        kind = one.style if one.name else f"{one.style} was"
        parts.append(f'<path class="line {kind}" d="M{path}"/>')
        ends += [(y(values[-1]), one.name, one.style)] if one.name else []
    for at, (_, name, style) in zip(_apart([end[0] for end in sorted(ends)], 16), sorted(ends), strict=True):
        parts.append(f'<text class="end {style}" x="{x(1) + 8:.1f}" y="{at + 4:.1f}">{escape(name)}</text>')
    return _svg(WIDTH, height, "Accuracy of the boards, lowest first", parts)


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


def trail_chart(title: str, trails: Sequence[Trail], unit: str) -> str:
    """Accuracy over rounds ("round"), with bands, or over bytes ("bytes"), on a log scale where they differ much."""
    height, top, bottom = 360, 14, 34
    right = 26 + 7 * max((len(trail.label) for trail in trails), default=0)
    right = max(right, 20 + 7 * len(unit))
    ends = [trail.points[-1][0] for trail in trails if trail.points]
    log = unit == "bytes" and min(ends, default=0) > 0 and max(ends) > SPAN * min(ends)
    shown = [dataclasses.replace(t, points=[p for p in t.points if p[0] > 0 or not log]) for t in trails]
    points = [point for trail in shown for point in trail.points]
    wide = 1 if unit == "round" else 0
    low, high = _range([v for _, a, d in points for v in (max(0.0, a - wide * d), min(1.0, a + wide * d))])
    first, last = min((p[0] for p in points), default=0.0), max((p[0] for p in points), default=1.0)
    last = last if last > first else first + 1

    def x(value: float) -> float:
        share = math.log(value / first) / math.log(last / first) if log else (value - first) / (last - first)
        return LEFT + (WIDTH - LEFT - right) * share

    def y(value: float) -> float:
        return top + (height - top - bottom) * (high - value) / (high - low)

    parts = [_grid(low, high, y, right)]
    for tick in _log_ticks(first, last) if log else _ticks(first, last, 8):
        if unit == "bytes" or tick == int(tick):
            words = f"{tick:.0f}" if unit == "round" else _short(tick)
            parts.append(f'<text class="tick middle" x="{x(tick):.1f}" y="{height - bottom + 18}">{words}</text>')
    parts.append(f'<text class="tick" x="{WIDTH - right + 16}" y="{height - bottom + 18}">{unit}</text>')
    ordered = sorted((trail for trail in shown if trail.points), key=lambda trail: bool(trail.label))
    if unit == "round":
        parts += [_band(trail, x, y) for trail in ordered]
    parts += [_trail(trail, x, y, unit) for trail in ordered]
    named = [(x(t.points[-1][0]) + 8, y(t.points[-1][1]) + 4, t) for t in ordered if t.label]
    for (across, _, trail), down in zip(named, _clear([(a, d, t.label) for a, d, t in named]), strict=True):
        place = f'x="{across:.1f}" y="{down:.1f}"'
        parts.append(f'<text class="end near {trail.style}" {place}>{escape(trail.label)}</text>')
    return _svg(WIDTH, height, title, parts)


def arena_chart(title: str, layers: Sequence[str], spans: Sequence[Span], size: int) -> str:
    """Addresses over time, a column a layer; a file of its own, with colours. Where an input and the output of a layer
    share bytes, the input takes the left half of the layer's column and the output the right one."""
    top, bottom, left, right = 40, 100, 56, 12
    height = top + 340 + bottom
    step = (WIDTH - left - right) / len(layers)

    def x(layer: float) -> float:
        return left + step * min(max(layer, 0), len(layers))

    def y(address: float) -> float:
        return top + 340 * (1 - address / max(1, size))

    parts = [f"<style>{ARENA_STYLE}</style>{HATCH}", f'<rect class="paper" width="{WIDTH}" height="{height}" rx="10"/>']
    parts.append(f'<text class="name" x="{left}" y="20">{escape(title)}</text>')
    for tick in _ticks(0, max(1, size), 8):
        parts.append(f'<path class="grid" d="M{left} {y(tick):.1f}H{WIDTH - right}"/>')
        parts.append(f'<text class="tick end-anchor" x="{left - 8}" y="{y(tick) + 4:.1f}">{tick:,.0f}</text>')
    for i, span in enumerate(spans):
        begin, end = _lifetime(span, spans)
        parts.append(_block(span, x(begin), x(end), y(span.start + span.size), y(span.start), i))
    for i, layer in enumerate(layers):
        place = f"translate({x(i + 0.5) + 4:.1f} {height - bottom + 12}) rotate(-45)"
        parts.append(f'<text class="tick end-anchor" transform="{place}">{escape(layer)}</text>')
    svg = _svg(WIDTH, height, title, parts)
    return svg.replace("<svg ", f"<svg {STANDALONE} ", 1) + "\n"


def percent(value: float | None, digits: int = 1) -> str:
    """``78.3 %``, or a dash."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def _lifetime(span: Span, spans: Sequence[Span]) -> tuple[float, float]:
    """Where the block begins and ends, in columns."""

    def shares(other: Span) -> bool:
        return other is not span and other.start < span.start + span.size and span.start < other.start + other.size

    begin = span.first + 0.5 * any(other.last == span.first and shares(other) for other in spans)
    end = span.last + 1 - 0.5 * any(other.first == span.last and shares(other) for other in spans)
    return begin, end


def _block(span: Span, x: float, right: float, y: float, low: float, place: int) -> str:
    style = span.style if span.style == "scratch" else f"value{place % 3}"
    box = f'x="{x:.1f}" y="{y:.1f}" width="{right - x:.1f}" height="{low - y:.1f}"'
    words = _label((f"{span.name}, {span.size:,} B", span.name), right - x, low - y, (x + right) / 2, (y + low) / 2)
    told = f"{span.name}: {span.size:,} B at {span.start:,}{span.detail}"
    return f'<g><title>{escape(told)}</title><rect class="{style}" {box}/>{words}</g>'


def _label(texts: Sequence[str], width: float, height: float, x: float, y: float) -> str:
    """The first text that fits the box around (x, y), lying or upright; else nothing."""
    for text in texts:
        for along, across, turn in ((width, height, ""), (height, width, f' transform="rotate(-90 {x:.1f} {y:.1f})"')):
            if 6.6 * len(text) < along and across > 13:
                return f'<text class="label" x="{x:.1f}" y="{y + 4:.1f}"{turn}>{escape(text)}</text>'
    return ""


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


def _band(trail: Trail, x: Scale, y: Scale) -> str:
    """One deviation to each side."""
    over = [f"{x(p):.1f} {y(min(1.0, a + d)):.1f}" for p, a, d in trail.points]
    under = [f"{x(p):.1f} {y(max(0.0, a - d)):.1f}" for p, a, d in trail.points]
    return f'<path class="band {trail.style}" d="M{"L".join(over + under[::-1])}Z"/>'


def _trail(trail: Trail, x: Scale, y: Scale, unit: str) -> str:
    path = "M" + "L".join(f"{x(p):.1f} {y(a):.1f}" for p, a, _ in trail.points)
    at, value, deviation = trail.points[-1]
    where = f"round {at:.0f}" if unit == "round" else f"{at:,.0f} B"
    told = f"{trail.name}, {where}: {percent(value)}" + (f" ± {100 * deviation:.1f}" if deviation else "")
    dot = f'<circle class="dot {trail.style}" cx="{x(at):.1f}" cy="{y(value):.1f}" r="4"/>'
    return f'<g><title>{escape(told)}</title><path class="line {trail.style}" d="{path}"/>{dot}</g>'


def _clear(labels: Sequence[tuple[float, float, str]]) -> list[float]:
    """How far down each label (across, down, text) goes, so that none covers another; in the order given."""
    placed: dict[int, float] = {}
    for i in sorted(range(len(labels)), key=lambda i: labels[i][1]):
        across, down, text = labels[i]
        for j in sorted(placed, key=lambda j: placed[j]):
            left, words = labels[j][0], labels[j][2]
            beside = across < left + 7 * len(words) and left < across + 7 * len(text)
            if beside and abs(placed[j] - down) < 15:
                down = placed[j] + 15
        placed[i] = down
    return [placed[i] for i in range(len(labels))]


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [k * 10.0**d for d in decades for k in (1, 2, 5) if low <= k * 10.0**d <= high]


def _grid(low: float, high: float, y: object, right: int = RIGHT) -> str:
    assert callable(y)
    lines = []
    for tick in _ticks(low, high, 6):
        lines.append(f'<path class="grid" d="M{LEFT} {y(tick):.1f}H{WIDTH - right}"/>')
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

"""Runs side by side: what is one row, means and spreads, and pages that load nothing, whatever names stand in them."""

import csv
import dataclasses
import io
import json
import statistics
from pathlib import Path

import pytest
from support_rounds import TwinFleet, members, run, settings
from test_report import HOSTILE, Page

from tinyfl_host.charts import Trail, _clear, _log_ticks, trail_chart
from tinyfl_host.cli.sweep import table
from tinyfl_host.compare import Comparison, Moment, Row, Spread, compare, describe, differing, front, spread, title
from tinyfl_host.report import compared_csv, compared_html, compared_json, read_summary, write_report
from tinyfl_host.settings import Settings
from tinyfl_host.summary import Summary


def made(folder: Path, plan: Settings) -> Summary:
    run(folder, TwinFleet(members()), plan)
    return read_summary(max(folder.glob("0*")))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Summary]:
    """Two learning rates, three seeds each."""
    folder = tmp_path_factory.mktemp("runs")
    plans = [settings(rounds=3, local_only=False, rate=rate, seed=seed) for rate in (0.5, 0.1) for seed in (1, 2, 3)]
    return [made(folder, plan) for plan in plans]


def test_seeds_are_averaged_and_rows_are_told_apart_by_what_differs(runs: list[Summary]) -> None:
    compared = compare(runs, target=0.5)
    assert compared.keys == ["rate"] and [row.values for row in compared.rows] == [{"rate": 0.5}, {"rate": 0.1}]
    for row, own in zip(compared.rows, (runs[:3], runs[3:]), strict=True):
        after = [one.after.clients or 0.0 for one in own]
        assert row.clients == Spread(pytest.approx(statistics.mean(after)), pytest.approx(statistics.stdev(after)), 3)
        assert row.runs == [one.run for one in own] and [moment.round for moment in row.curve] == [0, 1, 2, 3]
        sent = [sum(r.payload_up for r in one.rounds) for one in own]
        assert row.last.up == pytest.approx(statistics.mean(sent) / 4) and not row.framed
        assert row.up == pytest.approx(sum(sent) / sum(r.selected for one in own for r in one.rounds))


def test_the_target_is_the_first_round_whose_mean_is_there(runs: list[Summary]) -> None:
    means = [moment.clients.mean for moment in compare(runs).rows[0].curve if moment.clients]
    row = compare(runs, target=max(means)).rows[0]
    assert row.reached is not None and row.reached.round == means.index(max(means))
    assert compare(runs, target=1.0).rows[1].reached is None and compare(runs).rows[0].reached is None


def test_a_single_value_has_no_spread() -> None:
    assert spread([0.5, None]) == Spread(0.5, None, 1) and spread([None]) is None and spread([]) is None


def row(accuracy: float | None, up: float, name: str = "") -> Row:
    clients = None if accuracy is None else Spread(accuracy, None, 1)
    curve = [Moment(1, clients, None, up, 0.0)]
    return Row(name, {"codec": name}, (), clients, None, up, 0.0, True, None, 1.0, 0, curve)


def test_the_front_is_what_nothing_beats_in_both() -> None:
    rows = [row(0.8, 100), row(0.8, 200), row(0.7, 100), row(0.7, 50), row(0.9, 300), row(None, 1)]
    assert front(rows) == [rows[0], rows[3], rows[4]]
    assert front([rows[0], row(0.8, 100)]) == [rows[0], row(0.8, 100)]


def test_rows_have_names_in_words(runs: list[Summary]) -> None:
    assert title({"codec": "int4", "rate": 0.25, "feedback": False}) == "int4, rate 0.25, no feedback"
    assert title({}) == "all runs"
    described = [describe(one) for one in runs]
    assert described[0]["codec"] == "int8" and "update" not in described[0]
    assert differing([*described, {**described[0], "codec": "sign", "seed": 9}]) == ["rate", "codec"]


def renamed(runs: list[Summary]) -> list[Summary]:
    """As a hostile recipe would name itself and its settings."""
    return [dataclasses.replace(one, recipe=HOSTILE, settings={**one.settings, "on": HOSTILE * (i > 2)})
            for i, one in enumerate(runs)]  # fmt: skip


def test_the_page_loads_nothing_and_escapes_names(runs: list[Summary]) -> None:
    compared = compare(renamed(runs), missing={HOSTILE: HOSTILE}, fixed={HOSTILE: HOSTILE}, target=0.5)
    text = compared_html(compared)
    page = Page(text)
    assert page.open == [] and page.loads == [] and page.tags.count("svg") == 3
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert HOSTILE not in text and "&lt;/svg&gt;&lt;script&gt;x" in text
    assert "url(" not in text and "@import" not in text and "http:" not in text and "default-src 'none'" in text


def test_many_configurations_keep_eight_colours() -> None:
    rows = [row(0.5 + i / 100, 100 + i if i % 2 else 200 - i, f"c{i}") for i in range(40)]
    text = compared_html(Comparison("har", ["codec"], rows, None, {}, {}, ()))
    assert Page(text).open == [] and text.count('class="line rest"') == 2 * 32
    assert "In colour: configurations that no other one beats" in text


def test_nothing_measured_is_a_page_too() -> None:
    text = compared_html(Comparison("har", [], [row(None, 0)], 0.9, {}, {}, ()))
    assert Page(text).open == [] and "no configuration gets there" in text


def test_csv_and_json_hold_the_same(runs: list[Summary], tmp_path: Path) -> None:
    compared = compare(runs)
    lines = list(csv.DictReader(io.StringIO(compared_csv(compared))))
    assert len(lines) == 6 * 4 and [line["rate"] for line in lines[::12]] == ["0.5", "0.1"]
    ends = [float(line["clients"]) for line in lines if line["round"] == "3"]
    document = json.loads(compared_json(compared))
    assert document["rows"][0]["clients"]["mean"] == pytest.approx(statistics.mean(ends[:3]))
    assert document["runs"] == [one.run for one in runs]
    files = [tmp_path / f"c.{kind}" for kind in ("html", "csv", "json")]
    assert write_report(compared, *files) == files and files[1].read_text() == compared_csv(compared)


def test_labels_do_not_cover_each_other() -> None:
    places = _clear([(0.0, 10.0, "one"), (5.0, 12.0, "two"), (300.0, 11.0, "far"), (0.0, 13.0, "three")])
    assert places[2] == 11.0 and sorted(places[i] for i in (0, 1, 3)) == [10.0, 25.0, 40.0]


def test_bytes_that_differ_much_are_on_a_log_scale() -> None:
    assert _log_ticks(90, 3000) == [100, 200, 500, 1000, 2000]
    near = trail_chart("t", [Trail("a", "a", "c0", [(0, 0.5, 0), (100, 0.6, 0)])], "bytes")
    far = trail_chart(
        "t", [Trail(n, n, "c0", [(0, 0.5, 0), (e, 0.6, 0)]) for n, e in (("a", 100), ("b", 9e4))], "bytes"
    )
    assert ">0 B<" in near and ">0 B<" not in far and ">10 kB<" in far
    assert "NaN" not in trail_chart("t", [Trail("a", "a", "c0", [])], "round")


def test_wide_rows_wrap_in_the_terminal() -> None:
    wide = {"codec": "int4", "select": "top", "entropy": False, "dense_rounds": 3, "evaluate_every": 100, "rate": 0.25}
    rows = [dataclasses.replace(row(0.5, 100 + i), values=wide, name=title(wide)) for i in range(3)]
    text = table(Comparison("har", list(wide), rows, 0.9, {"0001": "word " * 99}, {"k" * 30: 1, "l" * 40: 2}, ()))
    assert "\nint4, top, no entropy, dense rounds 3, evaluate every 100, rate 0.25\n    " in text
    assert max(len(line) for line in text.split("\n")) <= 80
    assert "\x1b" not in table(Comparison("h\x1b[2Jar", [], [row(None, 0.0)], None, {"\x1b": "\x1b"}, {}, ()))

"""Reports: the figures of the ledger in all three forms, nothing loaded from elsewhere, hostile names harmless."""

import csv
import dataclasses
import html.parser
import io
import itertools
import json
import re
from pathlib import Path

import pytest
from support_rounds import TwinFleet, members, raising, run, settings

from tinyfl.errors import ConfigError
from tinyfl_host.charts import _apart, _range, _ticks
from tinyfl_host.report import MANY, as_csv, as_html, as_json, read_summary, write_report
from tinyfl_host.summary import Summary

HOSTILE = "</svg><script>x"


class Page(html.parser.HTMLParser):
    """All tags, with what they load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [name for name, _ in attrs if name in ("src", "href", "srcset", "xlink:href") or name[:2] == "on"]
        if tag not in ("meta", "br", "path", "rect", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "rect", "circle"):
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    folder = tmp_path_factory.mktemp("run")
    boards = [dataclasses.replace(m, name=HOSTILE) if m.index == 1 else m for m in members()]
    run(folder, TwinFleet(boards, {"b2": raising("collect", 2)}), settings(rounds=4))
    return read_summary(folder / "0001")


def test_the_page_loads_nothing_and_is_well_formed(summary: Summary) -> None:
    text = as_html(summary)
    page = Page(text)
    assert page.open == [] and page.loads == []
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert "url(" not in text and "@import" not in text and "http:" not in text and "https:" not in text
    assert "default-src 'none'" in text and page.tags.count("svg") >= 2


def test_hostile_names_are_escaped(summary: Summary) -> None:
    text = as_html(summary)
    assert HOSTILE not in text and "&lt;/svg&gt;&lt;script&gt;x" in text


def many(summary: Summary, boards: int) -> Summary:
    """The same run with so many boards: copies of the first."""
    copies = itertools.islice(itertools.cycle(summary.boards), boards)
    return dataclasses.replace(summary, boards=[dataclasses.replace(b, name=f"n{i}") for i, b in enumerate(copies)])


def test_many_boards_are_shown_together(summary: Summary) -> None:
    each, together = as_html(many(summary, MANY)), as_html(many(summary, MANY + 1))
    assert ">n39<" in each and "All boards" not in each
    assert ">n39<" not in together and "Each board</h2>" not in together and Page(together).open == []
    assert len(as_html(many(summary, 2000))) < 3 * len(as_html(summary))
    clients = sorted(b.after for b in many(summary, 50).boards if b.role == "client" and b.after is not None)
    row = re.search("clients, after</td>(.*?)</tr>", as_html(many(summary, 50)))
    assert row is not None and re.findall(">([0-9., %]+)<", row[1]) == [
        "40",
        *(f"{100 * clients[place]:.1f} %" for place in (0, 4, 20, 35, 39)),
    ]


def test_boards_without_test_data_are_left_out_of_the_spread(summary: Summary) -> None:
    boards = many(summary, 50).boards
    bare = [dataclasses.replace(board, before=None, after=None, local=None) for board in boards]
    text = as_html(dataclasses.replace(summary, boards=bare))
    assert Page(text).open == [] and "NaN" not in text and "clients, after" not in text
    text = as_html(dataclasses.replace(summary, boards=[boards[0], *bare]))
    assert re.search('clients, after</td><td class="n">1</td>', text)


def test_the_page_shows_the_figures_and_the_drops(summary: Summary) -> None:
    text = as_html(summary)
    assert summary.after.clients is not None and f"{100 * summary.after.clients:.1f} %" in text
    assert summary.head_sha256 in text and "the cable is out" in text and "1 dropped" in text
    assert "not counted on these boards" in text


@pytest.mark.parametrize(("downlink", "again"), [("int16", False), ("difference", True)])
def test_the_page_says_what_crossed_the_links(summary: Summary, downlink: str, again: bool) -> None:
    first, *rounds = summary.rounds
    moved = [dataclasses.replace(r, bytes_up=2000, bytes_down=3000, body_up=1900, measuring=500) for r in rounds]
    update = {**summary.settings["update"], "downlink": downlink}
    page = as_html(
        dataclasses.replace(summary, rounds=[first, *moved], settings={**summary.settings, "update": update})
    )
    assert "Measuring took a further" in page and ("was not sent again" in page) == again


def test_csv_and_json_hold_the_same(summary: Summary) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(summary))))
    document = json.loads(as_json(summary))
    assert [int(row["round"]) for row in rows] == [0, 1, 2, 3, 4]
    assert [float(row["clients"]) for row in rows] == [r["accuracy"]["clients"] for r in document["rounds"]]
    assert [int(row["boards"]) for row in rows] == [0, 4, 3, 4, 4]
    assert document["drops"] == [{"round": 2, "board": "b2", "phase": "collect", "reason": "the cable is out"}]
    assert document["head_sha256"] == summary.head_sha256 and len(document["boards"]) == 5


def test_a_run_that_was_interrupted_has_a_report(tmp_path: Path) -> None:
    def stop(event: object) -> None:
        if type(event).__name__ == "RoundDone":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, plan=settings(local_only=False), stop=stop)
    text = as_html(read_summary(tmp_path / "0001"))
    assert "not finished" in text and "Each board alone" not in text


def test_a_run_without_unseen_boards_or_rounds_has_a_report(tmp_path: Path) -> None:
    run(tmp_path, TwinFleet(members(2, 0)), settings(rounds=0, local_only=False))
    text = as_html(read_summary(tmp_path / "0001"))
    assert "Never-seen users" not in text and Page(text).open == []


def test_nothing_measured_yet_is_an_error(tmp_path: Path) -> None:
    def stop(event: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop=stop)
    with pytest.raises(ConfigError, match="before anything was measured"):
        read_summary(tmp_path / "0001")


def test_a_file_that_cannot_be_written_is_named(summary: Summary, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path / "file"))) as error:
        write_report(summary, tmp_path / "file" / "r.html", None, None)
    assert error.value.exit_code == 3


def test_axes_have_round_ticks_and_labels_keep_their_distance() -> None:
    assert _ticks(0, 20, 10) == list(range(0, 21, 2)) and _ticks(0.55, 0.9, 6) == [0.6, 0.7, 0.8, 0.9]
    low, high = _range([0.601, 0.84])
    assert low < 0.601 and high > 0.84 and _range([]) == (0, 1) and _range([1.0])[1] == 1.0
    apart = _apart([10, 11, 12, 50], 16)
    assert all(b - a > 15 for a, b in itertools.pairwise(apart))

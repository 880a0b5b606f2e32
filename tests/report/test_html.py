"""The page: one file that loads nothing, shows what it is given and escapes it."""

from __future__ import annotations

import base64
import re
from dataclasses import FrozenInstanceError, replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import UnidentifiedImageError

from mitoscale.report.content import ReportContent, Table
from mitoscale.report.html import render
from mitoscale.report.pictures import encode, volume_histogram

VOID = {"meta", "img", "br", "link", "hr"}


class Outline(HTMLParser):
    """Checks that tags close in order, and keeps what a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        values = dict(attrs)
        self.links += [str(values[n]) for n in ("src", "href", "xlink:href") if n in values]
        if tag == "section":
            self.ids.append(str(values["id"]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [str(v) for n, v in attrs if n in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def outline(page: str) -> Outline:
    parser = Outline()
    parser.feed(page)
    parser.close()
    assert not parser.open
    return parser


def small() -> ReportContent:
    objects = Table(head=("label", "volume (µm³)", "border"), rows=[("1", "0.5", "no"), ("2", "", "yes")])
    return ReportContent(
        title="cortex.tif",
        figures={
            "mitochondria": "2",
            "their volume": "0.7 µm³",
            "part": "5.1%",
            "voxels": "10 × 20 × 30",
            "time": "9 s",
        },
        pictures=[
            ("slice 3", encode(np.zeros((8, 8, 3), np.uint8))),
            ("xz cut", encode(np.zeros((8, 40, 3), np.uint8))),
        ],
        histogram=volume_histogram(np.array([5e8, 2e8])),
        objects=objects,
        origin="All masks are the U-Net's.",
        stages=Table(head=("stage", "tasks"), rows=[("convert", "4")]),
        settings={"threads": "1", "detect": {"threshold": "0.5"}},
    )


def full() -> ReportContent:
    return replace(
        small(),
        subtitle="/volumes/cortex.tif",
        scores={"IoU": "0.81"},
        warnings=["1 task was given up"],
        seam_rates=Table(head=("at", "cut"), rows=[("block faces", "0")]),
        seams=Table(head=("face", "strength"), rows=[("z000_y000_x000+x", "0.52")]),
        quarantined=Table(head=("stage", "block", "error"), rows=[("segment", "z000_y000_x001", "MemoryError")]),
        origin_shares={"own": 0.75, "fallback": 0.25},
        stage_seconds={"convert": 1.0, "detect": 0.0, "segment": 3.0},
        provenance={"weights sam-small": "ab" * 32},
        footer="mitoscale 0.1",
    )


@pytest.mark.parametrize("content", [small(), full()], ids=["small", "full"])
def test_the_page_is_well_formed_and_loads_nothing(content: ReportContent) -> None:
    page = render(content)
    found = outline(page)
    assert found.links and all(link.startswith(("#", "data:image/")) for link in found.links)
    assert not re.search(r"<(script|link|iframe)\b|@import|url\((?!#)", page)
    assert "default-src 'none'" in page
    anchors = [link[1:] for link in found.links if link.startswith("#") and link[1:] in found.ids]
    assert anchors[: len(found.ids)] == found.ids, "the contents lead to every section"


def test_a_section_is_there_when_its_content_is() -> None:
    always = {"Pictures", "Volumes", "Largest objects", "Origin of the masks", "Stages", "Settings and provenance"}
    more = {"Scores against truth", "Seams", "Blocks given up", "Before you use this result"}
    assert set(outline(render(small())).headings) == always
    assert set(outline(render(full())).headings) == always | more
    page = render(full())
    assert "Most doubtful first" in page and "Inside blocks nothing was stitched" in page
    for text in ("z000_y000_x001", "0.52", "75.0%", "3.0 s", "ab" * 32, "1 task was given up", "mitoscale 0.1"):
        assert text in page


def test_a_run_without_any_object_has_a_report() -> None:
    empty = Table(head=("label",), rows=[])
    nothing = replace(small(), objects=empty, seams=empty, quarantined=empty, pictures=[], histogram=b"")
    page = render(replace(nothing, origin_shares={"own": 0.0}))
    assert "No object was found." in page and "No join at a block face is in doubt." in page
    assert "Most doubtful first" not in page, "there is no table that it would explain"
    assert "No block was given up." in page and "Pictures" not in outline(page).headings


def test_text_is_escaped_everywhere() -> None:
    evil = '<b>"$title&</b>'
    content = replace(
        full(),
        title=evil,
        subtitle=evil,
        figures={evil: evil},
        pictures=[(evil, encode(np.zeros((2, 2, 3), np.uint8)))],
        objects=Table(head=(evil,), rows=[(evil,)], swatches=[evil]),
        origin=evil,
        origin_shares={evil: 1.0},
        settings={evil: evil, "detect": {evil: evil}, evil + "2": {evil: evil}},
        provenance={evil: evil},
        scores={evil: evil},
        warnings=[evil],
        footer=evil,
    )
    page = render(content)
    assert "<b>&quot;" not in page and '<b>"' not in page
    assert page.count("&lt;b&gt;") > 15 and "$title&amp;" in page
    outline(page)


def test_pictures_are_inside_with_their_size() -> None:
    content = small()
    page = render(content)
    for _, data in content.pictures:
        assert base64.b64encode(data).decode() in page
    assert 'width="8" height="8" alt="slice 3"' in page
    assert page.count('<figure class="wide">') == 1
    large = encode(np.zeros((700, 700, 3), np.uint8))
    assert "data:image/jpeg;base64," in render(replace(content, pictures=[("slice", large)]))
    with pytest.raises(UnidentifiedImageError):
        render(replace(content, pictures=[("broken", b"no picture")]))


def test_numbers_are_set_flush_right_and_units_small() -> None:
    page = render(small())
    assert '<td class="number">0.5</td>' in page and "<td>yes</td>" in page
    for text in (
        "<dd>0.7<small> µm³</small></dd>",
        "<dd>5.1<small>%</small></dd>",
        "<dd>10 × 20 × 30</dd>",
        "<dd>2</dd>",
    ):
        assert text in page


def test_swatches_show_the_colour_of_a_row() -> None:
    table = Table(head=("label",), rows=[("1",), ("2",)], swatches=["#112233", "#445566"])
    page = render(replace(small(), objects=table))
    assert page.index("background:#112233") < page.index("background:#445566")


def test_a_table_must_be_rectangular() -> None:
    with pytest.raises(ValueError, match="row 1 has 1 cells, the table has 2 columns"):
        Table(head=("a", "b"), rows=[("1", "2"), ("3",)])
    with pytest.raises(ValueError, match="1 swatches for 2 rows"):
        Table(head=("a",), rows=[("1",), ("2",)], swatches=["#000000"])


def test_content_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        small().title = "other"  # type: ignore[misc]

"""The report of a run: one page that needs nothing else and says what a person must know."""

from __future__ import annotations

import base64
import io
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from commands import Call, Finished, Stack, largest_file
from PIL import Image

from mitoscale.storage.layout import RunFolder


class Page(HTMLParser):
    """Keeps the sources of pictures and links, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.pictures: list[str] = []
        self.external: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if tag == "img":
            self.pictures.append(values.get("src") or "")
        if tag in ("script", "link", "iframe", "object"):
            self.external.append(tag)
        self.external += [v or "" for k, v in attributes if k in ("src", "href") and (v or "").startswith(("http", "//"))]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def page(finished: Finished) -> Page:
    return Page(Path(RunFolder(finished.run).report).read_text())


def test_needs_nothing_else(page: Page) -> None:
    assert not page.external
    assert len(page.pictures) >= 3
    for source in page.pictures:
        kind, content = source.split(",", 1)
        assert kind in ("data:image/png;base64", "data:image/jpeg;base64")
        with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
            assert picture.mode == "RGB" and min(picture.size) >= 32


def test_pictures_show_the_image_and_labels_in_colour(finished: Finished) -> None:
    coloured = []
    for file in sorted(Path(RunFolder(finished.run).pictures).glob("*.png")):
        with Image.open(file) as picture:
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        assert pixels.std() > 5, f"{file.name} is empty"
        coloured.append(bool((np.ptp(pixels, axis=2) > 60).mean() > 0.01))
    assert sum(coloured) >= 3  # slices with labels, and the cuts


def test_says_what_a_person_must_know(page: Page, finished: Finished, stack: Stack) -> None:
    text = " ".join(page.text.split())
    for part in ("10 × 10 × 10 nm", "32 × 128 × 128", "Mvoxel/s", stack.image, "detect", "known_truth:segmenter"):
        assert part in text, part
    assert "$" not in text  # nothing of the template was left unfilled


def test_names_with_signs_of_html_are_only_text(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    source = tmp_path / "<b>a&b.tif"
    source.write_bytes(Path(stack.image).read_bytes())
    ended = mitoscale("run", str(source), str(tmp_path / "run"), *stack.exact(), "--region", "0:16,0:64,0:64")
    assert ended.code == 0, ended.err
    page = (tmp_path / "run" / "report.html").read_text()
    assert "&lt;b&gt;a&amp;b" in page and "<b>a" not in page


def test_a_second_report_replaces_the_pictures(mitoscale: Call, stack: Stack, finished: Finished, tmp_path: Path) -> None:
    import shutil

    run = str(tmp_path / "run")
    shutil.copytree(finished.run, run)
    before = sorted(p.name for p in Path(RunFolder(run).pictures).iterdir())
    Path(RunFolder(run).report).unlink()
    ended = mitoscale("report", run, "--redo", "report")
    assert ended.code == 0 and "report.html" in ended.out
    assert "dashboard" not in ended.err, "no cluster is started for it"
    assert Path(RunFolder(run).report).is_file()
    assert sorted(p.name for p in Path(RunFolder(run).pictures).iterdir()) == before


def test_the_embedded_sam_is_named_only_where_it_was_used(finished: Finished) -> None:
    """The sentence about the embedded SAM stands only where that SAM was used."""
    text = re.sub(r"\s+", " ", Path(RunFolder(finished.run).report).read_text())
    assert "trained from scratch" not in text


def test_on_a_full_disk_the_older_report_stays_and_one_line_says_so(mitoscale: Call, finished: Finished, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    shutil.copytree(finished.run, run)
    page = Path(RunFolder(run).report)
    before, names = page.read_bytes(), sorted(path.name for path in Path(run).iterdir())
    with largest_file(len(before) // 2):
        ended = mitoscale("report", run, "--redo", "report")
    assert ended.code == 4 and "Traceback" not in ended.err
    assert ended.err.splitlines()[-1].startswith(f"mitoscale: cannot write {page}: File too large; free or repair the disk")
    assert page.read_bytes() == before and sorted(path.name for path in Path(run).iterdir()) == names

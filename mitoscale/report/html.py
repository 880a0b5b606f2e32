"""The report as one HTML page that needs nothing else: pictures and styles are inside it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from string import Template

Row = Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of text."""

    head: Row
    """Column titles."""
    rows: Sequence[Row]
    """Cells."""


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """Everything the page shows, as text and pictures."""

    title: str
    """What was analysed."""
    figures: Mapping[str, str]
    """Headline: name and value with unit."""
    pictures: Sequence[tuple[str, bytes]]
    """Caption and PNG of each picture."""
    histogram: bytes
    """SVG of the volume distribution."""
    objects: Table
    """The largest objects."""
    origin: str
    """Where the masks came from, one or two sentences."""
    stages: Table
    """Tasks, seconds and speed of each stage."""
    settings: Mapping[str, str]
    """Settings and provenance."""
    scores: Mapping[str, str] = field(default_factory=dict)
    """Scores against truth, where there is one."""
    warnings: Sequence[str] = ()
    """Quarantined blocks and doubtful seams."""


def render(content: ReportContent) -> str:
    """The page.

    Parameters
    ----------
    content : ReportContent
        What it shows.

    Returns
    -------
    str
        HTML.
    """
    page = Template(files("mitoscale.report").joinpath("page.html").read_text())
    pictures = "".join(
        f'<figure><img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, png in content.pictures
    )
    svg = content.histogram.decode()
    return page.substitute(
        title=escape(content.title),
        figures=_figures(content.figures),
        scores=f"<section><h2>Against the truth</h2>{_figures(content.scores)}</section>" if content.scores else "",
        warnings="".join(f'<p class="warning">{escape(w)}</p>' for w in content.warnings),
        pictures=pictures,
        histogram=svg[svg.index("<svg") :],
        objects=_table(content.objects),
        origin=escape(content.origin),
        stages=_table(content.stages),
        settings=_table(Table(head=("setting", "value"), rows=list(content.settings.items()))),
    )


def _figures(values: Mapping[str, str]) -> str:
    cells = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in values.items())
    return f'<dl class="figures">{cells}</dl>'


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(c)}</th>" for c in table.head)
    rows = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in table.rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'

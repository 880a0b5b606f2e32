"""The report as one HTML page that needs nothing else: pictures and styles are inside it."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from string import Template

from PIL import Image

from mitoscale.report.content import ReportContent, Table

_LARGE = 3
"""So many figures of the headline are set large."""

_WIDE = 1.7
"""A picture this many times wider than high takes a row of its own."""

_RATES = (
    "Cut: profiles alike on both sides of a plane, in different objects. Unlike: joined profiles that look like two. "
    "Inside blocks nothing was stitched, so those planes tell what is usual."
)
"""What the rates at seams mean."""

_SUSPECTS = (
    "Most doubtful first. cut: alike on both sides, not joined; fused: joined, though it looks like two; doubtful: decided by a "
    "narrow margin; open: the neighbour is missing. Labels stand before | behind the face; strength is the mean overlap of what "
    "both blocks have read. All of them are in tables/edges.parquet."
)
"""What the table of suspects means."""

_NUMBER = re.compile(r"[-+−]?[\d.,]+(e[-+]?\d+)?\s?%?")
_WITH_UNIT = re.compile(r"(.*\d)(\s*[^\d\s][^\d]*)")


def render(content: ReportContent) -> str:
    """The page.

    Parameters
    ----------
    content : ReportContent
        What it shows; everything but the histogram's SVG is escaped.

    Returns
    -------
    str
        HTML that loads nothing from elsewhere, follows the reader's light or dark theme, and prints.

    Raises
    ------
    PIL.UnidentifiedImageError
        If a picture is not one.
    """
    page = Template(files("mitoscale.report").joinpath("page.html").read_text(encoding="utf-8"))
    settings = _definitions(content.provenance) + _settings(content.settings)
    origin = _shares(content.origin_shares, "{:.1%}") + (f"<p>{escape(content.origin)}</p>" if content.origin else "")
    sections = {
        "Pictures": _pictures(content),
        "Scores against truth": _figures(content.scores, "scores"),
        "Volumes": _histogram(content.histogram),
        "Largest objects": _table(content.objects, "No object was found."),
        "Origin of the masks": origin,
        "Seams": _seams(content),
        "Blocks given up": _optional(content.quarantined, "No block was given up."),
        "Stages": _shares(content.stage_seconds, "{:.1f} s") + _table(content.stages, "No stage has run."),
        "Settings and provenance": settings,
    }
    shown = {title: body for title, body in sections.items() if body}
    return page.substitute(
        title=escape(content.title),
        subtitle=f'<p class="subtitle">{escape(content.subtitle)}</p>' if content.subtitle else "",
        headline=_headline(content.figures),
        warnings=_warnings(content),
        contents="".join(f'<a href="#{_anchor(title)}">{escape(title)}</a>' for title in shown),
        sections="".join(
            f'<section id="{_anchor(title)}"><h2>{escape(title)}</h2>{body}</section>' for title, body in shown.items()
        ),
        footer=escape(content.footer),
    )


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _headline(figures: Mapping[str, str]) -> str:
    items = list(figures.items())
    return _figures(dict(items[:_LARGE]), "large") + _figures(dict(items[_LARGE:]), "small")


def _figures(values: Mapping[str, str], kind: str) -> str:
    cells = "".join(f"<div><dt>{escape(k)}</dt><dd>{_with_unit(v)}</dd></div>" for k, v in values.items())
    return f'<dl class="figures {kind}">{cells}</dl>' if cells else ""


def _with_unit(value: str) -> str:
    """The value with its unit set smaller."""
    match = _WITH_UNIT.fullmatch(value)
    return f"{escape(match[1])}<small>{escape(match[2])}</small>" if match else escape(value)


def _warnings(content: ReportContent) -> str:
    items = "".join(f"<li>{escape(w)}</li>" for w in content.warnings)
    return f'<aside class="warnings"><h2>Before you use this result</h2><ul>{items}</ul></aside>' if items else ""


def _pictures(content: ReportContent) -> str:
    figures = "".join(_figure(caption, data) for caption, data in content.pictures)
    return f'<div class="pictures">{figures}</div>' if figures else ""


def _figure(caption: str, data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as picture:
        (width, height), kind = picture.size, Image.MIME[picture.format or ""]
    shape = ' class="wide"' if width >= _WIDE * height else ""
    source = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    image = f'<img src="{source}" width="{width}" height="{height}" alt="{escape(caption)}">'
    return f"<figure{shape}>{image}<figcaption>{escape(caption)}</figcaption></figure>"


def _histogram(svg: bytes) -> str:
    text = svg.decode()
    return f'<div class="chart">{text[text.index("<svg") :]}</div>' if text else ""  # without the XML prologue


def _shares(values: Mapping[str, float], text: str) -> str:
    """A bar in proportion, with a legend; nothing where the values sum to 0."""
    total = sum(values.values())
    if total <= 0:
        return ""
    bar = "".join(f'<i class="s{i % 6}" style="flex-grow:{v / total:.4f}"></i>' for i, v in enumerate(values.values()))
    legend = "".join(
        f'<li><i class="s{i % 6}"></i>{escape(k)} <b>{text.format(v)}</b></li>' for i, (k, v) in enumerate(values.items())
    )
    return f'<div class="shares"><div class="bar" aria-hidden="true">{bar}</div><ul>{legend}</ul></div>'


def _optional(table: Table | None, empty: str) -> str:
    return "" if table is None else _table(table, empty)


def _seams(content: ReportContent) -> str:
    rates = _optional(content.seam_rates, "")
    suspects = _optional(content.seams, "No join at a block face is in doubt.")
    any_suspect = content.seams is not None and bool(content.seams.rows)
    return rates + (_note(_RATES) if rates else "") + suspects + (_note(_SUSPECTS) if any_suspect else "")


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _table(table: Table, empty: str) -> str:
    if not table.rows:
        return f'<p class="none">{escape(empty)}</p>'
    numeric = [all(_NUMBER.fullmatch(c) for c in cells if c) for cells in zip(*table.rows, strict=True)]
    kinds = [' class="number"' if n else "" for n in numeric]
    head = "".join(f'<th scope="col"{k}>{escape(c)}</th>' for c, k in zip(table.head, kinds, strict=True))
    if table.swatches:
        head = f'<th class="swatch"></th>{head}'
    rows = []
    for i, row in enumerate(table.rows):
        swatch = f'<td class="swatch"><i style="background:{escape(table.swatches[i])}"></i></td>' if table.swatches else ""
        cells = "".join(f"<td{k}>{escape(c)}</td>" for c, k in zip(row, kinds, strict=True))
        rows.append(f"<tr>{swatch}{cells}</tr>")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _settings(settings: Mapping[str, str | Mapping[str, str]]) -> str:
    plain = {k: v for k, v in settings.items() if isinstance(v, str)}
    groups = "".join(
        f"<div><h3>{escape(stage)}</h3>{_definitions(values)}</div>"
        for stage, values in settings.items()
        if not isinstance(values, str) and values
    )
    return _definitions(plain) + (f'<div class="groups">{groups}</div>' if groups else "")


def _definitions(values: Mapping[str, str]) -> str:
    rows = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in values.items())
    return f'<dl class="definitions">{rows}</dl>' if rows else ""

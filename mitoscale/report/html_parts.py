"""What pages are made of: figures, pictures, tables, bars, and the page itself with its style inside it."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template

from PIL import Image

from mitoscale.report.content import Table

_LARGE = 3
"""So many figures of the headline are set large."""

_WIDE = 1.7
"""A picture this many times wider than high takes a row of its own."""

_NUMBER = re.compile(r"[-+−]?[\d.,]+(e[-+]?\d+)?\s?(%|[µn]m³)?")
_WITH_UNIT = re.compile(r"(.*\d)(\s*[^\d\s][^\d]*)")


def page(
    *,
    title: str,
    subtitle: str,
    brand: str,
    headline: Mapping[str, str],
    warnings: Sequence[str],
    sections: Mapping[str, str],
    footer: str,
) -> str:
    """A page that loads nothing from elsewhere, follows the reader's light or dark theme, and prints.

    Parameters
    ----------
    title, subtitle, brand, footer : str
        What it is about, one line below that, what kind of page it is, and the last line; they are escaped.
    headline : mapping
        Name -> value with its unit; the first three are set large.
    warnings : sequence of str
        What the reader must know first.
    sections : mapping
        Title -> HTML; one without any is left out.

    Returns
    -------
    str
        HTML.
    """
    shown = {title: body for title, body in sections.items() if body}
    items = list(headline.items())
    return Template(files("mitoscale.report").joinpath("page.html").read_text(encoding="utf-8")).substitute(
        title=escape(title),
        brand=escape(brand),
        subtitle=f'<p class="subtitle">{escape(subtitle)}</p>' if subtitle else "",
        headline=figures(dict(items[:_LARGE]), "large") + figures(dict(items[_LARGE:]), "small"),
        warnings=_warnings(warnings),
        contents="".join(f'<a href="#{_anchor(title)}">{escape(title)}</a>' for title in shown),
        sections="".join(
            f'<section id="{_anchor(title)}"><h2>{escape(title)}</h2>{body}</section>' for title, body in shown.items()
        ),
        footer=escape(footer),
    )


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _warnings(warnings: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(w)}</li>" for w in warnings)
    return f'<aside class="warnings"><h2>Before you use this result</h2><ul>{items}</ul></aside>' if items else ""


def figures(values: Mapping[str, str], kind: str) -> str:
    """Names and values side by side.

    Parameters
    ----------
    values : mapping
        Name -> value with its unit, which is set smaller.
    kind : str
        ``large``, ``small`` or ``scores``: how it is set.
    """
    cells = "".join(f"<div><dt>{escape(k)}</dt><dd>{_with_unit(v)}</dd></div>" for k, v in values.items())
    return f'<dl class="figures {kind}">{cells}</dl>' if cells else ""


def _with_unit(value: str) -> str:
    """The value with its unit set smaller."""
    match = _WITH_UNIT.fullmatch(value)
    return f"{escape(match[1])}<small>{escape(match[2])}</small>" if match else escape(value)


def picture(caption: str, data: bytes) -> str:
    """A picture inside of the page, with its caption.

    Parameters
    ----------
    caption : str
        Below it.
    data : bytes
        PNG or JPEG.
    """
    with Image.open(io.BytesIO(data)) as picture:
        (width, height), kind = picture.size, Image.MIME[picture.format or ""]
    shape = ' class="wide"' if width >= _WIDE * height else ""
    source = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    image = f'<img src="{source}" width="{width}" height="{height}" alt="{escape(caption)}">'
    return f"<figure{shape}>{image}<figcaption>{escape(caption)}</figcaption></figure>"


def shares(values: Mapping[str, float], text: str) -> str:
    """A bar in proportion, with a legend; nothing where the values sum to 0.

    Parameters
    ----------
    values : mapping
        Name -> part of the whole.
    text : str
        Format of a value in the legend.
    """
    total = sum(values.values())
    if total <= 0:
        return ""
    bar = "".join(f'<i class="s{i % 6}" style="flex-grow:{v / total:.4f}"></i>' for i, v in enumerate(values.values()))
    legend = "".join(
        f'<li><i class="s{i % 6}"></i>{escape(k)} <b>{text.format(v)}</b></li>' for i, (k, v) in enumerate(values.items())
    )
    return f'<div class="shares"><div class="bar" aria-hidden="true">{bar}</div><ul>{legend}</ul></div>'


def note(text: str) -> str:
    """Small text that explains what is beside it."""
    return f'<p class="note">{escape(text)}</p>'


def table_of(table: Table, empty: str) -> str:
    """A table.

    Parameters
    ----------
    table : Table
        What it shows.
    empty : str
        What stands there instead where it has no rows.
    """
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


def definitions(values: Mapping[str, str]) -> str:
    """Names and values below one another; nothing where there are none."""
    rows = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in values.items())
    return f'<dl class="definitions">{rows}</dl>' if rows else ""

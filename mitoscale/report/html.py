"""The report as one HTML page that needs nothing else: pictures and styles are inside it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from mitoscale.report.content import Doubts, Part, ReportContent, Table
from mitoscale.report.html_parts import definitions, figures, note, page, picture, shares, table_of

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


_DOUBT = (
    "Doubt about a profile is 1 where the detector's mean foreground probability is a half and 0 where it is 0 or 1; the map shows "
    "its mean over all profiles of a place, weighted by area. Doubt about an object is 1 minus the product of its mean foreground "
    "probability, the part of it that the detector takes for foreground, and the score of the segmenter's masks. Numbers in the "
    "map are those of the list; each picture shows an object beside the foreground probability there."
)
"""What the map and the list of doubts mean."""


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
    settings = definitions(content.provenance) + _settings(content.settings)
    origin = shares(content.origin_shares, "{:.1%}") + (f"<p>{escape(content.origin)}</p>" if content.origin else "")
    return page(
        title=content.title,
        subtitle=content.subtitle,
        brand="segmentation report",
        headline=content.figures,
        warnings=content.warnings,
        sections={
            "Pictures": _pictures(content),
            "Scores against truth": figures(content.scores, "scores"),
            "Volumes": _histogram(content.histogram),
            "Largest objects": table_of(content.objects, "No object was found."),
            "Cells": _part(content.cells),
            "Corrections": _part(content.edits),
            "Where the models were unsure": _doubts(content.doubts),
            "Origin of the masks": origin,
            "Seams": _seams(content),
            "Blocks given up": _optional(content.quarantined, "No block was given up."),
            "Stages": shares(content.stage_seconds, "{:.1f} s") + table_of(content.stages, "No stage has run."),
            "Settings and provenance": settings,
        },
        footer=content.footer,
    )


def _pictures(content: ReportContent) -> str:
    shown = "".join(picture(caption, data) for caption, data in content.pictures)
    return f'<div class="pictures">{shown}</div>' if shown else ""


def _part(part: Part | None) -> str:
    return "" if part is None else figures(part.figures, "scores") + table_of(part.table, "") + note(part.note)


def _doubts(doubts: Doubts | None) -> str:
    if doubts is None or not (doubts.chart or doubts.table.rows):
        return ""
    thumbnails = "".join(picture(caption, data) for caption, data in doubts.pictures)
    pictures = f'<div class="thumbnails">{thumbnails}</div>' if thumbnails else ""
    table = table_of(doubts.table, "No object was found.")
    return _histogram(doubts.chart) + note(" ".join(filter(None, (_DOUBT, doubts.note)))) + table + pictures


def _histogram(svg: bytes) -> str:
    text = svg.decode()
    return f'<div class="chart">{text[text.index("<svg") :]}</div>' if text else ""  # without the XML prologue


def _optional(table: Table | None, empty: str) -> str:
    return "" if table is None else table_of(table, empty)


def _seams(content: ReportContent) -> str:
    rates = _optional(content.seam_rates, "")
    suspects = _optional(content.seams, "No join at a block face is in doubt.")
    any_suspect = content.seams is not None and bool(content.seams.rows)
    return rates + (note(_RATES) if rates else "") + suspects + (note(_SUSPECTS) if any_suspect else "")


def _settings(settings: Mapping[str, str | Mapping[str, str]]) -> str:
    plain = {k: v for k, v in settings.items() if isinstance(v, str)}
    groups = "".join(
        f"<div><h3>{escape(stage)}</h3>{definitions(values)}</div>"
        for stage, values in settings.items()
        if not isinstance(values, str) and values
    )
    return definitions(plain) + (f'<div class="groups">{groups}</div>' if groups else "")

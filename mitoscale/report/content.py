"""What a report shows: text that is already formatted, and encoded pictures; no arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Row = Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of text.

    Columns whose cells are all numbers are set flush right. A cell holds no markup: it is escaped.

    Raises
    ------
    ValueError
        If a row has another number of cells than ``head``, or the swatches another number than the rows.
    """

    head: Row
    """Column titles, with the unit in brackets: ``volume (µm³)``."""
    rows: Sequence[Row]
    """Cells, one sequence a row, as long as ``head``."""
    swatches: Sequence[str] = ()
    """A colour ``#rrggbb`` for each row, shown before its first cell (see ``pictures.hex_colour``); empty for none."""

    def __post_init__(self) -> None:
        for i, row in enumerate(self.rows):
            if len(row) != len(self.head):
                raise ValueError(f"row {i} has {len(row)} cells, the table has {len(self.head)} columns")
        if self.swatches and len(self.swatches) != len(self.rows):
            raise ValueError(f"{len(self.swatches)} swatches for {len(self.rows)} rows")


@dataclass(frozen=True, kw_only=True)
class Doubts:
    """Where the models were unsure."""

    chart: bytes
    """SVG of the map, from ``uncertainty_map.draw_doubt_map``; empty for none. It is not escaped."""
    table: Table
    """The objects in doubt most, the first one in front, numbered as in the map."""
    pictures: Sequence[tuple[str, bytes]]
    """Caption and encoded picture of each of them."""
    note: str = ""
    """What the map leaves out; empty where it shows all there is."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A section of figures, a table and what they mean."""

    figures: Mapping[str, str]
    """Name -> value with its unit."""
    table: Table
    """What they are of."""
    note: str
    """What they mean."""


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """Everything the page shows. An optional field that is left out leaves its section out."""

    title: str
    """What was analysed: the source's name."""
    subtitle: str = ""
    """One line below the title, such as the source's full path."""
    figures: Mapping[str, str]
    """Headline: name -> value with its unit (``3.412 µm³``, ``5.1%``). The first three are set large."""
    pictures: Sequence[tuple[str, bytes]]
    """Caption and encoded picture (PNG or JPEG, see ``pictures.encode``) of each; a wide one takes a row of its own."""
    histogram: bytes
    """SVG of the volume distribution, from ``pictures.volume_histogram``; empty for none. It is not escaped."""
    objects: Table
    """The largest objects, one row each: label, volume (µm³), lengths (nm), centroid (nm)."""
    cells: Part | None = None
    """What of each cell is mitochondria; None: there was no mask of cells."""
    edits: Part | None = None
    """What people have corrected; None: nothing."""
    doubts: Doubts | None = None
    """Where the models were unsure; None: not told."""
    origin: str
    """Where the masks came from and what the embedded weights are, one to three sentences."""
    origin_shares: Mapping[str, float] = field(default_factory=dict)
    """Part of the object voxels that each source of masks contributed, 0..1, for the bar above ``origin``."""
    stages: Table
    """One row a stage: tasks, seconds, Mvoxel/s."""
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall time of each stage in seconds, in the order they ran, for the bar above ``stages``."""
    settings: Mapping[str, str | Mapping[str, str]]
    """Settings by stage: stage -> name -> value. A plain text value makes a row of its own."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Version, commit, source, fingerprint, weights with SHA-256, libraries: name -> value."""
    scores: Mapping[str, str] = field(default_factory=dict)
    """Scores against truth, name -> value; empty where there is no truth."""
    warnings: Sequence[str] = ()
    """What the reader must know before using the result, one sentence each; shown below the headline."""
    seam_rates: Table | None = None
    """How often objects look cut or fused at block faces, and at planes inside blocks."""
    seams: Table | None = None
    """Suspects at block faces, most doubtful first: kind, place, labels, strength 0..1. An empty table says there are none."""
    quarantined: Table | None = None
    """Tasks that were given up: stage, block, error. An empty table says there are none."""
    footer: str = ""
    """Last line, such as version and date."""

"""Report: brings a run's tables, pictures and ledgers together in report.html. A stage without tasks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.core.grey_findings import VolumeGrey
from mitoscale.core.option_names import option_of, value_text
from mitoscale.core.provenance import Provenance
from mitoscale.core.quantities import volume_text
from mitoscale.core.result import Key
from mitoscale.core.settings import STAGES, SegmentSettings
from mitoscale.ops.global_ids import unpack
from mitoscale.ops.seams import interval
from mitoscale.report.cells import cells_of
from mitoscale.report.colours import hex_colour
from mitoscale.report.content import ReportContent, Table
from mitoscale.report.doubts import doubts_of
from mitoscale.report.dropped import dropped
from mitoscale.report.edits import edits_of
from mitoscale.report.html import render
from mitoscale.report.pictures import volume_histogram
from mitoscale.report.run_pictures import run_pictures
from mitoscale.report.stage_table import stage_table, stage_totals
from mitoscale.stages.earlier_outputs import damaged_table, read_written_table
from mitoscale.stages.stage import Stage
from mitoscale.stages.work_tables import final_tables
from mitoscale.storage.addresses import join
from mitoscale.storage.atomic import replacing
from mitoscale.storage.layout import read_json
from mitoscale.storage.ledger import Ledger
from mitoscale.storage.stored_files import is_file, is_folder
from mitoscale.storage.tables import Columns, batches_of

_ELSEWHERE = {"source", "fingerprint", "region", "weights"}
"""Settings that the page shows under provenance."""

_OF_OBJECTS = (
    "label",
    "volume_nm3",
    "axis_major_nm",
    *(f"centroid_{axis}_nm" for axis in "zyx"),
    "n_slices",
    *(f"touches_{mark}" for mark in ("border", "padding", "replaced", "lost")),
    "mean_foreground",
)
"""Columns that are shown; of all those of many objects nothing else is held."""

_OF_EDGES = ("kind", "face", "z", "y", "x", "strength", "accepted", "low", "high", "neighbour")

_EMBEDDED_SAM = (
    "The embedded sam-small is a small SAM trained from scratch on volumes of four tissues and phantoms, not Meta's model; "
    "Meta's checkpoints, or any EM checkpoint in the same format, are loaded by path with --sam."
)


class Report(Stage):
    """Everything happens in ``finish``, on the client."""

    name: ClassVar[str] = "report"

    grey: VolumeGrey
    """Of the volume."""

    def keys(self) -> Sequence[Key]:
        """The report has no tasks of blocks: the client makes it at the end."""
        return []

    def finish(self, done: Collection[str], counts: Mapping[str, float]) -> dict[str, float]:
        """Write the report and its pictures."""
        content = self.content()
        with replacing(self.folder.report) as part:
            Path(part).write_text(render(content), encoding="utf-8")
        return {"pictures": float(len(content.pictures))}

    def content(self) -> ReportContent:
        """What the report shows."""
        objects = read_written_table(self.folder.objects, stage="measure", task="", columns=_OF_OBJECTS)
        totals, lost = self._totals()
        region, spec = self.plan.region, self.plan.spec
        cubic_um = region.size * float(np.prod(spec.spacing)) / 1e9
        volume = float(objects["volume_nm3"].sum())
        seconds = sum(t["wall"] for t in totals.values())
        scores = join(self.plan.run, "scores.json")
        provenance, seams, edits = Provenance.of(self.plan.settings), self._seams(), edits_of(self.plan)
        return ReportContent(
            title=Path(self.plan.settings.convert.source).name,
            subtitle=self.plan.settings.convert.source,
            figures={
                "mitochondria": f"{len(objects['label'])}",
                "their volume": volume_text(volume),
                "of the analysed volume": f"{volume / 1e9 / cubic_um:.1%}",
                "volume analysed": volume_text(1e9 * cubic_um),
                "voxels": " × ".join(map(str, region.shape)),
                "voxel size": " × ".join(f"{s:g}" for s in spec.spacing) + " nm",
                "time": f"{seconds:.0f} s",
                "speed": f"{region.size / 1e6 / max(seconds, 1e-3):.2f} Mvoxel/s",
            },
            scores={k: f"{v:.3f}" for k, v in read_json(scores).items()} if is_file(scores) else {},
            pictures=run_pictures(self.plan, self.open_image(), self.grey.normalisation),
            histogram=volume_histogram(objects["volume_nm3"]),
            objects=_largest(objects),
            cells=cells_of(self.plan),
            edits=edits.part,
            doubts=doubts_of(self.plan, self.open_image(), self.grey.normalisation),
            origin=self._origin(),
            origin_shares=self._origin_shares(),
            stages=stage_table(totals),
            stage_seconds={name: t["wall"] for name, t in totals.items()},
            settings=self._settings(),
            provenance=_provenance(provenance, region, self.plan.choices),
            warnings=[
                *_warnings(len(lost), seams),
                *edits.warnings,
                *self.grey.told(),
                *dropped(self.plan),
                *_marked(objects),
            ],
            seam_rates=self._seam_rates(),
            seams=seams,
            quarantined=_quarantined(lost),
            footer=f"mitoscale {provenance.version} {provenance.commit[:12]}".strip(),
        )

    def _origin(self) -> str:
        settings = self.plan.settings.segment
        if settings.segmenter == "unet":
            chosen = self.plan.choices.get("segmenter")
            why = f". Segmenter: {chosen}." if chosen else " (--segmenter unet)."
            return f"All masks are the U-Net's foreground, split by a watershed{why}"
        if settings.segmenter == "sam":
            return _EMBEDDED_SAM if settings.sam == SegmentSettings().sam else f"Segmenter: SAM, {settings.sam}."
        return f"Segmenter: {settings.segmenter}."

    def _origin_shares(self) -> dict[str, float]:
        """What the segmenter changed, and how many of the profiles it was asked for."""
        closing = Ledger(self.folder.ledger("segment")).last("finished", self.plan.settings.token("segment"))
        counts = closing.counts if closing else {}
        if not counts.get("profiles"):
            return {}
        shares = {
            "of the masks' voxels changed by the segmenter": counts["changed_voxels"] / max(counts["mask_voxels"], 1),
            "of the profiles it was asked for": counts["prompts"] / counts["profiles"],
        }
        if counts["interpolated"]:
            shares["of the profiles with masks interpolated from slices around (--sam-step)"] = (
                counts["interpolated"] / counts["profiles"]
            )
        return shares

    def _settings(self) -> dict[str, dict[str, str]]:
        stages = {s: getattr(self.plan.settings, s).model_dump(mode="json", exclude=_ELSEWHERE) for s in STAGES}
        return {stage: {option_of(stage, k): value_text(k, v) for k, v in values.items()} for stage, values in stages.items()}

    def _totals(self) -> tuple[dict[str, dict[str, float]], list[tuple[str, str, str]]]:
        """Numbers of each stage, and the tasks that were given up; each ledger is read once."""
        totals, lost = {}, []
        for stage in STAGES[:-1]:
            given_up: dict[str, str] = {}
            totals[stage] = stage_totals(Ledger(self.folder.ledger(stage)).latest(self.plan.settings.token(stage)), given_up)
            lost += [(stage, task, why) for task, why in sorted(given_up.items())]
        return totals, lost

    def _seams(self, most: int = 20) -> Table:
        """The suspects in doubt most, with the final labels on both sides; not where both were dropped for their size."""
        known = is_folder(self.folder.final_tables)  # clean removes them
        final_table = lru_cache(maxsize=64)(self._final_table)

        def final_label(raw: np.uint64) -> int:
            (number,), (local,) = unpack(np.array([raw]))
            table = final_table(int(number))
            return int(table["label"][np.searchsorted(table["local"], local)])

        rows: list[tuple[str, ...]] = []
        for edge in self._edges():
            sides = [final_label(edge[side]) for side in ("low", "high")] if known and edge["kind"] != "open" else []
            if sides and not any(sides):
                continue
            rows.append(
                (
                    f"{edge['kind']}: neighbour {edge['neighbour']}" if edge["neighbour"] else str(edge["kind"]),
                    str(edge["face"]),
                    ", ".join(str(edge[axis]) for axis in "zyx"),
                    " | ".join(str(side) if side else "dropped" for side in sides),
                    "" if np.isnan(edge["strength"]) else f"{edge['strength']:.2f}",
                    "yes" if edge["accepted"] else "no",
                )
            )
            if len(rows) == most:
                break
        return Table(head=("suspected", "face", "at z, y, x", "labels", "strength", "joined"), rows=rows)

    def _edges(self) -> Iterator[dict[str, Any]]:
        """Rows of the seam report one by one; of millions only the first are looked at."""
        with damaged_table("stitch"):
            for piece in batches_of(self.folder.edges_table, _OF_EDGES):
                for i in range(len(piece["kind"])):
                    yield {name: values[i] for name, values in piece.items()}

    def _final_table(self, number: int) -> Columns:
        """The fragments of a block with their final labels."""
        name = self.plan.grid.numbered(number).name
        return final_tables(self.plan).read(name).tables["fragments"]

    def _seam_rates(self) -> Table:
        """Suspects among all that cross block faces, and among all that cross the middle planes of blocks."""
        token = self.plan.settings.token("stitch")
        closing = Ledger(self.folder.ledger("stitch")).last("finished", token)
        counts = closing.counts if closing else {}
        rows = []
        for name, title in (("face", "block faces"), ("inner", "planes inside blocks")):
            row = [title]
            for part, whole in (("cut", "alike"), ("fused", "joined")):
                some, all_ = counts.get(f"{name}_{part}", 0.0), counts.get(f"{name}_{whole}", 0.0)
                low, high = interval(some, all_)
                row += [f"{all_:.0f}", f"{some:.0f}", f"{low:.2%} to {high:.2%}" if all_ else ""]
            rows.append(tuple(row))
        head = ("at", "alike profiles", "cut", "rate of cuts (95 %)", "joined profiles", "unlike", "rate of unlike (95 %)")
        return Table(head=head, rows=rows)


def _provenance(provenance: Provenance, region: Region, choices: Mapping[str, str]) -> dict[str, str]:
    return {
        "mitoscale": f"{provenance.version} {provenance.commit}".strip(),
        "source": provenance.source,
        "fingerprint": provenance.fingerprint,
        "region": str(region),
        **choices,
        **{f"weights {name}": sha or "(a factory)" for name, sha in provenance.weights.items()},
        "libraries": ", ".join(f"{k} {v}" for k, v in provenance.libraries.items()),
        "python": provenance.python,
    }


def _quarantined(lost: Sequence[tuple[str, ...]], most: int = 50) -> Table:
    """Stage, name and error of the tasks that were given up; of very many the first."""
    more = [("", f"and {len(lost) - most} more", "mitoscale status tells them")] if len(lost) > most else []
    return Table(head=("stage", "block", "error"), rows=[*lost[:most], *more])


def _warnings(lost: int, seams: Table) -> list[str]:
    warnings = []
    if lost:
        were = "task was given up and its" if lost == 1 else "tasks were given up and their"
        warnings.append(f"{lost} {were} objects are missing; see below. mitoscale retry heals them.")
    if seams.rows:
        warnings.append("Some joins at block faces are in doubt; see Seams, and tables/edges.parquet for all of them.")
    if any(row[0].startswith("open") for row in seams.rows):
        warnings.append("Beside blocks that were given up, nobody knows how objects go on: these seams are listed as open.")
    return warnings


_TOUCHED = {"border": "border", "padding": "padding", "replaced": "replaced slice", "lost": "given-up block"}
"""What an object may touch, as people say it."""


def _touched(objects: Columns, row: int) -> str:
    return ", ".join(name for mark, name in _TOUCHED.items() if objects[f"touches_{mark}"][row])


def _marked(objects: Columns) -> list[str]:
    """How many objects may not be what they seem; nothing where there is none but at the border."""
    counts = {name: int(objects[f"touches_{mark}"].sum()) for mark, name in _TOUCHED.items() if mark != "border"}
    some = ", ".join(f"{count} a {name}" if name != "padding" else f"{count} padding" for name, count in counts.items() if count)
    return [f"Of {len(objects['label'])} objects touch: {some}; see the columns touches_... of tables/objects.csv."] if some else []


def _largest(objects: dict[str, np.ndarray], most: int = 15) -> Table:
    order = np.argsort(-objects["volume_nm3"], kind="stable")[:most]
    rows = []
    for i in order:
        centre = ", ".join(f"{objects[f'centroid_{a}_nm'][i]:.0f}" for a in "zyx")
        rows.append(
            (
                str(objects["label"][i]),
                f"{objects['volume_nm3'][i] / 1e9:.3g}",
                f"{objects['axis_major_nm'][i]:.0f}",
                centre,
                str(objects["n_slices"][i]),
                _touched(objects, int(i)),
                f"{objects['mean_foreground'][i]:.2f}",
            )
        )
    head = ("label", "volume (µm³)", "long axis (nm)", "centroid z, y, x (nm)", "slices", "touches", "foreground")
    return Table(head=head, rows=rows, swatches=[hex_colour(int(objects["label"][i])) for i in order])

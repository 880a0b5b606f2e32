"""Report: brings a run's tables, pictures and ledgers together in report.html. A stage without tasks."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from mitoscale.core.geometry import Region
from mitoscale.core.provenance import Provenance
from mitoscale.core.settings import STAGES
from mitoscale.core.volume import Normalisation
from mitoscale.report.html import ReportContent, Table, render
from mitoscale.report.pictures import cuts, isotropic, overlay, save_png, volume_histogram
from mitoscale.stages.stage import Key, Stage
from mitoscale.storage.arrays import open_array
from mitoscale.storage.ledger import Ledger, LedgerEntry
from mitoscale.storage.layout import read_json
from mitoscale.storage.tables import read_table

_WIDEST = 1024
"""Pictures show at most this many voxels along an edge, from the middle of the region."""

_EMBEDDED_SAM = (
    "The embedded sam-small is a small SAM trained from scratch on one FIB-SEM volume and phantoms, not Meta's model; "
    "Meta's checkpoints, or any EM checkpoint in the same format, are loaded by path with --sam."
)


class Report(Stage):
    """Everything happens in ``finish``, on the client."""

    name: ClassVar[str] = "report"

    normalisation: Normalisation
    """Of the volume."""

    def keys(self) -> Sequence[Key]:
        """No tasks."""
        return []

    def finish(self, done: Mapping[str, LedgerEntry]) -> dict[str, float]:
        """Write the report and its pictures."""
        content = self.content()
        Path(self.folder.report).write_text(render(content))
        return {"pictures": float(len(content.pictures))}

    def content(self) -> ReportContent:
        """What the report shows."""
        objects = read_table(self.folder.objects)
        totals = {s: self._totals(s) for s in STAGES[:-1]}
        region, spec = self.plan.region, self.plan.spec
        cubic_um = region.size * float(np.prod(spec.spacing)) / 1e9
        volume = float(objects["volume_nm3"].sum()) / 1e9
        seconds = sum(t["wall"] for t in totals.values())
        scores = Path(self.plan.run, "scores.json")
        return ReportContent(
            title=Path(self.plan.settings.convert.source).name,
            figures={
                "objects": f"{len(objects['label'])}",
                "their volume": f"{volume:.3f} µm³",
                "of the volume": f"{volume / cubic_um:.2%}",
                "volume analysed": f"{cubic_um:.2f} µm³",
                "voxels": " × ".join(map(str, region.shape)),
                "voxel size": " × ".join(f"{s:g}" for s in spec.spacing) + " nm",
                "time": f"{seconds:.0f} s",
                "speed": f"{region.size / 1e6 / max(seconds, 1e-3):.2f} Mvoxel/s",
            },
            scores={k: f"{v:.3f}" for k, v in read_json(str(scores)).items()} if scores.exists() else {},
            pictures=self._pictures(),
            histogram=volume_histogram(objects["volume_nm3"]),
            objects=_largest(objects),
            origin=self._origin(objects),
            stages=_stages(totals),
            settings=self._settings(),
            warnings=self._warnings(),
        )

    def _totals(self, stage: str) -> dict[str, float]:
        """Tasks, voxels, quarantined tasks and seconds of a stage, from its ledger."""
        entries = Ledger(self.folder.ledger(stage)).entries(self.plan.settings.token(stage))
        closing = entries.pop("finished", None)
        totals = {"tasks": float(len(entries)), "wall": closing.seconds["wall"] if closing else 0.0}
        totals["voxels"] = sum(e.counts.get("voxels", 0.0) for e in entries.values())
        totals["quarantined"] = sum(e.state == "quarantined" for e in entries.values())
        for phase in ("read", "compute", "write"):
            totals[phase] = sum(e.seconds.get(phase, 0.0) for e in entries.values())
        return totals

    def _pictures(self) -> list[tuple[str, bytes]]:
        region = self._shown()
        image_array, label_array = self.open_image(), open_array(f"{self.plan.labels}/0", missing="fill")
        spacing = self.plan.spec.spacing
        pictures: dict[str, np.ndarray] = {}
        count = self.plan.settings.report.pictures
        for i in range(count):
            z = region.start[0] + (2 * i + 1) * region.shape[0] // (2 * count)
            plane = Region(start=(z, *region.start[1:]), stop=(z + 1, *region.stop[1:]))
            image = self.normalisation.apply(image_array.read(plane)[0])
            labels = label_array.read(plane)[0]
            plain = overlay(image, np.zeros_like(labels))
            pair = np.concatenate([plain, overlay(image, labels, self._points(plane))], axis=1)
            pictures[f"slice {z}: image, and objects with detections"] = isotropic(pair, spacing[1], spacing[2])
        image, labels = self.normalisation.apply(image_array.read(region)), label_array.read(region)
        for name, picture in cuts(image, labels, spacing).items():
            if name != "xy":
                pictures[f"{name} cut through the middle"] = picture
        written = []
        for i, (caption, picture) in enumerate(pictures.items()):
            save_png(Path(self.folder.pictures, f"{i:02d}.png"), picture)
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, format="png")
            written.append((caption, buffer.getvalue()))
        return written

    def _shown(self) -> Region:
        """The middle of the region, small enough for a picture and for memory."""
        region = self.plan.region
        start, stop = [], []
        for a, b, most in zip(region.start, region.stop, (256, _WIDEST, _WIDEST), strict=True):
            length = min(b - a, most)
            start.append(a + (b - a - length) // 2)
            stop.append(start[-1] + length)
        return Region(start=tuple(start), stop=tuple(stop))  # type: ignore[arg-type]

    def _points(self, plane: Region) -> np.ndarray:
        """(N, 2) detections of a slice, in its pixels."""
        found = read_table(self.folder.detections)
        here = (found["z"] == plane.start[0]) & (found["y"] >= plane.start[1]) & (found["x"] >= plane.start[2])
        here &= (found["y"] < plane.stop[1]) & (found["x"] < plane.stop[2])
        return np.stack([found["y"][here] - plane.start[1], found["x"][here] - plane.start[2]], axis=1)

    def _origin(self, objects: dict[str, np.ndarray]) -> str:
        settings = self.plan.settings.segment
        if settings.segmenter == "unet":
            return "All masks are the U-Net's foreground, split by a watershed (--segmenter unet)."
        voxels = objects["voxels"].astype(float)
        share = float((objects["segmenter_share"] * voxels).sum() / max(voxels.sum(), 1.0))
        text = f"{share:.1%} of the object voxels come from the segmenter's own masks, the rest from the watershed fallback."
        return f"{text} {_EMBEDDED_SAM}" if settings.segmenter == "sam" else text

    def _settings(self) -> dict[str, str]:
        provenance = Provenance.of(self.plan.settings)
        rows = {
            "source": provenance.source,
            "mitoscale": f"{provenance.version} {provenance.commit[:12]}".strip(),
            **{f"weights {name}": sha or "(a factory)" for name, sha in provenance.weights.items()},
            "libraries": ", ".join(f"{k} {v}" for k, v in provenance.libraries.items()),
        }
        for stage in STAGES:
            values = getattr(self.plan.settings, stage).model_dump(mode="json", exclude={"source", "weights"})
            if values:
                rows[stage] = ", ".join(f"{k} {v}" for k, v in values.items())
        return rows

    def _warnings(self) -> list[str]:
        warnings = []
        for stage in STAGES[:-1]:
            entries = Ledger(self.folder.ledger(stage)).entries(self.plan.settings.token(stage))
            lost = [n for n, e in entries.items() if e.state == "quarantined"]
            if lost:
                warnings.append(f"{stage}: {len(lost)} tasks were given up: {', '.join(lost[:8])}")
        suspects = read_table(self.folder.edges_table)
        if len(suspects["low"]):
            warnings.append(f"{len(suspects['low'])} doubtful joins at block faces are listed in tables/edges.parquet.")
        return warnings


def _largest(objects: dict[str, np.ndarray], most: int = 15) -> Table:
    order = np.argsort(-objects["volume_nm3"], kind="stable")[:most]
    rows = []
    for i in order:
        centre = ", ".join(f"{objects[f'centroid_{a}_nm'][i]:.0f}" for a in "zyx")
        rows.append(
            (
                str(objects["label"][i]),
                f"{objects['volume_nm3'][i] / 1e9:.4f}",
                f"{objects['axis_major_nm'][i]:.0f}",
                centre,
                str(objects["n_slices"][i]),
                "yes" if objects["touches_border"][i] else "no",
                f"{objects['mean_foreground'][i]:.2f}",
            )
        )
    head = ("label", "volume (µm³)", "long axis (nm)", "centroid z, y, x (nm)", "slices", "at the border", "foreground")
    return Table(head=head, rows=rows)


def _stages(totals: Mapping[str, Mapping[str, float]]) -> Table:
    rows = []
    for name, t in totals.items():
        speed = f"{t['voxels'] / 1e6 / t['wall']:.2f}" if t["wall"] and t["voxels"] else ""
        rows.append(
            (name, f"{t['tasks']:.0f}", f"{t['wall']:.1f}", speed, *(f"{t[p]:.1f}" for p in ("read", "compute", "write")))
        )
    return Table(head=("stage", "tasks", "wall (s)", "Mvoxel/s", "read (s)", "compute (s)", "write (s)"), rows=rows)

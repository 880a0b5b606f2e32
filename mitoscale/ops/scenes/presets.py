"""The presets: tissues and microscopes that scenes are made of."""

from __future__ import annotations

from mitoscale.ops.scenes.cell_body import CellBody
from mitoscale.ops.scenes.microscope import Microscope
from mitoscale.ops.scenes.mitochondrion_look import MitochondrionLook
from mitoscale.ops.scenes.muscle import Muscle
from mitoscale.ops.scenes.neuropil import Neuropil
from mitoscale.ops.scenes.scene import SceneSettings
from mitoscale.ops.scenes.tubes import Tubes

_LIGHT = MitochondrionLook(
    matrix=(0.55, 0.85),
    patches=0.1,
    cristae=("lamellar", "lamellar", "tubular"),
    contrast=(-0.5, -0.3),
    period_nm=(35, 95),
    membrane=0.1,
    swollen=0.6,
)
_GREY = MitochondrionLook(
    matrix=(0.42, 0.62),
    patches=0.06,
    cristae=("lamellar",),
    contrast=(-0.35, -0.15),
    period_nm=(30, 70),
    membrane=0.12,
    swollen=0.3,
)
_DARK = MitochondrionLook(matrix=(0.2, 0.35), cristae=("none", "tubular", "lamellar"), contrast=(-0.1, 0.1), membrane=0.15)

PRESETS: dict[str, SceneSettings] = {
    "vertebrate-neuropil": SceneSettings(
        tissue=Neuropil(),
        mitochondria=MitochondrionLook(matrix=(0.3, 0.48), contrast=(-0.2, -0.08)),
        microscope=Microscope(curtains=0.01, noise=(0.03, 0.08)),
        slice_nm=(5, 10),
    ),
    "thick-sections": SceneSettings(
        tissue=Neuropil(cell_nm=(400, 1000), myelin=0.12, membrane=0.5, cytoplasm=(0.65, 0.85), radius_nm=(60, 200)),
        mitochondria=MitochondrionLook(matrix=(0.2, 0.4), cristae=("lamellar", "tubular", "none"), contrast=(-0.12, 0.15)),
        microscope=Microscope(blur_nm=(5, 11), noise=(0.05, 0.14), uneven=0.03, drift_nm=8, knife_marks=0.05),
        pixel_nm=(6, 16),
        slice_nm=(25, 50),
    ),
    "insect-fib": SceneSettings(
        tissue=Neuropil(cell_nm=(300, 900), dark_cells=0.25, membrane=0.3, myelin=0, radius_nm=(100, 320), halo=0.08),
        mitochondria=_DARK,
        per_um3=(1, 5),
        microscope=Microscope(curtains=0.015, blur_nm=(5, 10)),
        pixel_nm=(6, 10),
        slice_nm=(8, 10),
    ),
    "insect-tem": SceneSettings(
        tissue=Neuropil(cell_nm=(250, 900), dark_cells=0.12, myelin=0, grain=0.08, cytoplasm=(0.6, 0.8), radius_nm=(80, 230)),
        mitochondria=MitochondrionLook(
            matrix=(0.38, 0.55),
            cristae=("lamellar", "tubular"),
            contrast=(-0.25, -0.1),
            lumen=0.25,
            period_nm=(35, 70),
            membrane=0.2,
        ),
        microscope=Microscope(folds=0.1, noise=(0.05, 0.12), blur_nm=(1.5, 5), uneven=0.03, drift_nm=15),
        pixel_nm=(3, 7),
        slice_nm=(40, 50),
    ),
    "light-matrix-neuropil": SceneSettings(
        tissue=Neuropil(cell_nm=(450, 1100), dark_cells=0.3, cytoplasm=(0.4, 0.65), radius_nm=(120, 300)),
        mitochondria=_LIGHT,
        microscope=Microscope(folds=0.05, noise=(0.03, 0.1)),
    ),
    "heart-muscle-light": SceneSettings(
        tissue=Muscle(),
        mitochondria=_LIGHT,
        microscope=Microscope(blur_nm=(1.5, 5), noise=(0.04, 0.1), folds=0.05),
        pixel_nm=(3, 7),
        weight=3,
    ),
    "heart-muscle-grey": SceneSettings(
        tissue=Muscle(), mitochondria=_GREY, microscope=Microscope(blur_nm=(1.5, 6), noise=(0.03, 0.1)), pixel_nm=(4, 8), weight=2
    ),
    "skeletal-muscle-dark": SceneSettings(
        tissue=Muscle(mitochondrion_nm=(300, 600), part=(0.15, 0.35), absent=0.35, fibril=(0.5, 0.7)),
        mitochondria=_DARK.model_copy(update={"contrast": (-0.15, -0.05), "cristae": ("lamellar",)}),
        microscope=Microscope(charging=0.04),
    ),
    "fibroblast": SceneSettings(
        tissue=CellBody(nucleus=0.25),
        mitochondria=MitochondrionLook(matrix=(0.3, 0.5), cristae=("lamellar", "tubular"), contrast=(-0.2, -0.08)),
        per_um3=(1, 5),
        microscope=Microscope(noise=(0.05, 0.15), charging=0.03, knife_marks=0.05),
        pixel_nm=(5, 16),
    ),
    "cell-body-grey": SceneSettings(
        tissue=CellBody(nucleus=0.6, cytoplasm=(0.4, 0.55), reticulum=(0.15, 0.35)),
        mitochondria=_GREY,
        per_um3=(1, 6),
        microscope=Microscope(noise=(0.03, 0.12)),
        pixel_nm=(5, 10),
    ),
    "phantom": SceneSettings(
        tissue=Tubes(),
        mitochondria=MitochondrionLook(
            matrix=(0.37, 0.49),
            patches=0,
            cristae=("parallel",),
            thickness_nm=(11, 18),
            contrast=(-0.16, -0.08),
            period_nm=(60, 95),
            membrane=0.3,
            band_nm=14,
        ),
        per_um3=(4, 10),
        microscope=Microscope(blur_nm=(4, 8), noise=(0.03, 0.045)),
        pixel_nm=(5, 10),
        slice_nm=(5, 10),
        weight=0,
    ),
}
"""Scenes by name."""

"""A segmenter that knows the truth and spoils it: other mistakes in each block, so that stitching has something to mend.

    PYTHONPATH=benchmarks mitoscale run stack.tif RUN --voxel-size 10,10,10 --segmenter synthetic.spoilt:SpoiltFragments \\
        --segmenter-option truth=truth.npy --segmenter-option strength=0.5
"""

from __future__ import annotations

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.nets.oracle import Truth
from mitoscale.ops.link import link
from synthetic.perturb import Mistakes, perturb


class SpoiltFragments(Truth):
    """A :class:`mitoscale.nets.predictors.VolumeSegmenter`: true profiles with mistakes, linked slice by slice.

    Parameters
    ----------
    truth : str
        See :class:`mitoscale.nets.oracle.Truth`.
    strength : str
        Above 0, to 1; see :class:`synthetic.perturb.Mistakes`.
    spacing : str
        Voxel size ``z,y,x`` in nm, which linking asks for.
    seed : str
        Of the mistakes.
    """

    def __init__(self, truth: str, strength: str, spacing: str = "10,10,10", seed: str = "0") -> None:
        super().__init__(truth)
        z, y, x = map(float, spacing.split(","))
        self.spacing, self.strength, self.seed = (z, y, x), float(strength), int(seed)

    def fragments(self, image: np.ndarray, foreground: np.ndarray, region: Region) -> np.ndarray:
        """(Z, Y, X) uint32 fragments, numbered anew in each region."""
        place = np.ravel_multi_index(region.start, self.labels.shape)  # each region makes its own mistakes
        masks = perturb(self.read(region), Mistakes.of_strength(self.strength), seed=self.seed + int(place))
        ends = 2 * (region.start[0] > 0), 2 * (region.stop[0] < self.labels.shape[0])
        return link(masks, self.spacing, open_ends=ends)

"""A detector that fails on purpose, plugged in like anyone's: ``--detector chaos_detector:detector``.

What happens where is written in a file: region as text -> faults, each of which happens once. The detector itself is plain:
dark, smooth voxels are foreground.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np

from mitoscale.core.geometry import Region

_HOG_BYTES = 3 * 2**29


class ChaosDetector:
    """Foreground is what is darker than its surroundings; on the way there it fails as it is told."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.faults: dict[str, list[str]] = json.loads((self.folder / "faults.json").read_text())

    def foreground(self, image: np.ndarray, region: Region) -> np.ndarray:
        """See :class:`mitoscale.nets.predictors.Detector`."""
        for number, fault in enumerate(self.faults.get(str(region), [])):
            self._fail(fault, f"{region}-{number}-{fault}")
        smooth = image.astype(np.float32)
        for axis in (1, 2):
            padded = np.pad(smooth, [(4, 4) if a == axis else (0, 0) for a in range(3)], mode="edge")
            total = np.cumsum(padded, axis=axis, dtype=np.float64)
            high, low = np.take(total, range(8, total.shape[axis]), axis), np.take(total, range(total.shape[axis] - 8), axis)
            smooth = ((high - low) / 8).astype(np.float32)
        return np.clip((110 - smooth) / 40 + 0.5, 0, 1)

    def _fail(self, fault: str, name: str) -> None:
        if fault == "poison":
            if (self.folder / "poison").exists():
                if not (self.folder / name).exists():
                    self._note(name)
                raise ValueError("poisoned block")
            return
        if (self.folder / name).exists():
            return
        self._note(name)
        if fault == "wait":
            time.sleep(1.0)
        if fault == "raise":
            raise RuntimeError("a passing error")
        if fault == "store":
            raise OSError(116, "Stale file handle")
        if fault == "memory":
            self.hog = np.ones(_HOG_BYTES, np.uint8)  # the nanny puts an end to it
            time.sleep(60)
        if fault == "die":
            os.kill(os.getpid(), signal.SIGKILL)

    def _note(self, name: str) -> None:
        (self.folder / name).touch()


def detector(folder: str) -> ChaosDetector:
    """The factory."""
    return ChaosDetector(folder)

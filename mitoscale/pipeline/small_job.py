"""Which jobs are too small for a cluster: its scheduler and workers start longer than such a job takes."""

from __future__ import annotations

from collections.abc import Collection

from mitoscale.cluster.settings import ClusterSettings
from mitoscale.nets.named_weights import embedded_names
from mitoscale.pipeline.run import Run
from mitoscale.pipeline.state import quarantined

_WITH_NETWORKS, _WITHOUT = 2**22, 2**26
"""Voxels up to which a job is small: about what two CPUs do in ten seconds."""


def is_small(run: Run, stages: Collection[str], cluster: ClusterSettings) -> bool:
    """Whether stages should be computed by threads of this process: nobody asks for workers, and there is little to do.

    Models of others, which may bring their process down, get workers; so does a run with blocks that had to be given up.

    Parameters
    ----------
    run : Run
        The run.
    stages : collection of str
        Those that are wanted.
    cluster : ClusterSettings
        What is asked for.
    """
    if cluster != ClusterSettings() or run.plan.region.size > _WITHOUT:
        return False
    settings = run.plan.settings
    if {"detect", "segment"} & set(stages):
        segment = settings.segment
        known = segment.segmenter == "unet" or (segment.segmenter == "sam" and _own(segment.sam))
        if run.plan.region.size > _WITH_NETWORKS or not (known and _own(settings.detect.detector)):
            return False
    return not quarantined(run)


def _own(name: str) -> bool:
    """Whether weights are of one of the project's small networks."""
    return name in embedded_names() or name.endswith(".safetensors")

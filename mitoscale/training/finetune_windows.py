"""What fine-tuning learns from and is scored on: volumes cut into windows at SAM's pixel size, their embeddings named."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from mitoscale.core.errors import InputError
from mitoscale.core.training_settings import FinetuneSettings
from mitoscale.nets.sam import Sam
from mitoscale.training.drawn import with_drawn
from mitoscale.training.embeddings import CacheSize, EmbeddingCache, embedding_shape, encoder_digest
from mitoscale.training.patches import AugmentedCrops, PatchGrid
from mitoscale.training.prompts import LEAST_AREA
from mitoscale.training.samples import Annotated, CropSampler
from mitoscale.training.volume_list import TrainingVolumes, volumes_of
from mitoscale.training.window_set import WindowSet, balanced, shared_out, window_set

REPORT_PATCH = 256
"""Height and width of the second origin report's patches, in pixels of the volume."""

_TUNING_WINDOWS = 128
"""About so many windows of the tuning slices, of all volumes together, are scored after each epoch."""

_FEWEST_TUNING_WINDOWS = 16
"""Of one volume, however many there are."""

_OBJECT_SHARE = 0.95
"""Part of the augmented crops that is centred near a mitochondrion."""


@dataclass(frozen=True, kw_only=True)
class CutVolume:
    """How one volume was cut into patches to learn from."""

    name: str
    """The volume's."""
    patches: int
    """Patches in all."""
    holding: int
    """Of them, those with a mitochondrion."""
    asked: int
    """Of them, those with a profile that is large enough to be asked for."""
    seen: int
    """Windows of it in an epoch."""


@dataclass(frozen=True, kw_only=True)
class Windowed:
    """The windows of a fine-tuning."""

    versions: list[WindowSet]
    """What is learnt from, version by version: the volumes' own patches, then augmented crops; in each a volume has its share."""
    tuning: dict[str, WindowSet]
    """What chooses the weights, by the volume's name."""
    test: dict[str, WindowSet]
    """What is only scored, by the volume's name."""
    unseen: dict[str, WindowSet]
    """Volumes that are left out and only scored, by name; those with something to ask for."""
    volumes: list[CutVolume]
    """What is learnt from, volume by volume."""
    pixel_nm: float
    """Pixel size."""

    @property
    def held(self) -> dict[str, WindowSet]:
        """What is never learnt from, by what it is for and the volume's name."""
        uses = {"tune": self.tuning, "test": self.test, "unseen": self.unseen}
        return {f"{use} {name}".strip(): windows for use, sets in uses.items() for name, windows in sets.items()}

    @property
    def sets(self) -> list[WindowSet]:
        """Windows to learn from, and those that are only scored."""
        return [*self.versions, *self.held.values()]

    def size(self, model: Sam) -> CacheSize:
        """What their embeddings take, each once."""
        keys = {key: None for one in self.sets for key in one.keys}
        return self.versions[0].cache.size(list(keys), embedding_shape(model))


def cut_windows(
    settings: FinetuneSettings, model: Sam, pixel_nm: float | None, volumes: TrainingVolumes, versions: int
) -> Windowed:
    """Cut volumes into windows and name their embeddings; as many versions as the cache may hold.

    Parameters
    ----------
    settings : FinetuneSettings
        Preset, cache and seed.
    model : Sam
        Whose encoder will embed them, on its device.
    pixel_nm : float or None
        What its weights were trained at.
    volumes : TrainingVolumes
        Slices to learn from, to choose weights by, and to score only.
    versions : int
        Versions of the windows that are wanted.

    Raises
    ------
    InputError
        If no window holds a profile that can be asked for, the pixel size is open, or one version alone is more than the cache
        may hold.
    """
    size = model.config.image_size
    pixel = _pixel(settings, pixel_nm, volumes.learnt, size)
    cache = EmbeddingCache(Path(settings.cache), settings.cache_bytes)
    encoder = encoder_digest(model)

    def cut(volume: Annotated, every: int = 1, most: int | None = None) -> tuple[PatchGrid, WindowSet]:
        grid = PatchGrid(volume, size=size, pixel_nm=(pixel, pixel), every=every)
        if most is not None and len(grid) > most:
            grid = PatchGrid(volume, size=size, pixel_nm=(pixel, pixel), every=-(-len(grid) // most))
        return grid, window_set(grid, cache, encoder, size)

    def held(volumes: list[Annotated], most: int | None = None, *, needed: bool = True) -> dict[str, WindowSet]:
        found = {}
        for volume in volumes:
            grid, windows = cut(volume, most=most)
            if len(windows):
                found[volume.name] = windows
            elif needed:
                raise _nothing_to_ask(grid.total, pixel, volume.name)
        return found

    every = {volume.name: volume.every for volume in volumes_of(settings)}
    each = [(volume, *cut(volume, every[volume.name])) for volume in volumes.learnt if volume.share]
    asked = [(volume, found) for volume, _, found in each if len(found)]
    if not asked:
        raise _nothing_to_ask(sum(grid.total for _, grid, _ in each), pixel)
    shares = [volume.share for volume, _ in asked]
    plain = balanced([found for _, found in asked], shares)
    seen = dict(zip((volume.name for volume, _ in asked), shared_out(len(plain), shares), strict=True))
    tuning = held(volumes.tuning, max(_FEWEST_TUNING_WINDOWS, _TUNING_WINDOWS // max(1, len(volumes.tuning))))
    test, unseen = held(volumes.test), held(volumes.unseen, _TUNING_WINDOWS, needed=False)

    taken = {key for one in (plain, *tuning.values(), *test.values(), *unseen.values()) for key in one.keys}
    window = cache.size(plain.keys[:1], embedding_shape(model)).window_bytes
    more = max(0, min(versions - 1, (settings.cache_bytes // window - len(taken)) // len(plain)))
    if settings.changing and not more:
        raise InputError(
            f"{settings.changing} is for augmented windows, whose embeddings the cache has no room for: with them they take "
            f"{(len(taken) + len(plain)) * window / 1e9:.3g} GB, the cache's limit is {settings.cache_bytes / 1e9:.3g} GB: raise "
            "--cache-size, or train on fewer slices"
        )
    # A volume with nothing to ask for only lends its grey values.
    lending = [volume if volume.name in seen else replace(volume, share=0.0) for volume in volumes.learnt]
    crops = _augmented(settings, lending, size, pixel, [len(plain)] * more)
    augmented = [window_set(one, cache, encoder, size) for one in crops]
    return Windowed(
        versions=[plain, *(one for one in augmented if len(one))],
        tuning=tuning,
        test=test,
        unseen=unseen,
        volumes=[
            CutVolume(name=v.name, patches=grid.total, holding=len(grid), asked=len(found), seen=seen.get(v.name, 0))
            for v, grid, found in each
        ],
        pixel_nm=pixel,
    )


def _pixel(settings: FinetuneSettings, pixel_nm: float | None, learnt: list[Annotated], size: int) -> float:
    """The pixel size to work at: what is asked for, else the weights', else the volumes' own.

    Raises
    ------
    InputError
        If the weights tell none and the volumes differ.
    """
    sizes = [volume.spacing[1:] for volume in learnt if volume.share]
    if settings.sam_pixel_nm:
        return settings.sam_pixel_nm
    if settings.preset == "report":
        return sizes[0][1] * REPORT_PATCH / size
    if pixel_nm:
        return pixel_nm
    if len(set(sizes)) > 1:
        told = ", ".join(sorted({f"{y:g} x {x:g}" for y, x in sizes}))
        raise InputError(
            f"finetune: {Path(settings.sam).name} does not tell its pixel size, and the volumes of {settings.volume} have pixels "
            f"of {told} nm: say at which SAM is to work, such as --sam-pixel {min(x for _, x in sizes):g}"
        )
    return sizes[0][1]


def _augmented(
    settings: FinetuneSettings, learnt: list[Annotated], size: int, pixel: float, counts: list[int]
) -> list[AugmentedCrops]:
    """So many crops for each further version, of the volumes and of what is drawn."""
    if not counts:
        return []
    sampler = CropSampler(
        with_drawn(settings, learnt),
        size=size,
        pixel_nm=pixel,
        context_nm=(0.0,),
        object_share=_OBJECT_SHARE,
        varied=settings.varied,
    )
    return [AugmentedCrops(sampler, count=n, seed=settings.seed * 1000 + v) for v, n in enumerate(counts, start=1)]


def _nothing_to_ask(patches: int, pixel: float, name: str = "") -> InputError:
    """The error of a volume, or all, without a profile that can be asked for."""
    whose = f"{name}'s {patches} patches to score on" if name else f"the {patches} patches"
    return InputError(
        f"finetune: none of {whose} holds a mitochondrion of at least {LEAST_AREA} pixels at {pixel:g} nm: "
        "choose other slices, or a smaller --sam-pixel"
    )

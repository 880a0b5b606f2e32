"""Fine-tuning SAM on a lab's own annotated slices: windows, cached embeddings, decoder, and the verdict on held-out slices."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mitoscale.core.errors import InputError, NoGainError
from mitoscale.core.training_settings import FinetuneSettings
from mitoscale.nets.checkpoint import WeightsCard, save_weights
from mitoscale.nets.sam import Sam
from mitoscale.training.checkpoint import Progress
from mitoscale.training.embeddings import CacheSize, EmbeddingCache, embedding_shape, encoder_digest
from mitoscale.training.loop import Schedule, Trained
from mitoscale.training.patches import AugmentedCrops, PatchGrid
from mitoscale.training.prefetch import spare_processes
from mitoscale.training.prompted_scores import prompted_scores
from mitoscale.training.sam_decoder import Decoder, DecoderTask, PromptRecipe
from mitoscale.training.samples import Annotated, CropSampler
from mitoscale.training.trained_weights import train_kept
from mitoscale.training.window_set import WindowSet, embed, window_set

Scores = dict[str, dict[str, dict[str, float]]]
"""``tune`` and ``test``, where there are such slices: the scores of the ``base`` and of the ``tuned`` weights."""

REPORT_PATCH = 256
"""Height and width of the second origin report's patches, in pixels of the volume."""

_TUNING_WINDOWS = 128
"""About so many windows of the tuning slices are scored after each epoch."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A preset."""

    prompts: PromptRecipe
    """What is asked."""
    versions: int
    """Versions of the windows: the plain one, and augmented ones."""
    epochs: int
    """Times all windows are seen."""
    learning_rate: float
    """Learning rate: its peak, or what it stays at."""
    plain: bool
    """See :class:`~mitoscale.training.loop.Schedule`."""
    patience: int | None
    """See :class:`~mitoscale.training.loop.Schedule`."""


RECIPES = {
    "default": Recipe(
        prompts=PromptRecipe(windows=8, prompts=4, false_share=0.1, corrections=1, score_loss=True),
        versions=3,
        epochs=9,
        learning_rate=5e-4,
        plain=False,
        patience=4,
    ),
    "report": Recipe(
        prompts=PromptRecipe(windows=8, prompts=2, false_share=0.0, corrections=0, score_loss=False),
        versions=1,
        epochs=5,
        learning_rate=1e-5,
        plain=True,
        patience=None,
    ),
}
"""``report`` is the second origin report's: Adam at 1e-5 without weight decay, Dice plus cross-entropy, plain patches."""


@dataclass(frozen=True, kw_only=True)
class Windowed:
    """The windows of a fine-tuning."""

    versions: list[WindowSet]
    """What is learnt from, version by version."""
    tuning: WindowSet | None
    """What chooses the weights."""
    test: WindowSet | None
    """What is only scored."""
    patches: int
    """Patches the slices were cut into."""
    holding: int
    """Of them, those with a mitochondrion."""
    pixel_nm: float
    """Pixel size."""

    @property
    def sets(self) -> list[WindowSet]:
        """Windows to learn from, and those that are only scored."""
        return [*self.versions, *(s for s in (self.tuning, self.test) if s is not None)]

    def size(self, model: Sam) -> CacheSize:
        """What their embeddings take."""
        keys = [key for one in self.sets for key in one.keys]
        return self.versions[0].cache.size(keys, embedding_shape(model))


def chosen_recipe(settings: FinetuneSettings) -> Recipe:
    """The preset, with what the settings say otherwise."""
    recipe = RECIPES[settings.preset]
    asked = recipe.prompts
    return replace(
        recipe,
        prompts=replace(asked, windows=settings.batch or asked.windows, prompts=settings.prompts or asked.prompts),
        versions=settings.versions or recipe.versions,
        epochs=settings.epochs or recipe.epochs,
        learning_rate=settings.learning_rate or recipe.learning_rate,
        patience=recipe.patience if settings.patience is None else settings.patience or None,
    )


def cut_windows(
    settings: FinetuneSettings,
    model: Sam,
    pixel_nm: float | None,
    learnt: Annotated,
    tuning: Annotated | None,
    test: Annotated | None,
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
    learnt, tuning, test : Annotated or None
        Slices to learn from, to choose weights by, and to score only.

    Raises
    ------
    InputError
        If no window holds a profile that can be asked for, or one version alone is more than the cache may hold.
    """
    size = model.config.image_size
    native = learnt.spacing[2]
    pixel = settings.sam_pixel_nm or (native * REPORT_PATCH / size if settings.preset == "report" else pixel_nm or native)
    cache = EmbeddingCache(Path(settings.cache), settings.cache_bytes)
    encoder = encoder_digest(model)

    def cut(volume: Annotated, every: int = 1, most: int | None = None) -> tuple[PatchGrid, WindowSet]:
        grid = PatchGrid(volume, size=size, pixel_nm=(pixel, pixel), every=every)
        if most is not None and len(grid) > most:
            grid = PatchGrid(volume, size=size, pixel_nm=(pixel, pixel), every=-(-len(grid) // most))
        found = window_set(grid, cache, encoder, size)
        if not len(found):
            raise InputError(
                f"finetune: none of the {grid.total} patches holds a mitochondrion of at least 150 pixels at {pixel:g} nm: "
                "choose other slices, or a smaller --sam-pixel"
            )
        return grid, found

    grid, plain = cut(learnt, settings.every)
    chosen = cut(tuning, most=_TUNING_WINDOWS)[1] if tuning is not None else None
    tested = cut(test)[1] if test is not None else None
    fixed = sum(len(one) for one in (chosen, tested) if one is not None)
    each = cache.size(plain.keys[:1], embedding_shape(model)).window_bytes
    room = settings.cache_bytes // each - fixed
    versions = max(1, min(chosen_recipe(settings).versions, room // len(plain)))
    sampler = CropSampler([learnt], size=size, pixel_nm=pixel, context_nm=(0.0,), object_share=0.95)
    crops = [AugmentedCrops(sampler, count=len(plain), seed=settings.seed * 1000 + v) for v in range(1, versions)]
    return Windowed(
        versions=[plain, *(window_set(c, cache, encoder, size) for c in crops)],
        tuning=chosen,
        test=tested,
        patches=grid.total,
        holding=len(grid),
        pixel_nm=pixel,
    )


def finetune_decoder(
    settings: FinetuneSettings,
    model: Sam,
    windowed: Windowed,
    token: str,
    record: dict[str, object],
    embedded: Callable[[int, int], None],
    report: Callable[[Progress], None],
    scored: Callable[[Scores], None],
) -> Trained:
    """Embed what is missing, train the decoder, and write the weights where held-out slices say that they are better.

    Parameters
    ----------
    settings : FinetuneSettings
        What is wanted.
    model : Sam
        What to start from, on its device; it is not changed.
    windowed : Windowed
        Its windows.
    token : str
        Stands for settings and data in the checkpoint.
    record : dict
        Where the weights come from, kept in the file's header.
    embedded : callable
        Called with windows embedded and windows in all.
    report : callable
        Called after each epoch.
    scored : callable
        Called with the scores, before they decide whether the weights are written.

    Returns
    -------
    Trained
        Decoder and history.

    Raises
    ------
    NoGainError
        If the tuned weights are no better and the settings do not accept that; the checkpoint stays. See also
        :func:`~mitoscale.training.recipe.train_weights`.
    """
    recipe = chosen_recipe(settings)
    decoder = Decoder(model)
    where = next(model.parameters()).device
    base = copy.deepcopy(decoder).eval()
    embed(windowed.sets, model, embedded)
    task = DecoderTask(
        decoder.to(where),
        windowed.versions,
        windowed.tuning,
        recipe.prompts,
        seed=settings.seed,
        processes=spare_processes(settings.threads),
    )
    schedule = Schedule(
        steps=recipe.epochs * task.epoch_steps,
        learning_rate=recipe.learning_rate,
        average=0.0 if recipe.plain else 0.99,
        score_every=task.epoch_steps,
        plain=recipe.plain,
        patience=recipe.patience,
    )
    held = {"tune": windowed.tuning, "test": windowed.test}
    scores: Scores = {n: {"base": prompted_scores(base, windows)} for n, windows in held.items() if windows is not None}

    def save(trained: Trained, more: dict[str, object]) -> None:
        for name, windows in held.items():
            if windows is not None:
                scores[name]["tuned"] = prompted_scores(trained.model, windows)
        scored(scores)
        _check_better(settings, scores)
        tuned = copy.deepcopy(model).cpu()
        assert isinstance(trained.model, Decoder)
        tuned.mask_decoder.load_state_dict(trained.model.mask_decoder.state_dict())
        training = {
            **record,
            "preset": settings.preset,
            "epochs": trained.history[-1].step / task.epoch_steps,
            "steps": trained.history[-1].step,
            "seed": settings.seed,
            "seconds": round(trained.history[-1].seconds),
            "scores": scores,
            **more,
        }
        config = model.config.model_dump()
        card = WeightsCard(architecture="sam", config=config, pixel_nm=windowed.pixel_nm, training=training)
        save_weights(Path(settings.out), tuned, card, exact=True)

    trained = train_kept(settings, task, schedule, token, recipe.prompts.windows, save, report)
    Path(settings.out).with_suffix(".checkpoint").unlink(missing_ok=True)
    return trained


def _check_better(settings: FinetuneSettings, scores: Scores) -> None:
    """Raise unless the tuning slices say that the new weights are better."""
    if settings.accept_any or "tune" not in scores:
        return
    before, after = ((scores["tune"][which]["point_iou"] + scores["tune"][which]["box_iou"]) / 2 for which in ("base", "tuned"))
    if after <= before:
        raise NoGainError(
            f"finetune: the tuned decoder is no better on the tuning slices (mean IoU {before:.4f} before, {after:.4f} after), "
            f"so {settings.out} was not written",
            f"the same command with --accept-any writes it; to train on more slices or longer, delete "
            f"{Path(settings.out).with_suffix('.checkpoint')} or give another --out",
        )

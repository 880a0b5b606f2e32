"""Fine-tuning SAM on a lab's own annotated slices: cached embeddings, decoder, and the verdict on held-out slices."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mitoscale.core.errors import NoGainError
from mitoscale.core.training_settings import FinetuneSettings
from mitoscale.nets.checkpoint import WeightsCard, save_weights
from mitoscale.nets.sam import Sam
from mitoscale.training.checkpoint import Progress
from mitoscale.training.finetune_windows import Windowed
from mitoscale.training.loop import Schedule, Trained
from mitoscale.training.prefetch import spare_processes
from mitoscale.training.prompted_scores import mean_scores, prompted_scores, score_of
from mitoscale.training.sam_decoder import Decoder, DecoderTask, PromptRecipe
from mitoscale.training.trained_weights import train_kept
from mitoscale.training.window_set import embed

Scores = dict[str, dict[str, dict[str, float]]]
"""``tune`` and ``test``, each with a listed volume's name: the scores of the ``base`` and of the ``tuned`` weights."""


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
        Called with the scores of the weights that were started from, and again with those of the tuned ones beside them, before
        these decide whether they are written.

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
    scores: Scores = {name: {"base": prompted_scores(base, windows)} for name, windows in windowed.held.items()}
    scored(scores)

    def save(trained: Trained, more: dict[str, object]) -> None:
        for name, windows in windowed.held.items():
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


def tuning_score(scores: Scores, which: str) -> float | None:
    """The figure that chooses weights, of the mean of all tuning slices; None where there are none.

    Parameters
    ----------
    scores : dict
        Of each kind of slices and each volume.
    which : {"base", "tuned"}
        Which weights.
    """
    tuning = [both[which] for name, both in scores.items() if name.split()[0] == "tune"]
    return score_of(mean_scores(tuning)) if tuning else None


def _check_better(settings: FinetuneSettings, scores: Scores) -> None:
    """Raise unless the tuning slices say that the new weights are better."""
    before, after = (tuning_score(scores, which) for which in ("base", "tuned"))
    if settings.accept_any or before is None or after is None:
        return
    if after <= before:
        raise NoGainError(
            f"finetune: the tuned decoder is no better on the tuning slices (mean IoU {before:.4f} before, {after:.4f} after), "
            f"so {settings.out} was not written",
            f"the same command with --accept-any writes it; to train on more slices or longer, delete "
            f"{Path(settings.out).with_suffix('.checkpoint')} or give another --out",
        )

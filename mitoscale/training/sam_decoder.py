"""Fine-tuning SAM's mask decoder on cached embeddings; the image and prompt encoders stay as they are, bit for bit."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from mitoscale.nets.device import autocast
from mitoscale.nets.mask_decoding import BOX_START, decode
from mitoscale.nets.sam import Sam
from mitoscale.training.epochs import epoch_batch, epoch_steps
from mitoscale.training.prefetch import Prefetcher
from mitoscale.training.prompted_scores import mean_scores, prompted_scores, score_of
from mitoscale.training.prompted_targets import prompted_loss, targets_of
from mitoscale.training.prompts import Prompted, corrections, simulate
from mitoscale.training.window_set import WindowSet

_LEAST_LOSS_SIZE = 128
"""Masks are compared at this height and width, or at the decoder's own where that is larger."""


class Decoder(nn.Module):
    """SAM without its image encoder: a copy of the mask decoder to train, and of the prompt encoder, which is frozen.

    Parameters
    ----------
    model : Sam
        Whose decoder is copied.
    """

    def __init__(self, model: Sam) -> None:
        super().__init__()
        self.prompt_encoder = copy.deepcopy(model.prompt_encoder).requires_grad_(False)
        self.mask_decoder = copy.deepcopy(model.mask_decoder).requires_grad_(True)

    def forward(
        self, embeddings: torch.Tensor, window: torch.Tensor, points: torch.Tensor, meaning: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Masks for prompts; see :meth:`mitoscale.nets.sam.Sam.decode`."""
        return decode(self.prompt_encoder, self.mask_decoder, embeddings, window, points, meaning)


@dataclass(frozen=True, kw_only=True)
class PromptRecipe:
    """What the decoder is asked while it learns."""

    windows: int
    """Windows a step."""
    prompts: int
    """Prompts a window."""
    false_share: float
    """Part of the prompts that lie where there is nothing; they teach the predicted IoU alone."""
    corrections: int
    """Further points a prompt gets, one after the other, where its mask is wrong."""
    score_loss: bool
    """Whether the predicted IoU is trained too."""


class PromptedEmbeddings:
    """Embeddings and the prompts for them, by epoch and number of the window: what the processes that make them need to know.

    Parameters
    ----------
    versions : list of WindowSet
        Each epoch takes the next one.
    recipe : PromptRecipe
        Prompts.
    seed : int
        Another seed gives other prompts.
    """

    def __init__(self, versions: list[WindowSet], recipe: PromptRecipe, seed: int) -> None:
        self.versions = versions
        self.recipe = recipe
        self.seed = seed

    def __getitem__(self, name: tuple[int, int]) -> tuple[np.ndarray, Prompted]:
        epoch, number = name
        version = self.versions[epoch % len(self.versions)]
        number %= len(version)  # a few of the crops that were drawn may have had nothing to ask for
        rng = np.random.default_rng([self.seed, *name])
        found = simulate(version.profiles(number), self.recipe.prompts, rng, false_share=self.recipe.false_share)
        assert found is not None, "a window set holds only windows with a profile to ask for"
        return version.embeddings([number])[0].numpy(), found


def chosen_windows(count: int, windows: int, seed: int, step: int) -> list[tuple[int, int]]:
    """Epoch and number of each window of a step; see :func:`~mitoscale.training.epochs.epoch_batch`.

    Parameters
    ----------
    count : int
        Windows there are.
    windows : int
        Windows a step.
    seed : int
        Of the order.
    step : int
        Number of the step, from 0.
    """
    epoch, numbers = epoch_batch(count, windows, step, seed)
    return [(epoch, number) for number in numbers]


class DecoderTask:
    """What the loop needs to fine-tune a mask decoder.

    Parameters
    ----------
    model : Decoder
        What is trained, on its device.
    versions : list of WindowSet
        Each epoch goes once over one of them, in turn; an epoch is as long as the first.
    tuning : mapping of WindowSet
        What to score on, by the volume's name; may be empty.
    recipe : PromptRecipe
        Prompts.
    seed : int
        Seed of order and prompts.
    processes : int
        See :class:`~mitoscale.training.prefetch.Prefetcher`.
    """

    def __init__(
        self,
        model: Decoder,
        versions: list[WindowSet],
        tuning: Mapping[str, WindowSet],
        recipe: PromptRecipe,
        *,
        seed: int = 0,
        processes: int = 0,
    ) -> None:
        self.model: nn.Module = model
        self.count = len(versions[0])
        self.tuning = tuning
        self.recipe = recipe
        self.seed = seed
        # No method of this object: it would keep the processes until the next garbage collection.
        names = partial(chosen_windows, self.count, recipe.windows, seed)
        self.samples = Prefetcher(PromptedEmbeddings(versions, recipe, seed), names, processes)

    @property
    def epoch_steps(self) -> int:
        """Steps of an epoch."""
        return epoch_steps(self.count, self.recipe.windows)

    def loss(self, step: int) -> torch.Tensor:
        """See :class:`mitoscale.training.loop.Task`."""
        embeddings, prompted = zip(*self.samples.of(step), strict=True)
        return self.loss_of(torch.from_numpy(np.stack(embeddings)), prompted, np.random.default_rng([self.seed, step]))

    def loss_of(self, embeddings: torch.Tensor, prompted: Sequence[Prompted], rng: np.random.Generator) -> torch.Tensor:
        """The loss of windows and their prompts, corrections included.

        Parameters
        ----------
        embeddings : (N, C, h, w) float
            One a window.
        prompted : sequence of Prompted
            One a window.
        rng : numpy Generator
            Chooses where corrections lie.
        """
        where = next(self.model.parameters()).device
        size = prompted[0].masks.shape[-1]
        embeddings = embeddings.to(where).float()
        which = torch.cat([torch.full((len(p.masks),), i) for i, p in enumerate(prompted)]).to(where)
        points = np.concatenate([p.points for p in prompted])
        meaning = np.concatenate([p.meaning for p in prompted])
        scale = max(_LEAST_LOSS_SIZE, 4 * embeddings.shape[-1])
        target, known = targets_of(prompted, scale, where)
        total = torch.zeros((), device=where)
        for turn in range(1 + self.recipe.corrections):
            with autocast(where):
                masks, ious = self.model(embeddings, which, *(torch.from_numpy(a).to(where) for a in (points, meaning)))
            masks = functional.interpolate(masks.float(), (scale, scale), mode="bilinear", align_corners=False)
            total = total + prompted_loss(masks, ious.float(), target, known, scored=self.recipe.score_loss)
            if turn < self.recipe.corrections:
                found = (masks[torch.arange(len(masks)), _answers(ious, meaning)].detach() > 0) & known
                more = corrections(found.cpu().numpy(), (target > 0.5).cpu().numpy(), size, rng)
                points, meaning = (np.concatenate(pair, axis=1) for pair in zip((points, meaning), more, strict=True))
        return total / (1 + self.recipe.corrections)

    def score(self, model: nn.Module) -> dict[str, float]:
        """Mean of point and box IoU on the tuning windows, then what it is made of; with several volumes their mean, then each."""
        if not self.tuning:
            return {}
        each = {name: prompted_scores(model, windows) for name, windows in self.tuning.items()}
        mean = mean_scores(list(each.values()))
        apart = {f"score_{name}": score_of(scores) for name, scores in each.items()} if len(each) > 1 else {}
        return {"score": score_of(mean), **mean, **apart}


def _answers(ious: torch.Tensor, meaning: np.ndarray) -> torch.Tensor:
    """(P,) the mask inference takes: the single one, or for a lone point the ambiguity mask of the best predicted IoU."""
    lone = torch.from_numpy(((meaning >= 0).sum(axis=1) == 1) & (meaning[:, 0] != BOX_START)).to(ious.device)
    return torch.where(lone, ious[:, 1:].argmax(dim=1) + 1, 0)

"""The embedding cache: never wrong, never larger than allowed, and computed once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from mitoscale.core.errors import InputError, StoppedError
from mitoscale.nets.sam import Sam, SamConfig
from mitoscale.training.embeddings import EmbeddingCache, embedding_shape, encoder_digest, fill, window_key

SHAPE = (8, 4, 4)
CONFIG = SamConfig(image_size=64, width=32, depth=1, heads=2, embedding=32, decoder_mlp=32)


def filled(folder: Path, keys: list[str], limit: int = 10**9) -> EmbeddingCache:
    cache = EmbeddingCache(folder, limit)
    for i, key in enumerate(keys):
        cache.write(key, np.full(SHAPE, i, np.float16))
    return cache


def size_on_disk(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def names(count: int) -> list[str]:
    return [f"{i:02x}" * 32 for i in range(count)]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    cache = filled(tmp_path, names(3))
    found = cache.read([names(3)[2], names(3)[0]])
    assert found.dtype == torch.float16 and found.shape == (2, *SHAPE)
    assert found[0].unique().tolist() == [2] and found[1].unique().tolist() == [0]


def test_the_size_that_is_told_is_the_size_on_disk(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, 10**9)
    told = cache.size(names(5), SHAPE)
    assert (told.windows, told.present) == (5, 0)
    filled(tmp_path, names(5))
    assert told.total == size_on_disk(tmp_path)
    assert cache.size(names(7), SHAPE).present == 5


def test_the_longest_unused_make_room(tmp_path: Path) -> None:
    keys = names(6)
    cache = filled(tmp_path, keys[:4])
    each = cache.size(keys, SHAPE).window_bytes
    for age, key in enumerate(keys[:4]):
        os.utime(cache._path(key), (1000 - age, 1000 - age))
    assert cache.missing([keys[3]], SHAPE) == [], "looking it up counts as use"
    small = EmbeddingCache(tmp_path, 4 * each)
    small.make_room(small.size(keys[4:], SHAPE), keys[4:])
    filled(tmp_path, keys[4:])
    assert size_on_disk(tmp_path) <= 4 * each
    assert small.missing(keys, SHAPE) == [1, 2]


def test_more_than_the_limit_is_refused_before_anything_is_removed(tmp_path: Path) -> None:
    cache = filled(tmp_path, names(2), limit=1000)
    with pytest.raises(InputError, match=r"take 3.46e-06 GB, the cache's limit is .*raise --cache-size"):
        cache.make_room(cache.size(names(9), SHAPE), names(9))
    assert len(list(tmp_path.rglob("*.npy"))) == 2


@pytest.mark.parametrize("damage", [lambda p: p.unlink(), lambda p: p.write_bytes(p.read_bytes()[:-5])])
def test_what_is_damaged_is_missing(tmp_path: Path, damage: object) -> None:
    cache = filled(tmp_path, names(3))
    damage(cache._path(names(3)[1]))  # type: ignore[operator]
    assert cache.missing(names(3), SHAPE) == [1]
    with pytest.raises(StoppedError, match="Repeat the command"):
        cache.read(names(3))


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoppedError, match=r"embedding cache .* cannot be written"):
        filled(tmp_path / "file", names(1))


@pytest.fixture(scope="module")
def model() -> Sam:
    torch.manual_seed(0)
    return Sam(CONFIG).eval()


def windows(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 64, 64), np.uint8))


def test_names_follow_pixels_and_weights(model: Sam) -> None:
    digest = encoder_digest(model)
    a, b = windows(2)
    assert window_key(digest, a) == window_key(digest, a.copy()) != window_key(digest, b)
    changed = Sam(CONFIG).eval()
    changed.load_state_dict(model.state_dict())
    with torch.no_grad():
        changed.mask_decoder.iou_token.weight.add_(1)
    assert encoder_digest(changed) == digest, "the decoder may differ: that is what fine-tuning changes"
    with torch.no_grad():
        changed.image_encoder.pos_embed.view(-1)[3] += 1e-6
    assert encoder_digest(changed) != digest
    scaled = Sam(CONFIG).eval()
    scaled.load_state_dict(model.state_dict())
    scaled.pixel_mean = scaled.pixel_mean + 1
    assert encoder_digest(scaled) != digest, "another normalisation gives other embeddings"


def test_embeddings_are_those_of_the_network_and_computed_once(model: Sam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = windows(19)
    digest = encoder_digest(model)
    keys = [window_key(digest, w) for w in images]
    cache = EmbeddingCache(tmp_path, 10**9)
    encoded: list[int] = []
    encode = model.encode

    def counted(batch: torch.Tensor) -> torch.Tensor:
        encoded.append(len(batch))
        return encode(batch)

    monkeypatch.setattr(model, "encode", counted)
    told: list[tuple[int, int]] = []

    def report(done: int, total: int) -> None:
        told.append((done, total))
        if len(told) == 2:  # after the first sixteen
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(cache, model, keys, images.__getitem__, report)
    fill(cache, model, keys, images.__getitem__, report)
    fill(cache, model, keys, images.__getitem__, report)
    assert encoded == [19, 3], "what was there when it was stopped is not computed again"
    assert told[-1] == (19, 19)
    with torch.inference_mode():
        expected = encode(torch.from_numpy(np.stack(images)))
    found = cache.read(keys).float()
    assert found.shape == (19, *embedding_shape(model))
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()

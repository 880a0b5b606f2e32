"""The plan of a run: what follows from shape, voxel size and settings is always legal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region, Spacing, Triple
from mitoscale.core.plan import MAX_LEVELS, RunPlan, chunks_of, default_core, pyramid_factors
from mitoscale.core.settings import ConvertSettings, RunSettings, SegmentSettings
from mitoscale.core.volume import VolumeSpec

SHAPES = st.tuples(*[st.integers(1, 5000)] * 3)
SPACINGS = st.tuples(*[st.floats(1.0, 100.0)] * 3)
CORES = st.tuples(*[st.integers(1, 600)] * 3)


def plan_of(shape: Triple, spacing: Spacing, core: Triple, margin: Triple | None = None, region: Region | None = None) -> RunPlan:
    spec = VolumeSpec(
        shape=shape,
        dtype="uint8",
        spacing=spacing,
        chunks=chunks_of(core),
        shards=core,
        factors=pyramid_factors(shape, spacing, core),
    )
    convert = ConvertSettings(
        source="/a.tif",
        fingerprint="0",
        spacing=spacing,
        core=core,
        chunks=chunks_of(core),
        region=region or Region.of_shape(shape),
    )
    run = RunSettings(convert=convert, segment=SegmentSettings(margin=margin))
    return RunPlan(run="/run", image="/run/0", labels="/run/labels", spec=spec, settings=run)


@given(SHAPES, SPACINGS, CORES)
def test_each_level_is_legal(shape: Triple, spacing: Spacing, core: Triple) -> None:
    spec = plan_of(shape, spacing, core).spec
    assert 1 <= len(spec.factors) <= MAX_LEVELS
    for level, factor in enumerate(spec.factors):
        shards, chunks = spec.level_shards(level), spec.level_chunks(level)
        assert all(s >= 1 and s % c == 0 for s, c in zip(shards, chunks, strict=True))
        assert shards == core, "as many voxels on each level"
        if level:
            steps = [b // a for a, b in zip(spec.factors[level - 1], factor, strict=True)]
            assert set(steps) <= {1, 2} and 2 in steps


@given(SHAPES, SPACINGS)
def test_the_default_core_needs_no_check(shape: Triple, spacing: Spacing) -> None:
    for seen in (0.0, 1e6):
        core = default_core(shape, spacing, (seen, seen))
        plan_of(shape, spacing, core).grid.check_aligned(core)


@given(CORES)
def test_chunks_divide_the_core(core: Triple) -> None:
    assert all(c % k == 0 and k <= w for c, k, w in zip(core, chunks_of(core), (32, 128, 128), strict=True))


def test_voxels_become_isotropic_before_all_axes_halve() -> None:
    factors = pyramid_factors((640, 4096, 4096), (40.0, 5.0, 5.0), (64, 512, 512))
    assert factors == ((1, 1, 1), (1, 2, 2), (1, 4, 4), (1, 8, 8), (2, 16, 16))


@given(st.tuples(*[st.integers(1, 60)] * 3), SPACINGS, st.tuples(*[st.integers(4, 40)] * 3), st.data())
@settings(max_examples=50)
def test_every_read_region_fits_its_slot(shape: Triple, spacing: Spacing, core: Triple, data: st.DataObject) -> None:
    margin = data.draw(st.none() | st.tuples(*[st.integers(0, 50)] * 3))
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    region = Region(start=start, stop=shape)
    plan = plan_of(shape, spacing, core, margin, region)
    for block in plan.grid.blocks():
        assert all(h <= s for h, s in zip(block.halo.shape, plan.slot_shape, strict=True))
    for grid in (plan.convert_grid, plan.detect_grid, plan.grid):
        assert sum(b.core.size for b in grid.blocks()) == region.size
    assert all(c.shape[2] == region.shape[2] for c in (b.core for b in plan.convert_grid.blocks()))


def test_a_single_slice_has_no_margin_in_z() -> None:
    plan = plan_of((1, 500, 500), (50.0, 5.0, 5.0), (32, 128, 128))
    assert plan.grid.margin == (0, 64, 64)
    assert all(b.halo.shape[0] == 1 for b in plan.detect_grid.blocks())


def test_a_run_that_does_not_fit_is_refused_with_both_sizes() -> None:
    plan = plan_of((100, 1000, 1000), (5.0, 5.0, 5.0), (64, 512, 512))
    plan.validate_plan(10**12)
    with pytest.raises(InputError, match=r"needs about 0\.\d+ GB, 0\.001 GB are free at /run") as caught:
        plan.validate_plan(10**6)
    assert "\n" not in str(caught.value)


def test_a_misaligned_block_is_refused() -> None:
    plan = plan_of((100, 100, 100), (5.0, 5.0, 5.0), (32, 64, 64))
    crooked = plan.settings.convert.model_copy(update={"core": (32, 64, 96)})
    changed = plan.model_copy(update={"settings": plan.settings.model_copy(update={"convert": crooked})})
    with pytest.raises(InputError, match="whole number of shards"):
        changed.validate_plan(10**12)


def test_a_plan_survives_its_file() -> None:
    plan = plan_of((100, 100, 100), (5.0, 5.0, 5.0), (32, 64, 64), margin=(2, 3, 4))
    assert RunPlan.model_validate_json(plan.model_dump_json()) == plan
    assert np.prod(plan.slot_shape) > 0


def test_a_volume_other_than_the_settings_ask_for_is_no_plan() -> None:
    plan = plan_of((8, 64, 64), (5.0, 5.0, 5.0), (8, 32, 32))
    other = plan.spec.model_copy(update={"spacing": (6.0, 5.0, 5.0)})
    with pytest.raises(ValueError, match="is not what the settings ask for"):
        RunPlan(run="/run", image="/run/0", labels="/run/labels", spec=other, settings=plan.settings)

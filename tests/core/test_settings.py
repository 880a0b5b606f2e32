"""The settings token: it changes with everything a stage's result depends on, and with nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from mitoscale.core.geometry import Region
from mitoscale.core.provenance import Provenance
from mitoscale.core.settings import STAGES, ConvertSettings, DetectSettings, RunSettings
from mitoscale.core.source_choices import Reading

SETTINGS = RunSettings(
    convert=ConvertSettings(
        source="/a.tif",
        fingerprint="0",
        spacing=(5, 5, 5),
        core=(8, 8, 8),
        chunks=(8, 8, 8),
        region=Region.of_shape((8, 8, 8)),
    )
)


def other(value: Any) -> Any:
    """A value of the same kind that differs."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, tuple):
        return (other(value[0]), *value[1:]) if value else (1,)
    if isinstance(value, dict):
        return {**value, "other": 1}
    if isinstance(value, Region):
        return Region(start=value.start, stop=(value.stop[0] + 1, *value.stop[1:]))
    if isinstance(value, Reading):
        return Reading(channel=1)
    assert value is None
    return None


CHANGES = [
    (stage, field, other(getattr(getattr(SETTINGS, stage), field)))
    for stage in STAGES
    for field in type(getattr(SETTINGS, stage)).model_fields
] + [("segment", "sam_pixel_nm", 4.0), ("segment", "margin", (1, 2, 3))]


@pytest.mark.parametrize(("stage", "field", "value"), [c for c in CHANGES if c[2] is not None])
def test_a_change_reaches_this_stage_and_all_after_it(stage: str, field: str, value: Any) -> None:
    own = getattr(SETTINGS, stage).model_copy(update={field: value})
    changed = SETTINGS.model_copy(update={stage: own})
    differ = [s for s in STAGES if changed.token(s) != SETTINGS.token(s)]
    assert differ == list(STAGES[STAGES.index(stage) :])


def test_threads_matter_to_all_but_the_copy() -> None:
    changed = SETTINGS.model_copy(update={"threads": 2})
    assert [s for s in STAGES if changed.token(s) != SETTINGS.token(s)] == list(STAGES[1:])


def test_tokens_of_stages_differ_and_survive_the_file() -> None:
    tokens = [SETTINGS.token(s) for s in STAGES]
    assert len(set(tokens)) == len(STAGES)
    again = RunSettings.model_validate_json(SETTINGS.model_dump_json())
    assert [again.token(s) for s in STAGES] == tokens


def test_the_order_of_options_does_not_matter() -> None:
    a, b = (SETTINGS.model_copy(update={"detect": DetectSettings(options=o)}) for o in ({"p": 1, "q": 2}, {"q": 2, "p": 1}))
    assert a.token("detect") == b.token("detect")


def test_unknown_and_changed_settings_are_refused() -> None:
    with pytest.raises(ValidationError, match="treshold"):
        DetectSettings(treshold=0.4)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="frozen"):
        SETTINGS.detect.threshold = 0.4  # type: ignore[misc]


def test_provenance_names_what_numbers_depend_on() -> None:
    found = Provenance.of(SETTINGS)
    assert found.source == "/a.tif" and found.version and set(found.weights) == {"unet-small", "sam-small"}
    assert all(found.libraries[name] != "not installed" for name in ("numpy", "torch", "zarr"))
    assert Provenance.model_validate_json(found.model_dump_json()) == found
    fast = SETTINGS.model_copy(update={"segment": SETTINGS.segment.model_copy(update={"segmenter": "unet"})})
    assert set(Provenance.of(fast).weights) == {"unet-small"}

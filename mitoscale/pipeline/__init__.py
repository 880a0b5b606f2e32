"""A run folder and the order of the stages: start, resume, redo, heal.

A run folder remembers its plan in run.json and what is done in its ledgers. A task is done when its ledger line says that it
was computed with these settings from what earlier tasks have written by now; everything else follows. Starting again does
what is missing; a task that was given up is tried again, and when it succeeds exactly what depends on it is done again; a
task whose data is found missing or broken is done again first, and so is what a ledger calls done though it is gone. Other
settings are refused unless ``redo`` names the first stage they concern.
"""

from mitoscale.pipeline.chosen_detector import converted, planned
from mitoscale.pipeline.chosen_segmenter import with_asked
from mitoscale.pipeline.cleaning import clean, taken_back
from mitoscale.pipeline.log_file import LogFile
from mitoscale.pipeline.missing_outputs import first_missing, missing_shards
from mitoscale.pipeline.observer import Audience, Observer, StageOutcome
from mitoscale.pipeline.run import Run, load, load_local, locked, make_plan, start
from mitoscale.pipeline.run_settings import settings_for
from mitoscale.pipeline.runner import check_ready, execute
from mitoscale.pipeline.small_job import is_small
from mitoscale.pipeline.state import FINISHED, begun, closing_of, finished, quarantined, why_given_up

__all__ = [
    "FINISHED",
    "Audience",
    "LogFile",
    "Observer",
    "Run",
    "StageOutcome",
    "begun",
    "check_ready",
    "clean",
    "closing_of",
    "converted",
    "execute",
    "finished",
    "first_missing",
    "is_small",
    "load",
    "load_local",
    "locked",
    "make_plan",
    "missing_shards",
    "planned",
    "quarantined",
    "settings_for",
    "start",
    "taken_back",
    "why_given_up",
    "with_asked",
]

"""The records of a trial: its spec, its outcome, and the protocol of what runs it. May import `storage` and below.

Everything here travels between processes: no tensors, no open files, no network.
"""

from __future__ import annotations

from automl_kd.spec.checks import require
from automl_kd.spec.data import DataSpec
from automl_kd.spec.preprocessing import INTERPOLATIONS, Interpolation, Preprocessing, ResizeRule, require_moments
from automl_kd.spec.recipe import Recipe, require_shares
from automl_kd.spec.running import SETTLED, FailureKind, Outcome, Report, Trainable, TrialPaths
from automl_kd.spec.teacher import FOLDERS, HUGGING_FACE, TIMM_FOLDER, TeacherCacheOptions, TeacherSpec
from automl_kd.spec.trial import (
    FRESH,
    FROM_TEACHER,
    KEY_VERSION,
    Schedule,
    Stage,
    TrialSpec,
    default_of,
    non_default_fields,
    read_schedule,
    schedule_text,
    stored_fields,
    teacher_trial,
)

__all__ = [
    "FOLDERS",
    "FRESH",
    "FROM_TEACHER",
    "HUGGING_FACE",
    "INTERPOLATIONS",
    "KEY_VERSION",
    "SETTLED",
    "TIMM_FOLDER",
    "DataSpec",
    "FailureKind",
    "Interpolation",
    "Outcome",
    "Preprocessing",
    "Recipe",
    "Report",
    "ResizeRule",
    "Schedule",
    "Stage",
    "TeacherCacheOptions",
    "TeacherSpec",
    "Trainable",
    "TrialPaths",
    "TrialSpec",
    "default_of",
    "non_default_fields",
    "read_schedule",
    "require",
    "require_moments",
    "require_shares",
    "schedule_text",
    "stored_fields",
    "teacher_trial",
]

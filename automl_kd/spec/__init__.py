"""The records of a trial: its spec, its outcome, and the protocol of what runs it. May import `storage` and below.

Everything here travels between processes: no tensors, no open files, no network.
"""

from __future__ import annotations

from automl_kd.spec.checks import require
from automl_kd.spec.data import DataSpec
from automl_kd.spec.loader import LoaderOptions
from automl_kd.spec.preprocessing import INTERPOLATIONS, Interpolation, Preprocessing, ResizeRule, require_moments
from automl_kd.spec.recipe import Recipe, require_shares, steps_per_epoch
from automl_kd.spec.roles import (
    BASELINE_ROLES,
    FINAL_ROLES,
    FOUND_FRESH,
    FOUND_LABELS,
    OF_WARM_STARTS,
    READINGS,
    BaselineRole,
    FinalRole,
    ReadingName,
)
from automl_kd.spec.running import (
    BEGAN_FRESH,
    INT8_ACCURACY,
    REMARK_FILE,
    SETTLED,
    FailureKind,
    Outcome,
    Report,
    Trainable,
    TrialPaths,
)
from automl_kd.spec.teacher import (
    BLACK_BOX,
    FOLDERS,
    HUGGING_FACE,
    TIMM_FOLDER,
    TeacherCacheOptions,
    TeacherSpec,
    teacher_sections,
)
from automl_kd.spec.trial import (
    FRESH,
    FROM_TEACHER,
    KEY_VERSION,
    Parent,
    Schedule,
    Stage,
    TrialSpec,
    default_of,
    non_default_fields,
    read_parent,
    read_schedule,
    schedule_text,
    stored_fields,
    teacher_trial,
)

__all__ = [
    "BASELINE_ROLES",
    "BEGAN_FRESH",
    "BLACK_BOX",
    "FINAL_ROLES",
    "FOLDERS",
    "FOUND_FRESH",
    "FOUND_LABELS",
    "FRESH",
    "FROM_TEACHER",
    "HUGGING_FACE",
    "INT8_ACCURACY",
    "INTERPOLATIONS",
    "KEY_VERSION",
    "OF_WARM_STARTS",
    "READINGS",
    "REMARK_FILE",
    "SETTLED",
    "TIMM_FOLDER",
    "BaselineRole",
    "DataSpec",
    "FailureKind",
    "FinalRole",
    "Interpolation",
    "LoaderOptions",
    "Outcome",
    "Parent",
    "Preprocessing",
    "ReadingName",
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
    "read_parent",
    "read_schedule",
    "require",
    "require_moments",
    "require_shares",
    "schedule_text",
    "steps_per_epoch",
    "stored_fields",
    "teacher_sections",
    "teacher_trial",
]

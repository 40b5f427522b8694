"""The words of a comparison: what its trainings stand for, and what is made equal between them."""

from __future__ import annotations

from typing import Literal, get_args

BaselineRole = Literal["default-scratch", "default-kd", "found-scratch", "found-labels", "found-fresh"]
"""What the found student with its method is compared with; the last two where it begins with weights."""

FinalRole = BaselineRole | Literal["found-method"]

BASELINE_ROLES: tuple[BaselineRole, ...] = get_args(BaselineRole)
FINAL_ROLES: tuple[FinalRole, ...] = (*BASELINE_ROLES, "found-method")

ReadingName = Literal["compute", "shared-teacher", "epochs"]
"""What is equal: compute with all passes counted; compute with the teacher's passes counted once for all trials that
share them; epochs."""

FOUND_FRESH: BaselineRole = "found-fresh"
FOUND_LABELS: BaselineRole = "found-labels"
"""The found student from the weights that it begins with, by labels alone."""

OF_WARM_STARTS: tuple[BaselineRole, ...] = (FOUND_LABELS, FOUND_FRESH)
"""Those that are trained only where the found student begins with weights."""

READINGS: tuple[ReadingName, ...] = get_args(ReadingName)

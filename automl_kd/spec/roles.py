"""The words of a comparison: what its trainings stand for, and what is made equal between them."""

from __future__ import annotations

from typing import Literal, get_args

BaselineRole = Literal["default-scratch", "default-kd", "found-scratch", "found-fresh"]
"""What the found student with its method is compared with; the last one where it begins with weights."""

FinalRole = BaselineRole | Literal["found-method"]

BASELINE_ROLES: tuple[BaselineRole, ...] = get_args(BaselineRole)
FINAL_ROLES: tuple[FinalRole, ...] = (*BASELINE_ROLES, "found-method")

ReadingName = Literal["compute", "shared-teacher", "epochs"]
"""What is equal: compute with all passes counted; compute with the teacher's passes counted once for all trials that
share them; epochs."""

FOUND_FRESH: BaselineRole = "found-fresh"

READINGS: tuple[ReadingName, ...] = get_args(ReadingName)

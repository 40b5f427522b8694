"""Teachers that give logits only: nobody can read their maps, train them or cut students out of them."""

from __future__ import annotations

from automl_kd.errors import ConfigError
from automl_kd.models.teacher_mean import teacher_label
from automl_kd.spec import TeacherSpec


def gives_logits_only(teacher: TeacherSpec) -> bool:
    """Whether it is no single network whose layers are known: several teachers share no layer."""
    return bool(teacher.others)


def require_more_than_logits(teacher: TeacherSpec | None, reader: str) -> None:
    """`ConfigError` if the teacher gives logits only. `reader`: who needs more, and for what, in words."""
    if teacher is not None and gives_logits_only(teacher):
        raise ConfigError(
            f"{reader}, and {teacher_label(teacher)} together give logits only; name one teacher, or choose what needs "
            "no more than logits, such as method 'kd'"
        )

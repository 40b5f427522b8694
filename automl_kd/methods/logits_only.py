"""Teachers that give logits only: nobody can read their maps, train them or cut students out of them."""

from __future__ import annotations

from automl_kd.errors import ConfigError
from automl_kd.losses import DISTILLATION_LOSSES
from automl_kd.models.teacher_mean import teacher_label
from automl_kd.spec import BLACK_BOX, TeacherSpec


def gives_logits_only(teacher: TeacherSpec) -> bool:
    """Whether it is no single network whose layers are known: several teachers share no layer, a file shows none."""
    return bool(teacher.others) or teacher.model.startswith(BLACK_BOX)


def require_more_than_logits(teacher: TeacherSpec | None, reader: str) -> None:
    """`ConfigError` if the teacher gives logits only. `reader`: who needs more, and for what, in words."""
    if teacher is None or not gives_logits_only(teacher):
        return
    losses = [name for name, loss in DISTILLATION_LOSSES.items() if not loss().features.teacher]
    gives = "together give logits only; name one teacher, or" if teacher.others else "gives its logits alone;"
    raise ConfigError(
        f"{reader}, and {teacher_label(teacher)} {gives} take kd, lkd without stages, or weighted_losses of "
        f"{', '.join(losses)}"
    )

"""Losses of distillation as proxies: how far an untrained student's outputs are from an untrained teacher's.

Dong, Li, Wei. DisWOT: Student Architecture Search for Distillation WithOut Training. 2023. arXiv:2303.15678 sets such
proxies beside its own; the score is minus the loss. The formulas, and their sources, are those of the loss functions.
Each sees what the release shows it: logits (kd), the vectors before the classifier (rkd, pkt, cc, fitnet), stages 2 and
3 (at, nst), the last map (sp), all three stages (cka).

Where the release has slips we have the definition: its divergence takes the teacher for the student, and its relation
of maps is of a single image's channels. cc and fitnet compare vectors without the layers that a trained loss puts
between them, so both want equal widths. The two networks have different initialisations: students have torch's default
weights, and the probe's teacher has weights from N(0, 1), as scoring draws them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from automl_kd.errors import ConfigError
from automl_kd.losses.features.at import at_loss
from automl_kd.losses.features.nst import nst_loss
from automl_kd.losses.relations.cc import cc_loss
from automl_kd.losses.relations.pkt import pkt_loss
from automl_kd.losses.relations.rkd import rkd_loss
from automl_kd.losses.relations.sp import sp_loss
from automl_kd.models.features import Outputs
from automl_kd.proxies.base import ProxyEntry, Shared
from automl_kd.proxies.passes import Passes, Sight
from automl_kd.proxies.probe import Probe
from automl_kd.proxies.teacher.cka import alignment, inner_products
from automl_kd.tasks.soft_targets import kd_loss

Compare = Callable[[Tensor, Tensor], Tensor]
PrepareTeacher = Callable[[Tensor], Tensor]
"""What of a teacher's map is the same for all students."""
LOGITS_PLACE = "logits"

OF_SIZES = {"kd_at"}
"""Those that see of a place how large its values are, and nothing else."""


def minus_loss(name: str, compare: Compare, places: tuple[str, ...], prepare: PrepareTeacher, passes: Passes) -> Tensor:
    """-sum of compare(student, prepare(teacher)) at `places`: feature layers of both networks, or the logits.

    Raises `ConfigError` if one of the networks lacks a place, or the loss wants equal widths.
    """
    teacher = passes.probe.teacher
    if teacher is None:
        raise ConfigError(
            f"{name} compares a student with a teacher, but the probe has none; give make_probe a teacher"
        )
    if passes.probe.of_tokens and name in OF_SIZES:
        raise ConfigError(
            f"{name} compares where maps are large, and all hidden states of a text are normalised to one size; choose "
            "kd_sp, kd_nst or kd_cka for texts"
        )
    prepared = partial(prepared_once, name, prepare, passes.probe, teacher)
    pairs = [(student_map(name, at, passes), prepared(at)) for at in places]
    return -torch.stack([compare(one.detach(), two) for one, two in pairs]).sum()


def prepared_once(name: str, prepare: PrepareTeacher, probe: Probe, teacher: Outputs, place: str) -> Tensor:
    return probe.once(f"{name} at {place}", lambda: prepare(teacher_map(name, place, teacher)))


def student_map(name: str, place: str, passes: Passes) -> Tensor:
    return map_at(name, place, passes.outputs, "student")


def teacher_map(name: str, place: str, teacher: Outputs) -> Tensor:
    return map_at(name, place, teacher, "teacher")


def map_at(name: str, place: str, outputs: Outputs, side: str) -> Tensor:
    if place == LOGITS_PLACE:
        return outputs.logits
    if place not in outputs.features:
        raise ConfigError(
            f"{name} compares networks at {place!r}, where the {side} has no feature layer; "
            f"it has {', '.join(sorted(outputs.features))}; leave this proxy out and choose kd_kd, kd_sp or kd_pkt"
        )
    return outputs.features[place]


def equally_wide(name: str, compare: Compare) -> Compare:
    def compared(student: Tensor, teacher: Tensor) -> Tensor:
        if student.shape != teacher.shape:
            raise ConfigError(
                f"{name} needs vectors of equal width and got {student.shape[1]} from the student, {teacher.shape[1]} "
                "from the teacher; take a teacher of that width or leave this proxy out"
            )
        return compare(student, teacher)

    return compared


def unchanged(teacher: Tensor) -> Tensor:
    return teacher


def unlike(student: Tensor, inner_products_of_teacher: Tensor) -> Tensor:
    return 1 - alignment(inner_products(student), inner_products_of_teacher)


def member(name: str, compare: Compare, places: tuple[str, ...], source: str) -> ProxyEntry:
    prepare = inner_products if compare is unlike else unchanged
    sees: tuple[Sight, ...] = ("stages",) if any(place.startswith("stage") for place in places) else ()
    return ProxyEntry(
        proxy=Shared(partial(minus_loss, name, compare, places, prepare), sees), source=source, needs_teacher=True
    )


KD_LOSSES: Mapping[str, ProxyEntry] = {
    one: member(one, compare, places, source)
    for one, compare, places, source in (
        ("kd_kd", partial(kd_loss, temperature=4.0), (LOGITS_PLACE,), "Hinton et al. 2015, arXiv:1503.02531"),
        ("kd_fitnet", equally_wide("kd_fitnet", F.mse_loss), ("pooled",), "Romero et al. 2014, arXiv:1412.6550"),
        ("kd_at", partial(at_loss, power=2.0), ("stage2", "stage3"), "Zagoruyko, Komodakis 2016, arXiv:1612.03928"),
        ("kd_nst", nst_loss, ("stage2", "stage3"), "Huang, Wang 2017, arXiv:1707.01219"),
        ("kd_sp", sp_loss, ("pre_pool",), "Tung, Mori 2019, arXiv:1907.09682"),
        ("kd_rkd", partial(rkd_loss, distance=25.0, angle=50.0), ("pooled",), "Park et al. 2019, arXiv:1904.05068"),
        ("kd_cc", equally_wide("kd_cc", cc_loss), ("pooled",), "Peng et al. 2019, arXiv:1904.01802"),
        ("kd_pkt", pkt_loss, ("pooled",), "Passalis, Tefas 2018, arXiv:1803.10837"),
        ("kd_cka", unlike, ("stage1", "stage2", "stage3"), "Kornblith et al. 2019, arXiv:1905.00414"),
    )
}

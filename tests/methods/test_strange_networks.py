"""Networks that do strange things in their forward pass teach and learn as their plain likes do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import nn

from automl_kd.methods import run_trial
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.space import Architecture, InputShape
from automl_kd.spec import TeacherCacheOptions, TeacherSpec, TrialSpec
from automl_kd.teacher_cache.cached_teacher import teacher_outputs
from automl_kd.training import trial
from tests import strange, tiny
from tests.conformance.trials import TRIALS, difference, quick, run, spec_of

__all__ = ["quick"]

QUICK = ("scratch", "kd", "weighted_losses", "prokt")
ONES = {TRIALS[name].method: name for name in reversed([*TRIALS])}
EACH = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if kind in QUICK else pytest.mark.slow) for kind, name in ONES.items()]
)

pytestmark = pytest.mark.usefixtures("quick")


def taught_by(root: Path, spec: TrialSpec, name: str) -> TrialSpec:
    """The trial with the teacher `tests.strange:NAME`; teachers of one form get the same weights."""
    torch.manual_seed(3)
    network: Callable[[InputShape], nn.Module] = getattr(strange, name)
    file = root / f"{name}.pt"
    save_weights(network(tiny.SHAPE), file)
    return dataclasses.replace(spec, teacher=TeacherSpec(model=f"tests.strange:{name}", checkpoint=str(file)))


def student(spec: TrialSpec, name: str) -> TrialSpec:
    return dataclasses.replace(spec, space=f"model:tests.strange:{name}", architecture=Architecture(()))


def on_logits(spec: TrialSpec) -> TrialSpec:
    """The trial without maps, which these networks do not name, and shorter."""
    stages = {"stages": "" if spec.method == "lkd" else "logits"} if "stages" in spec.options else {}
    return dataclasses.replace(
        spec, options={**spec.options, **stages}, recipe=dataclasses.replace(spec.recipe, epochs=2)
    )


@EACH
def test_a_teacher_that_writes_into_its_images_changes_nobody_elses(tmp_path, name: str):
    spec = on_logits(spec_of(name, tmp_path))
    if spec.teacher is None:
        return
    seen = {one: run(taught_by(tmp_path, spec, one), tmp_path, one).seen for one in ("writing", "copying")}
    assert not difference(seen["writing"], seen["copying"])


@EACH
def test_a_student_that_writes_into_its_images_changes_nobody_elses(tmp_path, name: str):
    spec = on_logits(spec_of(name, tmp_path))
    seen = {one: run(student(spec, one), tmp_path, one).seen for one in ("writing", "copying")}
    assert not difference(seen["writing"], seen["copying"])


def test_with_a_bank_the_second_trial_is_the_first(tmp_path):
    spec, losses = taught_by(tmp_path, spec_of("kd", tmp_path), "writing"), []
    banks: tuple[tuple[str, Literal["logits", "off"]], ...] = (("one", "logits"), ("two", "logits"), ("three", "off"))
    for folder, keep in banks:
        recorder = tiny.Recorder()
        place = dataclasses.replace(
            tiny.place(tmp_path, spec), trial=tmp_path / folder, teacher_cache=TeacherCacheOptions(keep=keep)
        )
        run_trial(spec, recorder, place)
        losses.append([one["train_loss"] for one in recorder.seen.values()])
    assert losses[0] == losses[1] == losses[2]
    one, two, three = (torch.load(tmp_path / folder / "student.pt") for folder in ("one", "two", "three"))
    assert not difference(one, two)
    assert not difference(one, three)


@pytest.mark.parametrize("name", ["viewing", "checking", "twice", "by_hand", "mapping", "spatial", "weight_norm"])
def test_they_teach_and_learn(tmp_path, name: str):
    spec = spec_of("kd", tmp_path)
    for folder, one in (("teacher", taught_by(tmp_path, spec, name)), ("student", student(spec, name))):
        last = max(run(one, tmp_path, folder).seen.items())[1]
        assert "test_accuracy" in last


@pytest.mark.parametrize("name", ["auxiliary", "record", "settling"])
def test_they_learn(tmp_path, name: str):
    assert run(student(spec_of("kd", tmp_path), name), tmp_path, "student").seen


@pytest.mark.parametrize(("name", "folded"), [("twice", False), ("writing", True)])
def test_a_bank_of_a_wrongly_folded_teacher_is_another(tmp_path, name: str, folded: bool):
    spec = taught_by(tmp_path, spec_of("kd", tmp_path), name)
    place = dataclasses.replace(tiny.place(tmp_path, spec), teacher_cache=TeacherCacheOptions(keep="logits"))
    context = trial.prepare_trial(spec, place)
    teacher = trial.load_teacher(context)
    for module in teacher.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            module.running_var.fill_(4.0)
    about = teacher_outputs(context, teacher).about  # type: ignore[attr-defined]  # a Guide, as outputs are kept
    assert ("folded" not in about) == folded

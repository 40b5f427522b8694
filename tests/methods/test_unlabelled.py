"""Training with images that have no label: the teacher's targets are all they have; other methods go without them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from automl_kd.data import Dataset
from automl_kd.losses.cross_entropy import cross_entropy, labelled_cross_entropy
from automl_kd.losses.weighted_sum import read_mix
from automl_kd.methods import estimate_cost, make_method, run_trial, uses_unlabelled
from automl_kd.methods.base import STEP
from automl_kd.models.costs.cost import count_cost
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.spec import DataSpec, TeacherCacheOptions, TrialPaths, TrialSpec, teacher_trial
from automl_kd.training import trial
from automl_kd.training.trial import prepare_trial
from tests import tiny

FEW = dataclasses.replace(tiny.DATA, labelled_images=24)
WHOLE, LABELLED = 88, 24  # of 110 images a fifth is for validation


def prepared(root: Path, method: str, data: DataSpec = FEW, **changes: Any) -> tuple[TrialSpec, TrialPaths]:
    """A trial whose teacher lies where it will look for it."""
    spec = dataclasses.replace(tiny.taught(root, method, **changes), data=data)
    torch.manual_seed(11)
    save_weights(tiny.teacher(tiny.SHAPE), root / "teachers" / teacher_trial(tiny.TEACHER, data).key / "student.pt")
    return spec, tiny.place(root, spec)


def trained(
    root: Path, method: str, data: DataSpec = FEW, **changes: Any
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Its last report and its student's weights."""
    spec, paths = prepared(root, method, data, **changes)
    recorder = tiny.Recorder()
    run_trial(spec, recorder, paths)
    return recorder.seen[spec.recipe.epochs], torch.load(paths.trial / "student.pt", weights_only=True)


def equal(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], two[name]) for name in one)


def test_cross_entropy_of_missing_labels_by_hand():
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.tensor([2, -1, 0, -1, -1])
    by_hand = (F.cross_entropy(logits[:1], labels[:1]) + F.cross_entropy(logits[2:3], labels[2:3])) / 5
    torch.testing.assert_close(labelled_cross_entropy(logits, labels), by_hand)
    (slope,) = torch.autograd.grad(labelled_cross_entropy(logits, labels, label_smoothing=0.2), logits)
    assert (slope[labels < 0] == 0).all()
    assert (slope[labels >= 0] != 0).all()
    assert labelled_cross_entropy(logits, torch.full((5,), -1)) == 0
    torch.testing.assert_close(
        labelled_cross_entropy(logits, labels.abs(), label_smoothing=0.1),
        cross_entropy(logits, labels.abs(), label_smoothing=0.1),
    )


@pytest.mark.parametrize("method", ["kd", "weighted_losses"])
def test_every_image_is_trained_on_and_its_hidden_label_is_not_looked_at(tmp_path, monkeypatch, method):
    counted, weights = trained(tmp_path, method)
    spec, paths = prepared(tmp_path, method)
    student = count_cost(prepare_trial(spec, paths).student, tiny.SHAPE).macs
    teacher = count_cost(tiny.teacher(tiny.SHAPE), tiny.SHAPE).macs
    assert counted["train_macs"] == tiny.RECIPE.epochs * WHOLE * (STEP * student + teacher)

    load = trial.load_dataset

    def with_all_labels(*given: Any) -> Dataset:
        few, (whole, *rest) = load(*given), given
        every = load(dataclasses.replace(whole, labelled_images=0), *rest).train
        assert few.transfer is not None
        labels = every.labels[torch.searchsorted(every.index, few.transfer.index)]
        return dataclasses.replace(few, transfer=dataclasses.replace(few.transfer, labels=labels))

    monkeypatch.setattr(trial, "load_dataset", with_all_labels)
    _, told = trained(tmp_path / "told", method)
    assert not equal(weights, told)  # the labels of all images would have changed the student
    if method == "kd":
        monkeypatch.undo()
        _, unheard = trained(tmp_path / "unheard", method, options={"weight": 1.0})
        monkeypatch.setattr(trial, "load_dataset", with_all_labels)
        _, unheard_told = trained(tmp_path / "unheard told", method, options={"weight": 1.0})
        assert equal(unheard, unheard_told)  # and without a share of the labels, they do not


@pytest.mark.parametrize("losses", ["dkd", "crd=0.8, ce=1", "kd=0.9, ofa=1"])
def test_sums_that_look_at_labels_go_without_the_other_images(losses):
    assert read_mix(losses).needs_labels
    assert not uses_unlabelled(make_method("weighted_losses", {"losses": losses}))


def test_the_others_do_not():
    assert uses_unlabelled(make_method("weighted_losses", {"losses": "kd=0.9, at=10, ce=0.1"}))
    assert uses_unlabelled(make_method("kd", {}))
    assert not uses_unlabelled(make_method("scratch", {}))


@pytest.mark.parametrize(("method", "images"), [("kd", WHOLE), ("weighted_losses", WHOLE), ("scratch", LABELLED)])
def test_an_estimate_counts_the_images_of_the_method(tmp_path, method, images):
    few, whole = (estimate_cost(*prepared(tmp_path, method, data)).epoch_macs for data in (FEW, tiny.DATA))
    assert few / whole == pytest.approx(images / WHOLE)


def test_training_from_scratch_sees_the_labelled_images_alone(tmp_path):
    found, weights = trained(tmp_path, "scratch")
    as_many, others = trained(tmp_path, "scratch", dataclasses.replace(tiny.DATA, train_images=LABELLED))
    assert found["train_macs"] == as_many["train_macs"]
    assert equal(weights, trained(tmp_path / "again", "scratch")[1])
    assert not equal(weights, others)


def test_a_cache_of_the_teacher_serves_images_without_labels(tmp_path):
    spec, paths = prepared(tmp_path, "kd")
    kept = dataclasses.replace(paths, teacher_cache=TeacherCacheOptions(keep="logits"))
    first, second = tiny.Recorder(), tiny.Recorder()
    run_trial(spec, first, kept)
    run_trial(spec, second, dataclasses.replace(kept, trial=tmp_path / "second"))
    assert second.seen[3]["teacher_passes_saved"] > 0
    assert first.seen[3]["val_accuracy"] == second.seen[3]["val_accuracy"]
    assert equal(*(torch.load(one / "student.pt", weights_only=True) for one in (paths.trial, tmp_path / "second")))
    assert equal(torch.load(paths.trial / "student.pt", weights_only=True), trained(tmp_path / "live", "kd")[1])


def test_a_teacher_with_all_labels_is_the_one_of_the_whole_set():
    informed = dataclasses.replace(tiny.TEACHER, all_labels=True)
    assert teacher_trial(informed, FEW).key == teacher_trial(tiny.TEACHER, tiny.DATA).key
    assert teacher_trial(tiny.TEACHER, FEW).key != teacher_trial(tiny.TEACHER, tiny.DATA).key

"""Images with several labels or numbers are learnt by the same trials as those of one class."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import automl_kd as akd
from automl_kd.data import load_data, plain_view
from automl_kd.errors import ConfigError, DataError
from automl_kd.experiment.context import Roots
from automl_kd.experiment.preparation import prepare_experiment, require_scaled_labels
from automl_kd.experiment.progress.events import Silent
from automl_kd.experiment.stages.proxy_filter import make_probes
from automl_kd.experiment.teacher_shares import find_shares
from automl_kd.methods import run_trial
from automl_kd.models.features import FeatureExtractor
from automl_kd.models.folding import fold_teacher
from automl_kd.models.teacher_mean import member_networks
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.proxies.score import score_architectures
from automl_kd.space import Architecture
from automl_kd.spec import DataSpec, Recipe, TeacherSpec, teacher_trial
from automl_kd.training.trial import build_teacher
from tests import tiny

RECIPE = Recipe(epochs=4, batch_size=16, optimizer="adamw", lr=1e-2, weight_decay=0.0)


def bright_halves(path: Path, task: str) -> DataSpec:
    """Grey images whose labels say which of their halves are bright, or how bright their mean is."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for split, count in (("train", 200), ("test", 60)):
        several = rng.integers(2, size=(count, 3))
        images = rng.integers(0, 90, size=(count, 8, 8))
        images[:, :4] += 80 * several[:, :1, None]
        images[:, :, 4:] += 80 * several[:, 1:2, None]
        arrays[f"x_{split}"] = images.astype(np.uint8)
        means = (images.mean(axis=(1, 2)) - 80) / 40
        arrays[f"y_{split}"] = several[:, :2] if task == "multi-label" else means[:, None]
    np.savez(path, **arrays)
    return DataSpec(name=f"arrays:{path}", task=task, validation=0.2)


@pytest.mark.parametrize("task", ["multi-label", "regression"])
@pytest.mark.parametrize("method", ["scratch", "kd"])
def test_they_are_learnt(tmp_path: Path, task: str, method: str) -> None:
    data = bright_halves(tmp_path / "set.npz", task)
    spec = tiny.spec(method=method, data=data, recipe=RECIPE, width=8)
    if method == "kd":
        spec = dataclasses.replace(spec, teacher=tiny.TEACHER)
        torch.manual_seed(0)
        trained = tmp_path / "teachers" / teacher_trial(tiny.TEACHER, data).key / "student.pt"
        save_weights(tiny.teacher(load_data(data, tmp_path).shape), trained)
    seen = tiny.Recorder()
    run_trial(spec, seen, tiny.place(tmp_path, spec))
    first, last = seen.seen[1], seen.seen[4]
    assert last["train_loss"] < first["train_loss"]
    if method == "scratch":
        assert last["val_loss"] < first["val_loss"]
        assert last["val_accuracy"] > (0.9 if task == "multi-label" else first["val_accuracy"])


def test_what_is_for_classes_is_refused(tmp_path: Path) -> None:
    data = bright_halves(tmp_path / "set.npz", "multi-label")
    with pytest.raises(DataError, match=r"data.labelled_images is for classification, and data.task is 'multi-label'"):
        load_data(dataclasses.replace(data, labelled_images=20), tmp_path)
    spec = tiny.spec(method="subgraph", data=data, teacher=tiny.TEACHER)
    with pytest.raises(ConfigError, match=r"method 'subgraph' is for classification, and data.task is 'multi-label'"):
        run_trial(spec, tiny.Recorder(), tiny.place(tmp_path, spec))
    digits = DataSpec(name="digits", task="regression")
    with pytest.raises(
        DataError, match=r"data.task is 'regression', and the labels of digits are those of classification"
    ):
        load_data(digits, tmp_path)


@pytest.mark.parametrize("task", ["multi-label", "regression"])
def test_proxies_without_labels_rank_their_students_and_others_are_refused(tmp_path: Path, task: str) -> None:
    data = bright_halves(tmp_path / "set.npz", task)
    dataset = load_data(data, tmp_path)
    proxies = ("zen", "naswot", "jacob_cov", "kd_sp", "macs")
    probes = make_probes(dataset, proxies, tiny.TEACHER, images=8, draws=1, seed=0)
    students = [Architecture.of({"width": width}) for width in (4, 8)]
    scores = score_architectures(tiny.SPACE, students, proxies, probes, seed=0)
    assert not any(one.error for one in scores)
    with pytest.raises(ConfigError, match=f"proxy 'snip' looks at classes, and data.task is '{task}'; choose proxies"):
        make_probes(dataset, ("zen", "snip"), tiny.TEACHER, images=8, draws=1, seed=0)


def test_a_student_that_could_not_be_handed_on_is_not_searched_for(tmp_path: Path) -> None:
    data = bright_halves(tmp_path / "set.npz", "regression")
    with pytest.raises(ConfigError, match=r"compress hands on students that name classes, and data.task is 'regress"):
        akd.compress("resnet20", data={"name": data.name, "task": "regression"}, hours=1.0, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_several_teachers_teach_numbers_by_their_mean(tmp_path: Path) -> None:
    data = bright_halves(tmp_path / "set.npz", "regression")
    dataset = load_data(data, tmp_path)
    teacher = dataclasses.replace(
        tiny.TEACHER,
        checkpoint="one.pt",
        others=(TeacherSpec(model=tiny.TEACHER.model, checkpoint="two.pt"),),
        shares=(0.75, 0.25),
    )
    network = build_teacher(teacher, dataset).eval()
    images = plain_view(dataset, dataset.train, torch.arange(3))
    one, two = (member(images) for member in member_networks(network))
    torch.testing.assert_close(network(images), 0.75 * one + 0.25 * two)
    folded = fold_teacher(FeatureExtractor(network), images).teacher(images).logits
    torch.testing.assert_close(folded, network(images), rtol=1e-3, atol=1e-4)
    with pytest.raises(ConfigError, match=r"teacher.learned_shares compares .* of classes, and data.task is 'regress"):
        find_shares(teacher, data, dataset, Silent())


def test_numbers_far_from_0_are_refused_with_what_to_do(tmp_path: Path) -> None:
    data = bright_halves(tmp_path / "set.npz", "regression")
    with np.load(tmp_path / "set.npz") as found:
        arrays = {name: found[name] * 21 + 54 if name.startswith("y") else found[name] for name in found}
    np.savez(tmp_path / "ages.npz", **arrays)
    roots = Roots(results=tmp_path / "results", data=tmp_path)
    plain = tiny.experiment(data=data)
    dataset = load_data(data, tmp_path)
    require_scaled_labels(plain, dataset, roots)
    far = dataclasses.replace(data, name=f"arrays:{tmp_path / 'ages.npz'}")
    labels = dataset.train.labels * 21 + 54
    sentence = f"have the mean {labels.mean():.4g} and deviation {labels.std(correction=0):.4g} in training .output 0."
    with pytest.raises(ConfigError, match=sentence):
        prepare_experiment(dataclasses.replace(plain, data=far), roots, Silent())
    (roots.results / plain.name).mkdir(parents=True)
    (roots.results / plain.name / "experiment.json").write_text("{}")
    require_scaled_labels(plain, load_data(far, tmp_path), roots)  # begun by an earlier release

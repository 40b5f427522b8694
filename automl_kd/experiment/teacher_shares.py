"""Shares of several teachers, learned once before training: the mean predicts labelled training images best.

The shares w maximise the sum over images of log sum_i w_i p_i(label), where p_i are the outputs of teacher i at
temperature 1: the maximum likelihood of a mixture's weights, which is concave in w, so that the steps of
Dempster, Laird, Rubin. Maximum Likelihood from Incomplete Data via the EM Algorithm. 1977, lead to it from equal ones.

Validation images choose students and are not looked at. The teachers must not have been trained on the training images,
since whichever learned them by heart would get all; a teacher that automl_kd trained on these is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from automl_kd import files, storage
from automl_kd.config import Experiment
from automl_kd.data import Dataset, plain_view
from automl_kd.data.counter import draw_words, key
from automl_kd.errors import ConfigError
from automl_kd.experiment.preflight.reading import PASS_BATCH
from automl_kd.experiment.progress.events import Watcher
from automl_kd.methods.from_file import measuring_trial
from automl_kd.models.pickled import label_pickled
from automl_kd.models.teacher_mean import normalise_shares
from automl_kd.models.weights.checkpoint import load_weights
from automl_kd.results.store.teacher_shares import read_shares
from automl_kd.spec import DataSpec, Recipe, TeacherSpec
from automl_kd.training.trial import build_teacher

MOST_LABELS, FEWEST_LABELS = 2000, 20

EM_STEPS, NO_MOVE = 300, 1e-7
"""Steps of EM, at most; fewer where no share moves by more than this."""

SHARES_STREAM = 22
"""The first word of the key that draws images, which no other draw has."""


def settle_shares(experiment: Experiment, dataset: Dataset, folder: Path, watcher: Watcher) -> dict[str, Any]:
    """The shares of the teachers and what is known of them: those in `folder`, or new ones; empty if none are asked."""
    teacher = experiment.teacher
    if not teacher.learned_shares:
        return {}
    found = read_shares(folder)
    if found.get("teachers") != identity_of_teachers(teacher, experiment.data):
        found = find_shares(teacher, experiment.data, dataset, watcher)
    watcher.note(found["sentence"])
    return found


def with_shares(experiment: Experiment, found: Mapping[str, Any]) -> Experiment:
    """The experiment with what `settle_shares` returns."""
    shares = tuple(found.get("shares", experiment.teacher.shares))
    return dataclasses.replace(experiment, teacher=dataclasses.replace(experiment.teacher, shares=shares))


def identity_of_teachers(teacher: TeacherSpec, data: DataSpec) -> str:
    """All that learned shares depend on."""
    return measuring_trial(dataclasses.replace(teacher, shares=()), data, Recipe()).key


def find_shares(teacher: TeacherSpec, data: DataSpec, dataset: Dataset, watcher: Watcher) -> dict[str, Any]:
    """Learn the shares.

    `ConfigError` where labels are too few or no classes, or a teacher was trained on the same images.
    """
    split, task = dataset.train, dataset.task
    if not task.labels_are_classes:
        raise ConfigError(
            f"teacher.learned_shares compares probabilities of classes, and data.task is {task.name!r}; give "
            "teacher.shares, or none for equal ones"
        )
    if len(split) < FEWEST_LABELS:
        raise ConfigError(
            f"teacher.learned_shares looks at labelled training images, and there are {len(split)} where "
            f"{FEWEST_LABELS} or more are wanted; give teacher.shares"
        )
    for one in teacher.members:
        refuse_trained_here(one, data)
    rows = torch.argsort(draw_words(key(SHARES_STREAM), torch.arange(len(split))))[:MOST_LABELS].sort().values
    watcher.stage(f"shares of {len(teacher.members)} teachers", len(teacher.members), "teachers")
    likelihoods = []
    for number, one in enumerate(teacher.members, start=1):
        likelihoods.append(label_likelihoods(one, dataset, rows))
        watcher.step(number)
    logs = torch.stack(likelihoods)
    shares = learn_shares(logs)
    return {
        "teachers": identity_of_teachers(teacher, data),
        "shares": list(normalise_shares(shares)),
        "images": len(rows),
        "sentence": shares_sentence(teacher, logs, shares),
    }


def refuse_trained_here(teacher: TeacherSpec, data: DataSpec) -> None:
    """`ConfigError` for weights that a training on the same set left, as the card beside them says."""
    file = storage.local_path(teacher.checkpoint)
    storage.pull_file(file.with_name("student.json"))
    try:
        card = files.read_json(file.with_name("student.json"))
        seen = card["spec"]["data"]
        same = file.name.startswith("student") and (seen["digest"] == data.digest or seen["name"] == data.name)
    except (OSError, ValueError, KeyError, TypeError):
        return
    if same:
        raise ConfigError(
            f"teacher.learned_shares looks at labelled training images, and {label_pickled(teacher.model)} "
            f"({file}) was trained on these; give teacher.shares"
        )


def label_likelihoods(teacher: TeacherSpec, dataset: Dataset, rows: Tensor) -> Float[Tensor, " images"]:
    """The logarithm of the probability that one teacher gives to the label of each training image, float64."""
    with torch.random.fork_rng(devices=[]):
        network = build_teacher(teacher, dataset).requires_grad_(False).eval()
    load_weights(network, storage.local_path(teacher.checkpoint), teacher.weights)
    found = []
    for piece in torch.split(rows, PASS_BATCH):
        with torch.no_grad():
            logits = network(plain_view(dataset, dataset.train, piece)).double()
        found.append(-torch.nn.functional.cross_entropy(logits, dataset.train.labels[piece], reduction="none"))
    return torch.cat(found)


def learn_shares(likelihoods: Float[Tensor, "teachers images"]) -> tuple[float, ...]:
    """The weights of a mixture under which data are likeliest, given the log-likelihood under each of its parts."""
    shares = likelihoods.new_full((len(likelihoods), 1), 1 / len(likelihoods))
    for _ in range(EM_STEPS):
        before = shares
        shares = torch.softmax(likelihoods + before.log(), dim=0).mean(1, keepdim=True)
        if float((shares - before).abs().max()) < NO_MOVE:
            break
    return tuple(shares.flatten().tolist())


def shares_sentence(teacher: TeacherSpec, likelihoods: Tensor, shares: tuple[float, ...]) -> str:
    """The shares, and the cross entropy of the mean, of equal shares and of each teacher, at temperature 1."""
    names = [label_pickled(one.model) for one in teacher.members]
    equal = (1 / len(names),) * len(names)
    parts = ", ".join(f"{name} {share:.4f}" for name, share in zip(names, shares, strict=True))
    alone = ", ".join(f"{name} {loss:.3f}" for name, loss in zip(names, (-likelihoods.mean(1)).tolist(), strict=True))
    return (
        f"shares of the teachers by {likelihoods.shape[1]:,} labelled training images: {parts}; cross entropy "
        f"{mixture_loss(likelihoods, shares):.3f}, with equal shares {mixture_loss(likelihoods, equal):.3f}, "
        f"alone {alone}"
    )


def mixture_loss(likelihoods: Tensor, shares: tuple[float, ...]) -> float:
    weights = likelihoods.new_tensor(shares).log().unsqueeze(1)
    return -float(torch.logsumexp(likelihoods + weights, dim=0).mean())

"""Logistic regression on texts, beside teachers of several families."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from automl_kd.data import Dataset, Split, load_data
from automl_kd.experiment.stages import text_baselines
from automl_kd.experiment.stages.text_baselines import POOLED, best_regression, pooled_features, shows_pooled
from automl_kd.models import build_model
from automl_kd.models.features import list_feature_layers
from automl_kd.results.store.text_baselines import (
    BASELINES_FILE,
    TextBaseline,
    find_teacher_no_better,
    read_text_baselines,
    text_baselines_line,
    write_text_baselines,
)
from automl_kd.spec import DataSpec
from automl_kd.tasks import find_task
from tests import tiny
from tests.data.text.words import write_set
from tests.experiment.test_run import Notes
from tests.models.text.families import family_of


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("texts")
    table = write_set(root / "set", count=60)
    return load_data(DataSpec(name=f"text:{table}", tokenizer=str(table.parent / "tokenizer.json")), root)


@pytest.mark.parametrize("name", ["DistilBert", "Roberta", "Albert"])
def test_features_are_the_mean_of_the_last_hidden_states(tmp_path: Path, dataset: Dataset, name: str) -> None:
    theirs = family_of(tmp_path, name)
    network = build_model(f"hf:{tmp_path}", dataset.shape).eval()
    assert shows_pooled(network, dataset)
    found = torch.from_numpy(pooled_features(network, dataset, dataset.test))
    tokens = dataset.test.tokens_at(torch.arange(len(dataset.test)))
    there = (tokens != 0).float()
    with torch.no_grad():
        states = theirs(input_ids=tokens, attention_mask=there.long()).last_hidden_state
    expected = (states * there[..., None]).sum(1) / there.sum(1, keepdim=True)
    assert (expected.std(0) > 1e-3).any()
    assert torch.allclose(found, expected, atol=1e-4)
    assert POOLED in list_feature_layers(network)


def test_a_network_without_them_is_left_out(dataset: Dataset) -> None:
    assert not shows_pooled(nn.Sequential(nn.Embedding(44, 3), nn.Flatten(1)), dataset)


def of_two_classes(metric: str) -> tuple[Dataset, dict[str, np.ndarray]]:
    """Of 40 texts every tenth is of the rare class. A feature tells two of these, and in validation three others."""
    labels = (torch.arange(40) % 10 == 0).long()
    split = Split(torch.ones(40, 3, dtype=torch.int32), labels, torch.arange(40), lengths=torch.full((40,), 3))
    told = {"training": [0, 10], "validation": [0, 10, 1, 2, 3], "test": [0, 20]}
    features = {name: np.isin(np.arange(40), rows)[:, None].astype(float) for name, rows in told.items()}
    dataset = replace(tiny.dataset(), shape=replace(tiny.SHAPE, classes=2), task=find_task("classification", metric))
    return replace(dataset, train=split, validation=split, test=split, class_names=("most", "few")), features


@pytest.mark.parametrize(
    ("metric", "penalty", "validation", "test"),
    [
        # Always the frequent class: 36 of 40 are right; the other one is right on 35 of 40.
        ("accuracy", 1e-6, 0.9, 0.9),
        # By that one: of the classes' 36 and 4 texts 33 and 2 are found among the 35 and 5 that are named so; in test
        # 36 and 2 among 38 and 2. F1 is twice the found over both counts. Always the frequent class has 0 of the rare.
        ("macro_f1", 100.0, (66 / 71 + 4 / 9) / 2, (72 / 74 + 4 / 6) / 2),
    ],
)
def test_a_regression_is_chosen_and_measured_by_what_is_followed(
    metric: str, penalty: float, validation: float, test: float
) -> None:
    dataset, features = of_two_classes(metric)
    found = best_regression("on one feature", dataset, features, (1e-6, 100.0))
    assert found[1:3] == pytest.approx((validation, test))
    assert found[3:] == (penalty, metric)


def test_what_was_measured_is_named_and_an_earlier_file_is_of_accuracies(tmp_path: Path) -> None:
    write_text_baselines(tmp_path, [TextBaseline("on words", 0.5, 0.25, 1.0, "macro_f1")])
    assert text_baselines_line(read_text_baselines(tmp_path)) == (
        "Logistic regression without training a network, on test by macro F1: on words 25.00 %."
    )
    old = {"title": "on words", "val_accuracy": 0.5, "test_accuracy": 0.25, "inverse_penalty": 1.0}
    (tmp_path / BASELINES_FILE).write_text(json.dumps([old]), encoding="utf-8")
    assert [one.metric for one in read_text_baselines(tmp_path)] == ["accuracy"]
    assert "network, on test: on words 25.00 %." in text_baselines_line(read_text_baselines(tmp_path))


def test_those_of_another_metric_are_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, _ = of_two_classes("macro_f1")
    context: Any = SimpleNamespace(dataset=dataset, folder=tmp_path, watcher=Notes())
    made: list[str] = []

    def computed(given: Any) -> list[TextBaseline]:
        made.append(given.dataset.task.metric)
        return [TextBaseline("on words", 0.5, 0.25, 1.0, given.dataset.task.metric)]

    monkeypatch.setattr(text_baselines, "compute_text_baselines", computed)
    write_text_baselines(tmp_path, [TextBaseline("on words", 0.9, 0.9, 1.0)])
    for _ in range(2):
        text_baselines.keep_text_baselines(context)
    assert made == ["macro_f1"]
    assert [one.test_accuracy for one in read_text_baselines(tmp_path)] == [0.25]


def test_a_teacher_that_is_no_better_is_told():
    """As MiniLM after three epochs on Banking77: 91.4 % beside 92.2 % of a regression on its features."""
    found = [TextBaseline("on words", 0.907, 0.89, 100.0), TextBaseline("on features", 0.922, 0.93, 0.1)]
    said = "The teacher is no better on validation (91.40 %) than logistic regression on features (92.20 %): "
    assert find_teacher_no_better(found, 0.914).startswith(said)
    assert find_teacher_no_better(found, 0.923) == ""
    assert find_teacher_no_better([], 0.5) == ""

"""Logistic regression on texts: on counts of their tokens, and on what the teacher says before it is fine-tuned.

A student that does not beat these was not worth its training, so they stand on every page of texts. The weighting is
that of Salton, Buckley. Term-weighting approaches in automatic text retrieval. 1988.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_kd.data import Dataset, Split, plain_view
from automl_kd.errors import UnknownNameError
from automl_kd.experiment.context import ExperimentContext
from automl_kd.models.features import FeatureExtractor
from automl_kd.results.store.text_baselines import TextBaseline, read_text_baselines, write_text_baselines
from automl_kd.spec import HUGGING_FACE
from automl_kd.training.trial import build_teacher

COUNT_PENALTIES, FEATURE_PENALTIES = (1.0, 10.0, 100.0), (0.1, 1.0, 10.0)
"""C of the regression, of which validation chooses: on counts, and on features with the deviation 1."""

POOLED = "pooled"

TEXTS_OF_A_PASS = 256


def keep_text_baselines(context: ExperimentContext) -> None:
    """Compute them for a set of texts in classes, unless they are in the folder, by the metric that is followed."""
    dataset = context.dataset
    if dataset.train.lengths is None or not dataset.task.labels_are_classes:
        return
    if {one.metric for one in read_text_baselines(context.folder)} == {dataset.task.metric}:
        return
    context.watcher.stage("logistic regression on the texts", 2, "baselines")
    found = []
    for number, one in enumerate(compute_text_baselines(context), start=1):
        found.append(one)
        context.watcher.step(number, one.title)
    write_text_baselines(context.folder, found)


def compute_text_baselines(context: ExperimentContext) -> Iterator[TextBaseline]:
    from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415 - a second to import

    dataset, teacher = context.dataset, context.experiment.teacher
    counts = TfidfVectorizer(analyzer="word", token_pattern=r"\d+", ngram_range=(1, 2), sublinear_tf=True)  # noqa: S106
    documents = {name: as_documents(split) for name, split in dataset.splits.items()}
    counts.fit(documents["training"])
    features = {name: counts.transform(found) for name, found in documents.items()}
    yield best_regression("on TF-IDF of one and two tokens", dataset, features, COUNT_PENALTIES)
    if teacher.model.startswith(HUGGING_FACE) and not teacher.checkpoint:
        with torch.random.fork_rng(devices=[]):
            network = build_teacher(teacher, dataset).eval()
        if not shows_pooled(network, dataset):
            context.watcher.note("the teacher shows no features of a text, so no logistic regression is fitted on them")
            return
        pooled = {name: pooled_features(network, dataset, split) for name, split in dataset.splits.items()}
        mean, spread = pooled["training"].mean(0), pooled["training"].std(0) + 1e-6
        scaled = {name: (found - mean) / spread for name, found in pooled.items()}
        yield best_regression("on the teacher's features before fine-tuning", dataset, scaled, FEATURE_PENALTIES)


def as_documents(split: Split) -> list[str]:
    """Tokens as words, without the first and the last, which all texts share."""
    assert split.lengths is not None
    rows = zip(split.inputs.tolist(), split.lengths.tolist(), strict=True)
    return [" ".join(map(str, row[1 : length - 1])) for row, length in rows]


def shows_pooled(network: nn.Module, dataset: Dataset) -> bool:
    """Whether it has a vector of each text. Networks with a decoder, and several as one, have none."""
    try:
        with FeatureExtractor(network, [POOLED]) as extractor, torch.inference_mode():
            extractor(plain_view(dataset, dataset.train, torch.arange(1)).cpu())
    except UnknownNameError:
        return False
    return True


def pooled_features(network: nn.Module, dataset: Dataset, split: Split) -> np.ndarray[Any, Any]:
    """(n, width), in the order of the split."""
    order = split.in_order(torch.arange(len(split)))
    with FeatureExtractor(network, [POOLED]) as extractor, torch.inference_mode():
        batches = (plain_view(dataset, split, rows).cpu() for rows in torch.split(order, TEXTS_OF_A_PASS))
        found = [extractor(tokens).features[POOLED] for tokens in batches]
    return torch.cat(found)[order.argsort()].numpy()


def best_regression(
    title: str, dataset: Dataset, features: dict[str, Any], penalties: tuple[float, ...]
) -> TextBaseline:
    """Fitted on the training texts; the penalty is chosen on validation, by what the task measures."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - a second to import

    labels = {name: split.labels.cpu() for name, split in dataset.splits.items()}

    def measure(model: LogisticRegression, split: str) -> float:
        return measure_answers(dataset, torch.from_numpy(model.predict(features[split])), labels[split])

    tried = []
    for penalty in penalties:
        model = LogisticRegression(C=penalty, max_iter=300).fit(features["training"], labels["training"].numpy())
        tried.append((measure(model, "validation"), -penalty, model))
    reached, penalty, model = max(tried, key=lambda one: one[:2])
    return TextBaseline(title, reached, measure(model, "test"), -penalty, dataset.task.metric)


def measure_answers(dataset: Dataset, answers: Tensor, labels: Tensor) -> float:
    """What the task follows, of the classes that were named: `answers` and `labels` are int64 (n,)."""
    logits = F.one_hot(answers, dataset.shape.classes).float()
    return dataset.task.measure(dataset.task.count(logits, labels), len(labels)).metric

"""What each task measures, against its definition computed in another way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, r2_score
from torch import Tensor

from automl_kd.errors import UnknownNameError
from automl_kd.tasks import TASKS, Task, find_task


def targets(labels: Tensor, second: Tensor | None = None, share: float = 1.0) -> Any:
    return SimpleNamespace(labels=labels, second_labels=second, share=share)


def measured(task: Task, logits: Tensor, labels: Tensor, pieces: int = 3) -> tuple[float, float]:
    """By batches, as a trial measures."""
    sums = sum(task.count(a, b) for a, b in zip(logits.tensor_split(pieces), labels.tensor_split(pieces), strict=True))
    assert isinstance(sums, Tensor)
    assert torch.equal(task.count(logits[:0], labels[:0]), torch.zeros_like(sums))  # what a trial begins with
    return task.measure(sums, len(logits))


def examples(seed: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
    torch.manual_seed(seed)
    logits = torch.randn(300, 5)
    classes = (logits + 2 * torch.randn(300, 5)).argmax(1)
    several = ((logits + torch.randn(300, 5)) > 0.5).float()
    return logits, {"classification": classes, "multi-label": several, "regression": logits + torch.randn(300, 5)}


def test_accuracy_and_macro_f1_are_those_of_scikit_learn() -> None:
    logits, labels = examples()
    truth, found = labels["classification"], logits.argmax(1)
    accuracy, loss = measured(find_task("classification"), logits, truth)
    assert accuracy == pytest.approx((truth == found).float().mean().item())
    assert loss == pytest.approx(torch.nn.functional.cross_entropy(logits, truth).item(), rel=1e-5)
    f1, _ = measured(find_task("classification", "macro_f1"), logits, truth)
    assert f1 == pytest.approx(f1_score(truth, found, average="macro"))


def test_macro_f1_leaves_out_classes_that_nobody_has() -> None:
    logits, labels = examples()
    truth = labels["classification"].clamp(max=3)  # of class 4 there are only guesses
    f1, _ = measured(find_task("classification", "macro_f1"), logits, truth)
    present = f1_score(truth, logits.argmax(1), average=None, labels=range(5))[:4]
    assert f1 == pytest.approx(np.mean(present))


def test_mean_average_precision_and_f1_of_several_labels_are_those_of_scikit_learn() -> None:
    logits, labels = examples()
    truth = labels["multi-label"]
    precision, loss = measured(find_task("multi-label"), logits, truth)
    exact = average_precision_score(truth, logits, average="macro")
    assert precision == pytest.approx(exact, abs=2e-3)  # ranked in bins
    assert loss == pytest.approx(torch.nn.functional.binary_cross_entropy_with_logits(logits, truth).item(), rel=1e-5)
    f1, _ = measured(find_task("multi-label", "macro_f1"), logits, truth)
    assert f1 == pytest.approx(f1_score(truth, logits > 0, average="macro"))


def test_the_share_of_variance_explained_is_that_of_scikit_learn() -> None:
    logits, labels = examples()
    truth = labels["regression"]
    explained, mse = measured(find_task("regression"), logits, truth)
    assert explained == pytest.approx(r2_score(truth, logits), rel=1e-5)
    assert mse == pytest.approx(torch.nn.functional.mse_loss(logits, truth).item(), rel=1e-5)
    negative, _ = measured(find_task("regression", "negative_mse"), logits, truth)
    assert negative == pytest.approx(-mse)


@pytest.mark.parametrize("name", TASKS)
def test_equal_outputs_are_no_soft_loss_and_others_are_one_that_falls(name: str) -> None:
    logits, _ = examples()
    task, student = find_task(name), (logits + 1.5 * torch.randn_like(logits)).requires_grad_()
    assert task.soft_loss(logits, logits, 4.0).item() == pytest.approx(0, abs=1e-5)
    loss = task.soft_loss(student, logits, 4.0)
    (slope,) = torch.autograd.grad(loss, student)
    assert 0 < task.soft_loss(student - slope, logits, 4.0).item() < loss.item()


@pytest.mark.parametrize("name", TASKS)
def test_a_whole_share_of_a_mix_is_no_mix(name: str) -> None:
    logits, labels = examples()
    task, truth = find_task(name), labels[name]
    plain = task.loss(logits, targets(truth), "ce", 0.0, False)
    mixed = task.loss(logits, targets(truth, truth.flip(0), 1.0), "ce", 0.0, False)
    assert torch.allclose(plain, mixed)
    half = task.loss(logits, targets(truth, truth.flip(0), 0.5), "ce", 0.0, False)
    assert not torch.allclose(plain, half)


@pytest.mark.parametrize("name", TASKS)
def test_strata_are_numbers_of_a_few_groups(name: str) -> None:
    _, labels = examples()
    strata = find_task(name).strata(labels[name])
    assert strata.dtype == torch.int64
    assert strata.shape == (300,)
    assert 1 < len(strata.unique()) <= 10
    assert strata.min() >= 0


def test_strata_of_several_labels_are_their_rarest_label() -> None:
    labels = torch.tensor([[1.0, 1, 0], [1, 0, 0], [1, 0, 1], [0, 0, 0], [1, 1, 0]])
    assert find_task("multi-label").strata(labels).tolist() == [1, 0, 2, 3, 1]


def test_unknown_names_are_refused_in_a_sentence() -> None:
    with pytest.raises(UnknownNameError, match="no task is called 'regresion'; did you mean 'regression'"):
        find_task("regresion")
    with pytest.raises(UnknownNameError, match="no metric is called 'f1'"):
        find_task("classification", "f1")


def test_several_teachers_of_several_labels_say_the_mean_of_their_probabilities() -> None:
    one, two = torch.tensor([[0.95, 0.2]]).logit(), torch.tensor([[0.75, 0.6]]).logit()
    found = find_task("multi-label").average((one, two), (0.75, 0.25), 1.0)
    torch.testing.assert_close(found.sigmoid(), torch.tensor([[0.9, 0.3]]))
    at_four = find_task("multi-label").average((one, two), (0.75, 0.25), 4.0)
    torch.testing.assert_close((at_four / 4).sigmoid(), 0.75 * (one / 4).sigmoid() + 0.25 * (two / 4).sigmoid())
    sure = find_task("multi-label").average((torch.tensor([[1e4]]), torch.tensor([[-1e4]])), (0.5, 0.5), 1.0)
    assert sure.abs().item() < 1e-3


def test_several_teachers_of_numbers_say_their_mean() -> None:
    outputs = (torch.tensor([[30.0, -2.0]]), torch.tensor([[50.0, 2.0]], dtype=torch.bfloat16))
    found = find_task("regression").average(outputs, (0.75, 0.25), 4.0)
    torch.testing.assert_close(found, torch.tensor([[35.0, -1.0]]))
    assert torch.equal(found, find_task("regression").average(outputs, (0.75, 0.25), 1.0))

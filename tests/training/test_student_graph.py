"""A recording of the student's passes, here one that only pretends, changes no number and is used where it fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_kd.models import build_model
from automl_kd.models.text.bilstm import Bilstm, BilstmPlan
from automl_kd.spec import Recipe
from automl_kd.training.student_graph import RecordedStudent
from automl_kd.training.training_run import TrainingRun
from tests import tiny
from tests.models.text.test_bert import SHAPE

RECIPE = Recipe(epochs=2, batch_size=16)


class PretendedRecord:
    """As torch's: some passes to warm up, then a `forward` that takes images of one shape; `used` counts its calls."""

    def __init__(self) -> None:
        self.used = 0

    def __call__(self, network: nn.Module, images: tuple[Tensor, ...]) -> Any:
        (like,) = images
        assert not network._forward_hooks  # which torch refuses
        assert not network._forward_pre_hooks
        for _ in range(3):
            torch.autograd.grad(network(like).square().sum() + torch.rand(()), [*network.parameters()])
        counters = [value.clone() for name, value in network.named_buffers() if name.endswith("tracked")]
        original: Callable[[Tensor], Tensor] = network.forward

        def forward(given: Tensor) -> Tensor:
            assert given.shape == like.shape
            self.used += 1
            logits = original(given)
            tracked = [value for name, value in network.named_buffers() if name.endswith("tracked")]
            for value in tracked:
                value.sub_(1)  # a record does not reach the processor
            return logits

        assert counters
        network.forward = forward
        return network


def trained(record: PretendedRecord | None, *, hook: bool = False) -> nn.Module:
    torch.manual_seed(3)
    student = build_model("resnet8", tiny.SHAPE)
    if hook:
        student.get_submodule("stem").register_forward_hook(lambda *_: None)
    run = TrainingRun(student, tiny.dataset(), RECIPE, seed=1)
    if record:
        run.graph = RecordedStudent(student, RECIPE, record)
    for epoch in (1, 2):
        run.train_epoch(lambda batch: {"ce": F.cross_entropy(student(batch.inputs), batch.labels)}, epoch)
        assert "forward" not in vars(student)
    return student


def equal(one: nn.Module, two: nn.Module) -> bool:
    theirs = two.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


def test_weights_and_counters_are_those_without_a_record():
    record = PretendedRecord()
    assert equal(trained(None), trained(record))
    assert record.used == RECIPE.epochs * (len(tiny.dataset().train) // RECIPE.batch_size)


def test_a_student_whose_features_are_read_runs_as_ever():
    record = PretendedRecord()
    assert equal(trained(None), trained(record, hook=True))
    assert record.used == 0


def test_a_pass_without_gradients_records_nothing():
    student = build_model("resnet8", tiny.SHAPE)
    record = PretendedRecord()
    graph = RecordedStudent(student, RECIPE, record)
    images = torch.rand(4, 1, 8, 8)
    student.eval()
    with torch.no_grad():
        wanted = student(images)
        with graph.in_use():
            assert torch.equal(student(images), wanted)
    assert graph.recorded is None
    assert record.used == 0


def test_recurrent_students_are_not_recorded():
    student = Bilstm(SHAPE, BilstmPlan(1, 16, 12))
    graph = RecordedStudent(student, RECIPE, PretendedRecord())
    with graph.in_use():
        assert "forward" not in vars(student)
    assert RecordedStudent(build_model("resnet8", tiny.SHAPE), RECIPE, PretendedRecord()).able

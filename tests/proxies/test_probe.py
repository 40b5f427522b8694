from __future__ import annotations

import pytest
import torch

from automl_kd.errors import DataError
from automl_kd.models import build_model
from automl_kd.proxies.probe import Probe, make_probe
from tests.proxies.examples import GREY, example_probe

IMAGES, LABELS = torch.zeros(4, 1, 8, 8), torch.arange(4)


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (torch.zeros(4, 3, 8, 8), LABELS, r"\(4, 3, 8, 8\).*want \(4, 1, 8, 8\)"),
        (torch.zeros(3, 1, 8, 8), LABELS, "one label for each image"),
        (torch.zeros(0, 1, 8, 8), LABELS[:0], "one label for each image"),
        (IMAGES, LABELS + 7, "labels from 7 to 10.*10 classes"),
        (IMAGES, LABELS - 1, "labels from -1 to 2"),
    ],
)
def test_images_and_labels_must_fit_the_task(images, labels, said):
    with pytest.raises(DataError, match=said):
        Probe(images, labels, GREY)


def test_a_teacher_of_another_task_is_refused():
    teacher = build_model("resnet8", GREY)
    teacher.fc = torch.nn.Linear(64, 7)
    with pytest.raises(DataError, match="7 classes, but the task has 10"):
        make_probe(IMAGES, LABELS, GREY, teacher)


def test_the_teacher_is_left_as_it_was():
    teacher = build_model("resnet8", GREY).eval()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    make_probe(IMAGES, LABELS, GREY, teacher, seed=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    assert not teacher.training


def test_the_teachers_mode_does_not_matter():
    teacher, images = build_model("resnet8", GREY), torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    training, evaluating = (make_probe(images, LABELS, GREY, teacher.train(mode)).teacher for mode in (True, False))
    assert training is not None
    assert evaluating is not None
    assert torch.equal(training.logits, evaluating.logits)


def test_random_teachers_follow_the_seed_and_trained_ones_their_weights():
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    def logits(model_seed: int, seed: int | None) -> torch.Tensor:
        torch.manual_seed(model_seed)
        outputs = make_probe(images, LABELS, GREY, build_model("resnet8", GREY), seed=seed).teacher
        assert outputs is not None
        return outputs.logits

    assert torch.equal(logits(0, 5), logits(1, 5))
    assert not torch.equal(logits(0, 5), logits(0, 6))
    assert not torch.equal(logits(0, None), logits(1, None))


def test_the_teachers_outputs_are_plain_tensors_on_batch_statistics():
    probe = example_probe()
    assert probe.teacher is not None
    assert set(probe.teacher.features) == {"pre_pool", "pooled", "stage1", "stage2", "stage3"}
    assert not probe.teacher.logits.requires_grad
    assert not probe.teacher.logits.is_inference()
    pooled = probe.teacher.features["pre_pool"].mean((2, 3))
    torch.testing.assert_close(probe.teacher.features["pooled"], pooled)

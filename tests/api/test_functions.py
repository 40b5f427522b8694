"""Losses and proxies as plain functions: the table's defaults, checked shapes and ranges, a docstring for each."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import automl_kd as akd
from automl_kd.errors import ConfigError, RecordError
from automl_kd.losses.functions import LOSS_FUNCTIONS
from automl_kd.models import build_model
from automl_kd.proxies import PROXIES, PROXY_FUNCTIONS
from automl_kd.proxies.functions import NEED_LABELS
from automl_kd.space import InputShape

SHAPE = InputShape(1, 8, 8, 10)


def test_soft_targets_by_hand():
    # teacher (3/4, 1/4), student (1/2, 1/2): KL = 3/4 ln 3/2 + 1/4 ln 1/2
    teacher, student = torch.tensor([[0.75, 0.25]]).log(), torch.zeros(1, 2)
    expected = 0.75 * torch.tensor(1.5).log() + 0.25 * torch.tensor(0.5).log()
    torch.testing.assert_close(akd.losses.kd_loss(student, teacher, temperature=1.0), expected)


def test_an_option_that_is_not_given_has_the_default_of_the_table():
    student, teacher, labels = torch.randn(6, 10), torch.randn(6, 10), torch.arange(6)
    assert akd.losses.kd_loss(student, teacher) == akd.losses.kd_loss(student, teacher, temperature=4.0)
    given = akd.losses.dkd_loss(student, teacher, labels, alpha=1.0, beta=8.0, temperature=4.0)
    assert akd.losses.dkd_loss(student, teacher, labels=labels) == given


def test_a_gradient_reaches_the_student_and_a_temperature():
    student, temperature = torch.randn(4, 3, requires_grad=True), torch.tensor(2.0, requires_grad=True)
    akd.losses.kd_loss(student, torch.randn(4, 3), temperature).backward()
    assert student.grad is not None
    assert temperature.grad is not None


@pytest.mark.parametrize(
    ("values", "named", "sentence"),
    [
        ((torch.zeros(4, 3), torch.zeros(1, 3)), {}, r"kd_loss got student float32 \(4, 3\), teacher float32 \(1, 3\)"),
        ((torch.zeros(4, 3), 3), {}, "teacher an int, and wanted"),
        ((torch.zeros(4, 3), torch.zeros(4, 3)), {"temperature": 0}, "kd_loss: temperature must be above 0"),
        ((torch.zeros(4, 3), torch.zeros(4, 3)), {"temperature": float("nan")}, "temperature is nan; it should be"),
        ((torch.zeros(4, 3), torch.zeros(4, 3)), {"temp": 1.0}, "unexpected keyword argument 'temp'"),
        ((torch.zeros(4, 3),), {}, "missing a required argument: 'teacher'"),
    ],
)
def test_a_loss_refuses_what_does_not_fit(values, named, sentence):
    with pytest.raises(RecordError, match=sentence):
        akd.losses.kd_loss(*values, **named)


@pytest.mark.parametrize("name", LOSS_FUNCTIONS)
def test_a_loss_says_shapes_source_and_errors(name):
    text = getattr(akd.losses, name).__doc__
    assert "float (" in text
    assert "RecordError" in text
    assert "arXiv:" in text or "ICLR" in text or "CVPR" in text


def test_a_proxy_leaves_the_network_as_it_was():
    model = build_model("resnet8", SHAPE).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert isinstance(akd.proxies.zen(model, torch.randn(4, 1, 8, 8)), float)
    assert not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_looks_at_labels_only_where_it_says_so(name):
    torch.manual_seed(1)
    model, teacher = build_model("resnet8", SHAPE), build_model("resnet8", SHAPE)
    images, labels = torch.randn(8, 1, 8, 8), torch.tensor([0, 0, 1, 1, 2, 2, 3, 4])
    score = PROXY_FUNCTIONS[name]
    first, second = (score(model, images, one, teacher=teacher) for one in (labels, labels.flip(0)))
    assert name in NEED_LABELS or first == second
    assert score(model, images, labels, teacher=teacher) == first
    assert PROXIES[name].source in str(score.__doc__)


def test_counting_proxies_of_any_network():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, bias=False))
    images = torch.randn(2, 1, 8, 8)
    assert akd.proxies.params(model, images) == 640
    assert akd.proxies.macs(model, images) == 640
    assert not model._forward_hooks


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("snip", {}, "snip looks at labels and got none"),
        ("kd_kd", {}, "kd_kd compares with a teacher and got none"),
        ("naswot", {"images": torch.zeros(8, 8)}, r"naswot: images are torch.float32 \(8, 8\); give a float tensor"),
        ("naswot", {"labels": torch.zeros(4)}, "naswot: labels must be an integer tensor"),
    ],
)
def test_a_proxy_refuses_what_does_not_fit(name, given, sentence):
    arguments = {"model": build_model("resnet8", SHAPE), "images": torch.zeros(4, 1, 8, 8), **given}
    with pytest.raises(RecordError, match=sentence):
        getattr(akd.proxies, name)(**arguments)


def test_a_proxy_that_finds_no_feature_layer_says_so():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    with pytest.raises(ConfigError, match="zen reads the map before global pooling"):
        akd.proxies.zen(model, torch.randn(2, 1, 8, 8))

"""What every loss of the table promises."""

from __future__ import annotations

import copy
import re
from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import nn

from automl_kd.errors import ConfigError
from automl_kd.losses import DISTILLATION_LOSSES
from automl_kd.losses.base import Loss, LossFunction
from automl_kd.losses.weighted_sum import read_mix
from automl_kd.models import build_model
from automl_kd.models.features import Outputs, find_feature
from automl_kd.models.text.bert import Bert, BertPlan
from automl_kd.space import InputShape, TextShape
from tests.losses.outputs import batch, example, outputs

ZERO_WHEN_EQUAL = [
    "kd", "dkd", "dist", "lskd", "mlkd", "at", "nst", "sp", "rkd", "pkt", "fsp", "diswot_relation", "diswot_semantic",
    "minilm",
]  # fmt: skip

OF_TEXTS = {"minilm"}
"""Losses that only encoders of texts have the layers for."""

ENCODER = BertPlan(layers=2, width=12, heads=3, inner=12)

every_loss = pytest.mark.parametrize("name", DISTILLATION_LOSSES)


def made(name: str, student: Outputs, teacher: Outputs, *, seed: int = 0) -> LossFunction:
    torch.manual_seed(seed)
    return DISTILLATION_LOSSES[name]().make(example(student, teacher, seed=seed))


def other(name: str, *, size: int = 8, count: int = 6) -> Outputs:
    """A teacher twice as wide as a default student, except for the loss that compares widths as they are."""
    return outputs(1, width=4 if name == "fsp" else 8, size=size, count=count)


def value(loss_function: LossFunction, student: Outputs, teacher: Outputs) -> torch.Tensor:
    return torch.stack(list(loss_function(student, teacher, batch(len(student.logits))).values()))


@every_loss
def test_options_are_flat_have_defaults_and_name_their_source(name):
    kind: Any = DISTILLATION_LOSSES[name]
    assert isinstance(kind(), Loss)
    assert all(type(getattr(kind(), item.name)) in {bool, int, float, str} for item in fields(kind))
    first = (kind.__doc__ or "").split("\n\n")[0]
    assert re.search(r"\d{4}, (arXiv:\d{4}\.\d{5}|arXiv:\d{4}\.\d{4}|CVPR|ICLR)\.$", first), first


@every_loss
@pytest.mark.parametrize("model", ["resnet8", "wrn-16-1", "vgg8"])
def test_default_taps_are_in_every_model_of_the_zoo(name, model):
    shape = InputShape(3, 16, 16, 10)
    network = Bert(TextShape(), ENCODER) if name in OF_TEXTS else build_model(model, shape)
    features = DISTILLATION_LOSSES[name]().features
    for tap in {*features.student, *features.teacher}:
        assert find_feature(network, tap).module


@every_loss
@pytest.mark.parametrize("size", [8, 16, 4])
def test_terms_are_finite_scalars_whatever_the_widths_and_sizes(name, size):
    student, teacher = outputs(0), other(name, size=size)
    terms = made(name, student, teacher)(student, teacher, batch())
    assert terms
    for term, loss in terms.items():
        assert term == name or term.startswith(f"{name}.")
        assert loss.shape == ()
        assert loss.isfinite()


@every_loss
def test_gradient_reaches_student_and_layers_and_never_the_teacher(name):
    student, teacher = outputs(0, grad=True), other(name)
    teacher = outputs(1, width=teacher.features["stem"].shape[1], grad=True)
    loss_function = made(name, student, teacher)
    value(loss_function, student, teacher).sum().backward()
    leaves = [student.logits, *student.features.values()]
    assert any(leaf.is_leaf and leaf.grad is not None and leaf.grad.abs().sum() > 0 for leaf in leaves)
    for leaf in [student.logits, *student.features.values()]:
        assert not leaf.is_leaf or leaf.grad is None or leaf.grad.isfinite().all()
    assert all(leaf.grad is None for leaf in [teacher.logits, *teacher.features.values()] if leaf.is_leaf)
    if isinstance(loss_function, nn.Module):
        for parameter, tensor in loss_function.named_parameters():
            assert tensor.grad is not None, parameter


@every_loss
def test_only_the_taps_that_were_asked_for_are_looked_at(name):
    student, teacher = outputs(0), other(name)
    features = DISTILLATION_LOSSES[name]().features
    few_s = Outputs(student.logits, {tap: student.features[tap] for tap in features.student})
    few_t = Outputs(teacher.logits, {tap: teacher.features[tap] for tap in features.teacher})
    torch.testing.assert_close(
        value(made(name, student, teacher), student, teacher), value(made(name, few_s, few_t), few_s, few_t)
    )


@every_loss
def test_outputs_and_the_global_generator_are_left_alone(name):
    student, teacher = outputs(0), other(name)
    before = copy.deepcopy((student, teacher))
    loss_function = made(name, student, teacher)
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    value(loss_function, student, teacher)
    assert torch.equal(state, torch.random.get_rng_state())
    for old, new in zip(before, (student, teacher), strict=True):
        assert torch.equal(old.logits, new.logits)
        assert all(torch.equal(old.features[tap], new.features[tap]) for tap in old.features)


@every_loss
def test_equal_seeds_give_equal_numbers_over_several_steps(name):
    student, teacher = outputs(0), other(name)
    one, two = made(name, student, teacher, seed=3), made(name, student, teacher, seed=3)
    for _ in range(3):
        assert torch.equal(value(one, student, teacher), value(two, student, teacher))


@every_loss
def test_state_holds_everything(name, tmp_path):
    student, teacher = outputs(0), other(name)
    used, fresh = made(name, student, teacher, seed=3), made(name, student, teacher, seed=4)
    if not isinstance(used, nn.Module) or not isinstance(fresh, nn.Module):
        assert used == fresh
        return
    for _ in range(2):
        value(used, student, teacher)
    torch.save(used.state_dict(), tmp_path / "state.pt")
    fresh.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(2):
        assert torch.equal(value(used, student, teacher), value(fresh, student, teacher))


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_outputs_under_autocast_are_compared_in_float32(name, dtype):
    student, teacher = outputs(0, dtype=dtype), other(name)
    full = outputs(0)
    teacher = outputs(1, width=teacher.features["stem"].shape[1], dtype=dtype)
    loss_function = made(name, student, teacher)
    with torch.autocast("cpu", dtype):
        found = value(loss_function, student, teacher)
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    precise = value(made(name, full, other(name)), full, other(name))
    torch.testing.assert_close(found, precise, rtol=0.2, atol=0.02)


@pytest.mark.parametrize("name", ZERO_WHEN_EQUAL)
def test_equal_networks_have_no_loss_and_others_have_some(name):
    student, teacher = outputs(0, dtype=torch.float64), outputs(1, dtype=torch.float64)
    some = value(made(name, student, teacher), student, teacher).sum()
    assert some > 1e-4
    # DIST's denominators have a floor, which leaves a few millionths.
    assert value(made(name, student, student), student, student).abs().sum() < 1e-5 * some


@every_loss
def test_a_batch_of_two_images_is_enough(name):
    student, teacher = outputs(0, count=2), other(name, count=2)
    assert value(made(name, student, teacher), student, teacher).isfinite().all()


@every_loss
def test_alone_in_a_sum_it_has_its_standard_weights(name):
    student, teacher = outputs(0), other(name)
    sum_of_it = read_mix(f"{name}, {name}.warmup=0").make(example(student, teacher))
    terms = sum_of_it(student, teacher, batch())
    ((_, loss_function),) = [
        pair for pair in zip(sum_of_it.parts, sum_of_it.loss_functions, strict=True) if pair[0].name == name
    ]
    standard = DISTILLATION_LOSSES[name].standard
    if not isinstance(loss_function, nn.Module):  # layers with statistics or memories have moved on
        for term, loss in loss_function(student, teacher, batch()).items():
            torch.testing.assert_close(terms[term], standard.weight * loss)
    labels = nn.functional.cross_entropy(student.logits, batch().labels)
    torch.testing.assert_close(terms["ce"], standard.ce * labels)


MAPS = ["fitnet", "at", "nst", "vid", "ab", "fsp", "ft", "ofd", "semckd", "mgd", "ickd", "ofa"]


@pytest.mark.parametrize("name", MAPS)
def test_a_vector_where_a_map_is_wanted_is_refused_in_one_sentence(name):
    student, teacher = outputs(0), other(name)
    stages = "pooled+pooled" if name == "fsp" else "pooled"
    with pytest.raises(
        ConfigError, match=rf"{name} compares maps .* feature layer 'pooled' of the student gives \(6, 16\)"
    ) as told:
        DISTILLATION_LOSSES[name](stages=stages).make(example(student, teacher))  # type: ignore[call-arg]
    assert "\n" not in str(told.value)

"""Pairs of taps, sizes brought together, half precision lifted, random numbers that resume, layers that reshape."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from automl_kd.errors import ConfigError
from automl_kd.losses.base import (
    FeatureNames,
    beside,
    both_same_size,
    example_widths,
    halved_towards_the_first,
    read_stages,
    same_size,
)
from automl_kd.losses.draws import CountedGenerator
from automl_kd.losses.projections import projection, resizing
from automl_kd.models.features import Outputs
from automl_kd.tasks.precision import in_float32
from tests.losses.outputs import example, outputs


def test_stages_are_read_as_pairs():
    assert read_stages("stage1+ stage2:layer3.pre") == (("stage1", "stage1"), ("stage2", "layer3.pre"))
    assert FeatureNames.of("stage1+stage2:layer3") == FeatureNames(("stage1", "stage2"), ("stage1", "layer3"))


@pytest.mark.parametrize("text", ["", "stage1+", "stage1:", ":stage1", "+"])
def test_unreadable_stages_are_refused(text):
    with pytest.raises(ValueError, match="joined by"):
        read_stages(text)


def test_taps_of_several_losses_are_named_once():
    assert FeatureNames(("a", "b"), ("c",)) | FeatureNames(("b", "d")) == FeatureNames(("a", "b", "d"), ("c",))


def test_the_larger_map_is_averaged_to_the_smaller_in_each_direction():
    one, two = torch.arange(8.0).view(1, 1, 2, 4), torch.zeros(1, 3, 4, 2)
    small, other = same_size(one, two)
    assert small.tolist() == [[[[0.5, 2.5], [4.5, 6.5]]]]
    assert other.shape == (1, 3, 2, 2)
    assert same_size(one, one)[0] is one


def test_both_maps_of_a_pair_come_in_the_smaller_ones_size():
    student, teacher = Outputs(torch.zeros(1, 3), {"a": torch.ones(1, 2, 4, 4)}), outputs(1, count=1)
    ((one, two),) = both_same_size("a:stage2", student, teacher)
    assert one.shape == (1, 2, 4, 4)
    torch.testing.assert_close(two, teacher.features["stage2"])
    ((one, two),) = both_same_size("a:stage3", student, teacher)
    assert one.tolist() == torch.ones(1, 2, 2, 2).tolist()
    assert two.shape == (1, 16, 2, 2)


def test_each_stage_weighs_half_of_the_next():
    # 4 / 4 + 6 / 2 + 5
    assert halved_towards_the_first([torch.tensor(4.0), torch.tensor(6.0), torch.tensor(5.0)]) == 9.0


def test_widths_are_those_of_the_maps_and_vectors_are_refused():
    found = example(outputs(0), outputs(1, width=8))
    assert example_widths("some", "stage1+stage2:stage3", found) == [(4, 8), (8, 32)]
    with pytest.raises(ConfigError, match=r"some compares maps .* feature layer 'pooled' of the student gives"):
        example_widths("some", "pooled", found)


def test_half_precision_is_lifted_and_double_stays():
    seen = []
    look = in_float32(lambda *values, **named: seen.extend([*values, *named.values()]))
    half, double = torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        look(half, double, 2.0, other=half)
        product = in_float32(torch.mm)(torch.ones(2, 2), torch.ones(2, 2))
    assert [value.dtype for value in seen if isinstance(value, torch.Tensor)] == [
        torch.float32, torch.float64, torch.float32,
    ]  # fmt: skip
    assert seen[2] == 2.0
    assert product.dtype == torch.float32


def test_layers_take_the_precision_of_double_networks():
    for dtype, wanted in [(torch.float64, torch.float64), (torch.bfloat16, torch.float32)]:
        student = outputs(0, dtype=dtype)
        assert beside(nn.Linear(2, 2), example(student, student)).weight.dtype == wanted


def test_draws_differ_from_call_to_call_and_continue_after_a_restart():
    device = torch.device("cpu")
    draws, again = CountedGenerator(1), CountedGenerator(2)
    first, second = (torch.rand(3, generator=draws(device)) for _ in range(2))
    assert not torch.equal(first, second)
    again.load_state_dict(draws.state_dict())
    assert torch.equal(torch.rand(3, generator=draws(device)), torch.rand(3, generator=again(device)))


@pytest.mark.parametrize(
    ("student", "teacher"), [((8, 8), (4, 4)), ((4, 4), (8, 8)), ((7, 5), (4, 4)), ((4, 4), (4, 4))]
)
def test_resizing_gives_the_teachers_shape(student, teacher):
    one, two = torch.zeros(2, 3, *student), torch.zeros(2, 5, *teacher)
    assert resizing("x", one, two)(one).shape == two.shape


def test_resizing_refuses_what_no_convolution_does():
    with pytest.raises(ConfigError, match="fitnet cannot bring the student's map of 4x4 to the teacher's 7x7"):
        resizing("fitnet", torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 7, 7))


def test_projection_changes_the_width_alone():
    assert projection(3, 5)(torch.randn(2, 3, 4, 6)).shape == (2, 5, 4, 6)

"""The mean of several teachers by hand, at its temperature and at others, folded and counted."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from automl_kd.models import build_model
from automl_kd.models.costs.cost import count_cost
from automl_kd.models.features import FeatureExtractor
from automl_kd.models.folding import fold_teacher
from automl_kd.models.input_adapter import InputAdapter, adapt
from automl_kd.models.teacher_mean import TeacherMean, member_networks, normalise_shares, teacher_label
from automl_kd.space import InputShape
from automl_kd.spec import TeacherSpec
from automl_kd.tasks.mixture import mean_logits
from tests import tiny


def softened(logits, temperature):
    return torch.softmax(logits.double() / temperature, dim=1)


@pytest.fixture
def logits():
    return torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0)).mul(6).unbind()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
@pytest.mark.parametrize("shares", [(1 / 3, 1 / 3, 1 / 3), (0.7, 0.2, 0.1)])
def test_its_softened_outputs_are_the_weighted_mean(logits, shares, temperature):
    expected = sum(share * softened(one, temperature) for share, one in zip(shares, logits, strict=True))
    found = mean_logits(logits, shares, temperature)
    torch.testing.assert_close(softened(found, temperature), expected, rtol=1e-5, atol=1e-7)


def test_by_hand_at_two_temperatures():
    # Outputs (3/4, 1/4) and (1/4, 3/4) with shares 3/4 and 1/4: 10/16 and 6/16. At half the temperature: squares.
    one, two = torch.tensor([[0.75, 0.25]]).log(), torch.tensor([[0.25, 0.75]]).log()
    found = mean_logits((one, two), (0.75, 0.25), 1.0)
    torch.testing.assert_close(torch.softmax(found, 1), torch.tensor([[0.625, 0.375]]))
    torch.testing.assert_close(torch.softmax(found / 0.5, 1), torch.tensor([[100 / 136, 36 / 136]]))


def test_outputs_that_no_probability_can_show_stay_finite():
    one, two = torch.tensor([[1e4, 0.0, -1e4]]), torch.tensor([[0.0, 1e4, -1e4]])
    found = mean_logits((one, two), (0.5, 0.5), 1.0)
    torch.testing.assert_close(found, torch.tensor([[-0.6931, -0.6931, -20000.0]]), rtol=1e-4, atol=1e-4)


def test_half_precision_becomes_single(logits):
    halves = [one.bfloat16() for one in logits]
    found = mean_logits(halves, (0.5, 0.3, 0.2), 4.0)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, mean_logits([one.float() for one in halves], (0.5, 0.3, 0.2), 4.0))
    assert mean_logits([one.double() for one in logits], (0.5, 0.3, 0.2), 4.0).dtype == torch.float64


def test_one_teacher_twice_says_what_it_says_alone(logits):
    found = mean_logits((logits[0], logits[0]), (0.9, 0.1), 4.0)
    torch.testing.assert_close(torch.log_softmax(found, 1), torch.log_softmax(logits[0], 1), rtol=1e-4, atol=1e-4)


def test_shares_have_the_sum_1_and_four_decimals():
    assert normalise_shares((3, 1)) == (0.75, 0.25)
    assert normalise_shares((1, 2)) == (0.3333, 0.6667)
    assert normalise_shares((1e9, 1)) == (1.0, 0.0001)
    assert normalise_shares((7, 7, 7)) == normalise_shares(()) == ()


def mean_of_two() -> TeacherMean:
    """A plain network, and one with images and classes of its own."""
    torch.manual_seed(5)
    small = build_model("resnet8", tiny.SHAPE)
    large = adapt(
        build_model("resnet14", InputShape(1, 16, 16, 5)),
        InputAdapter(size=16, factor=(0.5,), shift=(0.2,), outputs=(4, 0, 2)),
    )
    return TeacherMean((small, large), (3.0, 1.0), 2.0).eval()


def test_folded_it_says_the_same_with_fewer_layers():
    mean, images = mean_of_two(), torch.randn(6, 1, 8, 8)
    folded = fold_teacher(FeatureExtractor(mean), images)
    norms = [one for one in folded.teacher.model.modules() if isinstance(one, torch.nn.BatchNorm2d)]
    assert (folded.reason, folded.wrong, norms) == ("", False, [])
    with torch.no_grad():
        torch.testing.assert_close(folded.teacher(images).logits, mean(images), rtol=1e-4, atol=1e-4)
    assert folded.teacher.model.shares == mean.shares == (0.75, 0.25)


def test_it_costs_what_its_members_cost():
    mean = mean_of_two()
    each = [count_cost(one, tiny.SHAPE) for one in member_networks(mean)]
    found = count_cost(mean, tiny.SHAPE)
    assert (found.params, found.macs) == (sum(one.params for one in each), sum(one.macs for one in each))
    assert member_networks(mean.members[0]) == [mean.members[0]]


def test_people_read_all_its_names():
    first = TeacherSpec(model="resnet56", checkpoint="a")
    both = dataclasses.replace(first, others=(TeacherSpec(model="wrn40-2", checkpoint="b"),))
    assert (teacher_label(first), teacher_label(both)) == ("resnet56", "resnet56 + wrn40-2")

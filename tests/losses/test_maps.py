"""Losses on feature maps by hand: FitNet, AT, NST, VID, AB, FSP, FT, OFD, MGD, ICKD."""

from __future__ import annotations

import math

import pytest
import torch

from automl_kd.errors import ConfigError
from automl_kd.losses.features.ab import AB, ab_loss
from automl_kd.losses.features.at import AT, at_loss, attention_map
from automl_kd.losses.features.fitnet import FitNet, hint_loss
from automl_kd.losses.features.fsp import FSP, flow, fsp_loss
from automl_kd.losses.features.ft import FT, ft_loss
from automl_kd.losses.features.ickd import ickd_loss
from automl_kd.losses.features.mgd import MGD, mgd_loss
from automl_kd.losses.features.nst import nst_loss
from automl_kd.losses.features.ofd import OFD, negative_means, ofd_loss
from automl_kd.losses.features.vid import VID, vid_loss
from tests.losses.outputs import batch, example, outputs


def a_map(*channels: list[list[float]]) -> torch.Tensor:
    """One image, given channel by channel, row by row."""
    return torch.tensor([channels])


def close(found: torch.Tensor, expected: float) -> None:
    torch.testing.assert_close(found, torch.tensor(expected))


def test_hint_by_hand():
    close(hint_loss(a_map([[1.0, 2.0]]), a_map([[2.0, 5.0]])), 5.0)  # (1 + 9) / 2


def test_attention_by_hand():
    # Mean squares over channels (1, 4) / 2, of unit length (1, 4) / sqrt 17, against (1, 0).
    student, teacher = a_map([[1.0, -2.0]], [[0.0, 0.0]]), a_map([[3.0, 0.0]])
    one, four = 1 / math.sqrt(17), 4 / math.sqrt(17)
    torch.testing.assert_close(attention_map(student, 2.0), torch.tensor([[one, four]]))
    close(at_loss(student, teacher, 2.0), ((one - 1) ** 2 + four**2) / 2)
    # With power 1 (1, 2) / sqrt 5.
    close(at_loss(student, teacher, 1.0), ((1 / math.sqrt(5) - 1) ** 2 + 4 / 5) / 2)


def test_attention_of_a_larger_map_is_that_of_its_averages():
    student, teacher = a_map([[1.0, 3.0, 0.0, 0.0]]), a_map([[0.0, 5.0]])
    close(at_loss(student, teacher, 2.0), 1.0)  # (2, 0) to (1, 0) against (0, 1): (1 + 1) / 2


def test_attention_sees_no_scale():
    student, teacher = outputs(0).features["stage2"], outputs(1).features["stage2"]
    torch.testing.assert_close(at_loss(student, teacher, 2.0), at_loss(3 * student, teacher / 7, 2.0))


@pytest.mark.parametrize("times", [2, 4])
def test_the_same_attention_over_more_positions_is_a_smaller_loss(times):
    # Each pixel repeated n x n times: entries of unit vectors fall to 1/n, the mean of their squared differences to
    # 1/n^2. So a weight for images of 32x32 (n = 4 beside 8x8) is 16 times too large for images of 8x8.
    student, teacher = outputs(0).features["stage1"], outputs(1).features["stage1"]
    one, two = (x.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3) for x in (student, teacher))
    torch.testing.assert_close(at_loss(one, two, 2.0), at_loss(student, teacher, 2.0) / times**2)


def test_stages_are_summed():
    student, teacher = outputs(0), outputs(1)
    both = AT(stages="stage1+stage2:stage3")(student, teacher, batch())["at"]
    s, t = student.features, teacher.features
    torch.testing.assert_close(both, at_loss(s["stage1"], t["stage1"], 2.0) + at_loss(s["stage2"], t["stage3"], 2.0))


def test_selectivity_by_hand():
    # k(s, s) = k(t, t) = 1. Orthogonal maps: k(s, t) = 0. (1, 0) and (1, 1) / sqrt 2: k = 1/2.
    close(nst_loss(a_map([[1.0, 0.0]]), a_map([[0.0, 2.0]])), 2.0)
    close(nst_loss(a_map([[3.0, 0.0]]), a_map([[1.0, 1.0]])), 1.0)
    # Channels (1, 0) and (0, 1) against (1, 0): 1 + (1 + 0 + 0 + 1) / 4 - 2 (1 + 0) / 2
    close(nst_loss(a_map([[1.0, 0.0]], [[0.0, 1.0]]), a_map([[1.0, 0.0]])), 0.5)


def test_likelihood_by_hand():
    # (2^2 / 4 + ln 4) / 2
    mean, teacher = a_map([[0.0]]), a_map([[2.0]])
    close(vid_loss(mean, teacher, torch.tensor([4.0])), (1 + math.log(4)) / 2)


def test_the_best_variance_is_the_squared_error():
    variance = torch.tensor([9.0], requires_grad=True)
    vid_loss(a_map([[0.0]]), a_map([[3.0]]), variance).backward()
    assert variance.grad is not None
    assert variance.grad.abs() < 1e-7


@pytest.mark.parametrize("variance", [2e-5, 3.0, 800.0, 1e30])
def test_variances_begin_as_asked_and_are_trained(variance):
    student, teacher = outputs(0), outputs(1)
    made = VID(variance=variance, stages="stage2").make(example(student, teacher))
    begun = torch.nn.functional.softplus(made.variances[0]) + 1e-5
    torch.testing.assert_close(begun, torch.full((8,), variance))
    assert any(parameter is made.variances[0] for parameter in made.parameters())


def test_boundaries_by_hand():
    # Wanted: above 1, above 1, above 1, below -1. Missing: 0.5, 3, 0, 1.5, squares 11.5.
    student, teacher = a_map([[0.5, -2.0, 2.0, 0.5]]), a_map([[1.0, 2.0, 3.0, 0.0]])
    close(ab_loss(student, teacher, 1.0), 11.5)
    close(ab_loss(student.repeat(2, 1, 1, 1), teacher.repeat(2, 1, 1, 1), 1.0), 11.5)


def test_boundaries_weigh_each_stage_half_of_the_next():
    student, teacher = outputs(0), outputs(1)
    torch.manual_seed(0)
    made = AB(stages="stage1.pre+stage3.pre").make(example(student, teacher)).eval()
    parts = [
        ab_loss(layer(student.features[tap]), teacher.features[tap], 1.0)
        for layer, tap in zip(made.connectors, ("stage1.pre", "stage3.pre"), strict=True)
    ]
    torch.testing.assert_close(made(student, teacher, batch())["ab"], 0.003 * (0.5 * parts[0] + parts[1]))


def test_flow_by_hand():
    # Student (1 x 3 + 2 x 4) / 2 = 5.5, teacher 1: 4.5^2
    lower, upper = a_map([[1.0, 2.0]]), a_map([[3.0, 4.0]])
    ones = torch.ones(1, 1, 1, 2)
    close(flow(lower, upper).squeeze(), 5.5)
    close(fsp_loss(lower, upper, ones, ones), 20.25)
    # An upper map of half the size meets the averages of the lower: 1.5 x 3
    close(flow(lower, a_map([[3.0]])).squeeze(), 4.5)


def test_flow_refuses_other_widths_and_a_single_stage():
    student, teacher = outputs(0), outputs(1, width=8)
    with pytest.raises(
        ConfigError, match="fsp needs equal widths and got 4 from the student, 8 from the teacher at 'stem'"
    ):
        FSP().make(example(student, teacher))
    with pytest.raises(ValueError, match="two stages or more"):
        FSP(stages="stage1")


def test_factors_by_hand():
    close(ft_loss(a_map([[2.0, 0.0]]), a_map([[0.0, 1.0]])), 1.0)  # (1, 0) against (0, 1)


def test_the_paraphraser_learns_beside_the_student_or_before_it():
    student, teacher = outputs(0), outputs(1)
    beside = FT().make(example(student, teacher))
    assert beside(student, teacher, batch(epoch=1)).keys() == {"ft", "ft.own"}
    before = FT(pretrain=0.5).make(example(student, teacher, epochs=4))
    assert before(student, teacher, batch(epoch=2)).keys() == {"ft.own"}
    statistics = {name: value.clone() for name, value in before.encoders.state_dict().items()}
    later = before(student, teacher, batch(epoch=3))
    assert later.keys() == {"ft"}
    later["ft"].backward()
    assert all(parameter.grad is None for parameter in before.encoders.parameters())
    assert all(torch.equal(statistics[name], value) for name, value in before.encoders.state_dict().items())


def test_the_students_loss_does_not_teach_the_paraphraser():
    student, teacher = outputs(0), outputs(1)
    made = FT().make(example(student, teacher))
    made(student, teacher, batch())["ft"].backward()
    assert all(parameter.grad is None for parameter in made.encoders.parameters())
    assert all(parameter.grad is not None for parameter in made.translators.parameters())


def test_partial_distance_by_hand():
    # Goals (1, -1, -1, -0.5). Counted: 0 to 1, 2 down to -1, 0.5 down to -0.5; -3 lies below its goal already.
    student, teacher = a_map([[0.0, 2.0, -3.0, 0.5]]), a_map([[1.0, -5.0, -5.0, -0.5]])
    close(ofd_loss(student, teacher, torch.tensor([-1.0])), 1 + 9 + 0 + 1.0)


def test_margins_are_means_of_negative_responses():
    margins = negative_means(a_map([[-1.0, -3.0, 2.0]], [[1.0, 2.0, 0.0]]))
    assert margins.tolist() == [-2.0, 0.0]
    student, teacher = outputs(0), outputs(1)
    made = OFD().make(example(student, teacher))
    torch.testing.assert_close(made.get_buffer("margin1"), negative_means(teacher.features["stage2.pre"]))


def test_generation_by_hand():
    close(mgd_loss(torch.zeros(2, 1, 1, 2), torch.tensor([[[[1.0, 2.0]]], [[[0.0, 1.0]]]])), 3.0)  # (5 + 1) / 2


def test_masks_take_whole_channels_at_the_asked_rate():
    student, teacher = outputs(0), outputs(1)
    made = MGD(ratio=0.25).make(example(student, teacher))
    masks = torch.cat([made.mask(torch.zeros(50, 40, 2, 2)) for _ in range(5)])
    assert masks.shape == (250, 40, 1, 1)
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    assert abs(1 - masks.mean() - 0.25) < 0.02
    assert MGD(ratio=0.0).make(example(student, teacher)).mask(torch.zeros(2, 3, 1, 1)).eq(1).all()


def test_channel_correlation_by_hand():
    # Student rows (1, 0), (0, 1); teacher twice (1, 1) / sqrt 2: two rows of (1 - 1/sqrt 2)^2 + 1/2, over 2 channels.
    student, teacher = a_map([[1.0, 0.0]], [[0.0, 3.0]]), a_map([[2.0, 0.0]], [[2.0, 0.0]])
    close(ickd_loss(student, teacher), (1 - math.sqrt(0.5)) ** 2 + 0.5)


def test_regressors_follow_the_maps():
    student, teacher = outputs(0), outputs(1, width=8, size=16)
    made = FitNet(stages="stage1:stage2+stage2").make(example(student, teacher))
    shapes = [
        made.regressors[0](student.features["stage1"]).shape,
        made.regressors[1](student.features["stage2"]).shape,
    ]
    assert shapes == [teacher.features["stage2"].shape, teacher.features["stage2"].shape]


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        (AT, {"power": 0.5}, "power must be 1 or more"),
        (VID, {"variance": 0.0}, "variance must be above"),
        (AB, {"margin": 0.0}, "margin must be above 0"),
        (FT, {"factor": 0.0}, "factor must be above 0"),
        (FT, {"pretrain": 1.0}, "pretrain must lie in"),
        (MGD, {"ratio": 1.0}, "ratio must lie in"),
    ],
)
def test_options_out_of_range_are_refused(kind, options, told):
    with pytest.raises(ValueError, match=told):
        kind(**options)

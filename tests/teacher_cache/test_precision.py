"""Half precision and the largest logits, by hand."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from automl_kd.models.features import Outputs
from automl_kd.teacher_cache.precision import MAX_FLOAT16, pack, unpack


def heard(logits: Tensor, precision: str, **features: Tensor) -> Outputs:
    return unpack(pack(Outputs(logits, features), precision), precision, logits.shape[1])


def test_exact_is_exact():
    logits, maps = torch.randn(3, 5), torch.randn(3, 2, 4, 4).half()
    found = heard(logits, "exact", maps=maps)
    assert torch.equal(found.logits, logits)
    assert torch.equal(found.features["maps"], maps)
    assert found.features["maps"].dtype == torch.float16


def test_half_precision_rounds_by_one_part_in_two_thousand_and_never_overflows():
    logits, maps = torch.randn(64, 10) * 8, torch.randn(64, 2, 4, 4)
    found = heard(logits, "float16", maps=maps)
    for one, two in ((found.logits, logits), (found.features["maps"], maps)):
        assert one.dtype == torch.float32
        # 11 bits of mantissa, and steps of 2^-24 below the smallest normal number
        assert ((one - two).abs() <= two.abs() * 2.0**-11 + 2.0**-25).all()
    assert heard(torch.tensor([[1e6, -1e6]]), "float16").logits.tolist() == [[MAX_FLOAT16, -MAX_FLOAT16]]


def test_the_largest_stay_and_the_others_share_their_probability():
    # e^logits = 8, 1, 4, 3: of 16, the largest two have 12, the others 2 each
    logits = torch.tensor([[8.0, 1.0, 4.0, 3.0]]).log()
    found = heard(logits, "top2").logits
    torch.testing.assert_close(found.softmax(1), torch.tensor([[8 / 16, 2 / 16, 4 / 16, 2 / 16]]))
    assert found[0, 0] == logits[0, 0]
    assert found[0, 2] == logits[0, 2]
    assert math.isclose(found[0, 1].item(), math.log(2), rel_tol=1e-6)
    assert set(pack(Outputs(logits, {}), "top2")) == {"logits", "places", "rest"}


def test_with_fewer_classes_than_wanted_logits_all_are_kept():
    logits = torch.randn(3, 5)
    assert torch.equal(heard(logits, "top5").logits, logits)

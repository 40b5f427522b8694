"""Encoders under the autocast of a card that is not there: in which numbers what is computed, and where it lies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from automl_kd.losses.cross_entropy import cross_entropy
from automl_kd.losses.features.at import at_loss
from automl_kd.models.features import FeatureExtractor
from automl_kd.models.text.bert import Bert, BertPlan
from automl_kd.tasks.soft_targets import kd_loss
from benchmarks.perf.launches.walk import walk_backward
from tests.models.text.test_bert import SHAPE


@contextmanager
def half_on_cards() -> Iterator[None]:
    """As `torch.autocast`, which does nothing where there is no card."""
    on, kind = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", on)
        torch.set_autocast_dtype("cuda", kind)


@pytest.mark.parametrize("names", [(), ("stage1", "pre_pool", "attention1")])
def test_an_encoder_computes_in_half_precision_and_its_losses_in_single(names: tuple[str, ...]) -> None:
    with FakeTensorMode(), torch.device("cuda"):
        student, teacher = (
            Bert(SHAPE, BertPlan(layers, width, heads=3, inner=48)) for layers, width in ((1, 12), (2, 24))
        )
        tokens, labels = torch.zeros(4, 9, dtype=torch.int64), torch.zeros(4, dtype=torch.int64)
        with half_on_cards():
            learnt = FeatureExtractor(student, list(names))(tokens)
            with torch.no_grad():
                taught = FeatureExtractor(teacher.eval(), list(names))(tokens)
            terms = [cross_entropy(learnt.logits, labels), kd_loss(learnt.logits, taught.logits, 4.0)]
            terms += [at_loss(learnt.features[name], taught.features[name], 2.0) for name in names]
        walk_backward(torch.stack(terms).sum())
    assert {one.dtype for one in (learnt.logits, taught.logits)} == {torch.bfloat16}
    assert {one.dtype for one in terms} == {torch.float32}
    slopes = [value.grad for value in student.parameters()]
    assert {(one.device.type, one.dtype) for one in slopes if one is not None} == {("cuda", torch.float32)}
    assert None not in slopes


def test_the_mean_of_a_long_text_is_counted_in_single_precision() -> None:
    # bfloat16 has eight bits, in which 300 and 301 tokens are equal.
    with FakeTensorMode(), torch.device("cuda"), half_on_cards():
        network = Bert(SHAPE, BertPlan(1, 12, heads=3, inner=12))
        found = FeatureExtractor(network, ["pooled"])(torch.zeros(2, 301, dtype=torch.int64))
    assert found.features["pooled"].dtype == torch.float32

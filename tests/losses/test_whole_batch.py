"""Losses are means over images, so that workers may divide a batch, unless they say that they look at all of it."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from automl_kd.data import Batch
from automl_kd.losses import DISTILLATION_LOSSES
from automl_kd.losses.draws import CountedGenerator
from automl_kd.models.features import Outputs
from tests.losses.outputs import batch, example, outputs


def part(of: Outputs, rows: slice) -> Outputs:
    return Outputs(of.logits[rows], {name: value[rows] for name, value in of.features.items()})


@pytest.mark.parametrize("name", DISTILLATION_LOSSES)
def test_a_loss_is_the_mean_of_those_of_both_halves_unless_it_says_otherwise(name: str):
    one, two = (outputs(seed, count=8, dtype=torch.float64) for seed in (0, 1))
    made, all_images = DISTILLATION_LOSSES[name]().make(example(one, two)), batch(8)
    if isinstance(made, nn.Module):
        made.eval()  # normalisation of a team's whole batch is not a matter of the loss
    drawing = isinstance(made, nn.Module) and any(isinstance(layer, CountedGenerator) for layer in made.modules())

    def value(rows: slice) -> float:
        seen = Batch(all_images.inputs[rows], all_images.labels[rows], all_images.index[rows], 4)
        terms = deepcopy(made)(part(one, rows), part(two, rows), seen)
        return sum(term.item() for term in terms.values())

    halves = (value(slice(0, 4)) + value(slice(4, 8))) / 2
    if getattr(DISTILLATION_LOSSES[name], "whole_batch", False):
        assert value(slice(0, 8)) != pytest.approx(halves, rel=1e-4)
    elif not drawing:
        assert value(slice(0, 8)) == pytest.approx(halves, rel=1e-10)

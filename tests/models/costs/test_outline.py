from __future__ import annotations

import numpy as np
import pytest
import torch

from automl_kd.models.costs.cost import count_cost
from automl_kd.models.costs.outline import outline
from automl_kd.space import InputShape, SearchSpace, sample_architecture
from search_spaces import mobile, resnet, resnet224, vit

SHAPE = InputShape(3, 40, 56, 7)


@pytest.mark.parametrize("space", [resnet.SPACE, resnet224.SPACE, mobile.SPACE], ids=lambda space: space.name)
def test_layers_cost_together_what_the_network_does(space: SearchSpace):
    torch.manual_seed(0)
    model = space.build(sample_architecture(space, np.random.default_rng(1)).as_dict(), SHAPE)
    layers, cost = outline(model, SHAPE), count_cost(model, SHAPE)
    assert sum(layer["macs"] for layer in layers) == cost.macs
    norms = sum(p.numel() for name, p in model.named_parameters() if name.rpartition(".")[0] not in names(layers))
    assert sum(layer["params"] for layer in layers) == cost.params - norms
    assert layers[-1]["kernel"] == layers[-1]["height"] == 0
    assert layers[-1]["channels"] == SHAPE.classes


def names(layers) -> set[str]:
    return {layer["name"] for layer in layers}


def test_layers_stand_as_they_run():
    layers = outline(mobile.build_mobile(mobile.SPACE.default, InputShape(3, 64, 64, 10)), InputShape(3, 64, 64, 10))
    first = [(one["kernel"], one["groups"], one["channels"], one["height"]) for one in layers[:6]]
    assert first == [(3, 1, 32, 32), (3, 32, 32, 32), (1, 1, 16, 32), (1, 1, 96, 32), (3, 96, 96, 16), (1, 1, 24, 16)]


def test_tokens_are_counted():
    shape = InputShape(3, 32, 32, 10)
    model = vit.build_vit(vit.SPACE.default, shape)
    qkv = next(one for one in outline(model, shape) if one["name"] == "blocks.0.attention.qkv")
    assert (qkv["macs"], qkv["channels"], qkv["height"]) == (192 * 576 * 5, 576, 0)

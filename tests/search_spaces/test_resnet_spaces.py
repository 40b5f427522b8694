from __future__ import annotations

import numpy as np
import pytest

from automl_kd.models.costs.cost import cost_of, count_cost
from automl_kd.models.resnet import ResNet
from automl_kd.space import Architecture, InputShape, enumerate_all, mutate, sample_architecture
from search_spaces import resnet, resnet_depth

SHAPE = InputShape(3, 32, 32, 10)


def block_sizes(model: ResNet) -> list[int]:
    return [len(list(model.get_submodule(stage).children())) for stage in model.stages]


def test_the_depth_space_has_64_distinct_students():
    labels = [resnet_depth.SPACE.label(point) for point in enumerate_all(resnet_depth.SPACE)]
    assert len(set(labels)) == 64
    assert labels[0] == "1-1-1"
    assert labels[1] == "1-1-3"
    assert labels[-1] == "7-7-7"


def test_depths_are_blocks_of_each_stage():
    values = {"depth1": 1, "depth2": 3, "depth3": 5}
    model = resnet_depth.SPACE.build(values, SHAPE)
    assert isinstance(model, ResNet)
    assert block_sizes(model) == [1, 3, 5]


@pytest.mark.parametrize("space", [resnet_depth.SPACE, resnet.SPACE])
def test_the_default_is_resnet20(space):
    cost = cost_of(space, Architecture.of(space.default), SHAPE)
    assert cost.params == 272_474
    assert cost.macs == pytest.approx(41e6, rel=0.01)


def test_descriptions():
    assert resnet_depth.SPACE.label(Architecture.of(resnet_depth.SPACE.default)) == "3-3-3"
    assert resnet.SPACE.label(Architecture.of(resnet.SPACE.default)) == "basic 3-3-3 x 16-32-64"
    values = {**resnet.SPACE.default, "block": "bottleneck", "reduction": 4, "depth2": 1, "width1": 8}
    assert resnet.SPACE.label(Architecture.of(values)) == "bottleneck/4 3-1-3 x 8-32-64"


def test_widths_and_reduction_reach_the_network():
    values = {**resnet.SPACE.default, "block": "bottleneck", "reduction": 2, "width2": 24}
    model = resnet.SPACE.build(values, SHAPE)
    # stage 2 begins with a 1x1 convolution from 16 to 24 / 2
    assert model.get_submodule("stage2.0.body.0").weight.shape == (12, 16, 1, 1)
    assert model.get_submodule("fc").weight.shape == (10, 64)


def test_a_stronger_reduction_is_cheaper():
    values = {**resnet.SPACE.default, "block": "bottleneck"}
    two, four = (cost_of(resnet.SPACE, Architecture.of({**values, "reduction": ratio}), SHAPE) for ratio in (2, 4))
    assert four.params < two.params < 272_474
    assert four.macs < two.macs


def test_the_reduction_exists_only_in_bottlenecks():
    rng = np.random.default_rng(0)
    point = Architecture.of(resnet.SPACE.default)
    kinds = set()
    for _ in range(200):
        point = mutate(resnet.SPACE, point, rng)
        values = point.as_dict()
        kinds.add(values["block"])
        assert ("reduction" in values) == (values["block"] == "bottleneck")
    assert kinds == {"basic", "bottleneck"}


def test_the_space_reaches_below_and_above_resnet20():
    rng = np.random.default_rng(0)
    params = [
        cost_of(resnet.SPACE, sample_architecture(resnet.SPACE, rng), InputShape(1, 8, 8, 10)).params for _ in range(30)
    ]
    assert min(params) < 100_000
    assert max(params) > 300_000


@pytest.mark.parametrize("space", [resnet_depth.SPACE, resnet.SPACE])
@pytest.mark.parametrize("shape", [InputShape(3, 32, 32, 10), InputShape(1, 9, 13, 7)])
def test_the_cost_is_what_the_built_network_is_counted_at(space, shape):
    rng = np.random.default_rng(1)
    for point in [Architecture.of(space.default), *(sample_architecture(space, rng) for _ in range(12))]:
        assert cost_of(space, point, shape) == count_cost(space.build(point.as_dict(), shape), shape), point

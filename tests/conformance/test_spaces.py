"""What every search space promises. A new space adds its reference here."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from automl_kd.models import build, load_space
from automl_kd.models.costs.cost import cost_of, count_cost
from automl_kd.models.features import FeatureExtractor, list_feature_layers
from automl_kd.space import (
    Architecture,
    InputShape,
    SearchSpace,
    check_architecture,
    cross,
    mutate,
    sample_architecture,
)

REFERENCES = [
    "search_spaces.resnet_depth:SPACE",
    "search_spaces.resnet:SPACE",
    "search_spaces.nasbench201:SPACE",
    "search_spaces.nasbench201:SMALL_SPACE",
    "search_spaces.resnet224:SPACE",
    "search_spaces.mobile:SPACE",
    "search_spaces.vit:SPACE",
    "model:resnet8",
    "model:wrn-16-1",
    "model:vgg8",
]
SHAPES = [InputShape(1, 8, 8, 10), InputShape(3, 32, 32, 4)]
LARGE = InputShape(3, 64, 64, 10)
"""Of which even the last maps of all spaces have several pixels: of two single ones normalisation leaves the signs."""
TAPS = {"stem", "stage1", "stage2", "stage3", "pre_pool", "pooled"}


@pytest.fixture(params=REFERENCES)
def space(request) -> SearchSpace:
    return load_space(request.param)


def points(space: SearchSpace, count: int) -> list[Architecture]:
    """The default, samples, and a mutant and a crossing of each pair of neighbours."""
    rng = np.random.default_rng(0)
    found = [Architecture.of(space.default), *(sample_architecture(space, rng) for _ in range(count))]
    mutants = [mutate(space, point, rng) for point in found]
    crossings = [cross(space, one, two, rng) for one, two in zip(found, mutants[1:], strict=False)]
    return [*found, *mutants, *crossings]


def images(shape: InputShape) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, shape.channels, shape.height, shape.width, generator=generator)


def test_a_space_names_itself_and_its_source(space):
    assert space.name
    assert space.source


def test_points_are_members(space):
    for point in points(space, 20):
        check_architecture(space, point)


@pytest.mark.parametrize("shape", SHAPES, ids=["grey-8", "colour-32"])
def test_networks_accept_the_images_and_have_the_taps(space, shape):
    for point in points(space, 1):
        model = build(space, point, shape, seed=0)
        assert set(list_feature_layers(model)) >= TAPS
        with FeatureExtractor(model, sorted(list_feature_layers(model))) as tapped, torch.no_grad():
            outputs = tapped(images(shape))
        assert outputs.logits.shape == (2, shape.classes)
        assert torch.isfinite(outputs.logits).all()
        assert outputs.features["pooled"].ndim == 2
        assert all(outputs.features[f"stage{number}"].ndim == 4 for number in (1, 2, 3))


def test_a_gradient_reaches_every_parameter(space):
    # A missing edge of a cell may make it zero; it may not be absent.
    for point in points(space, 1):
        model = build(space, point, SHAPES[0], seed=0)
        model(images(SHAPES[0])).square().sum().backward()
        assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_the_default_learns_in_every_layer(space):
    model = build(space, Architecture.of(space.default), LARGE, seed=0)
    model(images(LARGE)).square().sum().backward()
    still = [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert still == []


def test_every_network_costs_something(space):
    for point in points(space, 1):
        cost = cost_of(space, point, SHAPES[0])
        assert cost.params > 0
        assert cost.macs > 0


def test_descriptions_tell_points_apart(space):
    distinct = set(points(space, 50))
    assert len({space.label(point) for point in distinct}) == len(distinct)


def test_equal_seeds_give_equal_weights_and_others_do_not(space):
    def weights(seed: int) -> torch.Tensor:
        model = build(space, Architecture.of(space.default), SHAPES[0], seed=seed)
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_a_cost_that_is_calculated_is_that_of_the_network(space):
    for point in points(space, 3) if space.cost is not None else ():
        for shape in SHAPES:
            counted = count_cost(build(space, point, shape, seed=0), shape)
            assert space.cost(point.as_dict(), shape) == (counted.params, counted.macs)


def test_a_canonical_point_is_one_of_the_space_and_its_own(space):
    for point in points(space, 20) if space.canonical is not None else ():
        canonical = Architecture.of(space.canonical(point.as_dict()))
        check_architecture(space, canonical)
        assert Architecture.of(space.canonical(canonical.as_dict())) == canonical


def test_a_bank_makes_each_part_once_and_networks_that_compute_what_built_ones_do(space):
    if space.part_cache is None:
        return
    shape, made = SHAPES[0], []

    def prepare(name: str, make: Callable[[], nn.Module]) -> nn.Module:
        made.append(name)
        torch.manual_seed(len(made))
        return make()

    assemble = space.part_cache(shape, prepare)
    for point in points(space, 3):
        values = point.as_dict() if space.canonical is None else space.canonical(point.as_dict())
        assembled = assemble(values).eval()
        before = len(made)
        assert assemble(values)(images(shape)).equal(assembled(images(shape)))
        assert len(made) == before
        whole = space.build(values, shape).eval()
        whole.load_state_dict({**whole.state_dict(), **assembled.state_dict()})
        # in double precision, as the two may add in another order; a copy, as the parts are shared
        one, other = deepcopy(assembled).double(), whole.double()
        torch.testing.assert_close(one(images(shape).double()), other(images(shape).double()))

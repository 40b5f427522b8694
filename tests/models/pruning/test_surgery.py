"""The small network computes what the masked one does, costs what was said, and can be described and rebuilt."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from automl_kd.errors import ConfigError
from automl_kd.models import MODELS, build_from, build_model
from automl_kd.models.costs.cost import count_cost
from automl_kd.models.features import FeatureExtractor, list_feature_layers
from automl_kd.models.pruning.coupling import Coupling, Selection
from automl_kd.models.pruning.description import Description, describe_selection
from automl_kd.models.pruning.surgery import Passed, attach, fold_gates, mask, thin_network
from automl_kd.models.pruning.tracing import trace
from automl_kd.space import InputShape

FOREIGN = ["torchvision:resnet18", "torchvision:resnet50", "torchvision:mobilenet_v2"]
LARGE = {"resnet44", "resnet56", "resnet110", "resnet32x4", "wrn-40-2", "vgg13", *FOREIGN[1:]}


def scattered(name: str, shape: InputShape) -> nn.Module:
    """A network in float64 whose normalisation layers have all their parameters away from 0 and 1."""
    torch.manual_seed(0)
    model = build_model(name, shape).double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return model


def drawn(coupling: Coupling, rng: np.random.Generator) -> Selection:
    channels = {
        group.name: tuple(sorted(rng.choice(group.size, rng.integers(1, group.size + 1), replace=False).tolist()))
        for group in coupling.free
    }
    return Selection(channels, frozenset(name for name in coupling.blocks if rng.random() < 0.4))


def images(shape: InputShape) -> Tensor:
    return torch.randn(2, shape.channels, shape.height, shape.width, dtype=torch.float64)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in [*MODELS, *FOREIGN]]
)
def test_the_small_network_equals_the_masked_one_and_costs_what_was_said(name):
    shape = InputShape(1, 32, 32, 5) if name in FOREIGN else InputShape(3, 16, 16, 5)
    model = scattered(name, shape)
    coupling, rng = trace(model, shape), np.random.default_rng(1)
    whole = model(images(shape))
    for _ in range(2):
        selection = drawn(coupling, rng)
        small, x = thin_network(model, coupling, selection), images(shape)
        handles = attach(model, coupling, mask(coupling, selection))
        with torch.no_grad():
            masked, dense = model(x), small(x)
        for handle in handles:
            handle.remove()
        assert (masked - dense).abs().max() <= 1e-10 * masked.abs().max()
        assert not torch.allclose(masked, model(x))  # the mask took something away
        assert count_cost(small, shape) == coupling.cost(selection)
    assert count_cost(model, shape) == coupling.cost(coupling.whole)
    assert whole.isfinite().all()


def test_layers_state_their_new_sizes():
    shape = InputShape(3, 32, 32, 5)
    model = build_model(FOREIGN[2], shape)
    coupling = trace(model, shape)
    small = thin_network(model, coupling, Selection({group.name: (0, 1, 2) for group in coupling.free}))
    for module in small.modules():
        if isinstance(module, nn.Conv2d):
            expected = (module.out_channels, module.in_channels // module.groups, *module.kernel_size)
            assert tuple(module.weight.shape) == expected
        if isinstance(module, nn.BatchNorm2d):
            assert module.num_features == len(module.weight) == 3


def test_taps_survive_where_their_block_is_left_out():
    shape = InputShape(3, 8, 8, 5)
    model = build_model("resnet14", shape)
    coupling = trace(model, shape)
    small = thin_network(model, coupling, Selection(coupling.whole.channels, frozenset(coupling.blocks)))
    with FeatureExtractor(small, list(list_feature_layers(small))) as tapped:
        features = tapped(images(shape).float()).features
    # stage 2 keeps its first block; the second one's activation still runs, on what the first one gave
    torch.testing.assert_close(features["stage2.pre"], features["stage2"])
    assert features["stage2"].min() >= 0


def test_a_small_network_trains_like_any_other():
    shape = InputShape(3, 8, 8, 5)
    model = build_model("wrn-16-1", shape)
    coupling = trace(model, shape)
    small = thin_network(model, coupling, drawn(coupling, np.random.default_rng(0))).train()
    small(images(shape).float()).square().sum().backward()
    assert all(parameter.grad is not None for parameter in small.parameters())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("name", ["resnet14", "wrn-16-1", "vgg8"])
def test_folded_gates_need_no_gates(name):
    shape = InputShape(2, 16, 16, 5)
    model = scattered(name, shape)
    coupling = trace(model, shape)
    generator = torch.Generator().manual_seed(0)
    gates = {group.name: 2 * torch.rand(group.size, generator=generator).double() for group in coupling.free}
    names = [*coupling.blocks, *coupling.stages]
    gates |= {part: torch.tensor([0.5 + 0.1 * position]).double() for position, part in enumerate(names)}
    handles = attach(model, coupling, gates)
    with torch.no_grad():
        x = images(shape)
        gated = model(x)
        for handle in handles:
            handle.remove()
        plain = model(x)
        fold_gates(model, coupling, gates)
        torch.testing.assert_close(model(x), gated, rtol=1e-10, atol=1e-10)
    assert not torch.allclose(plain, gated)


def test_a_description_is_read_back_and_rebuilt():
    shape = InputShape(3, 16, 16, 10)
    coupling = trace(build_model("resnet20", shape), shape)
    selection = drawn(coupling, np.random.default_rng(2))
    description = describe_selection("resnet20", coupling, selection, {"stem.0": (0.5,) * 16})
    again = Description.from_json(description.to_json())
    assert again == description
    assert again.selection == selection
    assert count_cost(build_from(again, shape), shape) == description.cost
    assert sum(int(layer["macs"]) for layer in again.layers) == description.cost.macs
    gone = [layer["name"] for layer in again.layers if layer["kept"] == 0]
    assert gone == [layer.name for layer in coupling.layers.values() if layer.reads and layer.block in again.removed]


def test_a_rebuilt_network_is_initialised_for_its_own_widths():
    shape = InputShape(3, 8, 8, 10)
    coupling = trace(build_model("vgg8", shape), shape)
    channels = {group.name: tuple(range(group.size // 4)) for group in coupling.free}
    torch.manual_seed(0)
    model = build_from(describe_selection("vgg8", coupling, Selection(channels)), shape)
    weight = model.get_parameter("stage4.0.weight")
    # He's variance for fan out: 2 / (9 * 128), where the whole network's would be 2 / (9 * 512)
    assert weight.shape[:2] == (128, 128)
    assert weight.var().item() == pytest.approx(2 / (9 * 128), rel=0.03)
    assert model.get_parameter("fc.weight").abs().max() > 1 / 512**0.5


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"channels": {"stem.0": (0, 1)}}, "stage1.0.body.0"),
        ({"removed": ("stage2.0",)}, "stage2.0"),
        ({"model": "resnet14"}, "stage1.1.body.0"),
    ],
)
def test_a_description_of_another_network_is_refused(change, named):
    shape = InputShape(3, 8, 8, 10)
    coupling = trace(build_model("resnet8", shape), shape)
    description = replace(describe_selection("resnet8", coupling, coupling.whole), **change)
    with pytest.raises(ConfigError, match=f"does not fit model .*{named}"):
        build_from(description, shape)


@pytest.mark.parametrize("kept", [(), (0, 0), (1, 0), (0, 16), (-1, 3)])
def test_indices_are_checked(kept):
    shape = InputShape(3, 8, 8, 10)
    coupling = trace(build_model("resnet8", shape), shape)
    description = describe_selection("resnet8", coupling, coupling.whole)
    wrong = replace(description, channels={**description.channels, "stem.0": kept})
    with pytest.raises(ConfigError, match=r"'stem.0' is missing, unknown or out of range"):
        build_from(wrong, shape)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1}', "not json"])
def test_other_files_are_no_descriptions(text):
    with pytest.raises(ConfigError, match="no description of a student"):
        Description.from_json(text)


def test_other_versions_are_refused():
    with pytest.raises(ConfigError, match="has version 99 and 1 was wanted"):
        Description.from_json(json.dumps({"version": 99}))


def test_a_block_without_its_branch_leaves_what_the_one_before_keeps():
    before = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(inplace=True))
    left = Passed({"relu": nn.ReLU(inplace=True)})
    left(before(torch.randn(2, 1, 3, 3))).sum().backward()
    assert before[0].weight.grad is not None

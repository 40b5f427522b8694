"""Which channels go together, which blocks can be left out: small networks by hand, then what is known of the zoo."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from automl_kd.errors import ConfigError
from automl_kd.models import build_model
from automl_kd.models.costs.cost import NetworkCost, count_cost
from automl_kd.models.pruning.coupling import Coupling, Selection
from automl_kd.models.pruning.tracing import trace
from automl_kd.space import InputShape

SHAPE = InputShape(channels=2, height=4, width=4, classes=3)


class Flat(nn.Module):
    """Convolution to 5, depthwise convolution, normalisation, flattened 4x4 maps, linear."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(2, 5, 3, padding=1)
        self.deep = nn.Conv2d(5, 5, 3, padding=1, groups=5)
        self.norm = nn.BatchNorm2d(5)
        self.fc = nn.Linear(5 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.deep(self.one(x))).relu()
        out: Tensor = self.fc(x.view(x.size(0), -1))
        return out


class Forks(nn.Module):
    """Three convolutions: two are added, the third is joined by `how`."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.a, self.b, self.c = (nn.Conv2d(2, 4, 1) for _ in range(3))
        self.fc = nn.Linear(8 if how == "cat" else 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        summed, other = self.a(x) + self.b(x), self.c(x)
        if self.how == "cat":
            joined = torch.cat([summed, other], dim=1)
        elif self.how == "gate":
            joined = summed * torch.sigmoid(other)
        else:
            joined = summed.transpose(1, 2) + other.transpose(1, 2)
        out: Tensor = self.fc(joined.mean((2, 3)))
        return out


class Branching(nn.Module):
    """A block of its own shape around an inner convolution; `kind` decides what stands in the way of leaving it out."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.inner, self.relu, self.tanh = nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        made = self.inner(x)
        if self.kind == "branch ends in a function":
            made = made.relu()
        out: Tensor = made + x
        if self.kind == "branch used twice":
            out = torch.cat([out, made], dim=1)[:, :4]
        elif self.kind == "tanh":
            out = self.tanh(out)
        elif self.kind == "relu":
            out = self.relu(out)
        return out


def wrapped(kind: str) -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 4, 1), Branching(kind), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def free(coupling: Coupling) -> dict[str, int]:
    return {group.name: group.size for group in coupling.free}


def test_one_group_through_depthwise_norm_and_flattening_by_hand():
    coupling = trace(Flat(), SHAPE)
    assert free(coupling) == {"one": 5}
    assert {layer.name: layer.reads for layer in coupling.layers.values()} == {
        "one": next(name for name in coupling.groups if name.startswith("fixed")),
        "deep": "",
        "norm": "",
        "fc": "one",
    }
    assert coupling.layers["fc"].repeat == 16
    # with w channels: 18w + w, 9w + w, 2w, 16w*3 + 3; multiply-adds of 16 places: 18*16w, 9*16w, 48w
    kept = Selection({"one": (0, 3)})
    assert coupling.cost(kept) == NetworkCost(params=2 * (19 + 10 + 2 + 48) + 3, macs=2 * (288 + 144 + 48))
    assert coupling.cost(coupling.whole) == count_cost(Flat(), SHAPE)


def test_what_is_added_shares_its_fate():
    coupling = trace(Forks("gate"), SHAPE)
    assert free(coupling) == {"a": 4}
    assert {layer.writes for name, layer in coupling.layers.items() if name in "abc"} == {"a"}


def test_what_is_not_understood_is_kept_whole():
    # concatenation fixes what enters it; so does an exchange of channels with rows
    assert free(trace(Forks("cat"), SHAPE)) == {}
    assert free(trace(Forks("transpose"), SHAPE)) == {}


def test_a_layer_that_runs_twice_is_kept_whole():
    shared = nn.Conv2d(2, 2, 1)
    model = nn.Sequential(shared, nn.ReLU(), shared, nn.Conv2d(2, 4, 1), nn.Flatten(), nn.Linear(64, 3))
    coupling = trace(model, SHAPE)
    assert free(coupling) == {"3": 4}
    assert coupling.cost(coupling.whole) == count_cost(model, SHAPE)


@pytest.mark.parametrize("kind", ["sum", "relu"])
def test_a_block_is_an_input_plus_a_branch(kind):
    coupling = trace(wrapped(kind), SHAPE)
    (block,) = coupling.blocks.values()
    assert (block.name, block.branch, block.after) == ("1", "1.inner", ("1.relu",) if kind == "relu" else ())
    # 4*4 + 4 weights, 16 products in 16 places
    whole, without = coupling.cost(coupling.whole), coupling.cost(Selection(coupling.whole.channels, frozenset("1")))
    assert NetworkCost(whole.params - without.params, whole.macs - without.macs) == NetworkCost(20, 256)


@pytest.mark.parametrize("kind", ["branch used twice", "tanh", "branch ends in a function"])
def test_no_block_where_leaving_it_out_would_change_more(kind):
    assert trace(wrapped(kind), SHAPE).blocks == {}


@pytest.mark.parametrize(
    ("name", "blocks", "groups"),
    [
        # all but the first blocks of stages 2 and 3; per block one inner group, per stage one stream
        ("resnet20", 7, 9 + 3),
        # the stem and the first stage of a wide one differ in width: one stream more, and one block less
        ("wrn-16-2", 3, 6 + 4),
        ("wrn-16-1", 4, 6 + 3),
        # stacked convolutions
        ("vgg8", 0, 5),
        ("torchvision:resnet18", 5, 8 + 4),
        # two inner groups per bottleneck, the stem, four stages
        ("torchvision:resnet50", 12, 32 + 5),
    ],
)
def test_groups_and_blocks_of_known_networks(name, blocks, groups):
    shape = InputShape(3, 32, 32, 10)
    coupling = trace(build_model(name, shape), shape)
    assert (len(coupling.blocks), len(coupling.free)) == (blocks, groups)
    assert coupling.rest == NetworkCost(0, 0)


def test_streams_and_stages_of_resnet20():
    shape = InputShape(3, 8, 8, 10)
    coupling = trace(build_model("resnet20", shape), shape)
    writers = [layer.name for layer in coupling.layers.values() if layer.reads and layer.writes == "stem.0"]
    assert writers == ["stem.0", "stage1.0.body.3", "stage1.1.body.3", "stage1.2.body.3"]
    assert coupling.stages["stage2"] == ("stage2.1", "stage2.2")
    assert coupling.groups["stage2.1.body.0"].block == "stage2.1"
    assert coupling.groups["stage2.0.body.0"].block == coupling.groups["stem.0"].block == ""


def test_tracing_leaves_the_network_alone():
    model = build_model("resnet8", SHAPE)
    model.get_submodule("stage1").eval()
    before, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    hooks = dict(model._forward_pre_hooks)
    trace(model, SHAPE)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert dict(model._forward_pre_hooks) == hooks


def test_control_flow_on_tensors_is_refused():
    class Decides(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(ConfigError, match=r"cannot be traced into channels and blocks .* take a model of the zoo"):
        trace(Decides(), SHAPE)

"""Networks assembled from shared parts, beside those that are built whole."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_kd.models import build
from automl_kd.models.fast_norm import QuickNorm, quicken
from automl_kd.models.features import FeatureExtractor, KeepOutput
from automl_kd.proxies.initialisation import normal_weights
from automl_kd.space import Architecture, InputShape, Values
from search_spaces import nasbench201
from search_spaces.nasbench201 import EDGES, CellNetwork, from_index
from search_spaces.nasbench201.classes import canonical
from search_spaces.nasbench201.shared_parts import FastPool, LiveCell, PartCache

SHAPE = InputShape(3, 10, 9, 5)
SMALL = nasbench201.space(C=4, N=2)
POOL = "avg_pool_3x3"
EMPTY = dict.fromkeys(EDGES, "none")
SHORTCUT = {**EMPTY, "3<-0": "skip_connect"}
DEAD_ENDS = {**EMPTY, "1<-0": "nor_conv_3x3", "3<-0": "nor_conv_1x1", "3<-2": "nor_conv_3x3"}


def prepared(path: str, make: Callable[[], nn.Module], layout: torch.memory_format = torch.channels_last) -> nn.Module:
    """A part with normal weights from streams named after them."""
    part = make().to(memory_format=layout)
    normal_weights(part, "test", 0, prefix=path)
    return part


def assembler(layout: torch.memory_format = torch.channels_last) -> PartCache:
    bank = SMALL.part_cache
    assert bank is not None
    made = bank(SHAPE, partial(prepared, layout=layout))
    assert isinstance(made, PartCache)
    return made


def built(values: Values, layout: torch.memory_format = torch.channels_last) -> nn.Module:
    network = build(SMALL, Architecture.of(values), SHAPE, seed=0).to(memory_format=layout)
    normal_weights(network, "test", 0)
    return network


def some_cells() -> list[dict[str, str]]:
    rng = np.random.default_rng(0)
    return [from_index(int(number)) for number in rng.choice(nasbench201.SPACE_SIZE, 12, replace=False)]


def images(layout: torch.memory_format = torch.channels_last) -> Tensor:
    return torch.randn(4, 3, 10, 9, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_outputs_and_maps_are_those_of_the_whole_network(layout):
    # Bit for bit, but for what pools their sums in another order.
    assemble, x = assembler(layout), images(layout)
    taps = ("stem", "stage1", "stage2", "stage3", "pre_pool", "pooled")
    for values in [EMPTY, SHORTCUT, DEAD_ENDS, nasbench201.DEFAULT, *map(canonical, some_cells())]:
        with FeatureExtractor(assemble(values), taps) as ours, FeatureExtractor(built(values, layout), taps) as theirs:
            seen, expected = ours(x), theirs(x)
        same = partial(torch.testing.assert_close, rtol=1e-3, atol=1e-4) if POOL in values.values() else equal
        same(seen.logits, expected.logits)
        for name in taps:
            same(seen.features[name], expected.features[name])


def equal(one: torch.Tensor, other: torch.Tensor) -> None:
    assert torch.equal(one, other)


def test_pools_equal_torchs_own_and_in_float64_are_its_own():
    x = images().double()
    expected = F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
    assert torch.equal(FastPool()(x), expected)
    torch.testing.assert_close(FastPool()(x.float()), expected.float(), rtol=1e-6, atol=1e-6)


def test_gradients_are_those_of_the_whole_network():
    assemble, x = assembler(), images()
    for values in [EMPTY, SHORTCUT, nasbench201.DEFAULT, *map(canonical, some_cells())]:
        ours, theirs = assemble(values).double(), built(values).double()
        expected = dict(theirs.named_parameters())
        assert {name for name, _ in ours.named_parameters()} <= expected.keys()
        for network in (ours, theirs):
            network(x.double()).square().sum().backward()
        for name, parameter in ours.named_parameters():
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.grad, expected[name].grad)
        ours.zero_grad()
        ours.float()


def test_dead_edges_are_left_out_at_initialisation_without_effect():
    assemble, x = assembler(), images()
    for values in some_cells():
        network = assemble(values)
        torch.testing.assert_close(network(x), built(values)(x), rtol=1e-5, atol=1e-5)
        assert {name for name, _ in network.named_parameters()} <= {
            name for name, _ in built(values).named_parameters()
        }
    assert not [name for name, _ in assemble(EMPTY).named_parameters() if "edges" in name]
    assert list(assemble(DEAD_ENDS).get_submodule("stage1.0.edges")._modules) == ["3<-0"]


def test_the_empty_cell_gives_zeros_and_keeps_the_graph():
    network, x = assembler()(EMPTY), images()
    with FeatureExtractor(network, ("stage1", "pooled")) as tapped:
        seen = tapped(x)
    assert torch.equal(seen.features["stage1"], torch.zeros(4, 4, 10, 9))
    gradients = torch.autograd.grad(seen.logits.square().sum(), list(network.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_the_names_of_parts_are_paths_in_the_whole_network():
    names: list[str] = []

    def noted(path: str, make: Callable[[], nn.Module]) -> nn.Module:
        names.append(path)
        return make()

    assert SMALL.part_cache is not None
    for values in [dict.fromkeys(EDGES, "nor_conv_3x3"), dict.fromkeys(EDGES, "avg_pool_3x3")]:
        names.clear()
        network = SMALL.part_cache(SHAPE, noted)(values)
        whole = dict(built(values).named_modules())
        assert set(names) <= whole.keys()
        assert (
            len(names) == len(set(names)) == 6 + 6 * 6
        )  # stem, two blocks, head, pool, classifier; six edges, six cells
        for name in names:
            ours, theirs = type(network.get_submodule(name)), type(whole[name])
            assert ours is theirs or (ours, theirs) == (FastPool, nn.AvgPool2d)


def test_parts_are_made_when_first_needed_and_then_shared():
    assemble = assembler()
    assert not assemble.parts
    one = assemble(nasbench201.DEFAULT)
    first = dict(assemble.parts)
    assert len(first) == 6 + 6 * 2
    again = assemble(nasbench201.DEFAULT)
    assert assemble.parts == first
    assert again.get_submodule("stage2.1.edges.1<-0") is one.get_submodule("stage2.1.edges.1<-0")
    assert again.stage2 is not one.stage2
    # an edge with another operation is another part of the same name
    other = assemble({**nasbench201.DEFAULT, "1<-0": "nor_conv_1x1"})
    assert other.get_submodule("stage2.1.edges.2<-1") is one.get_submodule("stage2.1.edges.2<-1")
    assert other.get_submodule("stage2.1.edges.1<-0") is not one.get_submodule("stage2.1.edges.1<-0")


def test_edges_from_one_node_have_activations_of_their_own():
    network = assembler()({**EMPTY, "3<-0": "nor_conv_3x3", "1<-0": "nor_conv_3x3", "3<-1": "skip_connect"})
    cell = network.get_submodule("stage1.0")
    assert isinstance(cell, LiveCell)
    assert sum(isinstance(module, nn.ReLU) for module in cell.modules()) == 2


def test_maps_that_hooks_see_are_not_written_over():
    seen: list[tuple[Tensor, Tensor]] = []
    network = assembler()(dict.fromkeys(EDGES, "nor_conv_1x1"))
    for name, module in network.named_modules():
        if name:
            module.register_forward_hook(lambda _module, _given, made: seen.append((made, made.detach().clone())))
    network(images())
    assert len(seen) > 100
    assert all(torch.equal(made, copy) for made, copy in seen)


def test_a_part_first_needed_under_inference_mode_can_have_a_gradient():
    assemble = assembler()
    with torch.inference_mode():
        network = assemble(nasbench201.DEFAULT)
        network(images())
    network(images()).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_assembling_draws_nothing():
    assemble = assembler()
    assemble(nasbench201.DEFAULT)
    state = torch.get_rng_state()
    assert isinstance(assemble(nasbench201.DEFAULT), CellNetwork)
    assert torch.equal(torch.get_rng_state(), state)


def silent_bank() -> PartCache:
    """Without running statistics, as a scorer makes it: then what was seen before is remembered."""

    def part(path: str, make: Callable[[], nn.Module]) -> nn.Module:
        made = prepared(path, make)
        for module in made.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.track_running_stats = False
                module.running_mean = module.running_var = module.num_batches_tracked = None
        return made

    assert SMALL.part_cache is not None
    made = SMALL.part_cache(SHAPE, part)
    assert isinstance(made, PartCache)
    return made


@torch.no_grad()
def test_what_is_remembered_changes_no_bit():
    remembering, x = silent_bank(), images()
    for values in [nasbench201.DEFAULT, *map(canonical, some_cells())]:
        assert torch.equal(remembering(values)(x), silent_bank()(values)(x))
    assert remembering.memory.known


@torch.no_grad()
def test_other_images_and_weights_are_noticed():
    bank, x = silent_bank(), images()
    network = bank(nasbench201.DEFAULT)
    before = network(x)
    assert torch.equal(network(x), before)
    x.mul_(2).add_(1)
    shifted = network(x)
    assert not torch.equal(shifted, before)
    network.get_parameter("stem.0.weight").neg_()
    assert not torch.equal(network(x), shifted)


@torch.no_grad()
def test_what_is_remembered_of_images_is_forgotten_with_them():
    bank, x = silent_bank(), images()
    network = bank(nasbench201.DEFAULT)
    network(x)
    assert x in bank.memory.known
    assert len(bank.memory.known) > 2
    del x
    assert not bank.memory.known


@torch.no_grad()
def test_those_who_keep_maps_get_what_every_rectifier_makes():
    bank, x = silent_bank(), images()
    for values in [nasbench201.DEFAULT, *map(canonical, some_cells()), nasbench201.DEFAULT]:
        ours, theirs = rectified_by(bank(values), x), rectified_by(built(values), x)
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)  # pools sum in another order


@torch.no_grad()
def test_every_normalisation_notes_its_variances_though_its_map_be_remembered():
    network, x = silent_bank()(nasbench201.DEFAULT), images()
    quicken(network)
    network(x)
    noted: list[Tensor] = []
    norms = [one for one in network.modules() if isinstance(one, QuickNorm)]
    for one in norms:
        one.noted = noted
    network(x)
    assert len(noted) == len(norms) > 10


def rectified_by(network: nn.Module, x: Tensor) -> list[Tensor]:
    kept: list[Tensor] = []
    hooks = [one.register_forward_hook(KeepOutput(kept)) for one in network.modules() if isinstance(one, nn.ReLU)]
    network(x)
    for hook in hooks:
        hook.remove()
    return kept


@torch.no_grad()
def test_whoever_listens_hears_every_module():
    network, x = silent_bank()(nasbench201.DEFAULT), images()
    network(x)
    heard: list[str] = []
    names = [name for name, module in network.named_modules() if isinstance(module, (nn.ReLU, nn.Conv2d))]
    for name in names:
        network.get_submodule(name).register_forward_hook(lambda *_, name=name: heard.append(name))
    network(x)
    assert sorted(heard) == sorted(names)

"""The cell space against the benchmark's published table, and by hand where no table is at hand."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from automl_kd.errors import InfeasibleArchitectureError
from automl_kd.models import build
from automl_kd.models.costs.cost import NetworkCost, cost_of, cost_of_build, count_cost
from automl_kd.space import Architecture, InputShape, enumerate_all, sample_architecture
from search_spaces import nasbench201
from search_spaces.nasbench201 import EDGES, Cell, CellNetwork, Reduction, from_index, from_string, index, to_string

CIFAR10 = InputShape(3, 32, 32, 10)

FIRST = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
SECOND = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|"
LAST = "|nor_conv_1x1~0|+|none~0|nor_conv_1x1~1|+|none~0|nor_conv_1x1~1|nor_conv_1x1~2|"


def all_edges(operation: str) -> dict[str, str]:
    return dict.fromkeys(EDGES, operation)


@pytest.fixture(scope="module")
def table(shared_data: Path) -> pd.DataFrame:
    return pd.read_parquet(shared_data / "nasbench201.parquet")


def test_every_index_and_string_of_the_benchmark(table):
    assert len(table) == nasbench201.SPACE_SIZE
    strings = [to_string(from_index(number)) for number in table["arch_index"]]
    assert strings == table["arch_str"].tolist()
    assert [index(from_string(text)) for text in table["arch_str"]] == table["arch_index"].tolist()


def test_costs_of_the_benchmark(table):
    rng = np.random.default_rng(0)
    for number in [0, 1, *rng.choice(len(table), 18, replace=False)]:
        row = table.iloc[int(number)]
        cost = cost_of(nasbench201.SPACE, Architecture.of(from_string(row["arch_str"])), CIFAR10)
        assert cost.params == round(1e6 * row["cifar10_params_m"])
        # The benchmark also counts the classifier's ten biases.
        assert cost.macs + 10 == round(1e6 * row["cifar10_flops_m"])


def test_the_facts_of_the_published_costs(table):
    costs = [cost_of(nasbench201.SPACE, Architecture.of(from_index(number)), CIFAR10) for number in table["arch_index"]]
    # the benchmark also counts the classifier's ten biases
    flops = [cost.macs + 10 for cost in costs]
    assert (round(min(flops) / 1e6, 2), round(max(flops) / 1e6, 2)) == (7.78, 220.12)
    assert [cost.params for cost in costs] == (1e6 * table["cifar10_params_m"]).round().astype(int).tolist()
    assert flops == (1e6 * table["cifar10_flops_m"]).round().astype(int).tolist()


def test_the_costs_of_the_extreme_cells_by_hand():
    # Without convolutions. Stem: 27 * 16 + 32. Blocks: 9 * 16 * 32 + 9 * 32^2 + 16 * 32 and 128 for two norms; the
    # second four times the weights and twice the norms. Head: 128. Classifier: 640 + 10.
    block = 9 * 16 * 32 + 9 * 32**2 + 16 * 32
    params = 464 + (block + 128) + (4 * block + 256) + 128 + 650
    # The weights of a block meet 16 x 16 positions, then a quarter of these and four times the weights.
    macs = 27 * 16 * 32**2 + 2 * block * 16**2 + 640
    for kind in ("none", "skip_connect", "avg_pool_3x3"):
        assert cost_of(nasbench201.SPACE, Architecture.of(all_edges(kind)), CIFAR10) == NetworkCost(params, macs)
    # Six 3x3 convolutions in each of 5 cells of width 16, 32 and 64, with their norms; 9 * 16^2 weights at 32 x 32.
    params += 30 * (9 * (16**2 + 32**2 + 64**2) + 2 * (16 + 32 + 64))
    macs += 3 * 30 * 9 * 16**2 * 32**2
    assert cost_of(nasbench201.SPACE, Architecture.of(all_edges("nor_conv_3x3")), CIFAR10) == NetworkCost(params, macs)


@pytest.mark.parametrize(
    ("C", "N", "shape"),
    [
        (1, 1, InputShape(1, 1, 1, 2)),
        (3, 2, InputShape(2, 9, 14, 5)),
        (4, 3, InputShape(3, 7, 6, 11)),
        (16, 1, InputShape(3, 16, 16, 120)),
    ],
)
def test_the_cost_of_any_size_is_that_of_the_network(C, N, shape):
    rng = np.random.default_rng(0)
    space = nasbench201.space(C=C, N=N)
    for point in [Architecture.of(all_edges("none")), *[sample_architecture(space, rng) for _ in range(4)]]:
        assert cost_of(space, point, shape) == count_cost(build(space, point, shape, seed=0), shape)


def test_no_network_is_built_for_a_cost():
    before = cost_of_build.cache_info().misses
    cost_of(nasbench201.SPACE, Architecture.of(nasbench201.DEFAULT), InputShape(3, 64, 48, 17))
    assert cost_of_build.cache_info().misses == before


def test_encodings_are_the_operations_by_number():
    table = nasbench201.encodings()
    assert (table.shape, table.dtype, table.flags.writeable) == ((nasbench201.SPACE_SIZE, 6), np.dtype(np.uint8), False)
    for number in [0, 1, 7_777, nasbench201.SPACE_SIZE - 1]:
        assert [nasbench201.OPERATIONS[place] for place in table[number]] == list(from_index(number).values())
    assert len(np.unique(table, axis=0)) == nasbench201.SPACE_SIZE


def test_neighbours_differ_in_one_operation():
    table, codes = nasbench201.neighbour_numbers(), nasbench201.encodings()
    assert (table.shape, table.flags.writeable) == ((nasbench201.SPACE_SIZE, 24), False)
    changed = codes[table] != codes[:, None]
    # four for each edge in turn, in the order of the operations
    assert (changed == np.repeat(np.eye(6, dtype=bool), 4, axis=0)).all()
    moved = np.take_along_axis(codes[table], np.repeat(np.arange(6), 4)[None, :, None], axis=2)[:, :, 0]
    assert (np.diff(moved.reshape(-1, 6, 4).astype(int), axis=2) > 0).all()
    # a is next to b exactly if b is next to a
    pairs = {(int(a), int(b)) for a in range(500) for b in table[a]}
    assert all(a in table[b] for a, b in pairs)


@pytest.mark.parametrize(("number", "text"), [(0, FIRST), (1, SECOND), (15_624, LAST)])
def test_some_indices_of_the_benchmark(number, text):
    assert to_string(from_index(number)) == text
    assert index(from_string(text)) == number


def test_indices_are_a_bijection():
    points = [index(point.as_dict()) for point in enumerate_all(nasbench201.SPACE)]
    assert sorted(points) == list(range(nasbench201.SPACE_SIZE))
    assert points != sorted(points)


def test_the_order_does_not_touch_pythons_generator():
    nasbench201.benchmark_order.cache_clear()
    state = random.getstate()
    nasbench201.benchmark_order()
    assert random.getstate() == state


@pytest.mark.parametrize("number", [-1, 15_625])
def test_an_index_that_is_none(number):
    with pytest.raises(InfeasibleArchitectureError, match="no cell"):
        from_index(number)


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", FIRST[:-1], FIRST + "|", FIRST.replace("avg_pool_3x3", "max_pool_3x3"), FIRST.replace("~2", "~1")],
)
def test_a_string_that_is_none(text):
    with pytest.raises(InfeasibleArchitectureError, match="is no cell"):
        from_string(text)


def test_the_description_is_the_official_string():
    assert nasbench201.SPACE.label(Architecture.of(from_string(FIRST))) == FIRST


def test_a_cell_of_shortcuts_by_hand():
    # nodes x, x, 2x, x + x + 2x = 4x
    x = torch.randn(1, 2, 3, 3)
    torch.testing.assert_close(Cell(all_edges("skip_connect"), 2)(x), 4 * x)


def test_a_cell_sums_the_paths_that_are_there():
    # 1 = x, 2 = 1 = x, 3 = 0 + 2 = 2x
    values = {**all_edges("none"), "1<-0": "skip_connect", "2<-1": "skip_connect"}
    values |= {"3<-0": "skip_connect", "3<-2": "skip_connect"}
    x = torch.randn(1, 2, 3, 3)
    torch.testing.assert_close(Cell(values, 2)(x), 2 * x)


def test_a_cell_without_edges_is_zero_but_keeps_the_graph():
    x = torch.randn(1, 2, 3, 3, requires_grad=True)
    out = Cell(all_edges("none"), 2)(x)
    out.sum().backward()
    assert out.abs().max() == 0
    assert x.grad is not None
    assert x.grad.abs().max() == 0


def test_pooling_does_not_count_the_border():
    # a constant map stays constant under an average that leaves padding out
    values = {**all_edges("none"), "3<-0": "avg_pool_3x3"}
    torch.testing.assert_close(Cell(values, 1)(torch.ones(1, 1, 4, 4)), torch.ones(1, 1, 4, 4))


def test_convolutions_activate_first():
    # a map without positive values becomes the norm's constant
    values = {**all_edges("none"), "3<-0": "nor_conv_3x3"}
    out = Cell(values, 2).eval()(-torch.rand(1, 2, 4, 4))
    torch.testing.assert_close(out, torch.zeros(1, 2, 4, 4))


@pytest.mark.parametrize("side", [8, 9, 30, 7])
def test_a_reduction_halves_odd_and_even_maps(side):
    assert Reduction(2, 4)(torch.randn(1, 2, side, side)).shape == (1, 4, (side + 1) // 2, (side + 1) // 2)


def test_c_and_n_shape_the_network():
    space = nasbench201.space(C=4, N=2)
    model = build(space, Architecture.of(space.default), InputShape(1, 8, 8, 3), seed=0)
    assert isinstance(model, CellNetwork)
    assert [len(list(model.get_submodule(f"stage{number}").children())) for number in (1, 2, 3)] == [2, 3, 3]
    assert model.fc.weight.shape == (3, 16)
    assert space.name == "nasbench201-C4-N2"
    with pytest.raises(ValueError, match="at least 1"):
        nasbench201.space(C=0)


def test_every_parameter_has_a_gradient_even_behind_missing_edges():
    rng = np.random.default_rng(0)
    space = nasbench201.space(C=2, N=1)
    for _ in range(10):
        model = build(space, sample_architecture(space, rng), InputShape(1, 8, 8, 3), seed=0)
        loss = model(torch.randn(2, 1, 8, 8)).square().sum()
        torch.autograd.grad(loss, list(model.parameters()))


def test_the_default_is_a_residual_unit():
    cell = Cell(nasbench201.DEFAULT, 4).eval()
    first, second = cell.edges["1<-0"], cell.edges["2<-1"]
    x = torch.randn(1, 4, 5, 5)
    torch.testing.assert_close(cell(x), x + second(first(x)))
    assert sum(isinstance(module, nn.Conv2d) for module in cell.modules()) == 2

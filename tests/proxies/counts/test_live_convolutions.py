from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from automl_kd.proxies import PROXIES
from automl_kd.proxies.counts.live_convolutions import LIVE_CONV_COUNT, LIVE_CONV_WEIGHTS
from automl_kd.proxies.counts.longest_path import LONGEST_PATH, longest_path
from automl_kd.proxies.passes import Passes
from automl_kd.proxies.probe import Probe
from automl_kd.proxies.score import score_architectures
from automl_kd.space import Architecture
from search_spaces import nasbench201
from tests.proxies.examples import GREY, example_probe, linear, vectors

SPACE = nasbench201.space(16, 5)
COUNTS = ("live_conv_weights", "live_conv_count", "longest_path")


class Forked(nn.Module):
    """A convolution, then the sum of one of 1x1 and two of 3x3, the last of which runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 3, padding=1)
        self.short = nn.Conv2d(2, 2, 1)
        self.long = nn.Conv2d(2, 2, 3, padding=1)
        self.again = nn.Conv2d(2, 2, 3, padding=1)
        self.fc = nn.Linear(2, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = self.short(x) + self.again(self.again(self.long(x).relu()))
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


def test_a_fork_by_hand():
    probe = example_probe(teacher=None)
    assert LIVE_CONV_COUNT(Forked(), probe) == 4
    assert LIVE_CONV_WEIGHTS(Forked(), probe) == 18 + 4 + 36 + 36
    assert LONGEST_PATH(Forked(), probe) == 4  # stem, long, again, again


def test_a_network_without_convolutions():
    network, probe = nn.Sequential(nn.Flatten(), linear([1, 0], [0, 1])), vectors([1, 2], labels=[0])
    assert [proxy(network, probe) for proxy in (LIVE_CONV_COUNT, LIVE_CONV_WEIGHTS, LONGEST_PATH)] == [0, 0, 0]


def test_the_path_is_the_same_in_the_graph_of_others():
    probe = example_probe(teacher=None)
    assert longest_path(Passes(Forked(), probe, ("weight_gradients",))) == 4


def test_a_graph_deeper_than_the_stack():
    deep = nn.Sequential(*[nn.Conv2d(1, 1, 1) for _ in range(1500)], nn.Flatten())
    probe = Probe(torch.zeros(1, 1, 8, 8), torch.tensor([0]), GREY)
    assert LONGEST_PATH(deep, probe) == 1500


def counts(**edges: str) -> list[float]:
    values = {
        **dict.fromkeys(nasbench201.EDGES, "none"),
        **{key.replace("to", "<-"): one for key, one in edges.items()},
    }
    given = {f"{key[-1]}<-{key[1]}" if key.startswith("e") else key: one for key, one in values.items()}
    found = score_architectures(SPACE, [Architecture.of(given)], COUNTS, [example_probe(teacher=None)], seed=0)
    return [one.value for one in found]


# Outside the cells: the stem of 9 x 16 weights, and residual blocks of two 3x3 convolutions and one of 1x1.
OUTSIDE = 9 * 16 + sum(9 * c * 2 * c + 9 * (2 * c) ** 2 + c * 2 * c for c in (16, 32))
CELL = 5 * (16**2 + 32**2 + 64**2)  # weights per position of the kernel, over all cells


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        # From 0 to 3 by a 3x3 convolution: 15 cells, 1 + 2 x 3 convolutions outside, 1 + 2 x 2 of them in a row.
        ({"e03": "nor_conv_3x3"}, [OUTSIDE + 9 * CELL, 22, 20]),
        # Beside it a path of two of 1x1 by node 1.
        (
            {"e03": "nor_conv_3x3", "e01": "nor_conv_1x1", "e13": "nor_conv_1x1"},
            [OUTSIDE + 11 * CELL, 52, 35],
        ),
        # An edge into node 2, which nothing leaves, is dead.
        ({"e03": "nor_conv_3x3", "e02": "nor_conv_3x3"}, [OUTSIDE + 9 * CELL, 22, 20]),
        # So is one that leaves node 1, which nothing enters.
        ({"e03": "skip_connect", "e13": "nor_conv_3x3"}, [OUTSIDE, 7, 5]),
    ],
)
def test_cells_by_hand(edges, expected):
    assert counts(**edges) == expected


def test_all_three_are_in_the_table():
    assert set(COUNTS) <= set(PROXIES)

"""Maps are heard as their modules made them, and passes are repeated only where somebody wrote over one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from automl_kd.models import load_space
from automl_kd.models.features import FeatureLayer
from automl_kd.proxies import PROXIES
from automl_kd.proxies.hooks import run_with_hooks
from automl_kd.proxies.passes import Passes
from automl_kd.proxies.probe import make_probe
from automl_kd.proxies.score import score_architectures
from automl_kd.proxies.scorer import student_maker
from automl_kd.space import Architecture
from search_spaces import nasbench201
from tests import strange
from tests.proxies.examples import GREY, example_probe


class Plain(nn.Module):
    """A convolution without normalisation, rectified in place or not."""

    def __init__(self, *, in_place: bool) -> None:
        super().__init__()
        self.conv, self.relu, self.fc = nn.Conv2d(1, 3, 3), nn.ReLU(inplace=in_place), nn.Linear(3, 10)
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        logits: Tensor = self.fc(self.relu(self.conv(x)).mean((2, 3)))
        return logits


def test_layers_and_their_gradients_are_those_of_the_plain_network():
    torch.manual_seed(0)
    plain, writing = Plain(in_place=False), Plain(in_place=True)
    writing.load_state_dict(plain.state_dict())
    probe = example_probe()
    one, two = (Passes(network, probe, ["layers", "relus", "layer_gradients"]) for network in (plain, writing))
    for name in ("layers", "relus"):
        for expected, found in zip(getattr(one.forward, name), getattr(two.forward, name), strict=True):
            assert torch.equal(found, expected)
    for left, right in zip(one.layer_gradients, two.layer_gradients, strict=True):
        torch.testing.assert_close(right.gradient, left.gradient)
    assert (plain.passes, writing.passes) == (1, 2)


def test_a_tap_before_an_activation_in_place_is_as_it_was_given():
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.avgpool, self.fc = nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.Linear(3, 10)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.fc(self.avgpool(self.conv(x)).mean((2, 3)))
            return logits

    network, images = Last(), example_probe().images
    _, maps, _ = run_with_hooks(network, (), lambda: network(images))
    assert torch.equal(maps["pre_pool"], network.conv(images))


def test_a_bank_that_writes_over_maps_of_its_own_is_run_once():
    cells = nasbench201.space(4, 1)
    probe, runs = example_probe(), list[int]()
    network = student_maker(cells, probe, "default", (0, 0))(Architecture.of(cells.default))
    with torch.no_grad():  # with a graph it writes over nothing
        run_with_hooks(
            network, ("relus", "layers", "blocks", "stages"), lambda: runs.append(len(network(probe.images)))
        )
        run_with_hooks(network, ("blocks",), lambda: runs.append(len(network(probe.images))))
    assert len(runs) == 2


def test_students_that_write_into_their_images_score_as_those_that_copy():
    probe = example_probe(batch=8)
    images = probe.images.clone()
    values = []
    names = [name for name, one in PROXIES.items() if name in ("naswot", "zico", "jacob_cov", "grad_norm", "snip")]
    for name in ("writing", "copying"):
        found = score_architectures(
            load_space(f"model:tests.strange:{name}"), [Architecture(())], names, [probe], seed=0
        )
        values.append([(one.proxy, one.value, one.error) for one in found])
        assert torch.equal(probe.images, images)
    assert values[0] == values[1]


def test_students_that_flatten_by_view_can_be_scored():
    found = score_architectures(
        load_space("model:tests.strange:viewing"),
        [Architecture(())],
        ["naswot", "snip", "grad_norm"],
        [example_probe(batch=8)],
        seed=0,
    )
    assert [one.error for one in found if one.proxy != "naswot"] == ["", ""]


def test_a_teacher_that_flattens_by_view_has_outputs():
    network = strange.Viewing(GREY)
    network.feature_layers = {"pre_pool": FeatureLayer("norm"), "pooled": FeatureLayer("classifier", "input")}  # type: ignore[assignment]  # a plain attribute, which torch allows
    probe = example_probe(teacher=None)
    assert make_probe(probe.images, probe.labels, GREY, network).teacher is not None

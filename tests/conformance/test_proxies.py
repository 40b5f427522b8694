"""What every proxy promises, and what `score_architectures` promises for it: one suite over the whole table."""

from __future__ import annotations

import math

import pytest
import torch

from automl_kd.models import build
from automl_kd.proxies import AGGREGATES, PROXIES
from automl_kd.proxies.base import OfCost, Proxy
from automl_kd.proxies.probe import Probe
from automl_kd.proxies.readings import Reading, measure_student, settle_readings
from automl_kd.proxies.score import score_architectures
from automl_kd.space import Architecture, InputShape, SearchSpace
from search_spaces import nasbench201, resnet_depth
from tests.proxies.examples import COLOUR, GREY, example_probe

CELLS = nasbench201.space(16, 1)  # as wide at its end as the teacher, which diswot_semantic needs
EVERY = [*PROXIES, *AGGREGATES]
LOOKING = [name for name, entry in PROXIES.items() if not isinstance(entry.proxy, OfCost)]


def two_of(space: SearchSpace) -> list[Architecture]:
    default = space.default
    name, other = ("depth1", 1) if "depth1" in default else ("2<-0", "nor_conv_1x1")
    return [Architecture.of(default), Architecture.of({**default, name: other})]


@pytest.fixture(params=[GREY, COLOUR], ids=["8x8 grey", "32x32 colour"], scope="module")
def probe(request) -> Probe:
    return example_probe(request.param)


def reading_of(name: str, student: torch.nn.Module, probe: Probe) -> Reading:
    return settle_readings([measure_student({name: PROXIES[name]}, student, probe, seed=0)])[0][name]


def student_for(shape: InputShape) -> torch.nn.Module:
    return build(CELLS, Architecture.of(CELLS.default), shape, seed=0)


@pytest.mark.parametrize("name", PROXIES)
def test_the_table_says_what_must_be_known(name: str):
    assert isinstance(PROXIES[name].proxy, (Proxy, OfCost))
    assert PROXIES[name].source
    assert name not in AGGREGATES


@pytest.mark.parametrize("name", LOOKING)
def test_the_student_is_as_it_was_bit_for_bit(name: str, probe: Probe):
    student = student_for(probe.shape)
    before = {key: tensor.clone() for key, tensor in student.state_dict().items()}
    generator, hooks = torch.get_rng_state(), [dict(module._forward_hooks) for module in student.modules()]
    reading = reading_of(name, student, probe)
    assert not reading.error
    after = student.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) and after[key].dtype == before[key].dtype for key in before)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in student.parameters())
    assert all(module.training for module in student.modules())
    assert [dict(module._forward_hooks) for module in student.modules()] == hooks
    assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize("name", LOOKING)
def test_the_probe_is_not_changed(name: str, probe: Probe):
    assert probe.teacher is not None
    held = [probe.images, probe.labels, probe.teacher.logits, *probe.teacher.features.values()]
    before = [tensor.clone() for tensor in held]
    reading_of(name, student_for(probe.shape), probe)
    assert all(torch.equal(tensor, copy) for tensor, copy in zip(held, before, strict=True))


@pytest.mark.parametrize("name", LOOKING)
def test_the_same_student_scores_the_same_twice(name: str, probe: Probe):
    student = student_for(probe.shape)
    first, second = (reading_of(name, student, probe) for _ in range(2))
    assert first.value == second.value


@pytest.mark.parametrize(
    "space", [pytest.param(resnet_depth.SPACE, marks=pytest.mark.slow), CELLS], ids=lambda space: space.name
)
def test_scores_are_finite_and_do_not_depend_on_order_or_company(space: SearchSpace, probe: Probe):
    architectures = two_of(space)
    found = score_architectures(space, architectures, EVERY, [probe], seed=0)
    assert [one.error for one in found] == [""] * len(found)
    assert all(math.isfinite(one.value) for one in found)
    turned = score_architectures(space, architectures[::-1], EVERY[::-1], [probe], seed=0)
    assert {(one.architecture, one.proxy): one.value for one in turned} == {
        (one.architecture, one.proxy): one.value for one in found
    }
    for name in PROXIES:  # ranks of aggregates depend on who is ranked
        (alone,) = score_architectures(space, architectures[1:], [name], [probe], seed=0)
        assert [alone.value] == [
            one.value for one in found if (one.architecture, one.proxy) == (architectures[1], name)
        ], name

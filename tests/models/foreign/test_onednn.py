"""Where oneDNN's kernels would damage memory, networks are kept contiguous. No such kernel is run here."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from automl_kd.experiment.networks import Trying
from automl_kd.models.foreign import onednn
from automl_kd.models.foreign.layout import door_of, lay_out
from automl_kd.models.foreign.onednn import may_use_avx2, must_stay_contiguous
from automl_kd.proxies.probe import Probe
from automl_kd.proxies.scorer import Builder
from automl_kd.space import Architecture, Choice, Parameter, SearchSpace
from tests import tiny
from tests.tiny import SHAPE

LAST = torch.channels_last

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch is without oneDNN")


def network(*, channels: int = 6, kernel: int = 1, stride: int = 2, groups: int = 1) -> nn.Module:
    strided = nn.Conv2d(channels, 8, kernel, stride, groups=groups)
    return nn.Sequential(nn.Conv2d(1, channels, 3), strided, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


@pytest.fixture
def processor(monkeypatch):
    """Says of what kind the processor is to be taken for."""

    def pretend(*instructions: str, **limits: str) -> None:
        for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
            monkeypatch.delenv(name, raising=False)
        for name, limit in limits.items():
            monkeypatch.setenv(name, limit)
        monkeypatch.setattr(onednn, "supports", lambda asked: asked in instructions)

    return pretend


@needs_onednn
@pytest.mark.parametrize(
    ("instructions", "limits", "expected"),
    [
        (("avx2",), {}, True),
        (("avx2", "avx512"), {}, False),
        ((), {}, False),
        (("avx2", "avx512"), {"ONEDNN_MAX_CPU_ISA": "AVX2"}, True),
        (("avx2", "avx512"), {"DNNL_MAX_CPU_ISA": "avx2_vnni"}, True),
        (("avx2", "avx512"), {"ONEDNN_MAX_CPU_ISA": "avx512_core", "DNNL_MAX_CPU_ISA": "avx2"}, False),
        (("avx2",), {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, True),
        (("avx2", "avx512"), {"ONEDNN_MAX_CPU_ISA": "a name of tomorrow"}, True),
        (("avx2", "avx512"), {"ONEDNN_MAX_CPU_ISA": "SSE41"}, False),
        (("avx2",), {"ONEDNN_MAX_CPU_ISA": "AVX"}, False),
    ],
)
def test_avx2_is_used_where_it_is_the_most_there_is_or_the_most_allowed(processor, instructions, limits, expected):
    processor(*instructions, **limits)
    assert may_use_avx2() is expected


def test_of_a_processor_that_torch_says_nothing_of_the_worst_is_assumed(monkeypatch):
    for name in ("_is_avx2_supported", "_is_avx512_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert onednn.supports("avx2")
    assert not onednn.supports("avx512")


def test_torch_is_asked_of_this_processor():
    assert onednn.supports("avx512") == torch.cpu._is_avx512_supported()


@needs_onednn
def test_a_network_with_such_a_layer_is_kept_contiguous_with_its_images(processor):
    processor("avx2")
    unsafe = network()
    assert must_stay_contiguous(unsafe, SHAPE)
    assert not lay_out(unsafe, SHAPE, LAST)
    assert all(value.is_contiguous() for value in unsafe.parameters())
    assert door_of(unsafe, SHAPE).contiguous
    assert lay_out(unsafe, SHAPE, torch.contiguous_format)


@needs_onednn
@pytest.mark.parametrize(
    ("size", "channels", "expected"), [(8, 6, False), (32, 6, False), (64, 6, True), (64, 15, True), (64, 16, False)]
)
def test_with_avx512_large_images_over_few_channels_are(processor, size, channels, expected):
    processor("avx2", "avx512")
    shape = dataclasses.replace(SHAPE, height=size, width=size)
    assert must_stay_contiguous(network(channels=channels), shape) is expected
    assert lay_out(network(channels=channels), shape, LAST) is not expected
    assert not must_stay_contiguous(network(channels=channels, kernel=3), shape)


@pytest.mark.parametrize(
    "safe", [{"channels": 8}, {"channels": 16, "groups": 2}, {"kernel": 3}, {"stride": 1}], ids=str
)
def test_a_network_without_such_a_layer_is_laid_out(processor, safe):
    processor("avx2")
    assert not must_stay_contiguous(network(**safe), SHAPE)
    assert lay_out(network(**safe), SHAPE, LAST)


@needs_onednn
def test_channels_are_counted_in_a_group_and_other_devices_are_left_alone(processor):
    processor("avx2")
    assert must_stay_contiguous(network(channels=8, groups=2), SHAPE)
    assert not must_stay_contiguous(network().to("meta"), SHAPE)


@needs_onednn
@pytest.mark.parametrize(("channels", "reason"), [(6, "kernels damage memory"), (8, "a view in its forward function?")])
def test_people_are_told_which_of_the_two_reasons_it_is(processor, channels, reason):
    processor("avx2")
    trying = Trying("teacher", network(channels=channels), tiny.dataset(), tiny.RECIPE, trained=True)
    assert reason in trying.obstacle()


@needs_onednn
def test_each_student_of_a_space_is_looked_at(processor):
    processor("avx2")
    widths = SearchSpace(
        name="widths",
        source="these tests",
        parameters={"width": Parameter(Choice((6, 8)))},
        build=lambda values, _shape: network(channels=int(values["width"])),
        default={"width": 8},
    )
    build = Builder(widths, Probe(torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64), SHAPE), "default", (0, 0))
    students = [build(Architecture.of({"width": width})) for width in (6, 8, 6, 8)]
    assert [door_of(student, SHAPE).contiguous for student in students] == [True, False, True, False]

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from automl_kd.errors import ConfigError
from automl_kd.models import build
from automl_kd.models.features import FeatureLayer, Outputs
from automl_kd.proxies.base import Shared
from automl_kd.proxies.passes import Passes
from automl_kd.proxies.probe import Probe
from automl_kd.proxies.teacher.cka import linear_cka
from automl_kd.proxies.teacher.kd_losses import KD_LOSSES
from automl_kd.space import Architecture
from search_spaces import nasbench201, resnet_depth
from tests.proxies.examples import GREY, example_probe, linear, vectors


def minus(name: str, student: nn.Module, probe: Probe) -> float:
    proxy = KD_LOSSES[name].proxy
    assert isinstance(proxy, Shared)
    return proxy(student, probe)


def pictures(*rows: list[float], logits: list[list[float]], pooled: list[list[float]]) -> Probe:
    """Images of two pixels, and what a teacher of two classes says of them."""
    plain = vectors(*rows, labels=[0] * len(rows))
    teacher = Outputs(torch.tensor(logits), {"pooled": torch.tensor(pooled)})
    return Probe(plain.images, plain.labels, plain.shape, teacher)


def student(*rows: list[float]) -> nn.Module:
    """Its vectors are the pixels themselves."""
    network = nn.Sequential(nn.Flatten(), linear(*rows))
    network.feature_layers = {"pooled": FeatureLayer("0")}  # type: ignore[assignment]  # what a model of the zoo has
    return network


def test_the_divergence_is_of_the_student_from_the_teacher():
    # At temperature 4 the teacher says (3/4, 1/4) and the student (1/2, 1/2); times 16.
    probe = pictures([1, 2], logits=[[4 * math.log(3), 0.0]], pooled=[[0.0, 0.0]])
    expected = 16 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert minus("kd_kd", student([0, 0], [0, 0]), probe) == pytest.approx(-expected, rel=1e-5)


def test_the_hint_and_the_congruence_by_hand():
    # Gaps (2, 0) and (1, 3): mean square (4 + 1 + 9) / 4; products of the two images' gaps 2 x 1 + 0 x 3.
    probe = pictures([1, 2], [0, 0], logits=[[0.0, 0.0]] * 2, pooled=[[3.0, 2.0], [1.0, 3.0]])
    network = student([0, 0], [0, 0])
    assert minus("kd_fitnet", network, probe) == pytest.approx(-3.5)
    assert minus("kd_cc", network, probe) == pytest.approx(-2)


@pytest.mark.parametrize("name", ["kd_rkd", "kd_pkt"])
def test_relations_do_not_mind_the_scale(name):
    rows = [[1.0, 2.0], [-1.0, 3.0], [2.0, 0.5]]
    logits = [[0.0, 0.0]] * 3
    network = student([0, 0], [0, 0])
    like = pictures(*rows, logits=logits, pooled=[[5 * x for x in row] for row in rows])
    unlike = pictures(*rows, logits=logits, pooled=[[5.0, 5.0], [1.0, -2.0], [0.0, 1.0]])
    assert minus(name, network, like) == pytest.approx(0, abs=1e-6)
    assert minus(name, network, unlike) < -1e-4


@pytest.mark.parametrize("name", KD_LOSSES)
def test_a_student_that_equals_its_teacher_scores_nothing_and_others_less(name):
    plain = example_probe(teacher=None)
    space = nasbench201.space(16, 1)
    twin = build(space, Architecture.of(space.default), GREY, seed=0).train()
    with torch.no_grad():
        outputs = Passes(twin, plain, ("stages",)).outputs
    probe = Probe(plain.images, plain.labels, GREY, outputs)
    assert minus(name, twin, probe) == pytest.approx(0, abs=2e-6)
    other = build(resnet_depth.SPACE, Architecture.of(resnet_depth.SPACE.default), GREY, seed=1).train()
    assert minus(name, other, probe) < -1e-5


@pytest.mark.parametrize("name", ["kd_fitnet", "kd_cc"])
def test_vectors_of_unequal_width_are_refused(name):
    narrow = nasbench201.space(8, 1)
    network = build(narrow, Architecture.of(narrow.default), GREY, seed=0)
    with pytest.raises(ConfigError, match=r"32 from the student, 64 from the teacher; take a teacher of that width"):
        minus(name, network, example_probe())


@pytest.mark.parametrize("name", [name for name in KD_LOSSES if name not in {"kd_fitnet", "kd_cc"}])
def test_the_others_compare_any_widths_and_sizes(name):
    narrow = nasbench201.space(8, 1)
    network = build(narrow, Architecture.of(narrow.default), GREY, seed=0)
    probe = example_probe()
    assert probe.teacher is not None
    halved = {
        place: one[:, :, ::2, ::2] if place.startswith("stage") else one
        for place, one in probe.teacher.features.items()
    }
    smaller = Probe(probe.images, probe.labels, GREY, Outputs(probe.teacher.logits, halved))
    assert minus(name, network, smaller) < 0


def test_a_probe_without_teacher_or_a_teacher_without_stages_is_refused():
    space = nasbench201.space(16, 1)
    network = build(space, Architecture.of(space.default), GREY, seed=0)
    with pytest.raises(ConfigError, match="give make_probe a teacher"):
        minus("kd_at", network, example_probe(teacher=None))
    probe = example_probe()
    assert probe.teacher is not None
    bare = Probe(probe.images, probe.labels, GREY, Outputs(probe.teacher.logits, {"pooled": torch.zeros(6, 64)}))
    with pytest.raises(ConfigError, match=r"'stage2', where the teacher has no feature layer; .*leave this proxy out"):
        minus("kd_at", network, bare)


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None]


def test_kernel_alignment_by_hand():
    # Centred features (-1, 0, 1) and (-1, 1, 0): the square of their cosine 1/2.
    assert float(linear_cka(column(0, 1, 2), column(4, 6, 5))) == pytest.approx(0.25)


def test_kernel_alignment_ignores_rotation_and_scale_and_constants_align_with_nothing():
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    rotation, _ = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1)))
    assert float(linear_cka(x, 3 * x @ rotation + 7)) == pytest.approx(1, abs=1e-5)
    assert float(linear_cka(x, torch.ones(5, 2, 3))) == 0

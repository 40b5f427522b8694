from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from automl_kd.errors import ConfigError
from automl_kd.models import build, build_model
from automl_kd.models.features import FeatureExtractor, Outputs
from automl_kd.proxies.initialisation import normal_weights
from automl_kd.proxies.passes import ForwardPass, Passes
from automl_kd.proxies.probe import Probe, make_probe
from automl_kd.proxies.score import score_architectures
from automl_kd.proxies.teacher import diswot
from automl_kd.proxies.teacher.diswot import classifier_gradient, relation_similarity, semantic_similarity
from automl_kd.seeds import derive
from automl_kd.space import Architecture, InputShape, SearchSpace
from search_spaces import nasbench201, resnet_depth
from tests.proxies.examples import example_probe

TASK = InputShape(channels=3, height=16, width=16, classes=10)


def test_relation_of_two_samples_by_hand():
    # Student: Gram matrix I. Teacher: ((1, 1), (1, 2)), rows (1, 1)/sqrt 2 and (1, 2)/sqrt 5.
    # Unit rows are 2 - 2 cos apart: 2 - 2/sqrt 2 and 2 - 4/sqrt 5; their sum is divided by 2^2.
    student, teacher = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    expected = -(4 - math.sqrt(2) - 4 / math.sqrt(5)) / 4
    torch.testing.assert_close(relation_similarity(student, teacher), torch.tensor(expected))


def test_relation_compares_maps_of_any_size_and_ignores_their_scale():
    generator = torch.Generator().manual_seed(0)
    small, large = torch.rand(4, 3, 2, 2, generator=generator), torch.rand(4, 8, 5, 5, generator=generator)
    value = relation_similarity(small, large)
    assert -2 / 4 <= float(value) < 0
    torch.testing.assert_close(relation_similarity(7 * small, large), value)


def test_semantic_of_one_class_by_hand():
    # Unit rows of both outer products: (0.6, 0.8) twice and (0.8, 0.6) twice; each pair is 0.08 apart.
    # -1/(1 * 2) * (0.08 + 0.08)
    student, teacher = torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]])
    torch.testing.assert_close(semantic_similarity(student, teacher), torch.tensor(-0.08))


def test_semantic_by_hand_where_signs_differ():
    # Rows (0.6, 0.8) twice against (0.8, -0.6) and (-0.8, 0.6): 2 apart each, -1/2 * 4.
    student, teacher = torch.tensor([[3.0, 4.0]]), torch.tensor([[-4.0, 3.0]])
    torch.testing.assert_close(semantic_similarity(student, teacher), torch.tensor(-2.0))


def test_classifier_gradient_by_hand():
    # Equal logits: softmax (1/2, 1/2), minus (1, 0) is (-1/2, 1/2), times the pooled vector (2, 4).
    gradient = classifier_gradient(torch.tensor([[2.0, 4.0]]), torch.zeros(1, 2), torch.tensor([0]))
    torch.testing.assert_close(gradient, torch.tensor([[-1.0, -2.0], [1.0, 2.0]]))


def outer_products(gradient: Tensor) -> Tensor:
    return F.normalize(gradient[:, :, None] * gradient[:, None, :], dim=2, eps=1e-12)


@given(seed=st.integers(0, 2**31), smallest=st.integers(-12, 0))
def test_closed_form_equals_the_outer_products_with_their_floor(seed: int, smallest: int):
    # Rows between 10^smallest and 1 lie on both sides of the floor; one row is zero.
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, 5, 4, dtype=torch.float64, generator=generator)
    student *= 10.0 ** torch.linspace(smallest, 0, 5, dtype=torch.float64)[:, None]
    teacher[2] = 0
    expected = -(outer_products(student) - outer_products(teacher)).square().sum() / (5 * 4)
    torch.testing.assert_close(semantic_similarity(student, teacher), expected, rtol=0, atol=1e-12)


@given(seed=st.integers(0, 2**31))
def test_equal_gradients_and_maps_score_zero(seed: int):
    gradient = torch.randn(6, 8, generator=torch.Generator().manual_seed(seed))
    assert float(semantic_similarity(gradient, gradient.clone())) == 0
    assert float(relation_similarity(gradient, gradient.clone())) == 0


def definition(student: nn.Module, teacher: nn.Module, probe: Probe) -> tuple[float, float]:
    """Both metrics by autograd, B x B and K x C x C matrices."""
    grams, products = [], []
    for network in (student, teacher):
        with FeatureExtractor(network.train(), ["pre_pool"]) as tapped:
            outputs = tapped(probe.images)
        flat = outputs.features["pre_pool"].detach().reshape(len(probe.labels), -1)
        grams.append(F.normalize(flat @ flat.T, dim=1, eps=1e-12))
        weight = network.get_parameter("fc.weight")
        (gradient,) = torch.autograd.grad(F.cross_entropy(outputs.logits, probe.labels), weight)
        products.append(outer_products(gradient))
    classes, channels = products[0].shape[:2]
    relation = -(grams[0] - grams[1]).square().sum() / len(probe.labels) ** 2
    return float(relation), float(-(products[0] - products[1]).square().sum() / (classes * channels))


CELLS = nasbench201.space(16, 1)
STUDENTS = [
    pytest.param(resnet_depth.SPACE, {"depth1": 1, "depth2": 1, "depth3": 1}, id="depths 1-1-1"),
    pytest.param(resnet_depth.SPACE, {"depth1": 1, "depth2": 5, "depth3": 3}, id="depths 1-5-3"),
    pytest.param(CELLS, nasbench201.DEFAULT, id="default cell"),
    pytest.param(CELLS, nasbench201.from_index(9930), id="cell 9930"),
    pytest.param(CELLS, dict.fromkeys(nasbench201.EDGES, "avg_pool_3x3"), id="pooling cell"),
]


@pytest.mark.parametrize(("space", "values"), STUDENTS)
def test_scores_equal_the_definition(space: SearchSpace, values: dict[str, str]):
    architecture, seed = Architecture.of(values), 3
    teacher = build_model("resnet20", TASK)
    normal_weights(teacher, "teacher", seed)
    probe = example_probe(TASK, batch=16, seed=seed, teacher=None)
    probe = make_probe(probe.images, probe.labels, TASK, teacher, seed=seed)
    found = score_architectures(space, [architecture], ["diswot_relation", "diswot_semantic"], [probe], seed=seed)
    # Weights are named after the edges of the cell that stands for all cells of its function.
    stand_in = architecture if space.canonical is None else Architecture.of(space.canonical(architecture.as_dict()))
    student = build(space, stand_in, TASK, seed=derive("student", seed, 0))
    normal_weights(student, "student", seed, 0)
    networks = [network.to(memory_format=torch.channels_last) for network in (student, teacher)]
    expected = definition(networks[0], networks[1], probe)
    assert [one.error for one in found] == ["", ""]
    assert [one.value for one in found] == pytest.approx(expected, rel=0, abs=1e-6)
    assert expected[0] < 0
    assert expected[1] < -0.01


def passed(outputs: Outputs, probe: Probe) -> Passes:
    """The passes of a student that has said this."""
    passes = Passes(nn.Identity(), probe)
    passes.done["forward"] = ForwardPass(outputs, [], [], [], [])
    return passes


def test_a_student_equal_to_the_teacher_scores_zero():
    probe = example_probe()
    assert probe.teacher is not None
    passes = passed(probe.teacher, probe)
    assert diswot.relation(passes) == 0
    assert diswot.semantic(passes) == 0


def test_semantic_refuses_other_widths_and_names_the_way_out():
    with pytest.raises(ConfigError, match=r"\(10, 32\) from the student, \(10, 64\) from the teacher.*diswot_relation"):
        semantic_similarity(torch.ones(10, 32), torch.ones(10, 64))


def test_relation_takes_other_widths():
    small = nasbench201.space(4, 1)
    (one, other) = score_architectures(
        small, [Architecture.of(small.default)], ["diswot_relation", "diswot_semantic"], [example_probe()], seed=0
    )
    assert one.value < 0
    assert math.isnan(other.value)
    assert "diswot_relation" in other.error


def test_without_a_teacher_there_is_nothing_to_compare():
    probe = example_probe(teacher=None)
    student = Outputs(torch.zeros(6, 10), {"pre_pool": torch.ones(6, 4, 2, 2), "pooled": torch.ones(6, 4)})
    with pytest.raises(ConfigError, match="give make_probe a teacher"):
        diswot.relation(passed(student, probe))

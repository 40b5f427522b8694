"""Proxies that cannot score with a search's networks are refused before a teacher is trained, others never."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from automl_kd.errors import ConfigError
from automl_kd.experiment.context import ExperimentContext, Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.models.features import FeatureLayer
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.proxies.base import ProxyEntry
from automl_kd.proxies.probe import Probe
from automl_kd.space import InputShape
from automl_kd.spec import TeacherSpec
from tests import strange, tiny

VIT = "search_spaces.vit:SPACE"
SCORED: list[tuple[int, int]] = []
"""Channels of each student that `choosy` is asked about, and images of the probe."""


def flat(shape: InputShape) -> nn.Module:
    """A teacher that has vectors before its classifier and no map."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(shape.height * shape.width, 16), nn.Linear(16, shape.classes))
    network.feature_layers = {"pooled": FeatureLayer("2", "input")}  # type: ignore[assignment]
    return network


def choosy(student: nn.Module, probe: Probe) -> float:
    """Scores students of 6 channels or more, on 8 images or more."""
    channels = len(student.get_submodule("stem").weight)  # type: ignore[arg-type]
    SCORED.append((channels, len(probe.images)))
    return float(channels) if channels >= 6 and len(probe.images) >= 8 else float("nan")


CHOOSY = ProxyEntry(proxy=choosy, source="this test")


def prepared(root, *proxies: str, search: Any = None, **changes: Any) -> ExperimentContext:
    section = dataclasses.replace(tiny.SEARCH, proxy_filter=proxies, pool=4, probe_images=8, **(search or {}))
    asked = tiny.experiment(method="kd", search=section, **changes)
    return prepare_experiment(asked, Roots(results=root / "results", data=root), Silent())


def taught_by(name: str, **changes: Any) -> TeacherSpec:
    return TeacherSpec(model=name, recipe=tiny.TEACHER.recipe, **changes)


@pytest.mark.parametrize(
    ("proxies", "changes", "said"),
    [
        (
            ("params", "meco"),
            {"space": VIT},
            "^proxy 'meco' fails on all 4 candidates: meco reads maps of convolutions",
        ),
        (("rank_sum(params+meco)",), {"space": VIT}, r"^proxy 'rank_sum\(params\+meco\)' fails on all 4 .* meco reads"),
        (("diswot",), {}, "^proxy 'diswot' fails on all 4 candidates: diswot_semantic needs equal"),
        (
            ("diswot",),
            {"teacher": taught_by(f"{__name__}:flat")},
            r"^proxy 'diswot_relation' .*:flat' has no 'pre_pool', as",
        ),
    ],
)
def test_what_cannot_score_is_refused_before_there_is_a_folder(tmp_path, proxies, changes, said):
    with pytest.raises(ConfigError, match=said):
        prepared(tmp_path, *proxies, **changes)
    assert list(tmp_path.iterdir()) == []


def test_what_scores_is_let_through_and_draws_nothing(tmp_path):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    prepared(tmp_path, "diswot_relation", "naswot", "macs", search={"proxy_teacher": "trained"})
    assert torch.equal(torch.get_rng_state(), state)


def test_a_proxy_that_scores_some_students_on_enough_images_is_let_through(tmp_path):
    SCORED.clear()
    prepared(tmp_path, f"{__name__}:CHOOSY")
    (few, *more) = SCORED
    assert few == (4, 4)  # the default student on a few images
    assert {images for _, images in more} == {8}
    assert [channels >= 6 for channels, _ in more] == [False] * (len(more) - 1) + [True]


def test_a_proxy_is_not_asked_where_it_is_not_used(tmp_path):
    SCORED.clear()
    prepared(tmp_path, f"{__name__}:CHOOSY", space="model:tests.tiny:teacher")
    assert SCORED == []


def test_a_teacher_that_cannot_see_the_students_images_is_named(tmp_path):
    save_weights(strange.fixed_size(tiny.SHAPE), tmp_path / "fixed.pt")
    teacher = taught_by("tests.strange:fixed_size", resolution=12, checkpoint=str(tmp_path / "fixed.pt"))
    said = r"^the teacher '.*:fixed_size', with which proxies compare students, cannot .* images of 1x8x8 \(Assertion.*"
    with pytest.raises(ConfigError, match=said + r'; set search.proxy_teacher = "trained", or leave out'):
        prepared(tmp_path, "diswot_relation", teacher=teacher)
    prepared(tmp_path, "diswot_relation", search={"proxy_teacher": "trained"}, teacher=teacher)

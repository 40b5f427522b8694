"""Rank sums by hand, and what screening refuses."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from automl_kd.errors import ConfigError
from automl_kd.experiment.stages.proxy_filter import make_probes, rank_sums, screen
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.proxies.score import ProxyScore
from automl_kd.space import Architecture
from automl_kd.spec import TeacherSpec
from tests import tiny

TEACHER = TeacherSpec(model="tests.tiny:teacher")
POINTS = [Architecture.of({"width": width}) for width in (2, 4, 8)]


def scores(*values: float) -> list[ProxyScore]:
    """Two proxies for each architecture in turn; nan with an error."""
    return [
        ProxyScore(
            architecture=POINTS[position // 2],
            proxy="ab"[position % 2],
            value=float(value),
            spread=0.0,
            draws=1,
            seconds=0.0,
            error="broken" if math.isnan(value) else "",
        )
        for position, value in enumerate(values)
    ]


def test_rank_sums_by_hand():
    # under a: 10, 30, 20 have ranks 1, 3, 2; under b: 0.1, 0.1, 0.5 have 1.5, 1.5, 3
    assert rank_sums(scores(10, 0.1, 30, 0.1, 20, 0.5), ["a", "b"], 3) == [2.5, 4.5, 5.0]


def test_an_architecture_on_which_a_proxy_failed_has_no_sum_and_no_rank():
    # without the second: 10, 20 have ranks 1, 2 and 0.9, 0.5 have 2, 1
    sums = rank_sums(scores(10, 0.9, 15, math.nan, 20, 0.5), ["a", "b"], 3)
    assert sums[::2] == [3.0, 3.0]
    assert math.isnan(sums[1])


def test_where_all_failed_there_are_only_nans():
    assert np.isnan(rank_sums(scores(math.nan, 1, 1, math.nan), ["a", "b"], 2)).all()


@pytest.fixture
def probes():
    return make_probes(tiny.dataset(), ["naswot"], TEACHER, images=16, draws=2, seed=0)


def test_a_pool_is_ranked_and_what_was_said_is_passed_on(probes):
    said: list[ProxyScore] = []
    rank = screen(tiny.SPACE, ["params", "naswot"], probes, seed=0, on_scores=said.extend)
    sums = rank(POINTS)
    assert len(said) == 6
    assert sums == rank_sums(said, ["params", "naswot"], 3)
    assert sums.index(max(sums)) == 2  # the widest has the most parameters and tells most images apart


def test_a_proxy_that_fails_on_a_whole_pool_is_refused_in_one_sentence(probes):
    linear = dataclasses.replace(
        tiny.SPACE, build=lambda values, shape: nn.Sequential(nn.Flatten(), nn.Linear(64, shape.classes))
    )
    rank = screen(linear, ["naswot"], probes, seed=0, on_scores=lambda _: None)
    with pytest.raises(ConfigError, match=r"^proxy 'naswot' fails on all 3 candidates: .*ReLU"):
        rank(POINTS)


def test_probes_are_distinct_training_images_drawn_by_the_seed(probes):
    again = make_probes(tiny.dataset(), ["naswot"], TEACHER, images=16, draws=2, seed=0)
    other = make_probes(tiny.dataset(), ["naswot"], TEACHER, images=16, draws=1, seed=1)
    assert [len(probe.images) for probe in probes] == [16, 16]
    assert all(torch.equal(one.images, two.images) for one, two in zip(probes, again, strict=True))
    assert not torch.equal(probes[0].images, probes[1].images)
    assert not torch.equal(probes[0].images, other[0].images)
    assert len(torch.unique(probes[0].images, dim=0)) == 16


def test_a_probe_has_a_teacher_only_where_a_proxy_asks_for_one(probes):
    state = torch.get_rng_state()
    (needy,) = make_probes(tiny.dataset(), ["diswot_relation"], TEACHER, images=8, draws=1, seed=0)
    assert needy.teacher is not None
    assert all(probe.teacher is None for probe in probes)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_set_smaller_than_a_probe_is_used_whole():
    (probe,) = make_probes(tiny.dataset(), ["naswot"], TEACHER, images=1000, draws=1, seed=0)
    assert len(probe.images) == 96


def test_a_trained_teacher_is_shown_what_it_teaches_by(tmp_path):
    torch.manual_seed(0)
    trained = tiny.teacher(tiny.SHAPE)
    with torch.no_grad():
        for name, buffer in trained.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(0.5)  # which evaluation uses
    save_weights(trained, tmp_path / "teacher.pt")
    probe, random = (
        make_probes(tiny.dataset(), ["diswot_relation"], TEACHER, weights=weights, images=16, draws=1, seed=0)[0]
        for weights in (tmp_path / "teacher.pt", None)
    )
    assert probe.teacher is not None
    assert random.teacher is not None
    assert torch.equal(probe.images, random.images)
    with torch.no_grad():
        torch.testing.assert_close(probe.teacher.logits, trained.eval()(probe.images))
    assert not torch.allclose(random.teacher.logits, probe.teacher.logits)

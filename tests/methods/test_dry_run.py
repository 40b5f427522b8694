"""A rehearsal finds what cannot work, leaves no trace, and asks nothing of methods that have nothing to rehearse."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest
import torch

from automl_kd.errors import ConfigError, DataError, UnknownNameError
from automl_kd.methods import METHODS, dry_run_method
from automl_kd.space import Scalar
from automl_kd.spec import TrialSpec
from tests import tiny

OPTIONS: Mapping[str, Mapping[str, Scalar]] = {
    "weighted_losses": {"losses": "crd, crd.negatives=20, vid, vid.stages=pre_pool, at, at.stages=pre_pool"},
    "distpro_search": {"stages": "pre_pool+pooled+logits"},
    "distpro": {"stages": "pre_pool+pooled+logits"},
    "prokt": {"losses": "kd, vid, vid.stages=pre_pool", "start": "scratch", "zero_heads": True},
    "lkd": {"stages": "pre_pool"},
    "subgraph": {"params_limit": 1000},
}


def spec_of(method: str, **changes: Scalar) -> TrialSpec:
    return tiny.spec(method=method, options={**OPTIONS.get(method, {}), **changes}, teacher=tiny.TEACHER)


@pytest.mark.parametrize("method", METHODS)
def test_what_works_passes_and_nothing_is_written_or_drawn(tmp_path, method):
    spec = spec_of(method)
    before = torch.get_rng_state()
    dry_run_method(spec, tiny.dataset(), tiny.place(tmp_path, spec))
    assert torch.equal(torch.get_rng_state(), before)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("weighted_losses", {"losses": "at, at.stages=stage1"}),
        ("prokt", {"losses": "at, at.stages=stage1"}),
        ("lkd", {"stages": "stage1"}),
        ("distpro", {"stages": "stage1"}),
        ("distpro", {"stages": "stage1", "replay": "equal"}),
        ("distpro_search", {"stages": "stage1"}),
    ],
)
def test_a_tap_that_the_student_lacks_is_found(tmp_path, method, options):
    spec = spec_of(method, **options)
    with pytest.raises(
        UnknownNameError, match=r"^the student: no feature layer or module is called 'stage1' in this network"
    ):
        dry_run_method(spec, tiny.dataset(), tiny.place(tmp_path, spec))


@pytest.mark.parametrize("method", ["lkd", "distpro", "distpro_search"])
def test_too_few_images_to_hold_some_out(tmp_path, method):
    spec = spec_of(method, held_out=0.001)
    with pytest.raises(DataError, match=r"has 96 training images, too few to hold out 0.001 of them"):
        dry_run_method(spec, tiny.dataset(), tiny.place(tmp_path, spec))


def test_a_latency_that_no_subgraph_reaches(tmp_path):
    spec = spec_of("subgraph", latency_limit_ms=0.0001)
    before = torch.get_rng_state()
    with pytest.raises(
        ConfigError, match=r"^a budget of 0.0001 ms lies below the [\d.]+ ms of the smallest subgraph; "
    ):
        dry_run_method(spec, tiny.dataset(), tiny.place(tmp_path, spec))
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_teacher_there_is_nothing_to_rehearse(tmp_path):
    spec = dataclasses.replace(spec_of("weighted_losses", losses="at, at.stages=nowhere"), teacher=None)
    dry_run_method(spec, tiny.dataset(), tiny.place(tmp_path, spec))

"""How a batch is dealt out, by hand, in processes that are only pretended, and recipes that cannot be dealt."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from automl_kd import distributed
from automl_kd.config import Resources, loads
from automl_kd.data import Batch
from automl_kd.errors import ConfigError
from automl_kd.methods import dry_run_method, make_method, run_trial
from automl_kd.spec import Recipe, TrialSpec
from tests import tiny


@pytest.fixture
def second_of_two(monkeypatch):
    monkeypatch.setattr(distributed, "size", lambda: 2)
    monkeypatch.setattr(distributed, "rank", lambda: 1)


def test_alone_it_is_nothing():
    value = torch.tensor([1.0])
    same = (
        distributed.sum_over_group,
        distributed.mean_over_group,
        distributed.summed,
        distributed.differentiable_mean,
        distributed.gather_shards,
        distributed.joined_norm,
        distributed.own_shard,
    )
    assert all(function(value) is value or torch.equal(function(value), value) for function in same)
    assert (
        distributed.size(),
        distributed.is_main_process(),
        distributed.shard_count(),
        distributed.from_main_process(2.5),
        distributed.all_equal(1),
    ) == (1, True, 1, 2.5, True)


def test_the_second_of_two_has_the_second_half(second_of_two):
    with distributed.shard_rows(torch.arange(8)) as rows:
        assert rows.tolist() == [4, 5, 6, 7]
        assert (
            distributed.shard_count(),
            distributed.shard_index(),
            distributed.own_shard(torch.arange(4)).tolist(),
        ) == (2, 1, [2, 3])


def test_of_what_is_accumulated_it_has_the_second_half_of_each_piece(second_of_two):
    with distributed.shard_rows(torch.arange(8), 2) as rows:
        assert rows.tolist() == [2, 3, 6, 7]


@pytest.mark.parametrize(("count", "micro"), [(7, 1), (2, 1), (6, 2)])
def test_what_cannot_be_divided_goes_to_all(second_of_two, count: int, micro: int):
    with distributed.shard_rows(torch.arange(count), micro) as rows:
        assert rows.tolist() == list(range(count))
        assert (distributed.shard_count(), distributed.shard_index()) == (1, 0)
    assert distributed.shard_count() == 2


@pytest.mark.parametrize(("count", "sizes"), [(8, [3, 3, 2]), (5, [3, 2]), (3, [3]), (1, [1])])
def test_a_batch_is_cut_into_pieces_of_two_images_or_more(count: int, sizes: list[int]):
    cut = Batch(torch.zeros(count, 1, 2, 2), torch.arange(count), torch.arange(count), 1).cut(3)
    assert [len(piece) for piece in cut] == sizes
    assert torch.cat([piece.labels for piece in cut]).tolist() == list(range(count))


EXPERIMENT = 'name = "a"\nspace = "my:SPACE"\nrecipe.batch_size = 64\nteacher.recipe.batch_size = 64\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trial.workers = 0", "workers must be 1 or more, got 0"),
        ("trial.workers = 3", "recipe.batch_size must be a multiple of 3"),
        ("trial.workers = 64", "at least 128, so that every share has two images or more, got 64"),
        (
            "trial.workers = 4\nrecipe.grad_accumulation = 32",
            r"multiple of 128 \(trial.workers = 4, recipe.grad_accumulation = 32\)",
        ),
        (
            "trial.workers = 4\nrecipe.sync_bn_groups = 2",
            "sync_bn_groups must be 1 or trial.workers, which is 4, got 2",
        ),
        ("trial.workers = 4\nteacher.recipe.sync_bn_groups = 2", "teacher.recipe.sync_bn_groups must be 1"),
        ("recipe.grad_accumulation = 0", "grad_accumulation must be 1 or more, got 0"),
        ("recipe.sync_bn_groups = 5", "batch_size must be a multiple of 5"),
        ("trial.workers = 2\ntrial.gpus = 0.5", "2 workers cannot share a GPU"),
        ('trial.placement = "far"', "trial.placement"),
    ],
)
def test_what_cannot_be_divided_is_refused_in_one_sentence(text: str, said: str):
    with pytest.raises(ConfigError, match=said) as refused:
        loads(EXPERIMENT + text)
    assert "\n" not in str(refused.value)


def test_workers_are_no_part_of_a_trial_and_pieces_are():
    assert loads(EXPERIMENT + "trial.workers = 4").trial == dataclasses.replace(Resources(), workers=4)
    recipes = (Recipe(), Recipe(grad_accumulation=2), Recipe(sync_bn_groups=2))
    keys = {tiny.spec(recipe=recipe).key for recipe in recipes}
    assert len(keys) == 3
    assert tiny.spec(recipe=Recipe()).key == tiny.spec(recipe=Recipe(grad_accumulation=1, sync_bn_groups=1)).key


def taught(root: Path, method: str, **recipe: Any) -> TrialSpec:
    options = {"stages": "norm+pre_pool"} if method == "distpro_search" else {}
    return tiny.taught(root, method, options=options, recipe=Recipe(epochs=1, batch_size=16, **recipe))


@pytest.mark.parametrize(
    ("method", "recipe", "said"),
    [
        ("distpro_search", {"grad_accumulation": 2}, "method 'distpro_search' takes steps of its own on whole batches"),
        ("lkd", {"grad_accumulation": 2}, "method 'lkd' takes steps of its own on whole batches"),
        ("prokt", {"grad_accumulation": 2}, "method 'prokt' takes steps of its own on whole batches"),
        ("prokt", {"sync_bn_groups": 2}, "set recipe.sync_bn_groups = 1"),
    ],
)
def test_methods_refuse_what_they_cannot_do_before_anything_is_trained(tmp_path, method, recipe, said):
    spec = taught(tmp_path, method, **recipe)
    assert make_method(method, spec.options).needs_teacher
    with pytest.raises(ConfigError, match=said):
        dry_run_method(spec, tiny.loaded(tmp_path), tiny.place(tmp_path, spec))
    with pytest.raises(ConfigError, match=said):
        run_trial(spec, tiny.Recorder(), tiny.place(tmp_path, spec))

"""Mixed batches: pairs by hand, shares of labels, and the same batch for one process and for several."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from automl_kd import distributed
from automl_kd.data import UNLABELLED, Batch, draw_mix, epoch_order, epoch_rows, mix_images, partner_places
from automl_kd.data.augment.mixing import MixDraw
from automl_kd.spec import Recipe
from automl_kd.training import training_run
from tests import tiny
from tests.data.augment.test_view import coloured

MIXED = Recipe(batch_size=16, mixup=0.8, cutmix=1.0, augment="random-resized-crop")


def test_partners_by_hand():
    cpu = torch.device("cpu")
    assert partner_places(5, 1, cpu).tolist() == [1, 0, 3, 2, 4]
    assert partner_places(8, 2, cpu).tolist() == [2, 3, 0, 1, 6, 7, 4, 5]
    assert partner_places(6, 2, cpu).tolist() == [2, 3, 0, 1, 4, 5]


@pytest.mark.parametrize(("count", "recipe"), [(96, MIXED), (95, dataclasses.replace(MIXED, repeats=4)), (17, MIXED)])
def test_partners_of_an_epoch_are_in_the_same_batch(count, recipe):
    rows = epoch_rows(count, recipe, seed=3, epoch=2)
    plain = epoch_rows(count, dataclasses.replace(recipe, mixup=0.0, cutmix=0.0), seed=3, epoch=2)
    assert torch.equal(rows[:, 0], plain)
    for piece in rows.split(recipe.batch_size):
        expected = piece[partner_places(len(piece), recipe.repeats, piece.device), 0]
        assert torch.equal(piece[:, 1], expected)
        if len(piece) % (2 * recipe.repeats) == 0:
            assert bool((piece[:, 0] % count != piece[:, 1] % count).all())


def test_rows_of_a_plain_recipe_are_the_order_of_earlier_releases():
    assert torch.equal(epoch_rows(50, Recipe(), seed=1, epoch=4), epoch_order(50, seed=1, epoch=4))


def test_mixing_by_hand():
    ones, zeros = torch.ones(1, 1, 2, 3), torch.zeros(1, 1, 2, 3)
    assert mix_images(ones.clone(), zeros, MixDraw(0.25, None)).flatten().tolist() == [0.25] * 6
    cut = mix_images(ones.clone(), zeros, MixDraw(4 / 6, (0, 2, 1, 2)))
    assert cut[0, 0].tolist() == [[1, 0, 1], [1, 0, 1]]


def test_draws_have_their_distribution():
    draws = [draw_mix(MIXED, (32, 32), seed=0, epoch=1, number=number) for number in range(2000)]
    cuts = [one for one in draws if one is not None and one.rectangle is not None]
    assert 900 < len(cuts) < 1100
    for one in cuts:
        assert one.rectangle is not None
        top, bottom, left, right = one.rectangle
        assert 0 <= top <= bottom <= 32
        assert 0 <= left <= right <= 32
        assert one.share == pytest.approx(1 - (bottom - top) * (right - left) / 1024)
    rare = dataclasses.replace(MIXED, mix_probability=0.25, cutmix=0.0)
    found = [draw_mix(rare, (32, 32), seed=0, epoch=1, number=number) for number in range(2000)]
    mixed = [one for one in found if one is not None]
    assert 400 < len(mixed) < 600
    assert all(one.rectangle is None for one in mixed)
    assert sum(one.share for one in mixed) / len(mixed) == pytest.approx(0.5, abs=0.05)


def batches(recipe: Recipe, step: int, dataset=None) -> Batch:
    run = training_run.TrainingRun(tiny.Net(tiny.SHAPE, 4), dataset or tiny.dataset(), recipe, seed=5)
    rows = epoch_rows(96, recipe, seed=run.order_seed, epoch=1)[step * recipe.batch_size :][: recipe.batch_size]
    with distributed.shard_rows(rows, recipe.grad_accumulation) as own:
        return run.batch(own, 1, step)


@pytest.mark.parametrize(
    "recipe",
    [
        MIXED,
        dataclasses.replace(MIXED, batch_size=12),  # parts of three: pairs lie in two processes
        dataclasses.replace(MIXED, batch_size=24, grad_accumulation=2),  # pieces of twelve, parts of three
        dataclasses.replace(MIXED, batch_size=16, repeats=4),
        dataclasses.replace(MIXED, batch_size=16, repeats=2, grad_accumulation=2),
    ],
)
@pytest.mark.parametrize("workers", [2, 4])
def test_the_mixed_batch_is_the_same_for_any_number_of_processes(monkeypatch, recipe, workers):
    for step in range(3):
        whole = batches(recipe, step)
        assert whole.second_labels is not None
        parts = []
        for rank in range(workers):
            with monkeypatch.context() as patched:
                patched.setattr(distributed, "size", lambda: workers)
                patched.setattr(distributed, "rank", lambda rank=rank: rank)
                patched.setattr(distributed, "broadcast_from_main", lambda _tensors: None)
                parts.append(batches(recipe, step))
        micro = recipe.grad_accumulation
        for name in ("inputs", "labels", "second_labels", "index"):
            pieces = [getattr(part, name).unflatten(0, (micro, -1)) for part in parts]
            assert torch.equal(torch.cat(pieces, dim=1).flatten(0, 1), getattr(whole, name))
        assert {part.share for part in parts} == {whole.share}
        assert {part.parts for part in parts} == {workers}


def test_a_mix_with_an_image_without_a_label_has_none():
    dataset = tiny.dataset()
    labels = dataset.train.labels.masked_fill(torch.arange(96) % 3 == 0, UNLABELLED)
    train = dataclasses.replace(dataset.train, labels=labels)
    batch = batches(MIXED, 0, dataclasses.replace(dataset, train=train))
    assert batch.second_labels is not None
    unlabelled = batch.labels == UNLABELLED
    assert torch.equal(unlabelled, batch.second_labels == UNLABELLED)
    own = labels[batch.index]
    partner = own[partner_places(16, 1, own.device)]
    assert torch.equal(unlabelled, (own == UNLABELLED) | (partner == UNLABELLED))
    assert 0 < unlabelled.sum() < 16


def test_pieces_of_a_mixed_batch_keep_their_labels():
    batch = batches(MIXED, 1)
    pieces = batch.cut(2)
    assert [piece.share for piece in pieces] == [batch.share] * 2
    seconds = [piece.second_labels for piece in pieces if piece.second_labels is not None]
    assert batch.second_labels is not None
    assert torch.equal(torch.cat(seconds), batch.second_labels)


def test_the_mix_does_not_depend_on_the_images_beside(monkeypatch):
    dataset = coloured()
    recipe = dataclasses.replace(MIXED, batch_size=16)
    whole = batches(recipe, 2, dataset)
    run = training_run.TrainingRun(tiny.Net(tiny.SHAPE, 4), dataset, recipe, seed=5)
    rows = epoch_rows(96, recipe, seed=run.order_seed, epoch=1)[32:48]
    for place in range(0, 16, 2):
        assert torch.equal(run.batch(rows[place : place + 2], 1, 2).inputs, whole.inputs[place : place + 2])

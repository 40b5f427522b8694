"""A set is known by what it holds, wherever it lies, and is refused before it fills the memory."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from automl_kd.data import Dataset, digest_dataset, load_data
from automl_kd.data.source import refuse_beyond_memory
from automl_kd.errors import DataError
from automl_kd.spec import DataSpec, Recipe, TeacherSpec, teacher_trial
from tests import tiny


def stored(folder, *, brighter: int = 0) -> Dataset:
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 200, (40, 8, 8, 3), dtype=np.uint8)
    images[7] += brighter
    labels = np.arange(40) % 2
    path = folder / "set.npz"
    np.savez(path, x_train=images[:30], y_train=labels[:30], x_test=images[30:], y_test=labels[30:])
    return load_data(DataSpec(name=f"arrays:{path}"), folder)


def test_the_digest_follows_the_images_and_not_their_place(tmp_path):
    here, there = stored(tmp_path / "here"), stored(tmp_path / "there")
    assert digest_dataset(here) == digest_dataset(there)
    assert digest_dataset(here) != digest_dataset(stored(tmp_path / "changed", brighter=1))


def test_the_digest_sees_labels_and_the_division():
    data = tiny.dataset()
    swapped = dataclasses.replace(data, validation=data.test, test=data.validation)
    relabelled = dataclasses.replace(data.train, labels=data.train.labels.flip(0))
    assert (
        len(
            {digest_dataset(data), digest_dataset(swapped), digest_dataset(dataclasses.replace(data, train=relabelled))}
        )
        == 3
    )
    assert torch.equal(data.train.labels, tiny.dataset().train.labels)


def test_a_teacher_is_another_one_when_its_images_are():
    def key(**changes):
        return teacher_trial(TeacherSpec(recipe=Recipe()), DataSpec(**changes)).key

    assert key(name="arrays:/a.npz", digest="1") == key(name="arrays:/b.npz", digest="1") == key(digest="1")
    assert key(name="arrays:/a.npz", digest="1") != key(name="arrays:/a.npz", digest="2")
    assert key(name="arrays:/a.npz", digest="1") != key(name="arrays:/a.npz", digest="1", train_images=5)


def test_images_beyond_the_memory_are_refused_in_one_sentence():
    refuse_beyond_memory(2**20, "images", "keep fewer")
    with pytest.raises(DataError, match=r"images take 1,048,576\.0 GiB, and twice that .* of memory; keep fewer"):
        refuse_beyond_memory(2**50, "images", "keep fewer")

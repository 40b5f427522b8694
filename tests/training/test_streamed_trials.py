"""Trials whose images are decoded as they are needed come to the bits of those with the same images in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from automl_kd.data import Dataset, load_data
from automl_kd.data.dataset import Split
from automl_kd.methods import run_trial
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.spec import DataSpec, LoaderOptions, TeacherCacheOptions, TrialSpec, steps_per_epoch, teacher_trial
from automl_kd.training import trial
from automl_kd.training.trial import PASSES
from tests import tiny
from tests.conformance.sampling import slow_but
from tests.conformance.trials import EPOCHS, FIRST_OF_EACH_METHOD, difference, left_by, quick, run, spec_of

__all__ = ["quick"]

pytestmark = pytest.mark.usefixtures("quick")


def files_of(split: Split, folder: Path) -> None:
    for place, (image, label) in enumerate(zip(split.inputs, split.labels.tolist(), strict=True)):
        path = folder / f"class{label}" / f"{place:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("stripes") / "set"
    files_of(tiny.stripes(110, seed=0), path / "train")
    files_of(tiny.stripes(30, seed=2), path / "test")
    return path


def resident(dataset: Dataset) -> Dataset:
    """The same images in memory."""

    def held(split: Split) -> Split:
        return Split(split.pixels_at(torch.arange(len(split))), split.labels, split.index)

    train, validation, test = (held(split) for split in (dataset.train, dataset.validation, dataset.test))
    transfer = dataset.transfer and held(dataset.transfer)
    return replace(dataset, train=train, validation=validation, test=test, transfer=transfer)


def with_files(spec: TrialSpec, folder: Path, root: Path, **changes: Any) -> TrialSpec:
    """The trial on images of files, whose teacher takes these; `changes` of the data."""
    data = replace(DataSpec(name=f"folder:{folder}", validation=0.2, loading="stream"), **changes)
    if spec.teacher is not None:
        torch.manual_seed(11)
        weights = root / "teachers" / teacher_trial(spec.teacher, data).key / "student.pt"
        save_weights(tiny.teacher(replace(tiny.SHAPE, channels=3)), weights)
    return replace(spec, data=data)


@pytest.mark.parametrize("name", slow_but(["kd"], FIRST_OF_EACH_METHOD))
def test_every_method_trains_to_the_same_bits(tmp_path, monkeypatch, folder, name):
    spec = with_files(spec_of(name, tmp_path), folder, tmp_path)
    streamed = run(spec, tmp_path, "streamed")
    dataset = resident(load_data(spec.data, tmp_path / "data"))
    monkeypatch.setattr(trial, "load_dataset", lambda *_: dataset)
    held = run(spec, tmp_path, "resident")
    assert not difference(held.seen, streamed.seen)
    assert not difference(left_by(tmp_path / "resident"), left_by(tmp_path / "streamed"))


@pytest.mark.slow
@pytest.mark.parametrize("loader", [{"threads": 1, "shared": False}, {"threads": 3}, {"ring_mb": 16, "cache_gb": 0.1}])
def test_it_does_not_matter_who_decodes(tmp_path, folder, loader: dict[str, Any]):
    spec = with_files(spec_of("kd", tmp_path), folder, tmp_path)
    cache = TeacherCacheOptions(keep="logits")
    found = {}
    for way, options in (("usual", LoaderOptions()), ("other", LoaderOptions(**loader))):
        recorder = tiny.Recorder()
        place = replace(tiny.place(tmp_path, spec), trial=tmp_path / way, loader=options, teacher_cache=cache)
        trial.load_dataset.cache_clear()
        run_trial(spec, recorder, place)
        found[way] = recorder.seen
    assert {metrics["teacher_passes"] for metrics in found["other"].values()} == {0}
    usual, other = (torch.load(tmp_path / way / "student.pt") for way in ("usual", "other"))
    assert not difference(usual, other)


def deep_folder(top: Path) -> Path:
    """Grey images of 12 bits in files of 16."""
    for part, count, seed in (("train", 110, 0), ("test", 30, 2)):
        split = tiny.stripes(count, seed=seed)
        for place, (image, label) in enumerate(zip(split.inputs, split.labels.tolist(), strict=True)):
            path = top / part / f"class{label}" / f"{place:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0].numpy().astype(np.uint16) * 16).save(path)
    return top


def unlabelled_folder(top: Path) -> Path:
    split = tiny.stripes(40, seed=5)
    top.mkdir()
    for place, image in enumerate(split.inputs):
        Image.fromarray(image[0].numpy()).save(top / f"{place:03d}.png")
    return top


KINDS = ("deep", "unlabelled", "labelled", "larger", "normalised")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_set_trains_to_the_same_bits(tmp_path, monkeypatch, folder, kind):
    kinds: dict[str, Callable[[], dict[str, Any]]] = {
        "deep": lambda: {"name": f"folder:{deep_folder(tmp_path / 'deep')}", "max_value": 4095},
        "unlabelled": lambda: {"unlabelled": f"folder:{unlabelled_folder(tmp_path / 'more')}"},
        "labelled": lambda: {"labelled_images": 30, "train_images": 70},
        "larger": lambda: {"resolution": 8, "view": 12, "crop": 0.9},
        "normalised": lambda: {"mean": (0.5,) * 3, "std": (0.25,) * 3, "resize": "squash", "resolution": 6},
    }
    changes = kinds[kind]()
    plain = spec_of("kd", tmp_path)
    if kind == "larger":
        assert plain.teacher is not None
        plain = replace(plain, teacher=replace(plain.teacher, resolution=12))
    spec = with_files(plain, folder, tmp_path, **changes)
    streamed = run(spec, tmp_path, "streamed")
    dataset = load_data(spec.data, tmp_path / "data")
    assert (dataset.transfer is not None) == (kind in {"unlabelled", "labelled"})
    assert dataset.shape.height == {"larger": 12, "normalised": 6}.get(kind, 8)
    whole = load_data(replace(spec.data, loading="resident"), tmp_path / "data")  # in another order
    assert sorted(map(flat, whole.test.inputs)) == sorted(map(flat, resident(dataset).test.inputs))
    monkeypatch.setattr(trial, "load_dataset", lambda *_: resident(dataset))
    held = run(spec, tmp_path, "resident")
    assert not difference(held.seen, streamed.seen)
    assert not difference(left_by(tmp_path / "resident"), left_by(tmp_path / "streamed"))


def flat(image: torch.Tensor) -> bytes:
    return image.numpy().tobytes()


VIEWS: dict[str, dict[str, Any]] = {
    "crops, policy, erasing, mixup": {
        "augment": "random-resized-crop",
        "policy": "rand",
        "erasing": 0.5,
        "mixup": 0.5,
    },
    "crops, repeats, cutmix": {"augment": "random-resized-crop", "repeats": 2, "cutmix": 1.0},
    "jitter, trivial, both mixes": {
        "policy": "trivial",
        "jitter": 0.4,
        "hue": 0.2,
        "mixup": 0.2,
        "cutmix": 1.0,
        "mix_probability": 0.7,
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("views", VIEWS)
def test_the_teacher_is_asked_once_about_each_view(tmp_path, folder, views):
    plain = spec_of("kd", tmp_path)
    plain = replace(plain, recipe=replace(plain.recipe, **VIEWS[views]))
    first = with_files(plain, folder, tmp_path)
    second = with_files(replace(plain, options={"weight": 0.5}), folder, tmp_path)
    keep, off = TeacherCacheOptions(keep="logits"), TeacherCacheOptions(keep="off")
    made = run(first, tmp_path, "first", teacher_cache=keep)
    read = run(second, tmp_path, "second", teacher_cache=keep)
    assert made.seen[EPOCHS]["teacher_passes"] == EPOCHS * trial_steps(folder, tmp_path)
    assert {metrics["teacher_passes"] for metrics in read.seen.values()} == {0}
    for spec, name, seen in ((first, "first", made.seen), (second, "second", read.seen)):
        alone = run(spec, tmp_path, f"{name} alone", teacher_cache=off)
        counted = {epoch: {key: one for key, one in row.items() if key not in PASSES} for epoch, row in seen.items()}
        assert not difference(alone.seen, counted)
        students = [torch.load(tmp_path / place / "student.pt") for place in (name, f"{name} alone")]
        assert not difference(*students)


def trial_steps(folder: Path, root: Path) -> int:
    dataset = load_data(DataSpec(name=f"folder:{folder}", validation=0.2, loading="stream"), root / "data")
    return steps_per_epoch(len(dataset.train), 16)

"""Trials whose images are decoded as they are needed come to the bits of those with the same images in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from automl_kd.data import Dataset, load_data
from automl_kd.data.dataset import Split
from automl_kd.methods import run_trial
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.spec import DataSpec, LoaderOptions, TeacherCacheOptions, TrialSpec, teacher_trial
from automl_kd.training import trial
from tests import tiny
from tests.conformance.sampling import slow_but
from tests.conformance.trials import FIRST_OF_EACH_METHOD, difference, left_by, quick, run, spec_of

__all__ = ["quick"]

pytestmark = pytest.mark.usefixtures("quick")


def files_of(split: Split, folder: Path) -> None:
    for place, (image, label) in enumerate(zip(split.images, split.labels.tolist(), strict=True)):
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
    return replace(dataset, train=train, validation=validation, test=test)


def with_files(spec: TrialSpec, folder: Path, root: Path) -> TrialSpec:
    """The trial on images of files, whose teacher takes these."""
    data = DataSpec(name=f"folder:{folder}", validation=0.2, loading="stream")
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

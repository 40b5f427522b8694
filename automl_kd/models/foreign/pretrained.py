"""Networks of other libraries that were published with weights: where these lie, and what they want to see.

Nothing is fetched from a network: weights are read from the cache of the library that fetched them, or from a folder.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from automl_kd import files
from automl_kd.errors import ConfigError, DataError, FileError, UnknownNameError
from automl_kd.models.foreign.external import repeat_channel, torchvision_names
from automl_kd.models.foreign.packages import library
from automl_kd.models.foreign.processor import read_processor
from automl_kd.models.text.folder import (
    build_encoder,
    classifies,
    encoder_folder,
    find_weights,
    output_names,
    read_text_config,
)
from automl_kd.registry import suggestion
from automl_kd.space import InputShape, TextShape
from automl_kd.spec import FOLDERS, HUGGING_FACE, INTERPOLATIONS, TIMM_FOLDER, Preprocessing, ResizeRule

TIMM, TORCHVISION = "timm:", "torchvision:"
LOCAL = TIMM_FOLDER.removeprefix(TIMM)

ANEW = ("googlenet", "inception_v3")
"""Networks of torchvision that, made with published weights, turn ImageNet's normalisation into mean and deviation 0.5
before their first layer, of which their weights say nothing.
"""


@dataclass(frozen=True)
class Pretrained:
    """`file`: the weights. `resolution`: height and width of images. `class_names`: of its outputs, where known."""

    file: Path
    preprocessing: Preprocessing
    resolution: int
    total_classes: int
    class_names: tuple[str, ...] = ()


def pretrained(model: str, weights: str = "") -> Pretrained | None:
    """What the network called `model` brings with it; None for one that brings nothing.

    `weights`: "DEFAULT", or of torchvision's networks one of their names, such as "IMAGENET1K_V1".
    `ConfigError` if the weights are not on this machine, with the command that fetches them.
    """
    if model.startswith(HUGGING_FACE):
        return from_hugging_face(Path(model.removeprefix(HUGGING_FACE)))
    if model.startswith(TIMM_FOLDER):
        return from_timm_folder(Path(model.removeprefix(TIMM_FOLDER)))
    if weights and model.startswith(TIMM):
        return from_timm(model.removeprefix(TIMM))
    if weights and model.startswith(TORCHVISION):
        return from_torchvision(model.removeprefix(TORCHVISION), weights)
    return None


def from_torchvision(name: str, weights: str) -> Pretrained:
    if name not in (known := torchvision_names()):
        raise UnknownNameError(f"torchvision has no classifier called {name!r}; {suggestion(name, known)}")
    models: Any = importlib.import_module("torchvision.models")
    published = models.get_model_weights(name)
    if weights not in published.__members__:
        raise ConfigError(
            f"teacher.weights = {weights!r} names no weights of torchvision's {name}; "
            f"{suggestion(weights, list(published.__members__))}"
        )
    chosen = published[weights]
    wanted = chosen.transforms()
    crop = wanted.crop_size[0] / wanted.resize_size[0]
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(chosen.url).name
    fetch = f"import torchvision; torchvision.models.get_model({name!r}, weights={weights!r})"
    return Pretrained(
        file=require_fetched(file, f"torchvision:{name}", fetch),
        preprocessing=Preprocessing(
            mean=(0.5,) * 3 if name in ANEW else tuple(wanted.mean),
            std=(0.5,) * 3 if name in ANEW else tuple(wanted.std),
            crop=crop,
            interpolation=interpolation_of(wanted.interpolation.value),
            resize=rounded_as_torchvision(crop),
        ),
        resolution=wanted.crop_size[0],
        total_classes=len(chosen.meta["categories"]),
        class_names=tuple(chosen.meta["categories"]),
    )


def require_fetched(file: Path, model: str, fetch: str) -> Path:
    if not file.is_file():
        raise ConfigError(
            f"the weights of {model} are not at {file}; fetch them by python -c {json.dumps(fetch)}, or give their "
            "file as teacher.checkpoint"
        )
    return file


def rounded_as_torchvision(crop: float) -> ResizeRule:
    """Named only where it is not what an empty one means."""
    return "torchvision" if crop == 1 else ""


def interpolation_of(name: str) -> Any:
    """One of ours; what is not known is left to the data."""
    return name if name in INTERPOLATIONS else ""


def from_timm(name: str) -> Pretrained:
    timm = library("timm", "timm")
    config = timm.models.get_pretrained_cfg(name)
    if config is None or not timm.is_model(name):
        raise UnknownNameError(f"timm has no model called {name!r}; {suggestion(name, timm.list_models())}")
    fetch = f"import timm; timm.create_model({name!r}, pretrained=True)"
    return described_by_timm(config.to_dict(), require_fetched(cached_by_timm(config), f"timm:{name}", fetch))


def cached_by_timm(config: Any) -> Path:
    """Where timm's weights lie in the cache of the hub, or of torch; a path that is no file if they are in neither."""
    hub: Any = importlib.import_module("huggingface_hub")
    if config.hf_hub_id:
        names = [config.hf_hub_filename] if config.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
        for name in names:
            if isinstance(found := hub.try_to_load_from_cache(config.hf_hub_id, name), str):
                return Path(found)
        if not config.url:
            return Path(str(hub.constants.HF_HUB_CACHE)) / str(config.hf_hub_id)
    return Path(torch.hub.get_dir()) / "checkpoints" / str(config.url or "none").rpartition("/")[2]


def from_timm_folder(folder: Path) -> Pretrained:
    library("timm", "timm")
    record = read_config(folder / "config.json")
    config = {**record.get("pretrained_cfg", record), "num_classes": record.get("num_classes", 1000)}
    names = record.get("label_names") or config.get("label_names") or ()
    return described_by_timm(config, find_weights(folder), tuple(map(str, names)))


def described_by_timm(config: Mapping[str, Any], file: Path, names: tuple[str, ...] = ()) -> Pretrained:
    """`config`: timm's record of a network's weights; what it leaves out is as timm's own default is."""
    total = int(config["num_classes"])
    crop, mode = float(config.get("crop_pct", 0.875)), config.get("crop_mode", "center")
    _, height, width = config.get("input_size", (3, 224, 224))
    if crop > 1 or mode == "border" or height != width:
        raise ConfigError(
            f"the network of {file} takes images that are padded or not square (crop_pct {crop:g}, crop_mode {mode}, "
            f"{height}x{width} pixels), which are not made here; take another model"
        )
    return Pretrained(
        file=file,
        preprocessing=Preprocessing(
            mean=tuple(config.get("mean", (0.485, 0.456, 0.406))),
            std=tuple(config.get("std", (0.229, 0.224, 0.225))),
            crop=crop,
            interpolation=interpolation_of(config.get("interpolation", "bicubic")),
            resize="squash" if mode == "squash" else rounded_as_torchvision(crop),
        ),
        resolution=int(height),
        total_classes=total,
        class_names=names or imagenet_names(total),
    )


def imagenet_names(classes: int) -> tuple[str, ...]:
    """Codes and names of ImageNet's 1,000 classes, as timm has them; none for another number of classes."""
    if classes != 1000:
        return ()
    data: Any = importlib.import_module("timm.data")
    info = data.ImageNetInfo("imagenet-1k")
    return tuple(f"{code} {info.label_name_to_description(code)}" for code in info.label_names())


def from_hugging_face(folder: Path) -> Pretrained | None:
    """None for an encoder of texts without a trained classifier, which is fine-tuned as a teacher's training."""
    record = read_config(folder / "config.json")
    if (text := read_text_config(folder)) is not None:
        if not classifies(text):
            return None
        names = output_names(text)
        return Pretrained(find_weights(folder), Preprocessing(), 0, len(names) or 2, names)
    described = folder / "preprocessor_config.json"
    try:
        preprocessing, resolution = read_processor(read_config(described))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{described} states no preprocessing that can be followed ({error}); save the model with its image "
            "processor, or take another model"
        ) from error
    names = record.get("id2label", {})
    total = len(names) or int(record.get("num_labels", 1000))
    return Pretrained(
        file=find_weights(folder),
        preprocessing=preprocessing,
        resolution=resolution,
        total_classes=total,
        class_names=tuple(str(names.get(str(place), place)) for place in range(total)) if names else (),
    )


def read_config(path: Path) -> dict[str, Any]:
    try:
        found = files.read_json(path)
    except (FileError, OSError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); give the folder of a saved model") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} holds no record; give the folder of a saved model")
    return found


def require_timm_model(name: str) -> None:
    timm = library("timm", "timm")
    if not timm.is_model(name):
        raise UnknownNameError(f"timm has no model called {name!r}; {suggestion(name, timm.list_models())}")


def timm_model(name: str, shape: InputShape) -> nn.Module:
    """Timm's network without trained weights, with `shape.classes` outputs; grey images are repeated."""
    timm = library("timm", "timm")
    if not name.startswith(LOCAL):
        require_timm_model(name)
    options: dict[str, Any] = {"pretrained": False, "num_classes": shape.classes}
    config = timm.models.get_pretrained_cfg(name) if not name.startswith(LOCAL) else None
    if config is not None and config.fixed_input_size:
        options["img_size"] = (shape.height, shape.width)
    return for_colour(timm.create_model(name, **options), shape)


def hugging_face_model(folder: str, shape: InputShape) -> nn.Module:
    """The network in a folder of `save_pretrained`, with `shape.classes` outputs: of images without its weights, of
    texts with them (`build_encoder`).
    """
    if isinstance(shape, TextShape):
        return build_encoder(encoder_folder(folder), shape)
    transformers = library("transformers", "transformers")
    read_config(Path(folder) / "config.json")
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    if config.num_labels != shape.classes:
        config.num_labels = shape.classes
    made: Any = transformers.AutoModelForImageClassification.from_config(config).float()
    made.register_load_state_dict_pre_hook(take_saved_names)
    return for_colour(made, shape)


def take_saved_names(model: Any, state: dict[str, Any], *_: object) -> None:
    """A load hook: `state` under the names of today's network where its file has those of an earlier release.

    transformers 5 saves many networks so. What it cannot convert in full stays as it is, for the loader to refuse.
    """
    if state.keys() == model.state_dict().keys():
        return
    options = {"config": model.config, "state_dict": dict(state), "output_loading_info": True}
    made, account = type(model).from_pretrained(None, **options)
    if not any(account[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys")):
        state.clear()
        state.update(made.float().state_dict())


def for_colour(network: nn.Module, shape: InputShape) -> nn.Module:
    if shape.channels not in (1, 3):
        raise DataError(
            f"networks of other libraries take images of 1 or 3 channels and these have {shape.channels}; take a model "
            "of the zoo, or module:function"
        )
    if shape.channels == 1:
        network.register_forward_pre_hook(repeat_channel)
    return network


BUILDERS: Mapping[str, Callable[[str, InputShape], nn.Module]] = {TIMM: timm_model, HUGGING_FACE: hugging_face_model}
"""By the prefix of a model's name."""


def published_names(model: str, classes: int) -> tuple[str, ...]:
    """The names of the outputs of a published network with so many classes; empty where they are not known."""
    if model.startswith(FOLDERS):
        found = pretrained(model)
        return found.class_names if found is not None else ()
    if model.startswith(TIMM):
        return imagenet_names(classes)
    if model.startswith(TORCHVISION):
        models: Any = importlib.import_module("torchvision.models")
        every = [one.meta["categories"] for one in models.get_model_weights(model.removeprefix(TORCHVISION))]
        return next((tuple(one) for one in every if len(one) == classes), ())
    return ()

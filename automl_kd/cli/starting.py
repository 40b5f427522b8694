"""The experiment that `automl-kd init` writes: its names are checked, and its baseline keeps to the budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from automl_kd import config, storage
from automl_kd.cli.catalogue import require_space
from automl_kd.compression.choices import OF_ONE_SIZE
from automl_kd.compression.request import TEXT_SPACE
from automl_kd.config import Budget, Experiment
from automl_kd.config.beside import locate
from automl_kd.data import DATASETS, FORMATS, TEXTS
from automl_kd.data.encoded.shards import SHARD_PATTERN
from automl_kd.errors import ConfigError, UnknownNameError
from automl_kd.files import expand
from automl_kd.methods import method_type
from automl_kd.models import MODELS, SUBGRAPH, load_space, nearest
from automl_kd.models.costs.affordable import find_affordable
from automl_kd.models.costs.cost import cost_of
from automl_kd.models.foreign.external import torchvision_names
from automl_kd.models.foreign.pretrained import TIMM, read_config, require_timm_model
from automl_kd.models.pruning.description import read_description
from automl_kd.models.text.folder import read_text_config
from automl_kd.registry import load_reference, lookup, suggestion
from automl_kd.results import units
from automl_kd.space import (
    Architecture,
    InputShape,
    Scalar,
    SearchSpace,
    TextShape,
)
from automl_kd.spec import FOLDERS, FRESH, FROM_TEACHER, HUGGING_FACE
from automl_kd.spec.named_recipes import NAMED_RECIPES
from automl_kd.spec.teacher import PUBLISHERS

SHAPES = {
    "digits": InputShape(channels=1, height=8, width=8, classes=10),
    "cifar10": InputShape(channels=3, height=32, width=32, classes=10),
    "cifar100": InputShape(channels=3, height=32, width=32, classes=100),
}

FILE_RESOLUTION = 64
"""Of images from files where none is asked for."""

TEXT_RATE = 1e-4
"""At which an encoder of some million parameters is fine-tuned."""


def starting_experiment(
    *,
    name: str,
    folder: Path,
    space: str,
    data: str,
    teacher: str,
    checkpoint: str,
    method: str,
    params: int,
    macs: int,
    trials: int,
    epochs: int,
    resolution: int | None = None,
) -> Experiment:
    """The experiment, to be written into `folder`; an error for a name that is none, or a budget that nobody meets.

    `resolution`: of images; None for `FILE_RESOLUTION` where they are files of any size, else that of the set.
    """
    require_space(space)
    if space.startswith("model:"):
        require_model(space.removeprefix("model:"))
    require_model(teacher)
    require_images(data)
    require_reader(teacher, data, resolution)
    from_teacher = method_type(method).needs_teacher and begins_with_teacher(space, teacher, data)
    recipe = training(data, epochs)
    weights_or_recipe = {"checkpoint": beside(checkpoint, folder)} if checkpoint else {"recipe": recipe}
    record = {
        "name": name,
        "space": space,
        "method": method,
        "data": {"name": data, "resolution": usual_resolution(data) if resolution is None else resolution},
        "student": {"init": FROM_TEACHER if from_teacher else FRESH},
        "teacher": {"model": teacher, **weights_or_recipe},
        "recipe": recipe,
        "budget": {"params": params, "macs": macs},
        "search": {"trials": trials},
    }
    experiment = config.parse_record(Experiment, record, "init")
    baseline = affordable_baseline(load_space(space), experiment.budget, data)
    return dataclasses.replace(experiment, finalists=dataclasses.replace(experiment.finalists, baseline=baseline))


def training(data: str, epochs: int) -> dict[str, Any]:
    """The recipe's fields: of texts those by which encoders are fine-tuned."""
    return (
        {**NAMED_RECIPES["bert"].fields, "lr": TEXT_RATE, "epochs": epochs}
        if data.startswith(TEXTS)
        else {"epochs": epochs}
    )


def beside(checkpoint: str, folder: Path) -> str:
    """A checkpoint as the experiment in `folder` may name it; `ConfigError` if there is none."""
    found = locate(checkpoint, folder, "--checkpoint")
    return checkpoint if (folder / checkpoint).exists() else found


def require_model(name: str) -> None:
    """Raise `UnknownNameError` for what is no model, without building one."""
    if name.startswith("torchvision:"):
        model = name.removeprefix("torchvision:")
        if model not in (known := torchvision_names()):
            raise UnknownNameError(f"torchvision has no classifier called {model!r}; {suggestion(model, known)}")
    elif name.startswith(SUBGRAPH):
        read_description(name.removeprefix(SUBGRAPH))
    elif folder := next((name.removeprefix(one) for one in FOLDERS if name.startswith(one)), ""):
        read_config(expand(folder) / "config.json")
    elif name.startswith(TIMM):
        require_timm_model(name.removeprefix(TIMM))
    elif ":" in name:
        load_reference(name)
    elif name not in MODELS:
        raise UnknownNameError(f"no model is called {name!r}; {nearest(name)}")


def usual_resolution(data: str) -> int:
    """Of files, which may have several sizes; 0 for a set that has one."""
    form = data.partition(":")[0]
    return FILE_RESOLUTION if form in FORMATS and form not in OF_ONE_SIZE else 0


def require_reader(teacher: str, data: str, resolution: int | None) -> None:
    """`ConfigError` for a teacher of images, or a size of them, where the data are texts."""
    if not data.startswith(TEXTS):
        return
    if resolution:
        raise ConfigError(f"--resolution is for images, and --data {data!r} names texts; leave it out")
    of_images = teacher in MODELS or teacher.startswith((*PUBLISHERS, SUBGRAPH))
    if of_images or (teacher.startswith(HUGGING_FACE) and text_config(teacher) is None):
        raise ConfigError(
            f"--teacher {teacher!r} takes images, and --data {data!r} names texts; give a teacher of texts, as "
            "--teacher hf:FOLDER"
        )


def text_config(teacher: str) -> Mapping[str, Any] | None:
    """What the folder of a teacher hf:FOLDER says of a network that takes tokens; None of another."""
    return read_text_config(expand(teacher.removeprefix(HUGGING_FACE)))


def begins_with_teacher(space: str, teacher: str, data: str) -> bool:
    """Whether students of texts can take layers of the teacher: both are BERTs."""
    if not data.startswith(TEXTS) or not teacher.startswith(HUGGING_FACE) or space != TEXT_SPACE:
        return False
    return (text_config(teacher) or {}).get("model_type") == "bert"


def require_images(name: str) -> None:
    """Raise an error for what is no dataset, or lies nowhere."""
    form, _, path = name.partition(":")
    if form not in FORMATS:
        lookup(DATASETS, name, "dataset")
    elif not path:
        raise ConfigError(f"--data {name!r} names no path; write {form}:PATH")
    elif "://" not in path and not anything_at(storage.local_path(path).expanduser()):
        raise ConfigError(f"--data {name!r}: there is nothing at {path}; give the path of your images")


def anything_at(path: Path) -> bool:
    """Whether there is such a file or folder, or the folder of a pattern of shards."""
    return (path.parent if SHARD_PATTERN.fullmatch(path.name) else path).exists()


def affordable_baseline(space: SearchSpace, budget: Budget, data: str) -> Mapping[str, Scalar]:
    """The values of a default student that meets the budget, a smaller version of the space's; empty if that does.

    The costs on images that no table knows are not known; their parameters are taken to be those on small images.
    """
    shape = TextShape() if data.startswith(TEXTS) else SHAPES.get(data, SHAPES["cifar10"])
    limits = {"params": budget.params, "macs": budget.macs if data in SHAPES else 0}

    def excess(architecture: Architecture) -> float:
        """The largest ratio of a cost to its limit; above 1 it is over."""
        cost = cost_of(space, architecture, shape)
        return max((getattr(cost, name) / limit for name, limit in limits.items() if limit), default=0.0)

    found = find_affordable(space, excess)
    if excess(found) > 1:
        cost = cost_of(space, found, shape)
        raise ConfigError(
            f"no student of {space.name!r} meets the budget: the smallest found has {units.format_count(cost.params)} "
            f"parameters and {units.format_count(cost.macs)} multiply-adds; raise --params or --macs"
        )
    return {} if found == Architecture.of(space.default) else found.as_dict()

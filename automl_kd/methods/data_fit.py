"""Data that a method or a recipe has no use for, refused before anything is trained."""

from __future__ import annotations

from automl_kd.data import TEXTS
from automl_kd.errors import ConfigError
from automl_kd.losses.weighted_sum import read_mix
from automl_kd.methods.base import Method
from automl_kd.methods.weighted_losses import WeightedLosses
from automl_kd.spec import DataSpec, Recipe
from automl_kd.tasks import find_task


def require_data(data: DataSpec, recipe: Recipe, method: Method, name: str) -> None:
    """`ConfigError` for views that texts cannot have, and for a task that the method called `name` cannot learn."""
    if data.name.startswith(TEXTS):
        refuse_views(recipe)
    task = find_task(data.task, data.metric)
    if task.labels_are_classes:
        return
    if not getattr(method, "any_task", False):
        raise ConfigError(
            f"method {name!r} is for classification, and data.task is {data.task!r}; choose scratch, kd, or "
            "weighted_losses of feature maps"
        )
    if isinstance(method, WeightedLosses) and (wrong := needing_classes(method)):
        raise ConfigError(
            f"loss {wrong[0]!r} compares probabilities of classes, and data.task is {data.task!r}; choose kd or losses "
            "of feature maps"
        )
    if recipe.loss != "ce":
        loss = f"recipe.loss = {recipe.loss!r} is for classification"
        raise ConfigError(f"{loss}, and data.task is {data.task!r}; drop it")


def refuse_views(recipe: Recipe) -> None:
    if given := [*recipe.views, *["train_resolution"] * bool(recipe.train_resolution)]:
        raise ConfigError(f"recipe.{given[0]} is for images, and the data are texts; drop it")
    if recipe.augment not in {"auto", "none"}:
        raise ConfigError(f"recipe.augment = {recipe.augment!r} is for images, and the data are texts; drop it")


def needing_classes(method: WeightedLosses) -> list[str]:
    """Its losses that ask for classes: those of logits alone but for "kd", which each task has, and of labels."""
    others = [part for part in read_mix(method.losses).parts if part.name not in {"ce", "kd"}]
    labelled = [part.name for part in others if getattr(part.loss, "needs_labels", False)]
    return [part.name for part in others if not part.loss.features.teacher or part.name in labelled]

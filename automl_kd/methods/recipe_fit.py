"""Recipes that a method cannot follow, refused before anything is trained."""

from __future__ import annotations

from automl_kd.errors import ConfigError
from automl_kd.losses.weighted_sum import read_mix
from automl_kd.methods.base import Method
from automl_kd.methods.prokt.method import ProKT
from automl_kd.methods.weighted_losses import WeightedLosses
from automl_kd.spec import Recipe


def require_recipe(recipe: Recipe, method: Method, name: str) -> None:
    """`ConfigError` for mixed images or a loss on labels that the method called `name` has no use for."""
    plain = getattr(method, "plain_labels", False)
    if plain and recipe.loss == "bce":
        raise ConfigError(
            f"method {name!r} differentiates through steps of cross entropy, and recipe.loss is 'bce'; set "
            "recipe.loss = 'ce' or choose another method"
        )
    if plain and (recipe.optimizer == "lamb" or not recipe.decay_norms):
        wrong = "recipe.optimizer is 'lamb'" if recipe.optimizer == "lamb" else "recipe.decay_norms is false"
        raise ConfigError(
            f"method {name!r} differentiates through steps of 'sgd' or 'adamw' that treat all weights alike, and "
            f"{wrong}; change that or choose another method"
        )
    mix = read_mix(method.losses) if isinstance(method, WeightedLosses | ProKT) else None
    labelled = mix.with_attribute("needs_labels") if mix else ()
    if recipe.mixes and (plain or labelled):
        who = f"loss {labelled[0]!r}" if labelled else f"method {name!r}"
        raise ConfigError(
            f"{who} needs one label for each image, and recipe.{'mixup' if recipe.mixup else 'cutmix'} mixes images; "
            "set recipe.mixup = 0 and recipe.cutmix = 0, or leave it out"
        )
    if recipe.repeats > 1 and mix and (remembering := mix.with_attribute("remembers_images")):
        raise ConfigError(
            f"loss {remembering[0]!r} remembers each image once in a batch, and recipe.repeats is {recipe.repeats}; "
            "set recipe.repeats = 1 or leave it out"
        )

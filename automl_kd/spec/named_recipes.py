"""Published recipes by name: plain sets of fields, which stand under what a user writes beside the name.

A field is its source's unless `ours` names it. Sources are for ImageNet at 224 pixels but for "bert"; how images are
tested is up to `data` (`tests`). Fractions of a run, such as `warmup`, are epochs of the source over its length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from automl_kd.spec.recipe import Recipe


@dataclass(frozen=True)
class NamedRecipe:
    """`source`: who published it. `tests`: how its networks are tested. `ours`: in words, what is not the source's."""

    source: str
    fields: Mapping[str, Any]
    tests: str
    ours: str

    @property
    def line(self) -> str:
        """Everything that it says, for people."""
        listed = ", ".join(f"{name} = {in_toml(value)}" for name, value in self.fields.items())
        return f"{self.source}: {listed}; {self.tests}; ours: {self.ours}"


def in_toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(in_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else f"{value:.6g}"


MOMENTUM_SGD = {"optimizer": "sgd", "momentum": 0.9, "nesterov": False}
CUT_VIEWS = {"augment": "random-resized-crop"}

NAMED_RECIPES: Mapping[str, NamedRecipe] = {
    "classic": NamedRecipe(
        "He, Zhang, Ren, Sun 2015, arXiv:1512.03385, section 3.4; crops, 90 epochs and their drops as in torchvision's "
        "references",
        {
            **MOMENTUM_SGD,
            **CUT_VIEWS,
            "epochs": 90,
            "batch_size": 256,
            "lr": 0.1,
            "weight_decay": 1e-4,
            "schedule": "multistep",
            "milestones": (1 / 3, 2 / 3),
            "gamma": 0.1,
        },
        "tests at data.crop = 0.875",
        "nothing; KD is often trained for 100 epochs with a third drop: epochs = 100, milestones = [0.3, 0.6, 0.9]",
    ),
    "rsb-a3": NamedRecipe(
        "Wightman, Touvron, Jégou 2021, arXiv:2110.00476, table 2, procedure A3",
        {
            "epochs": 100,
            "batch_size": 2048,
            "optimizer": "lamb",
            "lr": 8e-3,
            "weight_decay": 0.02,
            "schedule": "cosine",
            "warmup": 0.05,
            "loss": "bce",
            "train_resolution": 160,
            **CUT_VIEWS,
            "policy": "rand",
            "policy_ops": 1,
            "policy_magnitude": 18,
            "mixup": 0.1,
            "cutmix": 1.0,
            "decay_norms": False,
            "eps": 1e-6,
            "clip_norm": 1.0,
        },
        "tests at data.crop = 0.95",
        "magnitude 6 of timm's 10 as 18 of 30, without its noise, and one operation for timm's two, of which each is "
        "skipped half of the time; decay_norms, eps and clip_norm are defaults of timm's script and LAMB",
    ),
    "tv2": NamedRecipe(
        "Vryniotis, How to train state-of-the-art models using TorchVision's latest primitives, 2021, last recipe",
        {
            **MOMENTUM_SGD,
            **CUT_VIEWS,
            "epochs": 600,
            "batch_size": 1024,
            "lr": 0.5,
            "weight_decay": 2e-5,
            "schedule": "cosine",
            "warmup": 5 / 600,
            "label_smoothing": 0.1,
            "policy": "trivial",
            "erasing": 0.1,
            "mixup": 0.2,
            "cutmix": 1.0,
            "repeats": 4,
            "decay_norms": False,
            "train_resolution": 176,
            "ema": 1 - 2e-5 * 1024 * 32 / 600,
            "ema_steps": 32,
        },
        "tests at data.crop = 0.966 (224 of 232 pixels)",
        "its script turns the decay 0.99998 into that of 32 steps by batch and epochs, as written out here; biases "
        "do not decay either, warm-up begins at 0 and not at a hundredth, and the average begins in its own way and "
        "leaves running statistics out",
    ),
    "funmatch": NamedRecipe(
        "Beyer, Zhai, Royer, Markeeva, Anil, Kolesnikov 2022, arXiv:2106.05237",
        {
            **CUT_VIEWS,
            "epochs": 300,
            "batch_size": 1024,
            "optimizer": "adamw",
            "lr": 1e-3,
            "weight_decay": 1e-4,
            "schedule": "cosine",
            "warmup": 0.02,
            "clip_norm": 1.0,
            "mixup": 1.0,
        },
        'trains by the teacher alone: method = "kd" with options = { weight = 1.0, temperature = 1.0 }',
        "optimizer, lr, weight_decay, warmup and batch_size (the published configuration of big_vision: Adam, 0.03, "
        "3e-4, 5,000 steps, 4,096, for a network without batch normalisation); the paper's are the one view for both "
        "networks, uniform shares of mixup, cuts and long schedules, of 300 epochs and many more",
    ),
    "bert": NamedRecipe(
        "Devlin, Chang, Lee, Toutanova 2018, arXiv:1810.04805, appendix A.3, and the code published with it",
        {
            "epochs": 3,
            "batch_size": 32,
            "optimizer": "adamw",
            "lr": 5e-5,
            "weight_decay": 0.01,
            "warmup": 0.1,
            "decay_norms": False,
            "eps": 1e-6,
            "clip_norm": 1.0,
            "schedule": "cosine",
        },
        "for texts: pretrained encoders are fine-tuned so",
        "the cosine, where the source's rate falls in a line; a small student begins better at 1e-4 to 3e-4",
    ),
}


def scaled_rate(name: str, batch_size: int) -> float:
    """The recipe's learning rate for another batch size, in proportion."""
    own = NAMED_RECIPES[name].fields
    return float(own["lr"] * batch_size / own["batch_size"])


def named_recipe(name: str, **changes: Any) -> Recipe:
    """The recipe called `name` with `changes`; a batch size without a rate scales the rate in proportion."""
    if "batch_size" in changes and "lr" not in changes:
        changes["lr"] = scaled_rate(name, changes["batch_size"])
    return Recipe(**{**NAMED_RECIPES[name].fields, **changes})

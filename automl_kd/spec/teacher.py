"""The records of a teacher: which network it is, and how far its outputs are kept."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from automl_kd.registry import check_fields
from automl_kd.spec.checks import require
from automl_kd.spec.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class TeacherSpec:
    """A model by name, and either the file that holds its weights or the recipe by which it is trained from scratch.

    `model`: the network; 'automl-kd show models' lists them. `checkpoint`: the file that holds its weights; empty
    trains the teacher. `digest`: SHA-256 of the checkpoint file, filled in when the experiment is loaded, so that a
    trial's key follows the file's content rather than its place. `seed` (any): random seed of its training. `outputs`
    (exact, float16, or top1 to top999999): the precision of a fixed teacher's outputs in training: "exact", all rounded
    to "float16", or "top8", the largest logits of each image, where the others share the remaining probability.
    `weights`: which of several sets of weights in the checkpoint, by its key or a word of it, as in "ema"; empty takes
    the first that fits and is no average over training.
    """

    model: str = "resnet56"
    checkpoint: str = ""
    digest: str = ""
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 0
    outputs: str = "exact"
    weights: str = ""

    def __post_init__(self) -> None:
        require(
            not self.weights or bool(self.checkpoint),
            f"teacher.weights = {self.weights!r} selects weights in a file; name the file as teacher.checkpoint",
        )
        require(
            re.fullmatch(r"exact|float16|top[1-9][0-9]{0,5}", self.outputs) is not None,
            f"teacher.outputs must be exact, float16 or a number of logits as in top8, got {self.outputs!r}",
        )


@dataclass(frozen=True, kw_only=True)
class TeacherCacheOptions:
    """Whether a fixed teacher's outputs on training batches are kept on disk, where other trials read them.

    It decides where outputs come from and not what they are, so it is no part of what a trial is. `keep`: "logits",
    "features" for the maps that losses read as well, "off", or "auto": logits, unless the search follows seconds, of
    which the first trial pays more. Where "logits" or "features" is asked for, methods whose teacher moves are refused.
    `limit_gb` (above 0): limit of all that is kept under one root of results, in 10^9 bytes; beyond it the teacher
    runs.
    """

    keep: Literal["auto", "logits", "features", "off"] = "auto"
    limit_gb: float = 10.0

    def __post_init__(self) -> None:
        check_fields(self)
        require(self.limit_gb > 0, f"limit_gb must be above 0, got {self.limit_gb}; to keep nothing set keep = 'off'")

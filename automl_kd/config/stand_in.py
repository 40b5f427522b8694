"""Trying an experiment on other images than those that it is about, as long as these are not at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from automl_kd.errors import ConfigError
from automl_kd.spec import require

if TYPE_CHECKING:
    from automl_kd.config.experiment import Experiment

MOST = {"pixels": 64, "images": 200, "epochs": 1, "trials": 2, "pool": 4, "seeds": 1, "batch": 32}
"""Of a stand-in."""


@dataclass(frozen=True, kw_only=True)
class StandInSection:
    """What other images stand in for: the experiment in full, of which the cost is forecast.

    Results of a stand-in are marked, and no leaderboard shows them. `automl-kd search FILE --stand-in PATH` fills this
    section in.
    `images` (0 or more): training images; 0 where nothing stands in. `resolution` (0 or more): their height and width;
    0 as they are. `epochs` (0 or more): epochs of a final training. `search_epochs` (0 or more): epochs of all trials
    of the search together, where ASHA lets the best share of each rung go on. `seeds` (0 or more): seeds of the finals.
    `teacher_epochs` (0 or more): epochs of the teacher's own training; 0 where its weights are given.
    """

    images: int = 0
    resolution: int = 0
    epochs: int = 0
    search_epochs: int = 0
    seeds: int = 0
    teacher_epochs: int = 0

    def __post_init__(self) -> None:
        counts = (self.images, self.resolution, self.epochs, self.search_epochs, self.seeds, self.teacher_epochs)
        require(min(counts) >= 0, f"every field of stand_in must be 0 or more, got {counts}")


NO_FILES = (
    *('teacher.checkpoint=""', 'teacher.weights=""', "teacher.resolution=0", "teacher.preprocessing={}"),
    *("teacher.classes=[]", 'teacher.class_names=""', "teacher.total_classes=0", "teacher.others=[]"),
    *("teacher.shares=[]", "teacher.learned_shares=false", "teacher.temperature=4.0", 'data.unlabelled=""'),
)
"""A teacher of a stand-in is trained on its images, and what is said of one from a file is said of nothing then."""


def stand_in_changes(full: Experiment, place: str, file: Path) -> Iterator[str]:
    """The changes, as of --set, that make of `full` a trial run on the images at `place`; `file`: it was read from."""
    images = full.data.train_images or full.expected_images
    if not images:
        raise ConfigError(
            f"{file} does not say how many training images it is about, of which the cost is forecast; "
            "give --set expected_images=NUMBER"
        )
    teacher = full.teacher
    trained_here = not (teacher.checkpoint or teacher.weights)
    described = {
        "images": images,
        "resolution": full.data.resolution,
        "epochs": full.finalists.epochs or full.recipe.epochs,
        "search_epochs": 0 if full.comparison.methods else epochs_of_search(full),
        "seeds": len(full.finalists.seeds),
        "teacher_epochs": teacher.recipe.epochs if trained_here else 0,
    }
    smaller = {
        "data.resolution": min(full.data.resolution or MOST["pixels"], MOST["pixels"]),
        "data.train_images": MOST["images"],
        "data.labelled_images": 0,
        "expected_images": 0,
        "teacher.recipe.epochs": MOST["epochs"],
        "teacher.recipe.batch_size": min(teacher.recipe.batch_size, MOST["batch"]),
        "recipe.epochs": MOST["epochs"],
        "recipe.batch_size": min(full.recipe.batch_size, MOST["batch"]),
        "finalists.epochs": MOST["epochs"],
        "finalists.seeds": list(full.finalists.seeds[: MOST["seeds"]]),
    }
    if full.comparison.methods:
        smaller["comparison.tuning_seeds"] = MOST["seeds"]
    else:
        smaller["search.trials"] = min(full.search.trials, MOST["trials"])
        smaller["search.pool"] = min(full.search.pool, MOST["pool"])
        smaller["search.grace_epochs"] = MOST["epochs"]
    if full.budget.macs and full.data.resolution > MOST["pixels"]:
        smaller["budget.macs"] = int(full.budget.macs * (MOST["pixels"] / full.data.resolution) ** 2)
    yield from (f"stand_in.{name}={value}" for name, value in described.items())
    yield from (f"{name}={value}" for name, value in smaller.items())
    yield from NO_FILES
    yield f'name="{full.name}_stand_in"'
    # A string of JSON is one of TOML.
    yield f"data.name={json.dumps(f'folder:{place}' if Path(place).is_dir() else place, ensure_ascii=False)}"


def epochs_of_search(full: Experiment) -> int:
    """Of all trials together. Under ASHA a share of 1 / reduction passes each rung; others are taken to stop none."""
    search, epochs = full.search, full.recipe.epochs
    if search.scheduler != "asha":
        return search.trials * epochs
    trained, share, rung = 0.0, 1.0, float(min(search.grace_epochs, epochs))
    while rung < epochs:
        following = min(rung * search.reduction, float(epochs))
        share /= search.reduction
        trained += share * (following - rung)
        rung = following
    return round(search.trials * (min(search.grace_epochs, epochs) + trained))

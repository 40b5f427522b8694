"""What is asked of a compression: a teacher, images, limits of the student, and the hours that it may take."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from automl_kd.config import Budget, Experiment, complete_record, parse_record, require_name
from automl_kd.data import TEXTS
from automl_kd.spec import require

SMALL_SIDE = 48
"""Images up to this height are small: spaces of small networks are made for them, as for CIFAR's of 32 pixels."""

SMALL_IMAGE_SPACE, LARGE_IMAGE_SPACE = "search_spaces.resnet:SPACE", "search_spaces.mobile:SPACE"
TEXT_SPACE = "search_spaces.bert:SPACE"


@dataclass(frozen=True, kw_only=True)
class CompressRequest:
    """One compression, as a command or a program asks for it.

    `name`: of its folder of results. `teacher`, `data`: the sections of an experiment, as plain tables. `budget`: what
    the student may cost. `hours` (above 0): wall-clock time for everything, over all sessions. `space`: of students;
    empty takes one for texts, or for the size of the images. `epochs` (0 or more): of each final; 0 as many as fit.
    `seeds` (0 or more): of each final; 0 as many as fit, 2 to 5. `overrides`: further fields of the experiment, as
    "key=value".
    """

    name: str
    teacher: Mapping[str, Any]
    data: Mapping[str, Any]
    budget: Budget = field(default_factory=Budget)
    hours: float = 2.0
    space: str = ""
    epochs: int = 0
    seeds: int = 0
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_name(self.name)
        require(0 < self.hours <= 10_000, f"budget hours must lie above 0 and at most at 10,000, got {self.hours:g}")
        require(self.epochs >= 0, f"epochs must be 0 (as many as fit) or more, got {self.epochs}")
        for field_name in ("epochs", "seeds", "count"):
            key = f"finalists.{field_name}"
            require(
                not self.sets(key),
                f"{key} follows from the hours; set --epochs and --seeds (epochs=..., seeds=...) in its place",
            )
        require(0 <= self.seeds <= 20, f"seeds must be 0 (as many as fit) to 20, got {self.seeds}")

    def sets(self, *keys: str) -> bool:
        """Whether an override is of one of these fields, or of what is in them."""
        named = [one.partition("=")[0].strip() for one in self.overrides]
        return any(one == key or one.startswith(f"{key}.") for one in named for key in keys)

    @property
    def of_texts(self) -> bool:
        return str(self.data.get("name", "")).startswith(TEXTS)

    def to_record(self) -> dict[str, Any]:
        """Plain values, by which a later session sees that the same is asked; hours may change."""
        found = {
            "teacher": dict(self.teacher),
            "data": dict(self.data),
            "budget": {name: value for name, value in vars(self.budget).items() if value},
            "space": self.space,
            "epochs": self.epochs,
            "seeds": self.seeds,
            "overrides": list(self.overrides),
        }
        plain: dict[str, Any] = json.loads(json.dumps({name: value for name, value in found.items() if value}))
        return plain  # as it is read back: tuples are lists there

    def experiment(self, sections: Mapping[str, Any]) -> Experiment:
        """The experiment with `sections` beside what is asked; overrides come last."""
        record: dict[str, Any] = {"name": self.name, "data": self.data, "teacher": self.teacher}
        limits = {name: value for name, value in vars(self.budget).items() if value}
        for name, value in sections.items():
            record[name] = {**record.get(name, {}), **value} if isinstance(value, Mapping) else value
        record["budget"] = {**limits, **record.get("budget", {})}
        return parse_record(Experiment, complete_record(record, self.overrides, "compress"), "compress")

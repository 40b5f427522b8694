"""A search as an Optuna study on disk, for optuna-dashboard and Optuna's analyses: a copy that the search never reads.

The file is Optuna's journal storage, to which a trial is added in about a millisecond (SQLite takes fifty times that).
It holds what the rows hold: when a session begins it is compared with them, and written anew if they differ.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from automl_kd import files
from automl_kd.samplers.base import SearchObjective
from automl_kd.samplers.tpe import distribution_of, silence_optuna
from automl_kd.space import Architecture, SearchSpace


@dataclass(frozen=True)
class Tried:
    """A trial of the search. `values`: one per objective as measured, None if one is missing.

    `curve`: the first objective by epoch. `notes`: what else to show of it.
    """

    point: Architecture
    status: str
    values: tuple[float, ...] | None
    curve: Mapping[int, float]
    notes: Mapping[str, str | int]

    @property
    def state(self) -> TrialState:
        """Optuna takes a trial without a value for failed; one that was stopped early is pruned."""
        if self.status == "complete" and self.values is not None and all(map(math.isfinite, self.values)):
            return TrialState.COMPLETE
        return TrialState.PRUNED if self.status == "stopped" else TrialState.FAIL


@dataclass
class StudyFile:
    """The study called `name` in the file `path`, and the trials in it by their keys."""

    path: Path
    name: str
    space: SearchSpace
    objectives: Sequence[SearchObjective]
    held: dict[str, Tried] = field(default_factory=dict)

    def begin(self, tried: Mapping[str, Tried]) -> None:
        """Make the file hold exactly these trials; one that does already, or lacks the last ones, is kept."""
        self.held = {}
        self.lock.unlink(missing_ok=True)  # left behind by a kill: nobody else writes to this folder
        there = self.read()
        if there is None or not all(
            key in tried and same(trial, self.trial(key, tried[key])) for key, trial in there.items()
        ):
            self.held = dict(tried)
            self.write_anew()
            return
        self.held = {key: one for key, one in tried.items() if key in there}
        for key, one in tried.items():
            self.add(key, one)

    def add(self, key: str, tried: Tried) -> None:
        """Add a trial; it replaces the same trial in the file."""
        known = self.held.get(key)
        self.held[key] = tried
        if known is None:
            self.study().add_trial(self.trial(key, tried))
        elif known != tried:
            self.write_anew()

    def write_anew(self) -> None:
        directions = [StudyDirection.MAXIMIZE if one.maximise else StudyDirection.MINIMIZE for one in self.objectives]
        with files.replacing(self.path) as scratch:
            with silence_optuna():
                study = optuna.create_study(study_name=self.name, storage=storage(scratch), directions=directions)
            study.add_trials([self.trial(key, one) for key, one in self.held.items()])

    @property
    def lock(self) -> Path:
        return self.path.with_name(self.path.name + ".lock")

    def study(self) -> optuna.Study:
        return optuna.load_study(study_name=self.name, storage=storage(self.path))

    def read(self) -> dict[str, FrozenTrial] | None:
        """The trials in the file by key; None if there is no file, or it is damaged or holds one twice.

        A last line that a kill or a full disk cut short is removed: Optuna would add the next one to it.
        """
        if not self.path.exists():
            return None
        try:
            for line in files.whole_lines(self.path):
                json.loads(line)  # Optuna passes over a last line that is none, and writes the next behind it
            trials = self.study().get_trials(deepcopy=False)
            found = {str(trial.user_attrs["key"]): trial for trial in trials}
        except Exception:  # whatever Optuna stumbles over: the file is a copy, and is written anew
            return None
        return found if len(found) == len(trials) else None

    def trial(self, key: str, tried: Tried) -> FrozenTrial:
        params = tried.point.as_dict()
        values = None if tried.values is None or tried.state == TrialState.FAIL else list(tried.values)
        return create_trial(
            state=tried.state,
            params=params,
            distributions={name: distribution_of(self.space.parameters[name].domain) for name in params},
            values=values,
            intermediate_values=dict(tried.curve) if len(self.objectives) == 1 else {},
            user_attrs={"key": key, **tried.notes},
        )


def storage(path: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(path)))


def same(one: FrozenTrial, two: FrozenTrial) -> bool:
    """Whether both records of a trial are equal."""
    names = ("state", "params", "values", "intermediate_values", "user_attrs")
    return all(getattr(one, name) == getattr(two, name) for name in names)

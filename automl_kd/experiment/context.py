"""The experiment context: the state that all stages of an experiment share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from automl_kd.cluster.lasting_workers import WorkerPool
from automl_kd.config import Experiment
from automl_kd.data import Account, Dataset
from automl_kd.errors import ConfigError
from automl_kd.experiment.progress.events import Watcher
from automl_kd.experiment.progress.steering import Steering, Unsteered
from automl_kd.experiment.proposals import Proposal, split
from automl_kd.experiment.sentences import in_a_sentence
from automl_kd.methods.from_file import measuring_trial
from automl_kd.models import build
from automl_kd.models.costs.cost import NetworkCost, cost_of, count_cost, non_embedding_params
from automl_kd.models.costs.latency import measure_latency
from automl_kd.models.input_adapter import as_in_training, train_at
from automl_kd.models.pickled import label_pickled
from automl_kd.profiling import DeviceProfile
from automl_kd.results.store.table import ResultTable
from automl_kd.samplers import SearchObjective
from automl_kd.space import Architecture, SearchSpace
from automl_kd.spec import INT8_ACCURACY, Outcome, TeacherCacheOptions, TrialPaths, TrialSpec, teacher_trial
from automl_kd.storage.mirror import TEACHER_CACHE_FOLDER
from automl_kd.training.trial import build_student

OBJECTIVES = ("val_accuracy", INT8_ACCURACY, "val_loss", "params", "macs", "latency_ms", "seconds", "train_macs")
"""The metrics that a search may follow."""


@dataclass(frozen=True, kw_only=True)
class Roots:
    """Where results go and where images lie. Absolute, and valid on every node that carries out trials.

    What is in a bucket is named by the local path that stands for it (`storage.local_path`). `own`: of the folders in
    `results` the experiment's, where it is not called as the experiment is.
    """

    results: Path
    data: Path
    own: str = ""

    def folder_of(self, experiment: str) -> Path:
        """Of the results of the experiment of that name."""
        return self.results / (self.own or experiment)


@dataclass(frozen=True, eq=False, kw_only=True)
class ExperimentContext:
    """A checked experiment with the state that its stages share.

    `space`: the students. `searched`: the space that samplers propose from, students together with hyperparameters;
    `space` itself if no hyperparameters are searched. `shares`: of several teachers, if they were learned, for
    `results.store.teacher_shares`. `device_profile`: of the device that latencies are of, if the budget names one.
    There is always a teacher: the baseline by plain KD needs one.
    """

    experiment: Experiment
    roots: Roots
    watcher: Watcher
    space: SearchSpace
    searched: SearchSpace
    dataset: Dataset
    account: Account
    objectives: tuple[SearchObjective, ...]
    teacher_macs: int
    shares: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    latencies: dict[Architecture, float] = dataclasses.field(default_factory=dict)
    cost_estimates: dict[str, float] = dataclasses.field(default_factory=dict)
    noted: set[str] = dataclasses.field(default_factory=set)
    workers: WorkerPool | None = None
    steering: Steering = dataclasses.field(default_factory=Unsteered)
    device_profile: DeviceProfile | None = None

    @property
    def folder(self) -> Path:
        return self.roots.folder_of(self.experiment.name)

    @property
    def table(self) -> ResultTable:
        return ResultTable(self.folder)

    @property
    def teachers(self) -> Path:
        """Trained teachers are shared by all experiments under one results root, by the key of their training."""
        return self.roots.results / "teachers"

    @property
    def teacher_training(self) -> TrialSpec:
        """The teacher's trial: its training, or the evaluation of its file."""
        teacher, data = self.experiment.teacher, self.experiment.data
        if not teacher.checkpoint:
            return teacher_trial(teacher, data)
        return measuring_trial(teacher, data, self.experiment.recipe, self.experiment.trial.workers)

    @property
    def baseline(self) -> Architecture:
        """The default student, without a search."""
        return Architecture.of(self.experiment.finalists.baseline or self.space.default)

    def proposal(self, point: Architecture) -> Proposal:
        """Return the proposal of a point of `searched`; raise `ConfigError` if no trial can be made of it."""
        return split(point, self.space, self.experiment)

    def allowed(self, point: Architecture) -> bool:
        """Whether a point of `searched` can be tried: its student meets the budget, its method accepts its options."""
        try:
            proposal = self.proposal(point)
        except ConfigError:
            return False
        return self.within_budget(proposal.architecture)

    def cost(self, architecture: Architecture) -> NetworkCost:
        values = ", ".join(f"{name}={value}" for name, value in architecture.values)  # a label comes from a user's code
        space = label_pickled(self.experiment.space)
        name = f"student {values} of {space}" if values else f"students of {space}"
        shape = self.dataset.student_shape
        with in_a_sentence(name, shape):
            return cost_of(self.space, architecture, shape)

    def training_macs(self, architecture: Architecture) -> int:
        """Multiply-adds of a student for an image of its training, which `recipe.train_resolution` may make smaller."""
        if not (size := self.experiment.recipe.train_resolution):
            return self.cost(architecture).macs
        student = train_at(build_student(self.space, architecture, self.dataset, seed=0), size)
        with as_in_training(student):
            return count_cost(student, self.dataset.student_shape).macs

    def trial_paths(self, spec: TrialSpec, device: str) -> TrialPaths:
        """Return a trial's paths: the teacher's among the teachers, all others in this experiment's folder."""
        is_teacher = spec.key == self.teacher_training.key
        return TrialPaths(
            trial=self.teachers / spec.key if is_teacher else self.folder / "trials" / spec.key,
            teachers=self.teachers,
            data=self.roots.data,
            device=device,
            teacher_cache=self.banking,
            loader=self.experiment.loader,
            checkpoint_minutes=self.experiment.trial.checkpoint_minutes,
            int8=self.experiment.export.int8 and not is_teacher,
            cuda_graphs=self.experiment.trial.cuda_graphs,
            parent=self.folder / "trials" / spec.parent.key / "student.pt" if spec.parent else None,
        )

    @property
    def banking(self) -> TeacherCacheOptions:
        """The mode of the teacher cache; "auto" is off if the search minimizes seconds, so that costs are equal.

        Views that may differ from process to process are not cached.
        """
        if not self.experiment.data.repeatable:
            return dataclasses.replace(self.experiment.teacher_cache, keep="off")
        asked, timed = self.experiment.teacher_cache, any(one.name == "seconds" for one in self.objectives)
        return dataclasses.replace(asked, keep="off" if timed else "logits") if asked.keep == "auto" else asked

    def note_outcome(self, outcome: Outcome) -> None:
        """Note what a trial says of itself, its method's remarks once each, and that the teacher cache had no room."""
        if outcome.note:
            self.watcher.note(outcome.note)
        if outcome.remark and outcome.remark not in self.noted:
            self.noted.add(outcome.remark)
            self.watcher.note(outcome.remark)
        if outcome.metrics.get("teacher_passes_unkept") and "teacher cache" not in self.noted:
            self.noted.add("teacher cache")
            limit = f"{self.experiment.teacher_cache.limit_gb:g}"
            self.watcher.note(
                f"the teacher cache is full (teacher_cache.limit_gb = {limit}, or the disk): each trial computes the "
                f"missing outputs itself; raise the limit, or remove {self.teachers}/*/{TEACHER_CACHE_FOLDER}"
            )

    def within_budget(self, architecture: Architecture) -> bool:
        """Whether it keeps all limits; one that is like none that the profile of the device knows does not."""
        budget, cost = self.experiment.budget, self.cost(architecture)
        if (budget.params and cost.params > budget.params) or (budget.macs and cost.macs > budget.macs):
            return False
        if budget.non_embedding_params and self.non_embedding_params(architecture) > budget.non_embedding_params:
            return False
        try:
            return not budget.latency_ms or self.latency_ms(architecture) <= budget.latency_ms
        except ConfigError:
            return False

    def non_embedding_params(self, architecture: Architecture) -> int:
        return non_embedding_params(self.space.build, architecture, self.dataset.student_shape)

    def latency_ms(self, architecture: Architecture) -> float:
        """Predicted for the device of the budget's profile; without one, the median forward of one image on this
        machine's processor, one thread, measured once in a session.
        """
        shape = self.dataset.student_shape
        if self.device_profile is not None:
            self.latencies[architecture] = self.device_profile.predict(self.space, architecture, shape)
        elif architecture not in self.latencies:
            student = build(self.space, architecture, shape, seed=0)
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            self.latencies[architecture] = measure_latency(student, shape).ms
            torch.set_num_threads(threads)
        return self.latencies[architecture]

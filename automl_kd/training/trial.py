"""The trial context: a trial's images, its fresh student and its teacher on the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import torch
from torch import nn

from automl_kd import data, storage
from automl_kd.data import Dataset
from automl_kd.errors import ConfigError, TrialError
from automl_kd.models import build, build_model, load_space
from automl_kd.models.black_box.network import BlackBox
from automl_kd.models.costs.cost import NetworkCost, count_cost
from automl_kd.models.foreign.layout import lay_out
from automl_kd.models.input_adapter import InputAdapter, adapt, as_in_training, change_of_moments, train_at
from automl_kd.models.teacher_mean import TeacherMean, member_networks
from automl_kd.models.text.bert import Bert
from automl_kd.models.text.bilstm import Bilstm
from automl_kd.models.text.warm_start import take_text_weights
from automl_kd.models.warm_start.from_file import take_file
from automl_kd.models.warm_start.slices import take_weights
from automl_kd.models.warm_start.started import NothingToTakeError, WarmStart
from automl_kd.models.warm_start.student_form import as_student
from automl_kd.models.weights.checkpoint import load_weights
from automl_kd.seeds import derive
from automl_kd.space import Architecture, InputShape, SearchSpace
from automl_kd.spec import (
    FRESH,
    FROM_TEACHER,
    DataSpec,
    LoaderOptions,
    Recipe,
    TeacherSpec,
    TrialPaths,
    TrialSpec,
    teacher_trial,
)
from automl_kd.storage.content_hash import located_path


@dataclass
class CacheStats:
    """The teacher's passes on training batches that go through a cache, since the last `take`.

    `asked`: passes that a trial without a cache would have made; `computed`: those that were made, for others included;
    `unkept`: those of them that found no room in the cache. `seconds`: what the passes that were not made would have
    taken, by the time that they took in the trial that made them.
    """

    asked: int = 0
    computed: int = 0
    unkept: int = 0
    seconds: float = 0.0

    def take(self) -> dict[str, float]:
        """As metrics, for the results table; empty without a cache."""
        asked, computed, unkept, seconds = self.asked, self.computed, self.unkept, self.seconds
        self.asked, self.computed, self.unkept, self.seconds = 0, 0, 0, 0.0
        if not asked:
            return {}
        return dict(zip(PASSES, (computed, asked - computed, unkept, seconds), strict=True))


PASSES = ("teacher_passes", "teacher_passes_saved", "teacher_passes_unkept", "teacher_seconds_saved")


@dataclass(frozen=True, eq=False)
class TrialContext:
    """A trial's images and its fresh student on the device. `cache_stats`: of all its teacher's passes.

    `start_remark`: why the student begins with drawn weights where others were to be taken over; else empty.
    """

    spec: TrialSpec
    paths: TrialPaths
    dataset: Dataset
    student: nn.Module
    cache_stats: CacheStats = field(default_factory=CacheStats)
    start_remark: str = ""

    @cached_property
    def cost(self) -> NetworkCost:
        return count_cost(self.student, self.dataset.student_shape)

    @cached_property
    def training_macs(self) -> int:
        """Multiply-adds of the student for an image of its training, `recipe.train_resolution` where that is set."""
        if not self.spec.recipe.train_resolution:
            return self.cost.macs
        with as_in_training(self.student):
            return count_cost(self.student, self.dataset.student_shape).macs


def prepare_trial(spec: TrialSpec, paths: TrialPaths, *, transfer: bool = False) -> TrialContext:
    """`transfer`: whether the method can learn from images without labels, which are then among the training images.

    Where nothing fits the student of what it is to begin with, it begins fresh.
    """
    dataset = load_dataset(spec.data, paths.data, paths.device, paths.loader)
    dataset = dataset.for_transfer if transfer else dataset
    student = build_student(load_space(spec.space), spec.architecture, dataset, derive(spec.seed, "student") % 2**32)
    train_at(student, spec.recipe.train_resolution)
    remark = ""
    try:
        with torch.random.fork_rng(devices=[]):
            if spec.parent is not None:
                take_weights(student, read_parent_network(spec, paths, dataset), dataset.shape)
            elif spec.init != FRESH:
                start_warm(student, spec.init, dataset, lambda: read_teacher_network(spec, paths, dataset))
    except NothingToTakeError:
        remark = f"a student that nothing of {name_start(spec)} fits began with drawn weights"
    placed = to_trial_device(student, spec, paths, dataset.shape)
    return TrialContext(spec, paths, dataset, placed, start_remark=remark)


def name_start(spec: TrialSpec) -> str:
    """Whose weights a student is to begin with, in words."""
    if spec.parent is not None:
        return "its parent's weights"
    return "the teacher's weights" if spec.init == FROM_TEACHER else f"the weights in {located_path(spec.init).name}"


def start_warm(student: nn.Module, init: str, dataset: Dataset, teacher: Callable[[], nn.Module]) -> WarmStart:
    """Overwrite in place what `init` has for the student, which like what `teacher` returns is on the processor.

    `NothingToTakeError` if that is nothing, `CheckpointError` if it cannot be read.
    """
    if init != FROM_TEACHER:
        return take_file(student, located_path(init), dataset.shape)
    if isinstance(student, Bert | Bilstm):
        return take_text_weights(student, teacher())
    return take_weights(student, as_student(teacher(), dataset.shape, dataset.student_size), dataset.shape)


def read_parent_network(spec: TrialSpec, paths: TrialPaths, dataset: Dataset) -> nn.Module:
    """The student of the trial's parent with its weights, on the processor."""
    assert spec.parent is not None  # the caller has looked
    if paths.parent is None:
        raise TrialError(f"the trial begins with weights of trial {spec.parent.key}, and no file of them is given")
    storage.pull_file(paths.parent)
    if not paths.parent.exists():
        raise TrialError(
            f"the weights that this student begins with are gone: {paths.parent}; run the search under another name, "
            "or put them back"
        )
    network = build_student(load_space(spec.space), spec.parent.architecture, dataset, seed=0)
    load_weights(network, paths.parent)
    return network


def read_teacher_network(spec: TrialSpec, paths: TrialPaths, dataset: Dataset) -> nn.Module:
    """The trial's teacher with its weights, on the processor."""
    if spec.teacher is None:
        raise TrialError(f"method {spec.method!r} needs a teacher and the trial names none; add a [teacher] section")
    teacher = build_teacher(spec.teacher, dataset)
    for one, network in zip(spec.teacher.members, member_networks(teacher), strict=True):
        load_weights(network, teacher_file(one, spec.data, paths), one.weights)
    return teacher


def build_student(space: SearchSpace, architecture: Architecture, dataset: Dataset, seed: int) -> nn.Module:
    """The student with weights that depend on `seed` alone, which makes its images of those of the data set."""
    student = build(space, architecture, dataset.student_shape, seed=seed)
    return adapt(student, InputAdapter(size=dataset.student_size))


def build_teacher(teacher: TeacherSpec, dataset: Dataset) -> nn.Module:
    """The teacher with weights drawn from torch's global generator, which takes images and names classes of the set.

    Several are one network; `member_networks` are theirs.
    """
    if teacher.others:
        members = [build_teacher(one, dataset) for one in teacher.members]
        return TeacherMean(members, teacher.shares, teacher.temperature, dataset.task)
    network = build_model(teacher.model, teacher_shape(teacher, dataset))
    if isinstance(network, BlackBox):
        network.stated_macs = teacher.macs
    return adapt(network, teacher_adapter(teacher, dataset))


def teacher_shape(teacher: TeacherSpec, dataset: Dataset) -> InputShape:
    """What the teacher itself takes and returns, the first of several."""
    students = dataset.student_shape
    size = (teacher.resolution, teacher.resolution) if teacher.resolution else (students.height, students.width)
    return students.sized(*size, teacher.total_classes or students.classes)


def teacher_adapter(teacher: TeacherSpec, dataset: Dataset) -> InputAdapter:
    if dataset.train.lengths is not None:
        return InputAdapter(outputs=teacher.classes)
    shape, (mean, std) = teacher_shape(teacher, dataset), (dataset.mean, dataset.std)
    moments = teacher.preprocessing.moments or (mean, std)
    require_channels(moments, len(mean))
    factor, shift = change_of_moments((mean, std), moments)
    same = (shape.height, shape.width) == (dataset.shape.height, dataset.shape.width)
    return InputAdapter(
        size=0 if same else shape.height,
        factor=factor,
        shift=shift,
        reverse=teacher.preprocessing.channels == "bgr",
        outputs=teacher.classes,
    )


def require_channels(moments: tuple[tuple[float, ...], tuple[float, ...]], channels: int) -> None:
    if len(moments[0]) not in {1, channels}:
        raise ConfigError(
            f"teacher.preprocessing.mean has {len(moments[0])} numbers for images of {channels} "
            f"{'channels' if channels > 1 else 'channel'}; give one for each, or one for all"
        )


@lru_cache(maxsize=2)
def load_dataset(spec: DataSpec, root: Path, device: str, loader: LoaderOptions) -> Dataset:
    """The images on the device; kept, because a worker process carries out many trials on the same ones."""
    return data.load_data(spec, root, loader).to(device)


def to_trial_device(model: nn.Module, spec: TrialSpec, paths: TrialPaths, shape: InputShape) -> nn.Module:
    """The network on the trial's device, in the recipe's memory format if it can run so (`lay_out`)."""
    model.to(paths.device)
    lay_out(model, shape, memory_format_of(spec.recipe))
    return model


def memory_format_of(recipe: Recipe) -> torch.memory_format:
    return torch.channels_last if recipe.channels_last else torch.contiguous_format


def load_teacher(context: TrialContext) -> nn.Module:
    """The trial's teacher with its weights, frozen and in evaluation mode."""
    spec, paths = context.spec, context.paths
    teacher = read_teacher_network(spec, paths, context.dataset)
    for network in member_networks(teacher):
        to_trial_device(network.requires_grad_(False).eval(), spec, paths, context.dataset.shape)
    return teacher.eval()


def teacher_file(teacher: TeacherSpec, data: DataSpec, paths: TrialPaths) -> Path:
    """The path of its weights: the named file, or the result of its training. Fetched, if in a bucket."""
    trained = paths.teachers / teacher_trial(teacher, data).key / "student.pt"
    file = storage.local_path(teacher.checkpoint) if teacher.checkpoint else trained
    storage.pull_file(file)
    return file

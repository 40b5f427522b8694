"""The smallest things that are real enough: a two-layer network, 8x8 images, 14 points, pretended training."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from automl_kd.config import Experiment, Finalists, Resources, SearchSection
from automl_kd.data import Dataset, Source, Split, in_memory, load_data
from automl_kd.errors import StopTrial
from automl_kd.methods import make_method
from automl_kd.methods.base import CostEstimate
from automl_kd.models.features import FeatureLayer
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.space import Architecture, Choice, InputShape, IntRange, Parameter, SearchSpace, Values
from automl_kd.spec import (
    FINAL_ROLES,
    OF_WARM_STARTS,
    DataSpec,
    Recipe,
    Report,
    TeacherSpec,
    TrialPaths,
    TrialSpec,
    teacher_trial,
)

if TYPE_CHECKING:
    from automl_kd.experiment.context import ExperimentContext  # with Ray behind it, which most tests do without

SHAPE = InputShape(channels=1, height=8, width=8, classes=3)


class Net(nn.Module):
    """Convolution, batch norm, dropout, classifier: one of each kind of layer that a resumed run could get wrong."""

    def __init__(self, shape: InputShape, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(shape.channels, width, 3, padding=1, bias=False)
        self.norm, self.relu = nn.BatchNorm2d(width), nn.ReLU()
        self.pool, self.dropout = nn.AdaptiveAvgPool2d(1), nn.Dropout(0.1)
        self.classifier = nn.Linear(width, shape.classes)
        self.feature_layers = {"pre_pool": FeatureLayer("relu"), "pooled": FeatureLayer("classifier", "input")}

    def forward(self, images: Tensor) -> Tensor:
        maps = self.relu(self.norm(self.stem(images)))
        out: Tensor = self.classifier(self.dropout(self.pool(maps).flatten(1)))
        return out


def build(values: Values, shape: InputShape) -> nn.Module:
    return Net(shape, int(values["width"]))


def teacher(shape: InputShape) -> nn.Module:
    return Net(shape, 16)


SPACE = SearchSpace(
    name="tiny",
    source="these tests",
    parameters={"width": Parameter(IntRange(2, 15))},
    build=build,
    default={"width": 4},
    describe=lambda values: f"width {values['width']}",
)


def build_kernel(values: Values, shape: InputShape) -> nn.Module:
    network, kernel = Net(shape, 4), int(values["kernel"])
    network.stem = nn.Conv2d(shape.channels, 4, kernel, padding=kernel // 2, bias=False)
    return network


KERNELS = SearchSpace(
    name="kernels",
    source="these tests",
    parameters={"kernel": Parameter(Choice((3, 5)))},
    build=build_kernel,
    default={"kernel": 3},
)
"""Students of which none can begin with the other's weights, and those of kernel 3 alone with the teacher's."""


def stripes(count: int, *, seed: int) -> Split:
    """Images whose class is the brightness of their upper half, with noise: learnt in a few steps, not at once."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % SHAPE.classes
    images = torch.randint(0, 120, (count, 1, 8, 8), generator=generator)
    images[:, :, :4] += 60 * labels[:, None, None, None]
    return Split(images.to(torch.uint8), labels, torch.arange(count))


def dataset() -> Dataset:
    return Dataset(
        name="stripes",
        shape=SHAPE,
        train=stripes(96, seed=0),
        validation=stripes(30, seed=1),
        test=stripes(30, seed=2),
        mean=(0.4,),
        std=(0.3,),
        augment="crop",
        pad=1,
        class_names=("dark", "middle", "bright"),
    )


def source(_root: Path) -> Source:
    """The same kind of images as a set that an experiment can name: 110 for training and validation, 30 for test."""
    train, test = stripes(110, seed=0), stripes(30, seed=2)
    return Source(
        train=in_memory(train.inputs, train.labels),
        test=in_memory(test.inputs, test.labels),
        class_names=("dark", "middle", "bright"),
        augment="crop",
    )


DATA = DataSpec(name="tests.tiny:source", validation=0.2)
RECIPE = Recipe(epochs=3, batch_size=16)
TEACHER = TeacherSpec(model="tests.tiny:teacher", recipe=Recipe(epochs=2, batch_size=16))
ROLES = [one for one in FINAL_ROLES if one not in OF_WARM_STARTS]
"""Of finals whose students begin fresh."""

SEARCH = SearchSection(sampler="random", trials=4, scheduler="none")


def spec(**changes: Any) -> TrialSpec:
    """A trial that pretends; `changes` replace its fields, `width` its architecture."""
    plain = TrialSpec(
        space="tests.tiny:SPACE",
        architecture=Architecture.of({"width": changes.pop("width", 4)}),
        method="tests.tiny:Pretend",
        data=DATA,
        recipe=RECIPE,
        seed=0,
    )
    return dataclasses.replace(plain, **changes)


def place(root: Path, one: TrialSpec) -> TrialPaths:
    return TrialPaths(trial=root / "trials" / one.key, teachers=root / "teachers", data=root / "data")


def loaded(root: Path) -> Dataset:
    return load_data(DATA, root)


def lesson() -> TrialSpec:
    """The training of the teacher."""
    return teacher_trial(TEACHER, DATA)


def taught(root: Path, method: str, **changes: Any) -> TrialSpec:
    """A real trial of `method`, whose teacher, if it has one, lies where the trial will look for it."""
    one = spec(method=method, **changes)
    if not make_method(method, one.options).needs_teacher:
        return one
    torch.manual_seed(11)
    save_weights(teacher(SHAPE), root / "teachers" / lesson().key / "student.pt")
    return dataclasses.replace(one, teacher=TEACHER)


def leave_teacher(context: ExperimentContext) -> None:
    """Weights where the trials of an experiment look for those of its teacher."""
    trained = context.teachers / teacher_trial(context.experiment.teacher, context.experiment.data).key / "student.pt"
    save_weights(teacher(SHAPE), trained)


class Recorder:
    """A report that keeps everything, and stops the trial after epoch `stop` if that is given."""

    def __init__(self, stop: int = 0) -> None:
        self.stop = stop
        self.seen: dict[int, dict[str, float]] = {}

    def __call__(self, metrics: Mapping[str, float], *, epoch: int) -> None:
        self.seen[epoch] = dict(metrics)
        if epoch == self.stop:
            raise StopTrial


class Delivering:
    """In place of what counts streamed images: ten were delivered since it was last asked."""

    def take(self) -> dict[str, float]:
        return {"images_delivered": 10.0}


def experiment(**changes: Any) -> Experiment:
    """A search that pretends, with finals of one seed and three real trials; `changes` replace its fields.

    A comparison has no search.
    """
    plain = Experiment(
        name="tiny",
        space="tests.tiny:SPACE",
        method="tests.tiny:Pretend",
        data=DATA,
        teacher=TEACHER,
        recipe=RECIPE,
        search=SEARCH,
        trial=Resources(device="cpu", max_concurrent=2),
        finalists=Finalists(seeds=(0,), count=1, readings=("compute",)),
    )
    if "comparison" in changes:
        plain = dataclasses.replace(plain, search=SearchSection())
    return dataclasses.replace(plain, **changes)


@dataclass(frozen=True)
class Pretend:
    """A method that trains nothing: accuracy rises with the epoch towards a value that the width decides.

    Each epoch leaves a line in `trial/epochs`. `fail`: raise in trials of this width. `die`: kill the process in the
    second epoch of a trial of this width, the first time.
    """

    needs_teacher: ClassVar[bool] = False
    whole_epochs: ClassVar[bool] = True
    seconds: float = 0.0
    fail: int = 0
    die: int = 0

    def macs(self, student: int, teacher: int) -> int:
        return 3 * student

    def cost(self, spec: TrialSpec, paths: TrialPaths) -> CostEstimate:
        return CostEstimate(1.0)

    def __call__(self, spec: TrialSpec, report: Report, paths: TrialPaths) -> None:
        width = int(spec.architecture.as_dict()["width"])
        paths.trial.mkdir(parents=True, exist_ok=True)
        for epoch in range(1, spec.recipe.epochs + 1):
            with (paths.trial / "epochs").open("a", encoding="utf-8") as file:
                file.write(f"{epoch}\n")
            if width == self.fail:
                raise RuntimeError("this width never works")
            if width == self.die and epoch == 2 and not (paths.trial / "died").exists():
                (paths.trial / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(self.seconds)
            report(pretended(width, epoch, spec.recipe.epochs), epoch=epoch)


def pretended(width: int, epoch: int, epochs: int) -> Mapping[str, float]:
    accuracy = (0.5 + width / 30) * epoch / epochs
    done = {"test_accuracy": accuracy - 0.01} if epoch == epochs else {}
    return {"val_accuracy": accuracy, "params": 10 * width, "seconds": float(epoch), "train_macs": 1.0 * epoch, **done}


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())

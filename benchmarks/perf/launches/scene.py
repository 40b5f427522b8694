"""Trials on fake tensors: networks, images and cached logits that lie on a GPU which is not there.

The trials' objectives and the loop are the library's own. What is put in the place of something else is what would look
at numbers or at the disk: loading, the folding of the teacher's normalisation, which is done by hand here, and the file
of the teacher cache.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from automl_kd.data import Batch, Dataset, Split
from automl_kd.methods import kd, scratch
from automl_kd.models import network_called
from automl_kd.models.features import FeatureExtractor
from automl_kd.models.folding import Folded, fold_norms
from automl_kd.models.text.bert import Bert, BertPlan
from automl_kd.space import Architecture, InputShape, TextShape
from automl_kd.spec import DataSpec, Recipe, TeacherCacheOptions, TeacherSpec, TrialPaths, TrialSpec
from automl_kd.teacher_cache import cached_teacher
from automl_kd.teacher_cache.cached_teacher import CachedTeacher, LiveTeacher
from automl_kd.teacher_cache.precision import LOGITS
from automl_kd.training.training_run import TrainingObjective, TrainingRun
from automl_kd.training.trial import TrialContext, memory_format_of
from benchmarks.perf.launches.counting import LaunchCounter
from benchmarks.perf.launches.walk import walk_backward
from benchmarks.perf.standing import silent

SHAPE = InputShape(channels=3, height=32, width=32, classes=100)
TEXTS = TextShape(width=12, classes=SHAPE.classes, vocabulary=60, padding=0, separator=3, longest=12)
SEED = 5
SCRATCH, LIVE, CACHED = "from scratch", "KD, live teacher", "KD, cached logits"
PARTS = ("batch", "teacher", "forward", "loss", "backward", "optimizer", "metrics")


@dataclass(frozen=True, kw_only=True)
class FakeScene:
    """`images`: of the training split; the last batch of an epoch is smaller where they are no whole batches.

    `texts`: of texts of `TEXTS.longest` tokens instead, for which both networks are encoders.
    """

    student: str = "resnet8"
    teacher: str = "resnet20"
    recipe: Recipe = field(default_factory=lambda: Recipe(batch_size=32, amp=False))
    images: int = 128
    texts: bool = False

    def dataset(self) -> Dataset:
        def split(count: int) -> Split:
            labels, index = torch.zeros(count, dtype=torch.int64), torch.arange(count)
            if self.texts:
                tokens = torch.ones(count, TEXTS.longest, dtype=torch.int32)
                return Split(tokens, labels, index, lengths=torch.full((count,), TEXTS.longest, device="cpu"))
            images = torch.zeros(count, SHAPE.channels, SHAPE.height, SHAPE.width, dtype=torch.uint8)
            return Split(images, labels, index)

        return Dataset(
            name="fake",
            shape=TEXTS if self.texts else SHAPE,
            train=split(self.images),
            validation=split(2),
            test=split(2),
            mean=(0.5, 0.4, 0.3),
            std=(0.2, 0.2, 0.3),
            augment="none" if self.texts else "crop-flip",
            pad=4,
            class_names=tuple(map(str, range(SHAPE.classes))),
        )

    def network(self, name: str) -> nn.Module:
        if self.texts:
            return Bert(TEXTS, BertPlan(layers=2, width=24, heads=3, inner=48, positions=TEXTS.longest))
        model = network_called(name, SHAPE)
        for convolution in (one for one in model.modules() if isinstance(one, nn.Conv2d)):
            weight = convolution.weight.detach()
            convolution.weight = nn.Parameter(weight.contiguous(memory_format=memory_format_of(self.recipe)))
        return model

    def context(self, method: str) -> TrialContext:
        spec = TrialSpec(
            space=f"model:{self.student}",
            architecture=Architecture(()),
            method="kd",
            data=DataSpec(),
            teacher=TeacherSpec(model=self.teacher),
            recipe=self.recipe,
            seed=SEED,
        )
        cache = TeacherCacheOptions(keep="logits" if method == CACHED else "off")
        nowhere = Path("nowhere")
        paths = TrialPaths(trial=nowhere, teachers=nowhere, data=nowhere, device="cuda", teacher_cache=cache)
        return TrialContext(spec, paths, self.dataset(), self.network(self.student))

    def objective(self, method: str, context: TrialContext) -> TrainingObjective:
        """The method's own: what it would hand to the loop."""
        module = scratch if method == SCRATCH else kd
        handed: list[TrainingObjective] = []

        def train(_context: TrialContext, objective: TrainingObjective, _report: object, **_: object) -> None:
            handed.append(objective)

        teacher = self.network(self.teacher).eval().requires_grad_(False)
        fold_norms(teacher)
        folded = Folded(FeatureExtractor(teacher))
        with ExitStack() as stack:
            for name, value in {"prepare_trial": context, "load_teacher": teacher}.items():
                stack.enter_context(patch.object(module, name, returning(value), create=True))
            stack.enter_context(patch.object(module, "train", train))
            stack.enter_context(patch.object(cached_teacher, "fold_teacher", returning(folded)))
            stack.enter_context(patch.object(cached_teacher, "cache_identity", returning({})))
            run = scratch.Scratch() if method == SCRATCH else kd.PlainKD()
            run(context.spec, silent, context.paths)
        return handed[0]


class Memory:
    """In the place of the teacher cache's file: every batch is there, in the processor's memory."""

    def turn(self, *_: object) -> None:
        """There is one place for all epochs."""

    def read(self, _step: int, images: int, *, pinned: bool = False) -> tuple[dict[str, Tensor], float]:  # noqa: ARG002
        return {LOGITS: torch.zeros(images, SHAPE.classes, device="cpu")}, 0.0


def returning(value: object) -> Callable[..., Any]:
    return lambda *_, **__: value


def count_launches(method: str, scene: FakeScene | None = None) -> list[Counter[tuple[str, str]]]:
    """Operators by part and name: what an epoch starts once, before its first batch, then those of each of its steps.

    `method`: `SCRATCH`, `LIVE` or `CACHED`.
    """
    scene = scene or FakeScene()
    with FakeTensorMode(), LaunchCounter() as counter:
        with torch.device("cuda"):
            context = scene.context(method)
            objective = scene.objective(method, context)
        run = TrainingRun(context.student, context.dataset, scene.recipe, SEED)
        counter.found.clear()
        with watched(run, counter) as steps:
            run.train_epoch(told(objective, counter), 1)
    return [*steps, counter.found]


@contextmanager
def watched(run: TrainingRun, counter: LaunchCounter) -> Iterator[list[Counter[tuple[str, str]]]]:
    """Tells the counter which part of the loop is at work; gives what was counted before each batch but the last."""
    steps: list[Counter[tuple[str, str]]] = []
    real = run.batch

    def batch(*args: Any) -> Batch:
        steps.append(counter.found)
        counter.found = Counter()
        with counter.during("batch"):
            return real(*args)

    with ExitStack() as stack:
        stack.enter_context(counter.during("metrics"))
        stack.enter_context(patch.object(CachedTeacher, "store", Memory()))
        stack.enter_context(patch.object(Split, "longest", returning(TEXTS.longest)))  # which looks at numbers
        stack.enter_context(patch.object(Tensor, "backward", walk_backward))
        # Optimizers take whole lists only of exact types.
        stack.enter_context(patch("torch.optim.optimizer._foreach_supported_types", [FakeTensor, nn.Parameter]))
        stack.enter_context(patch.object(run, "batch", batch))
        stack.enter_context(counter.telling(run.student, "forward", "forward"))
        stack.enter_context(counter.telling(LiveTeacher, "__call__", "teacher"))
        stack.enter_context(counter.telling(run.gradients, "backward", "backward"))
        stack.enter_context(counter.telling(run, "advance", "optimizer"))
        yield steps


def told(objective: TrainingObjective, counter: LaunchCounter) -> TrainingObjective:
    def telling(batch: Batch) -> Mapping[str, Tensor]:
        with counter.during("loss"):
            return objective(batch)

    return telling

"""Checks networks before training: a few images pass through teacher and student as in training.

What a network returns is looked at by its `Door` in each pass; here it passes once in each mode that will be needed, in
the recipe's layout of memory, with its gradients.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from automl_kd.config import Experiment
from automl_kd.data import Batch, Dataset, plain_view
from automl_kd.errors import ConfigError, NetworkError
from automl_kd.experiment.context import ExperimentContext
from automl_kd.experiment.sentences import in_a_sentence
from automl_kd.losses.cross_entropy import label_loss
from automl_kd.methods import method_type
from automl_kd.methods.hyperparameters import domain_of, ends, methods_of
from automl_kd.methods.logits_only import gives_logits_only
from automl_kd.methods.schedule import INIT
from automl_kd.models.black_box.network import BlackBox, returns_probabilities
from automl_kd.models.costs.cost import NetworkCost, blank_inputs, count_cost, evaluating
from automl_kd.models.features import FeatureExtractor
from automl_kd.models.folding import fold_teacher
from automl_kd.models.foreign.adoption import logits_of, unchecked
from automl_kd.models.foreign.layout import lay_out
from automl_kd.models.foreign.onednn import must_stay_contiguous
from automl_kd.models.input_adapter import train_at
from automl_kd.models.memory_layout import laid_out
from automl_kd.models.pickled import label_pickled
from automl_kd.models.teacher_mean import teacher_label
from automl_kd.registry import PICKLED
from automl_kd.results.units import some
from automl_kd.spec import FRESH, FROM_TEACHER, Recipe, TeacherSpec
from automl_kd.storage.content_hash import located_path
from automl_kd.training.trial import build_student, build_teacher, memory_format_of, start_warm

TRIED_IMAGES = 4

FAMILY = 0.01
"""Of the default student's parameters what a warm start must reach: below it, nothing is shared but a layer or two."""


@dataclass(frozen=True, eq=False)
class Trying:
    """`name`: of the network, for people. `trained`: whether it is trained in the experiment, or only asked."""

    name: str
    model: nn.Module
    dataset: Dataset
    recipe: Recipe
    trained: bool

    def notes(self) -> Iterator[str]:
        """Return notes on how the network is run; raise `AutoMLKDError` if it cannot be used.

        The network is left with other weights and statistics. Draws from torch's global generator.
        """
        if not lay_out(self.model, self.dataset.shape, memory_format_of(self.recipe)):
            yield (
                f"the {self.name} cannot be run with channels last in memory ({self.obstacle()}); "
                "it and its images stay contiguous, and recipe.channels_last has no effect on them"
            )
        batch = self.examples()
        with torch.no_grad():
            logits = self.run(self.model.eval(), batch.inputs)
        if not self.dataset.task.labels_are_numbers and returns_probabilities(logits):
            yield (
                f"the {self.name} returns probabilities, as its outputs are not negative and sum to 1, and they are "
                "taken for logits; take the softmax out of its forward function"
            )
        if self.trained and len(batch) > 1:
            label_loss(self.run(self.model.train(), batch.inputs), batch).backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated

    def obstacle(self) -> str:
        """What stands against channels last."""
        if must_stay_contiguous(self.model, self.dataset.shape):
            return "oneDNN's kernels damage memory in its 1x1 convolutions with a stride"
        return "a view in its forward function?"

    def examples(self) -> Batch:
        split = self.dataset.train
        rows = torch.arange(min(TRIED_IMAGES, len(split)), device=split.row_device)
        batch = Batch(split.inputs[:0], split.labels[rows], split.index[rows], epoch=1, task=self.dataset.task)
        return replace(batch, inputs=laid_out(plain_view(self.dataset, split, rows), self.recipe))

    def run(self, model: nn.Module, images: Tensor) -> Tensor:
        """Logits in single precision; `ConfigError` if it has another."""
        with single_precision(self.name, model):
            logits: Tensor = model(images)
        if logits.dtype != torch.float32:
            raise ConfigError(
                f"the {self.name}: the logits are {str(logits.dtype)[6:]} where float32 is wanted; "
                "let its forward function end with .float()"
            )
        return logits

    def folding_notes(self) -> Iterator[str]:
        """Note if the teacher runs unfolded, because folding its normalisations would change its outputs."""
        if not any(isinstance(one, _BatchNorm) for one in self.model.modules()):
            return
        inputs = self.examples().inputs
        unsettle(self.model)
        if reason := fold_teacher(FeatureExtractor(self.model.eval()), inputs).reason:
            yield f"the {self.name} runs unfolded, with separate batch normalisations: {reason}"


@contextmanager
def single_precision(name: str, model: nn.Module) -> Iterator[None]:
    """Inside `model` is run; `ConfigError` where it fails and has weights of another precision."""
    try:
        yield
    except RuntimeError as error:
        kinds = sorted({str(one.dtype)[6:] for one in model.parameters() if one.dtype != torch.float32})
        if kinds:
            raise ConfigError(
                f"the {name}: weights of {kinds[0]} do not take images of float32 "
                f"({str(error).splitlines()[0]}); let the function that builds it end with .float()"
            ) from error
        raise


def count_teacher_cost(teacher: TeacherSpec, network: nn.Module, dataset: Dataset) -> NetworkCost:
    """Its cost for an image of the data; `ConfigError` where its channels or outputs are not those of the data."""
    try:
        return count_cost(network, dataset.shape)
    except NetworkError:
        if teacher.checkpoint and not teacher.classes and not dataset.task.labels_are_numbers:
            refuse_other_outputs(teacher, network, dataset)
        raise
    except RuntimeError as error:
        first = next((one for one in network.modules() if isinstance(one, nn.Conv2d)), None)
        counted = "channels" in str(error)  # else it failed for another reason, as images that are too small
        if counted and first is not None and first.in_channels != dataset.shape.channels:
            raise ConfigError(
                f"the teacher {label_pickled(teacher.model)!r} takes images of {first.in_channels} channels, and the "
                f"data's have {dataset.shape.channels}; let its forward function make its channels of these, as "
                "images.expand(-1, 3, -1, -1) does of grey ones, or give the data in as many"
            ) from error
        raise


def refuse_other_outputs(teacher: TeacherSpec, network: nn.Module, dataset: Dataset) -> None:
    """`ConfigError` where it returns a number for each of more or fewer classes than the data has."""
    with evaluating(network), torch.no_grad(), unchecked(network):
        made = network(blank_inputs(network, dataset.shape))
    wanted = dataset.shape.classes
    if not isinstance(made, Tensor) or made.ndim != 2 or made.shape[1] == wanted:
        return
    before = "" if teacher.model.startswith(PICKLED) else "teacher."
    remedy = f"say by {before}classes or {before}class_names which of its outputs these are"
    raise ConfigError(
        f"the teacher {label_pickled(teacher.model)!r} has {some(made.shape[1], 'output')}, and the data {wanted:,} "
        f"classes; {remedy if made.shape[1] > wanted else 'give one with an output for each class'}"
    )


def refuse_probabilities(teacher: TeacherSpec, network: nn.Module, images: Tensor) -> None:
    """`ConfigError` if what the network itself returns, before its adapter's choice of outputs, are no logits."""
    kept: list[Any] = []
    handle = network.register_forward_hook(lambda _model, _given, made: kept.append(logits_of(made)), prepend=True)
    with evaluating(network), torch.no_grad():
        network(images)
    handle.remove()
    if isinstance(kept[0], Tensor) and kept[0].ndim == 2 and returns_probabilities(kept[0]):
        remedy = "export" if isinstance(network, BlackBox) else "give"
        raise ConfigError(
            f"{label_pickled(teacher.model)} returns probabilities, as its outputs are not negative and sum to 1, "
            f"where logits were wanted; {remedy} the network without its softmax"
        )


def unsettle(model: nn.Module) -> None:
    """Statistics as after training, which a convolution cannot ignore: fresh ones change nothing."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)


def check_networks(context: ExperimentContext) -> None:
    """Run each teacher and the baseline student as in training, and note once what is done differently for them."""
    experiment, dataset = context.experiment, context.dataset
    learns = not experiment.teacher.checkpoint or bool(moving_methods(experiment))
    recipe = experiment.recipe if experiment.teacher.checkpoint else experiment.teacher.recipe
    with torch.random.fork_rng(devices=[]):
        for one in experiment.teacher.members:
            name = f"teacher {label_pickled(one.model)!r}"
            with in_a_sentence(name, dataset.shape):
                teacher = Trying(name, build_teacher(one, dataset), dataset, recipe, learns)
                say(context, [*teacher.notes(), *teacher.folding_notes()])
        name = f"students of {label_pickled(experiment.space)}"
        with in_a_sentence(name, dataset.student_shape):
            network = build_student(context.space, context.baseline, dataset, seed=0)
            train_at(network, experiment.recipe.train_resolution)
            say(context, Trying(name, network, dataset, experiment.recipe, trained=True).notes())
            say(context, warm_start_notes(context))


def share_from_teacher(context: ExperimentContext) -> float:
    """Of the default student's parameters, those that have a counterpart in the teacher, 0 to 1."""
    teacher, dataset = context.experiment.teacher, context.dataset
    if gives_logits_only(teacher):
        return 0.0
    with torch.random.fork_rng(devices=[]):
        student = build_student(context.space, context.baseline, dataset, seed=0)
        try:
            return start_warm(student, FROM_TEACHER, dataset, lambda: build_teacher(teacher, dataset)).share
        except Exception:  # a network of any library, of which nobody has asked that students begin with it
            return 0.0


def warm_start_notes(context: ExperimentContext) -> Iterator[str]:
    """What the default student takes over from where students begin; `AutoMLKDError` where that is nothing."""
    experiment, dataset = context.experiment, context.dataset
    refuse_inits_without_effect(experiment)
    searched = map(str, ends(domain_of(experiment.hyperparameters[INIT]))) if INIT in experiment.hyperparameters else ()
    named = [experiment.student.init, *searched, *(one.init for one in experiment.comparison.methods)]
    for init in [one for one in dict.fromkeys(named) if one not in {"", FRESH}]:
        if init == FROM_TEACHER and gives_logits_only(experiment.teacher):
            raise ConfigError(
                f'student.init = "teacher" takes layers of the teacher, and {teacher_label(experiment.teacher)} '
                f"{'are several networks' if experiment.teacher.others else 'shows none'}; "
                'set student.init = "fresh", or name a file with weights'
            )
        student = build_student(context.space, context.baseline, dataset, seed=0)
        # Untrained, as it may have to be trained yet; what fits does not depend on values.
        taken = start_warm(student, init, dataset, lambda: build_teacher(experiment.teacher, dataset))
        source = "the teacher's weights" if init == FROM_TEACHER else f"weights of {located_path(init).name}"
        if taken.share < FAMILY:
            raise ConfigError(
                f"student.init: only {taken.share:.1%} of the default student's parameters have a counterpart in "
                f'{source}; choose a student of the same family, or set student.init = "fresh"'
            )
        whole = f", and {some(len(taken.identities), 'block')} as identities" if taken.identities else ""
        yield f"students begin with {source}: {taken.share:.0%} of the default student's parameters{whole}"
    if experiment.student.init != FRESH and not experiment.comparison.methods:
        for name in methods_of(experiment.hyperparameters, experiment.method):
            if not getattr(method_type(name), "needs_teacher", False):
                yield f"{name}: begins with fresh weights, as it has no teacher"
            elif getattr(method_type(name), "makes_students", False):
                yield f"{name}: makes its own students, on which student.init has no effect"


def refuse_inits_without_effect(experiment: Experiment) -> None:
    methods = methods_of(experiment.hyperparameters, experiment.method)
    own = [name for name in methods if getattr(method_type(name), "makes_students", False)]
    if experiment.search.inherit and own and not experiment.comparison.methods:
        raise ConfigError(
            f"search.inherit has no effect on method {own[0]!r}, which makes its own students; drop one of the two"
        )
    for one in experiment.comparison.methods:
        if one.init and getattr(method_type(one.method), "makes_students", False):
            raise ConfigError(
                f"init of {one.name!r} = {one.init!r} has no effect, as method {one.method!r} makes its own students; "
                "drop it"
            )


def say(context: ExperimentContext, notes: Iterable[str]) -> None:
    for note in notes:
        context.watcher.note(note)


def moving_methods(experiment: Experiment) -> list[str]:
    """Those of the experiment's methods that train their teacher."""
    compared = experiment.comparison.methods
    methods = [one.method for one in compared] or methods_of(experiment.hyperparameters, experiment.method)
    return [name for name in methods if getattr(method_type(name), "moves_teacher", False)]

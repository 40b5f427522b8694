"""The protocol of methods, and the steps that methods share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Protocol

from torch import nn

from automl_kd import distributed, storage
from automl_kd.data.streamed import LOADED, loading
from automl_kd.errors import ConfigError
from automl_kd.methods.model_card import write_card
from automl_kd.models.costs.latency import measure_latency
from automl_kd.models.costs.outline import outline
from automl_kd.results.store.row import PRECISIONS
from automl_kd.spec import BEGAN_FRESH, REMARK_FILE, Report, TrialPaths, TrialSpec
from automl_kd.training.evaluate import precision_of
from automl_kd.training.loop import fit_student
from automl_kd.training.training_run import OwnStep, TrainingObjective
from automl_kd.training.trial import PASSES, TrialContext

EPOCH_COUNTS = (*PASSES, *LOADED)
"""What is counted in each epoch, and reported of the whole trial."""


STEP = 3
"""Forward passes that a training step costs: one forward, and two in the backward (for inputs and for weights)."""


class Method(Protocol):
    """A `Trainable` whose options are its fields: a frozen dataclass with a default for each.

    `needs_teacher`: whether a trial of it needs a teacher in its spec. A method that trains its teacher has the class
    variable `moves_teacher = True`: its teacher's outputs are of no use to other trials. One that can learn from images
    without labels has an attribute `uses_unlabelled` that is true, and prepares its trials with `transfer = True`. One
    that reads a fixed teacher's outputs on each training image from the cache has an attribute `cached_features`: the
    teacher's feature layers that it reads beside the logits. One that cannot end inside an epoch, as
    `recipe.last_epoch` may ask, has the class variable `whole_epochs = True`. One that makes its students itself has
    `makes_students = True`: what a student begins with is an option of its own. One that differentiates through
    training steps has `plain_labels = True`: it takes images with one label each, cross entropy, and an optimizer of
    torch's own. One that learns from labels and a teacher by the task's own losses has `any_task = True`; others are
    for classification.
    """

    needs_teacher: ClassVar[bool]

    def macs(self, student: int, teacher: int) -> int:
        """Multiply-adds spent on one image of one epoch, given those of one forward pass of each network."""
        ...

    def cost(self, spec: TrialSpec, paths: TrialPaths) -> CostEstimate:
        """What the trial will cost. Nothing is trained, searched or written; its teacher must have been trained."""
        ...

    def __call__(self, spec: TrialSpec, report: Report, paths: TrialPaths) -> None: ...


@dataclass(frozen=True)
class CostEstimate:
    """What a trial will cost, before it is trained.

    `epoch_macs`: multiply-adds of one whole epoch, those of a search before it spread over the run's length; an upper
    bound where they depend on what the search finds.
    """

    epoch_macs: float

    @staticmethod
    def of(context: TrialContext, macs_per_image: int) -> CostEstimate:
        return CostEstimate(float(len(context.dataset.train) * macs_per_image))


def require_whole_steps(spec: TrialSpec) -> None:
    """`ConfigError` if the recipe accumulates gradients: for methods that take a step of their own on each batch."""
    if spec.recipe.grad_accumulation > 1:
        raise ConfigError(
            f"method {spec.method!r} takes steps of its own on whole batches and cannot accumulate gradients "
            f"(recipe.grad_accumulation is {spec.recipe.grad_accumulation}); set recipe.grad_accumulation = 1"
        )


def count_epochs(context: TrialContext) -> Callable[[], Mapping[str, float]]:
    """What counts, for each epoch, the `EPOCH_COUNTS`: those of all that trains from here on."""
    loading.take()  # what was looked at before is no part of the training
    return lambda: {**context.cache_stats.take(), **loading.take()}


def after_search(report: Report, search: Mapping[str, float]) -> Report:
    """Reports of a training that a search preceded, whose costs `search` has: they count as the trial's own."""

    def with_search(metrics: Mapping[str, float], *, epoch: int) -> None:
        total = {name: metrics.get(name, 0.0) + value for name, value in search.items()}
        report({**metrics, **total}, epoch=epoch)

    return with_search


def search_costs(history: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The seconds that a search took, and its `EPOCH_COUNTS`, given what each of its epochs measured."""
    costs: dict[str, float] = {}
    for metrics in history:
        costs["seconds"] = metrics["seconds"]
        costs.update({name: costs.get(name, 0.0) + metrics[name] for name in EPOCH_COUNTS if name in metrics})
    return costs


def train(
    context: TrialContext,
    objective: TrainingObjective | OwnStep,
    report: Report,
    *,
    macs_per_image: int,
    loss_modules: nn.Module | None = None,
    remark: Callable[[], str] = str,
) -> None:
    """Train the context's student under `objective` and measure it.

    `loss_modules`: layers and memories of the objective, trained and checkpointed with the student but no part of it.
    `remark`: asked when the training has ended for what the method has to say of its own search, a sentence or nothing.
    `macs_per_image`: the method's cost of one training image. Every report carries params, macs (one forward pass of
    one image) and train_macs (all passes so far, as if none had been read from the cache), with a cache or streamed
    images also what is `EPOCH_COUNTS` so far, `BEGAN_FRESH` where that is so, and the place of the precision in
    `PRECISIONS`; the last one also the
    latency of one image on the trial's device, measured beside whatever else runs there.
    """
    spec, dataset = context.spec, context.dataset
    epoch_macs = CostEstimate.of(context, macs_per_image).epoch_macs
    images = len(dataset.train)

    passes: dict[str, float] = {}
    begun = {BEGAN_FRESH: 1.0} if context.start_remark else {}
    precision = PRECISIONS.index(precision_of(context.student, dataset.train.labels.device, spec.recipe))

    def measured(metrics: Mapping[str, float], *, epoch: int) -> None:
        train_macs = spec.recipe.epochs_done(epoch, images) * epoch_macs
        spent = {"params": context.cost.params, "macs": context.cost.macs, "train_macs": train_macs}
        passes.update({name: passes.get(name, 0) + metrics[name] for name in EPOCH_COUNTS if name in metrics})
        report({**metrics, **spent, **begun, "precision": precision, **passes}, epoch=epoch)

    fit_student(
        context.student,
        objective,
        dataset,
        spec.recipe,
        seed=spec.seed,
        folder=context.paths.trial,
        report=measured,
        finish=partial(hand_over, context, remark),
        loss_modules=loss_modules,
        cache_stats=count_epochs(context),
        pausable=context.paths.pausable,
        checkpoint_minutes=context.paths.checkpoint_minutes,
        cuda_graphs=context.paths.cuda_graphs,
    )


def hand_over(context: TrialContext, remark: Callable[[], str] = str) -> Mapping[str, float]:
    """Describe the trained student beside its weights and measure its latency, in the main process alone."""
    said = "; ".join(one for one in (context.start_remark, remark()) if one)
    if not distributed.is_main_process():
        return {}
    if said:
        storage.write(context.paths.trial / REMARK_FILE, said)
    shape = context.dataset.student_shape
    write_card(context.paths.trial, context.spec, shape, outline(context.student, shape))
    latency = measure_latency(context.student, context.dataset.student_shape, device=context.paths.device)
    return {
        "latency_ms": latency.ms,
        "latency_iqr_ms": latency.iqr_ms,
        "latency_batch": latency.batch,
        "latency_threads": latency.threads,
    }

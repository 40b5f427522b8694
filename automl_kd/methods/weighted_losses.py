"""Training on the labels and any weighted sum of the library's losses, from a fixed teacher.

The losses and their sources are in `automl_kd.losses`; how a sum is written is in `automl_kd.losses.weighted_sum`.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from automl_kd.data import Batch, epoch_order, plain_view
from automl_kd.losses.base import Example
from automl_kd.losses.weighted_sum import Mix, Mixed, read_mix
from automl_kd.methods.base import STEP, CostEstimate, train
from automl_kd.methods.dry_run import DRY_RUN_IMAGES, open_extractors
from automl_kd.models.costs.cost import count_cost, evaluating
from automl_kd.models.costs.multiply_adds import counting
from automl_kd.models.features import FeatureExtractor, Outputs
from automl_kd.models.input_adapter import as_in_training, find_adapter
from automl_kd.seeds import derive
from automl_kd.spec import Report, TrialPaths, TrialSpec
from automl_kd.teacher_cache.cached_teacher import teacher_outputs
from automl_kd.training.trial import TrialContext, load_teacher, prepare_trial

EXAMPLES = 64
"""Training images on which losses are made: enough to measure a channel's mean response, little to keep."""


@dataclass(frozen=True)
class WeightedLosses:
    """Labels and any weighted sum of losses (`show losses`) from a fixed teacher.

    Images without a label are used where no loss but "ce" looks at labels. `losses`: names with weights and options, as
    in "kd=0.9, at=1000, at.power=2, ce=0.1"; a name alone takes the standard weight of the CIFAR-100 benchmark.
    """

    needs_teacher: ClassVar[bool] = True
    any_task: ClassVar[bool] = True
    losses: str = field(default="kd", metadata={"live": True})

    def __post_init__(self) -> None:
        read_mix(self.losses)

    def macs(self, student: int, teacher: int) -> int:
        """Without the losses' own layers, whose cost is known only where the networks are; trials report it."""
        return STEP * student + teacher

    @property
    def uses_unlabelled(self) -> bool:
        return not read_mix(self.losses).needs_labels

    @property
    def cached_features(self) -> tuple[str, ...]:
        return tuple(read_mix(self.losses).features.teacher)

    def dry_run(self, context: TrialContext, teacher: nn.Module) -> None:
        dry_run_mix(read_mix(self.losses), context, teacher)

    def cost(self, spec: TrialSpec, paths: TrialPaths) -> CostEstimate:
        context = prepare_trial(spec, paths, transfer=self.uses_unlabelled)
        teacher = load_teacher(context)
        mix = read_mix(self.losses, recipe=spec.recipe)
        with open_extractors(context, teacher, mix.features) as (student, teacher_network):
            example, batch = first_look(context, student, teacher_network)
            return CostEstimate.of(context, self.macs_per_image(context, teacher, mix.make(example), example, batch))

    def macs_per_image(
        self, context: TrialContext, teacher: nn.Module, mixed: Mixed, example: Example, batch: Batch
    ) -> int:
        networks = self.macs(context.training_macs, count_cost(teacher, context.dataset.shape).macs)
        return networks + STEP * weighted_loss_macs(mixed, example, batch)

    def __call__(self, spec: TrialSpec, report: Report, paths: TrialPaths) -> None:
        context = prepare_trial(spec, paths, transfer=self.uses_unlabelled)
        teacher = load_teacher(context)
        mix = read_mix(self.losses, recipe=spec.recipe)
        with (
            FeatureExtractor(context.student, mix.features.student) as student,
            FeatureExtractor(teacher, mix.features.teacher) as teacher_network,
        ):
            example, batch = first_look(context, student, teacher_network)
            mixed, ask_teacher = mix.make(example), teacher_outputs(context, teacher_network)

            def objective(batch: Batch) -> Mapping[str, Tensor]:
                teacher_out = ask_teacher(batch)
                terms: Mapping[str, Tensor] = mixed(student(batch.inputs), teacher_out, batch)
                return terms

            cost = self.macs_per_image(context, teacher, mixed, example, batch)
            train(context, objective, report, macs_per_image=cost, loss_modules=mixed)


def dry_run_mix(mix: Mix, context: TrialContext, teacher: nn.Module) -> None:
    """Make the losses, and evaluate each of them once."""
    with open_extractors(context, teacher, mix.features) as (student, teacher_network):
        example, batch = first_look(context, student, teacher_network, examples=DRY_RUN_IMAGES)
        weighted_loss_macs(mix.make(example), example, batch)


def first_look(
    context: TrialContext, student: FeatureExtractor, teacher: FeatureExtractor, *, examples: int = EXAMPLES
) -> tuple[Example, Batch]:
    """Both networks' outputs for a few training images, in evaluation mode, and what else losses are made from."""
    spec, data = context.spec, context.dataset
    split, seed = data.train, derive(spec.seed, "losses")
    rows = epoch_order(len(split), seed=seed, epoch=0)[:examples].to(split.row_device)
    images = plain_view(data, split, rows)
    with evaluating(context.student), as_in_training(context.student), torch.no_grad():
        one, two = student(images), teacher(images)
    example = Example(
        one,
        two,
        labels=split.labels,
        index=split.index,
        classes=data.shape.classes,
        batch=spec.recipe.batch_size,
        epochs=spec.recipe.epochs,
        last_epoch=spec.recipe.passes(len(split)) - spec.recipe.epochs + 1,
        seed=seed,
        classifier=classifier_of(teacher.model),
        sizes_differ=split.lengths is not None,
    )
    return example, Batch(images, split.labels[rows], split.index[rows], epoch=1)


def classifier_of(model: nn.Module) -> nn.Linear | None:
    """The teacher's last linear layer, as far as its outputs are classes of the data; None if it has none."""
    layer, adapter = last_linear(model), find_adapter(model)
    if layer is None or adapter is None or not adapter.outputs:
        return layer
    rows = torch.tensor(adapter.outputs, device=layer.weight.device)
    found = nn.Linear(layer.in_features, len(rows), layer.bias is not None)
    found = found.to(layer.weight.device, layer.weight.dtype).requires_grad_(False)
    found.weight.copy_(layer.weight[rows])
    if layer.bias is not None:
        found.bias.copy_(layer.bias[rows])
    return found


def last_linear(model: nn.Module) -> nn.Linear | None:
    found = [module for module in model.modules() if isinstance(module, nn.Linear)]
    return found[-1] if found else None


def weighted_loss_macs(mixed: Mixed, example: Example, batch: Batch) -> int:
    """Multiply-adds of the losses and their layers in a forward pass, per image, averaged over the epochs."""
    mixed = deepcopy(mixed).eval()  # the count changes neither memories nor draws
    size = min(len(batch.labels), example.batch)
    one, two = first(example.student, size), first(example.teacher, size)
    spent = 0.0
    # One count for all epochs in which the same losses are evaluated.
    for epochs in mixed.phases().values():
        part = Batch(batch.inputs[:size], batch.labels[:size], batch.index[:size], epoch=epochs[-1])
        with torch.no_grad(), counting() as counter:
            mixed(one, two, part)
        spent += counter.macs * (len(epochs) - (example.epochs in epochs) * (1 - example.last_epoch))
    return round(spent / (example.epochs - 1 + example.last_epoch) / size)


def first(outputs: Outputs, size: int) -> Outputs:
    return Outputs(outputs.logits[:size], {name: value[:size] for name, value in outputs.features.items()})

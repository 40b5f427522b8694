"""What the training loop costs: a plain KD step of ours beside a loop written by hand and two other libraries.

Everyone trains a student from the same weights on the same batches in the same order, by SGD with Nesterov's momentum
under the same cosine schedule, on 0.1 CE + 0.9 KD at temperature 4, in turn on one thread. The making of the batch is
part of everyone's step and the same for all, so what differs is the rest of the loop, and that ours folds the fixed
teacher's batch normalisation into its convolutions. The loop written by hand has such a teacher too, and then must have
our weights to the last bit after a few steps; all others must nearly have them.

- torchdistill: `DistillationBox` with `KDLoss`, `forward_process` and `post_forward_process` for each batch.
- timm: `LogitDistillationTask` with `create_optimizer_v2` and `CosineLRScheduler`, as its training script uses them.

Neither is needed otherwise; a library that is not installed is left out. Run it from the project's root:
`python -m benchmarks.perf.loop`.
"""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from automl_kd.data import Batch, epoch_order, train_view
from automl_kd.methods.kd import PlainKD
from automl_kd.models.folding import fold_norms
from automl_kd.spec import Recipe
from automl_kd.training.training_run import TrainingRun
from benchmarks.perf.alternation import Comparison, alternate, markdown, milliseconds
from benchmarks.perf.standing import Scene, Standing, together

OURS, BARE, ALIKE = "ours", "written by hand", "written by hand, teacher folded"
STEPS_CHECKED, TOLERANCE = 2, 1e-3
"""Float32 sums in another order differ by about 1e-7, which training multiplies at each step."""


@dataclass(frozen=True, eq=False)
class Contestant:
    student: nn.Module
    step: Callable[[int], object]


def bare(student: nn.Module, teacher: nn.Module, run: TrainingRun) -> Contestant:
    """The shortest loop that computes what ours computes."""
    split, recipe, steps = run.dataset.train, run.recipe, run.steps
    total, size = recipe.epochs * steps, recipe.batch_size
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    rows = torch.empty(0, dtype=torch.int64)

    def step(number: int) -> None:
        nonlocal rows
        epoch, place = number // steps + 1, number % steps
        if place == 0:
            rows = epoch_order(len(split), seed=run.order_seed, epoch=epoch)
        at = rows[place * size : (place + 1) * size]
        images = train_view(run.dataset, split, at, seed=run.view_seed, epoch=epoch, augment="auto")
        images = images.contiguous(memory_format=torch.channels_last)
        optimizer.param_groups[0]["lr"] = recipe.lr * 0.5 * (1 + math.cos(math.pi * number / total))
        with torch.no_grad():
            q = F.log_softmax(teacher(images) / 4, dim=1)
        logits = student(images)
        kd = F.kl_div(F.log_softmax(logits / 4, dim=1), q, reduction="batchmean", log_target=True) * 4**2
        loss = (1 - 0.9) * F.cross_entropy(logits, split.labels[at]) + 0.9 * kd
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        optimizer.step()

    return Contestant(student, step)


def torchdistill(student: nn.Module, teacher: nn.Module, run: TrainingRun, batch: Callable[[int], Batch]) -> Contestant:
    from torchdistill.core.distillation import get_distillation_box  # noqa: PLC0415  optional

    logging.getLogger("torchdistill").setLevel(logging.WARNING)
    recipe, total = run.recipe, run.recipe.epochs * run.steps
    outputs = {f"{who}_module_path": "." for who in ("student", "teacher")}
    outputs |= {f"{who}_module_io": "output" for who in ("student", "teacher")}
    loss = {"key": "KDLoss", "kwargs": {**outputs, "temperature": 4.0, "alpha": 0.1}}
    rate = {"lr": recipe.lr, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    config = {
        "num_epochs": recipe.epochs,
        "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False},
        "student": {"forward_proc": "forward_batch_only"},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"kd": {"criterion": loss, "weight": 1.0}}}},
        "optimizer": {"key": "SGD", "kwargs": rate},
        "scheduler": {
            "key": "LambdaLR",
            "kwargs": {"lr_lambda": lambda number: 0.5 * (1 + math.cos(math.pi * number / total))},
            "scheduling_step": 1,
        },
    }
    box = get_distillation_box(teacher, student, {}, config, run.device, None, False, 1.0)
    box.pre_epoch_process(epoch=0)

    def step(number: int) -> None:
        one = batch(number)
        box.post_forward_process(loss=box.forward_process(one.inputs, one.labels, None))

    return Contestant(box.student_model, step)


def timm(student: nn.Module, teacher: nn.Module, run: TrainingRun, batch: Callable[[int], Batch]) -> Contestant:
    from timm.optim import create_optimizer_v2  # noqa: PLC0415  optional
    from timm.scheduler import CosineLRScheduler  # noqa: PLC0415
    from timm.task import DistillationTeacher, LogitDistillationTask  # noqa: PLC0415

    recipe, total = run.recipe, run.recipe.epochs * run.steps
    for network in (student, teacher):  # where timm looks for how images were normalised; alike, so nothing is redone
        network.pretrained_cfg = {"mean": run.dataset.mean, "std": run.dataset.std}  # type: ignore[assignment]  # no Tensor or Module
    task = LogitDistillationTask(
        student,
        DistillationTeacher(teacher),
        criterion=nn.CrossEntropyLoss(),
        task_loss_weight=1 - 0.9,
        distill_loss_weight=0.9,
        temperature=4.0,
        verbose=False,
    ).train()
    optimizer = create_optimizer_v2(
        student, "sgd", lr=recipe.lr, weight_decay=5e-4, momentum=0.9, filter_bias_and_bn=False
    )
    schedule = CosineLRScheduler(optimizer, t_initial=total, t_in_epochs=False)

    def step(number: int) -> None:
        one = batch(number)
        loss = task(one.inputs, one.labels)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step_update(number + 1)

    return Contestant(student, step)


def contestants(scene: Scene, ours: Standing) -> dict[str, Contestant]:
    """Everyone who is installed, with networks of their own that hold the same weights."""
    layout = torch.channels_last
    teacher = scene.drawn_teacher().eval().requires_grad_(False).to(memory_format=layout)
    found = {OURS: Contestant(ours.run.student, ours.step)}
    folded = deepcopy(teacher)
    fold_norms(folded)
    for name, guide in ((ALIKE, folded), (BARE, teacher)):
        found[name] = bare(deepcopy(ours.run.student), guide, ours.run)
    for library in (torchdistill, timm):
        try:
            found[library.__name__] = library(deepcopy(ours.run.student), deepcopy(teacher), ours.run, ours.batch)
        except ModuleNotFoundError as error:
            print(f"{library.__name__} is left out: {error}; pip install 'automl-kd[perf]' brings it")
    return found


def largest_difference(one: nn.Module, other: nn.Module) -> float:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    found = torch.stack([(a - b).abs().max().double() for a, b in pairs]).max()  # of which a nan remains one
    return float(found)


def check_close(found: dict[str, Contestant]) -> None:
    """A few steps of all; whoever computes something else has an error in the setting."""
    for one in found.values():
        for number in range(STEPS_CHECKED):
            one.step(number)
    for name, one in found.items():
        apart = largest_difference(found[OURS].student, one.student)
        print(f"{name}: weights and buffers differ from ours by at most {apart:.1e} after {STEPS_CHECKED} steps")
        assert apart <= (0.0 if name == ALIKE else TOLERANCE), f"{name} does not compute what ours does"


def measure(scene: Scene, rounds: int, standing: dict[str, Standing]) -> None:
    found = contestants(scene, standing[OURS])
    check_close(found)

    def go_on(one: Contestant, number: int) -> object:
        return one.step(STEPS_CHECKED + number)

    spent = alternate({name: partial(go_on, one) for name, one in found.items()}, rounds=rounds, warm=2)
    limits = {ALIKE: 1.03, "torchdistill": 1.0, "timm": 1.0}
    print(markdown(spent, [Comparison(OURS, name, limits.get(name)) for name in found if name != OURS]))
    print(milliseconds(spent))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--student", default="resnet20", help="(default: resnet20)")
    parser.add_argument("--teacher", default="resnet56", help="(default: resnet56)")
    parser.add_argument("--batch", type=int, default=64, help="images in a step (default: 64)")
    parser.add_argument("--rounds", type=int, default=60, help="steps of everyone (default: 60)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recipe = Recipe(epochs=100, batch_size=arguments.batch)
    print(f"training loop: {arguments.student}, {arguments.teacher}, batch {arguments.batch}, process time, one thread")
    scene = Scene(student=arguments.student, teacher=arguments.teacher, recipe=recipe)
    together(scene, {OURS: PlainKD()}, partial(measure, scene, arguments.rounds))


if __name__ == "__main__":
    main()

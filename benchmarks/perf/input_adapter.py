"""What a teacher's own preprocessing and a reduction to the student's size cost in a KD step.

- with the adapter: teacher and student get the batch as it is kept, normalised by the data. The teacher takes it at its
  full size under its own mean and deviation, and of its outputs those of the data's classes; the student takes an
  antialiased reduction.
- prepared: both networks get the same images, made beforehand, and all outputs of a teacher that has as many classes as
  the data.

Weights, losses and optimizer are the same, so both students must nearly have the same weights in the end. The making of
the batch is in neither. Run it from the project's root: `python -m benchmarks.perf.input_adapter`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from automl_kd.losses.cross_entropy import cross_entropy
from automl_kd.models import build_model
from automl_kd.models.input_adapter import InputAdapter, adapt, change_of_moments, resize_batch
from automl_kd.space import InputShape
from automl_kd.tasks.soft_targets import kd_loss
from benchmarks.perf.alternation import Comparison, alternate, markdown, milliseconds

ADAPTED, PREPARED = "with the adapter", "prepared"
LIMIT, TOLERANCE = 1.03, 1e-3
CLASSES = 100
GIVEN = ((0.48, 0.46, 0.41), (0.27, 0.26, 0.28))
WANTED = ((0.5,) * 3, (0.5,) * 3)
BATCHES = 4


@dataclass(frozen=True, eq=False)
class Arm:
    """`batches`: of each, the images of the teacher and those of the student."""

    teacher: nn.Module
    student: nn.Module
    batches: list[tuple[Tensor, Tensor]]
    labels: Tensor

    def step(self) -> Callable[[int], object]:
        optimizer = torch.optim.SGD(self.student.parameters(), lr=0.01, momentum=0.9, nesterov=True)

        def take(number: int) -> None:
            wide, narrow = self.batches[number % len(self.batches)]
            with torch.no_grad():
                guide = self.teacher(wide)
            logits = self.student(narrow)
            loss = 0.1 * cross_entropy(logits, self.labels) + 0.9 * kd_loss(logits, guide, 4.0)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
            optimizer.step()

        return take


def build_arms(teacher: str, student: str, sizes: tuple[int, int], batch: int) -> dict[str, Arm]:
    """Both with networks of their own that hold the same weights, on the same images."""
    torch.manual_seed(0)
    large, small = sizes
    layout = torch.channels_last
    guide = build_model(teacher, InputShape(3, large, large, CLASSES)).eval().requires_grad_(False)
    pupil = build_model(student, InputShape(3, small, small, CLASSES)).train()
    factor, shift = change_of_moments(GIVEN, WANTED)
    order = tuple(reversed(range(CLASSES)))
    adapter = InputAdapter(factor=factor, shift=shift, outputs=order)
    kept = [torch.randn(batch, 3, large, large).contiguous(memory_format=layout) for _ in range(BATCHES)]
    pairs = [(adapter.enter(guide, (one,)), resize_batch(one, small)) for one in kept]
    prepared = [(made[0].contiguous(memory_format=layout), reduced) for made, reduced in pairs if made is not None]
    reordered = deepcopy(guide)
    (last,) = [module for module in reordered.modules() if isinstance(module, nn.Linear)]
    last.weight.data, last.bias.data = last.weight[list(order)], last.bias[list(order)]
    labels = torch.arange(batch) % CLASSES
    arms = {
        ADAPTED: Arm(
            adapt(guide, adapter),
            adapt(deepcopy(pupil), InputAdapter(size=small)),
            [(one, one) for one in kept],
            labels,
        ),
        PREPARED: Arm(reordered, pupil, prepared, labels),
    }
    for arm in arms.values():
        arm.teacher.to(memory_format=layout)
        arm.student.to(memory_format=layout)
    return arms


def check_close(arms: dict[str, Arm]) -> None:
    one, other = (arm.student.state_dict().values() for arm in arms.values())
    apart = max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))
    print(f"weights and buffers differ by at most {apart:.1e}")
    assert apart <= TOLERANCE, "the two arms do not compute the same"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--teacher", default="torchvision:resnet18", help="(default: torchvision:resnet18)")
    parser.add_argument("--student", default="resnet20", help="(default: resnet20)")
    parser.add_argument("--sizes", type=int, nargs=2, default=(128, 64), help="of their images (default: 128 64)")
    parser.add_argument("--batch", type=int, default=32, help="images in a step (default: 32)")
    parser.add_argument("--rounds", type=int, default=30, help="steps of both (default: 30)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"input adapter: {arguments.student}, {arguments.teacher}, batch {arguments.batch}, process time, one thread")
    arms = build_arms(arguments.teacher, arguments.student, tuple(arguments.sizes), arguments.batch)
    steps = {name: arm.step() for name, arm in arms.items()}
    for step in steps.values():
        step(0)
    check_close(arms)
    spent = alternate(steps, rounds=arguments.rounds, warm=2)
    print(markdown(spent, [Comparison(ADAPTED, PREPARED, LIMIT)]))
    print(milliseconds(spent))


if __name__ == "__main__":
    main()

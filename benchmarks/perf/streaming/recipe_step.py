"""What a recipe's views, mixing and average of the weights cost in a training step at 224 pixels.

- bare: images as they are kept, normalised; cross entropy; SGD.
- recipe: random resized crops and flips, mixup, and an average of the weights, renewed in every step.
- full: with the operations of TrivialAugmentWide, erased rectangles and cutmix besides.

All begin with the same weights and take the same images; each is stepped as the loop steps it, batches included. Run it
from the project's root: `python -m benchmarks.perf.streaming.recipe_step`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

import torch

from automl_kd.data import Dataset, Split, epoch_rows
from automl_kd.losses.cross_entropy import label_loss
from automl_kd.models import build_model
from automl_kd.space import InputShape
from automl_kd.spec import Recipe
from automl_kd.training.training_run import TrainingRun
from benchmarks.perf.alternation import Comparison, alternate, markdown, milliseconds

BARE, RECIPE, FULL = "bare", "recipe", "full"
LIMIT = 1.05
CLASSES = 100


def recipes(batch: int) -> dict[str, Recipe]:
    bare = Recipe(epochs=1000, batch_size=batch, lr=0.01, augment="none")
    recipe = replace(bare, augment="random-resized-crop", mixup=0.2, ema=0.999)
    return {BARE: bare, RECIPE: recipe, FULL: replace(recipe, policy="trivial", erasing=0.1, cutmix=1.0)}


def noise(images: int, size: int) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, 3, size, size), dtype=torch.uint8, generator=generator)
    split = Split(pixels, torch.arange(images) % CLASSES, torch.arange(images))
    names = tuple(map(str, range(CLASSES)))
    shape = InputShape(3, size, size, CLASSES)
    return Dataset("noise", shape, split, split, split, (0.5,) * 3, (0.3,) * 3, "crop-flip", size // 16, names)


def stepper(student: str, dataset: Dataset, recipe: Recipe) -> Callable[[int], object]:
    """The loop's work of one step, given its number: the batch, what is done with it, and the average."""
    torch.manual_seed(0)
    network = build_model(student, dataset.shape).to(memory_format=torch.channels_last)
    network.to(dataset.train.labels.device)
    run = TrainingRun(network, dataset, recipe, seed=0)
    run.student.train()
    rows = {"epoch": 0, "rows": torch.empty(0)}

    def step(number: int) -> None:
        epoch, place = number // run.steps + 1, number % run.steps
        if rows["epoch"] != epoch:
            rows.update(epoch=epoch, rows=epoch_rows(len(dataset.train), recipe, seed=run.order_seed, epoch=epoch))
        held = rows["rows"]
        assert isinstance(held, torch.Tensor)
        batch = run.batch(held[place * recipe.batch_size : (place + 1) * recipe.batch_size], epoch, place)
        run.take(lambda piece: {"ce": label_loss(run.student(piece.inputs), piece)}, batch, number)
        if run.average:
            run.average.renew(number)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--student", default="torchvision:resnet18", help="(default: torchvision:resnet18)")
    parser.add_argument("--size", type=int, default=224, help="height and width of images (default: 224)")
    parser.add_argument("--batch", type=int, default=32, help="images in a step (default: 32)")
    parser.add_argument("--rounds", type=int, default=20, help="steps of each (default: 20)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"recipe step: {arguments.student} at {arguments.size}, batch {arguments.batch}, process time, one thread")
    dataset = noise(4 * arguments.batch, arguments.size)
    made = recipes(arguments.batch)
    steps = {name: stepper(arguments.student, dataset, recipe) for name, recipe in made.items()}
    spent = alternate(steps, rounds=arguments.rounds, warm=2)
    print(markdown(spent, [Comparison(RECIPE, BARE, LIMIT), Comparison(FULL, BARE)]))
    print(milliseconds(spent))


if __name__ == "__main__":
    main()

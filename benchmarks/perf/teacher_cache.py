"""What the teacher cache saves: a step of plain KD beside one of training from scratch, and a whole search of students.

- steps: the same student on the same batches from scratch, by KD with a teacher that is asked, by KD that finds in the
  cache what the teacher said, and by KD that fills the cache. What is measured is the loop's whole step.
- search: eight students between ResNet-8 and ResNet-20 taught by ResNet-32, one after the other in this process, each
  for a few epochs from set-up to its last report, with a cache that is empty at first and without one. Both searches
  must come to the same weights.
- rounding: what `teacher.outputs` other than "exact" changes in what a trained teacher says of digits.

Run it from the project's root: `python -m benchmarks.perf.teacher_cache`.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from automl_kd.data import epoch_order
from automl_kd.methods import run_trial
from automl_kd.methods.base import Method
from automl_kd.methods.kd import PlainKD
from automl_kd.methods.scratch import Scratch
from automl_kd.models.features import FeatureExtractor
from automl_kd.space import Architecture
from automl_kd.spec import DataSpec, Recipe, TeacherCacheOptions, TeacherSpec, TrialPaths, TrialSpec, teacher_trial
from automl_kd.tasks.soft_targets import kd_loss
from automl_kd.teacher_cache.precision import pack, unpack
from automl_kd.training.training_run import TrainingRun
from automl_kd.training.trial import load_teacher, prepare_trial
from benchmarks.perf.alternation import Comparison, alternate, markdown, milliseconds, uncollected
from benchmarks.perf.standing import Scene, Standing, silent, together

SCRATCH, ASKED, BANKED, FILLING = "from scratch", "KD, teacher asked", "KD, cache", "KD, filling the cache"
METHODS: Mapping[str, Method] = {SCRATCH: Scratch(), ASKED: PlainKD(), BANKED: PlainKD(), FILLING: PlainKD()}
COMPARISONS = (
    Comparison(BANKED, SCRATCH, 1.05),
    Comparison(FILLING, ASKED),
    Comparison(ASKED, SCRATCH),
    Comparison(BANKED, ASKED),
)
WARM = 2

KEPT = TeacherCacheOptions(keep="logits")
DEPTHS = tuple(itertools.product((1, 3), repeat=3))
"""Blocks in each stage of the eight students: ResNet-8 is (1, 1, 1) and ResNet-20 (3, 3, 3)."""

LEAST_GAIN = 1.4


def measure_steps(rounds: int, standing: dict[str, Standing]) -> None:
    total = WARM + rounds
    for number in range(total):
        with torch.no_grad():
            standing[FILLING].objective(standing[FILLING].batch(number))  # type: ignore[operator]  # plain KD's is one
    turns = {name: standing[name].step for name in (SCRATCH, ASKED, BANKED)}
    # The one that fills goes on where the cache ends.
    spent = alternate(
        {**turns, FILLING: lambda number: standing[FILLING].step(total + number)}, rounds=rounds, warm=WARM
    )
    asked, banked = (standing[name].run.student.state_dict().values() for name in (ASKED, BANKED))
    assert all(map(torch.equal, asked, banked)), "the cache changed what the student learns"
    print(markdown(spent, COMPARISONS))
    print(milliseconds(spent))


def measure_search(scene: Scene, rounds: int) -> None:
    """Process time of both searches, student by student in turn, in every round with an empty cache."""
    ratios = []
    with tempfile.TemporaryDirectory() as folder, uncollected():
        root = Path(folder)
        paths = scene.prepare(root)
        for number in range(rounds):
            spent = one_search(replace(scene.spec(root), seed=number), replace(paths, trial=root / str(number)))
            ratios.append(spent[False] / spent[True])
            print(f"without the cache {spent[False]:.1f} s, with it {spent[True]:.1f} s, ratio {ratios[-1]:.3f}")
    print(f"a search of {len(DEPTHS)} students: {statistics.median(ratios):.3f} times faster, limit {LEAST_GAIN}")


def one_search(spec: TrialSpec, paths: TrialPaths) -> dict[bool, float]:
    """Seconds of the processor with and without a cache, which the first student fills."""
    spent = {False: 0.0, True: 0.0}
    for number, depths in enumerate(DEPTHS):
        values = {f"depth{stage}": depth for stage, depth in enumerate(depths, start=1)}
        one = replace(spec, space="search_spaces.resnet_depth:SPACE", architecture=Architecture.of(values), method="kd")
        folders = {banked: paths.trial / f"{number}-{banked}" for banked in spent}
        for banked in (True, False) if number % 2 else (False, True):
            bank = KEPT if banked else paths.teacher_cache
            begun = time.process_time()
            run_trial(one, silent, replace(paths, trial=folders[banked], teacher_cache=bank))
            spent[banked] += time.process_time() - begun
        left = [torch.load(folder / "student.pt", weights_only=True).values() for folder in folders.values()]
        assert all(map(torch.equal, *left)), "the cache changed what a student learnt"
    return spent


def measure_rounding() -> None:
    """What rounded outputs of a trained teacher differ by, on the views of an epoch of digits."""
    data = DataSpec(name="digits")
    teacher = TeacherSpec(model="resnet20", recipe=Recipe(epochs=6, lr=0.1))
    with tempfile.TemporaryDirectory() as folder:
        root, lesson = Path(folder), teacher_trial(teacher, data)
        paths = TrialPaths(trial=root / "teachers" / lesson.key, teachers=root / "teachers", data=root)
        run_trial(lesson, silent, paths)
        spec = replace(lesson, teacher=teacher)
        context = prepare_trial(spec, paths)
        taught = FeatureExtractor(load_teacher(context))
    run = TrainingRun(context.student, context.dataset, spec.recipe, spec.seed)
    rows = epoch_order(len(run.dataset.train), seed=run.order_seed, epoch=1)
    with torch.no_grad():
        exact = taught(run.batch(rows, 1).inputs)
    print("| outputs | bytes of an image | logits differ by at most | KL at temperature 1 | at 4 |")
    print("|---|---|---|---|---|")
    for precision in ("exact", "float16", "top5", "top3"):
        kept = pack(exact, precision)
        heard = unpack(kept, precision, exact.logits.shape[1]).logits
        size = sum(value.nbytes for value in kept.values()) / len(rows)
        divergences = (float(kd_loss(heard, exact.logits, one)) / one**2 for one in (1.0, 4.0))
        far = float((heard - exact.logits).abs().max())
        print(f"| {precision} | {size:.0f} | {far:.1e} | {' | '.join(f'{one:.1e}' for one in divergences)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--student", default="resnet20", help="of the steps (default: resnet20)")
    parser.add_argument("--teacher", default="resnet32", help="(default: resnet32)")
    parser.add_argument("--batch", type=int, default=64, help="images in a step (default: 64)")
    parser.add_argument("--rounds", type=int, default=40, help="steps of everyone (default: 40)")
    parser.add_argument("--epochs", type=int, default=4, help="of each trial of the search (default: 4)")
    parser.add_argument("--searches", type=int, default=2, help="(default: 2)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"teacher cache: {arguments.student}, {arguments.teacher}, batch {arguments.batch}, process time, one thread")
    recipe = Recipe(epochs=100, batch_size=arguments.batch)
    scene = Scene(student=arguments.student, teacher=arguments.teacher, recipe=recipe)
    if arguments.rounds:
        together(scene, METHODS, partial(measure_steps, arguments.rounds), banks={BANKED: KEPT, FILLING: KEPT})
    measure_rounding()
    if arguments.searches:
        measure_search(replace(scene, recipe=replace(recipe, epochs=arguments.epochs)), arguments.searches)


if __name__ == "__main__":
    main()

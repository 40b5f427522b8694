"""How near a search on texts comes to what the teacher cache allows: eight students, taught one after the other.

A fixed teacher says the same of a text in every epoch, so one pass over the texts serves all. n students take e epochs
each; an epoch costs s seconds of the processor for a student and t for the teacher. A search that asks each time costs
n e (s + t), and one with the cache at best n e s + t. The script measures s (training without a teacher, from set-up to
the last report), t and the search with the cache, which is empty at first, and prints how much of the bound
n e (s + t) / (n e s + t) it reaches. Limit 0.9.

Run it from the project's root: `python -m benchmarks.perf.texts.search`.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from automl_kd.data import load_data
from automl_kd.methods import run_trial
from automl_kd.space import Architecture
from automl_kd.spec import TeacherCacheOptions, TrialPaths, TrialSpec
from automl_kd.training.trial import load_teacher, prepare_trial
from benchmarks.perf.alternation import uncollected
from benchmarks.perf.standing import silent
from benchmarks.perf.texts.scene import parse, student

EPOCHS = 3
STUDENTS = tuple(
    Architecture.of({**dict(student(layers).as_dict()), "width": width})
    for layers in (1, 2)
    for width in (96, 192, 288, 384)
)
LEAST = 0.9


def seconds_of(spec: TrialSpec, paths: TrialPaths) -> float:
    begun = time.process_time()
    run_trial(spec, silent, paths)
    return time.process_time() - begun


def one_round(plain: TrialSpec, paths: TrialPaths, number: int) -> Mapping[str, float]:
    """Seconds of all students without a teacher, and by KD with a cache that is empty at first."""
    found = {"scratch": 0.0, "cached": 0.0}
    for place, architecture in enumerate(STUDENTS):
        for method, way in (("kd", "cached"), ("scratch", "scratch"))[:: 1 if place % 2 else -1]:
            spec = replace(plain, architecture=architecture, method=method, seed=number)
            spec = replace(spec, teacher=None) if method == "scratch" else spec
            cache = TeacherCacheOptions(keep="logits" if way == "cached" else "off")
            trial = paths.trial / f"{number}-{place}-{way}"
            found[way] += seconds_of(spec, replace(paths, trial=trial, teacher_cache=cache))
    return found


def teacher_seconds(plain: TrialSpec, paths: TrialPaths) -> float:
    """Of the teacher's passes over the batches of one epoch."""
    context = prepare_trial(plain, paths)
    teacher, texts = load_teacher(context), load_data(plain.data, paths.data).train
    lengths = texts.lengths
    assert lengths is not None
    rows = torch.split(lengths.argsort(), plain.recipe.batch_size)
    begun = time.process_time()
    with torch.inference_mode():
        for one in rows:
            teacher(texts.inputs[one, : int(lengths[one].max())])
    return time.process_time() - begun


def main() -> None:
    found, scene = parse(__doc__ or "", rounds=3)
    reached = []
    scene = replace(scene, recipe=replace(scene.recipe, epochs=EPOCHS))
    print(f"search of {len(STUDENTS)} students on texts, {EPOCHS} epochs each, process time, one thread")
    for number in range(found.rounds):
        with tempfile.TemporaryDirectory() as folder, uncollected():
            paths = scene.prepare(Path(folder))
            plain = scene.spec(Path(folder), method="kd")
            teacher = statistics.median(teacher_seconds(plain, paths) for _ in range(3))
            spent = one_round(plain, paths, number)
        epochs = EPOCHS * len(STUDENTS)
        asking = spent["scratch"] + epochs * teacher
        bound, measured = asking / (spent["scratch"] + teacher), asking / spent["cached"]
        reached.append(measured / bound)
        print(
            f"s {spent['scratch'] / epochs:.2f} s, t {teacher:.2f} s, bound {bound:.3f}, measured {measured:.3f}, "
            f"share {reached[-1]:.3f}"
        )
    print(f"median share {statistics.median(reached):.3f}, limit {LEAST}")


if __name__ == "__main__":
    main()

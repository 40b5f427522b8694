"""How near a search with the teacher cache comes to what its passes allow: four students on real images, streamed.

Run it from the project's root: `python -m benchmarks.perf.streaming.cache_bound FOLDER [--images 200] [--epochs 3]`.

FOLDER has class folders of images, such as imagenette's. Every view is a random crop, so a teacher's outputs are never
the same in two epochs. n students take e epochs each; an epoch costs s seconds of the processor for a student and t for
the teacher. Without the cache a search costs n e (s + t), and with it at best n e s + p t, where p passes over the
images must be made: one for each of the e epochs, as all students see the same views. The script measures s (training
from scratch, decoding included), t (KD less s) and the search with the cache, each in turn, and prints how much of the
bound n e (s + t) / (n e s + p t) the search reaches. Limit 0.9.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from automl_kd.methods import run_trial
from automl_kd.models import build_model
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.space import Architecture, InputShape
from automl_kd.spec import (
    DataSpec,
    LoaderOptions,
    Recipe,
    TeacherCacheOptions,
    TeacherSpec,
    TrialPaths,
    TrialSpec,
    teacher_trial,
)
from benchmarks.perf.standing import silent
from benchmarks.perf.streaming.processes import adopt_orphans, settled_seconds

DEPTHS = ((1, 1, 1), (3, 1, 1), (1, 3, 1), (1, 1, 3))
LEAST = 0.9


def spec_of(depths: tuple[int, int, int], plain: TrialSpec, method: str) -> TrialSpec:
    values = {f"depth{stage}": depth for stage, depth in enumerate(depths, start=1)}
    return replace(plain, architecture=Architecture.of(values), method=method)


def seconds(spec: TrialSpec, paths: TrialPaths) -> float:
    """Of this process and of those that decode for it, by the clock of the processor."""
    begun = settled_seconds()
    run_trial(spec, silent, paths)
    return settled_seconds() - begun


def one_round(plain: TrialSpec, paths: TrialPaths, number: int) -> Mapping[str, float]:
    """Seconds of all students from scratch, by KD that asks, and by KD with a cache that is empty at first."""
    found = {"scratch": 0.0, "asked": 0.0, "cached": 0.0}
    plain = replace(plain, seed=number)
    for place, depths in enumerate(DEPTHS):
        ways = {"scratch": ("scratch", "off"), "asked": ("kd", "off"), "cached": ("kd", "logits")}
        for way in ways if place % 2 else reversed(ways):
            method, keep = ways[way]
            trial = paths.trial / f"{number}-{place}-{way}"
            cache = TeacherCacheOptions(keep="logits" if keep == "logits" else "off")
            spec = spec_of(depths, plain, method)
            spec = replace(spec, teacher=None) if method == "scratch" else spec
            found[way] += seconds(spec, replace(paths, trial=trial, teacher_cache=cache))
        weights = [torch.load(paths.trial / f"{number}-{place}-{way}" / "student.pt") for way in ("asked", "cached")]
        assert all(map(torch.equal, *(one.values() for one in weights))), "the cache changed what a student learns"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="class folders of images")
    parser.add_argument("--images", type=int, default=200, help="to train on (default: 200)")
    parser.add_argument("--epochs", type=int, default=3, help="of each student (default: 3)")
    parser.add_argument("--size", type=int, default=32, help="height and width (default: 32)")
    parser.add_argument("--teacher", default="torchvision:resnet18", help="(default: torchvision:resnet18)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    adopt_orphans()  # the processes that decode
    data = DataSpec(
        name=f"folder:{options.folder.absolute()}",
        resolution=options.size,
        train_images=options.images,
        loading="stream",
    )
    recipe = Recipe(epochs=options.epochs, batch_size=50, augment="random-resized-crop")
    teacher = TeacherSpec(model=options.teacher, recipe=recipe)
    plain = TrialSpec(
        space="search_spaces.resnet_depth:SPACE",
        architecture=Architecture(()),
        method="kd",
        data=data,
        teacher=teacher,
        recipe=recipe,
        seed=0,
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        loader = LoaderOptions(shared=False, threads=1)
        paths = TrialPaths(trial=root / "trials", teachers=root / "teachers", data=root / "data", loader=loader)
        torch.manual_seed(0)
        classes = len([one for one in (options.folder / "train").iterdir() if one.is_dir()])
        network = build_model(options.teacher, InputShape(3, options.size, options.size, classes))
        save_weights(network, paths.teachers / teacher_trial(teacher, data).key / "student.pt")
        shares = []
        for number in range(options.rounds + 1):
            begun = time.monotonic()
            found = one_round(plain, paths, number)
            if number:  # the first one warms
                shares.append(report(found, options.epochs, time.monotonic() - begun))
        low, _, high = statistics.quantiles(shares, n=4) if len(shares) > 1 else (shares[0],) * 3
        print(f"median {statistics.median(shares):.3f} of the bound (quartiles {low:.3f} to {high:.3f}), limit {LEAST}")


def report(found: Mapping[str, float], epochs: int, clock: float) -> float:
    count = len(DEPTHS) * epochs
    student, teacher = found["scratch"] / count, (found["asked"] - found["scratch"]) / count
    bound = count * (student + teacher) / (count * student + epochs * teacher)
    gain = found["asked"] / found["cached"]
    print(
        f"s = {student:.2f} s, t = {teacher:.2f} s, bound {bound:.2f}, reached {gain:.2f} = {gain / bound:.3f} of it "
        f"({clock:.0f} s)",
        flush=True,
    )
    return gain / bound


if __name__ == "__main__":
    main()

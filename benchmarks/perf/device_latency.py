"""Predicted against measured latency of students of another draw, and what ONNX Runtime and eight bits are worth.

Run it from the project's root with nothing else running: `python -m benchmarks.perf.device_latency PROFILE
[--students 50] [--seed 1] [--ratios 10] [--work FOLDER]`; PROFILE is what `automl-kd profile` wrote on this machine.

- *predicted against measured*: Spearman and median error; the predictor is not fitted again. Limits 0.95 and 10 %.
- *eager over ONNX Runtime*: a pass of one image by torch over the same of the exported student by ONNX Runtime, one
  thread. Median over students; limit 1.3.
- *float over int8*: the exported graph over the same in eight bits, of the profile's space; limit 1.5 on `resnet`.

Students of the draw are measured by measure.py in a process of its own, as a profile's. Measurements are kept in
FOLDER, and a run that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from automl_kd import files
from automl_kd.export.graphs import StudentGraph, trace_program, write_onnx
from automl_kd.export.int8 import quantise_onnx
from automl_kd.models import build, load_space
from automl_kd.models.costs.latency import measure_latency
from automl_kd.profiling import DeviceProfile, is_prepared, measure, measure_folder, prepare_folder
from automl_kd.profiling.predictor import HeldOutError
from automl_kd.profiling.preparing import draw_networks, read_list
from automl_kd.space import Architecture, TextShape

LIMITS = {"spearman": 0.95, "median_error": 0.10, "eager": 1.3, "int8": 1.5}
SECONDS = 1.0
"""For one graph, or one network."""


class RuntimeRatios(NamedTuple):
    """Milliseconds of one image: by torch, by ONNX Runtime, and in eight bits."""

    eager: float
    onnx: float
    int8: float


def held_out_error(profile: DeviceProfile, folder: Path, students: int, seed: int) -> HeldOutError:
    """Of `students` random points that the profile's fit has not seen."""
    plan = dataclasses.replace(profile.plan, networks=students + 1, operators=1, seed=seed)
    if not is_prepared(folder, plan):
        prepare_folder(folder, plan)
    path = measure_folder(folder, lambda done, total, _file: print(f"\r{done}/{total} ", end="", file=sys.stderr))
    times, space = files.read_json(path)["times"], load_space(plan.space)
    seen = {architecture for architecture, _ in profile.networks}
    measured, predicted = [], []
    for item in read_list(folder)["items"]:
        if "architecture" in item and (point := Architecture.of(item["architecture"])) not in seen:
            measured.append(times[item["file"]]["median_ms"])
            predicted.append(profile.predict(space, point, plan.shape))
            print(json.dumps({"student": space.label(point), "ms": measured[-1], "predicted_ms": predicted[-1]}))
    return HeldOutError.of(np.array(predicted), np.array(measured))


def compare_runtimes(profile: DeviceProfile, folder: Path, students: int, seed: int) -> list[RuntimeRatios]:
    """Of exports as they are handed on, with weights that are drawn."""
    space, shape = load_space(profile.plan.space), profile.plan.shape
    images = np.random.default_rng(0).normal(size=(50, shape.channels, shape.height, shape.width)).astype(np.float32)
    found = []
    for architecture in draw_networks(space, students, seed):
        model = build(space, architecture, shape, seed=0)
        plain, small = folder / "student.onnx", folder / "student.int8.onnx"
        write_onnx(trace_program(StudentGraph(model), shape), plain)
        quantise_onnx(plain, small, images)
        eager = measure_latency(model, shape, budget_seconds=SECONDS).ms
        graphs = [measure.measure_graph(path, 1, SECONDS)["median_ms"] for path in (plain, small)]
        found.append(RuntimeRatios(eager, *graphs))
        print(json.dumps({"student": space.label(architecture), **found[-1]._asdict()}))
    return found


def report_ratio(name: str, limit: float, ratios: Sequence[float]) -> None:
    low, median, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [*ratios] * 3
    print(f"{name}: median {median:.2f}, quartiles {low:.2f} to {high:.2f}, of {len(ratios)} students (limit {limit})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile", type=Path)
    parser.add_argument("--students", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ratios", type=int, default=10)
    parser.add_argument("--work", type=Path, help="(default: beside the profile, PROFILE.held-out)")
    options = parser.parse_args()
    profile = DeviceProfile.read(options.profile)
    if options.seed == profile.plan.seed:
        parser.error(f"--seed {options.seed} is the profile's own draw; take another")
    if options.ratios and isinstance(profile.plan.shape, TextShape):
        parser.error("ratios of runtimes are of images, and the profile is of texts; give --ratios 0")
    torch.set_num_threads(1)
    print(f"{profile.label}: its own held-out networks are {profile.describe_error()}")
    work = options.work or options.profile.with_suffix(".held-out")
    found = held_out_error(profile, work, options.students, options.seed)
    print(
        f"predicted against measured, {found.networks} students: Spearman {found.spearman:.3f} "
        f"(limit {LIMITS['spearman']}), median error {found.median_error:.1%} (limit {LIMITS['median_error']:.0%}), "
        f"largest {found.largest_error:.1%}"
    )
    if options.ratios:
        with tempfile.TemporaryDirectory() as folder:
            ratios = compare_runtimes(profile, Path(folder), options.ratios, options.seed)
        report_ratio("eager over ONNX Runtime", LIMITS["eager"], [one.eager / one.onnx for one in ratios])
        report_ratio("float over int8", LIMITS["int8"], [one.onnx / one.int8 for one in ratios])


if __name__ == "__main__":
    main()

"""Scoring a space or a sample of it by proxies, without any training: in batches, resumable, in shards."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from automl_kd import data as sets
from automl_kd import space as spaces
from automl_kd import spec_names, storage
from automl_kd.cluster.scoring_pool import ScoringTask, readings
from automl_kd.data import Dataset
from automl_kd.errors import ConfigError
from automl_kd.experiment.progress.events import Watcher
from automl_kd.experiment.progress.loading_stages import LoadingStages
from automl_kd.experiment.score_tensor import ScoreTensor, flattened
from automl_kd.experiment.sentences import in_a_sentence
from automl_kd.experiment.stages.proxy_filter import make_probes
from automl_kd.experiment.teacher_settings import (
    settle_member,
    settle_member_classes,
    settle_tokenizer,
    settle_view,
)
from automl_kd.hashing import hash_json
from automl_kd.models import load_space
from automl_kd.models.costs.cost import cost_of
from automl_kd.models.pickled import label_pickled
from automl_kd.proxies import aggregate_of, expand_proxies, proxy_entry
from automl_kd.proxies.base import OfCost
from automl_kd.results.store import parts
from automl_kd.results.store.folder import fetch_folder, lock, require_writable
from automl_kd.results.store.scores import rank_architectures, read_scores_file, write_columns
from automl_kd.space import Architecture, InputShape, SearchSpace
from automl_kd.spec import DataSpec, TeacherSpec

SCORING_VERSION = 1
"""Raise it when a proxy of the library changes its values, so that old scores are not reused."""

BATCH = 8
"""Functions that a worker reads at a time; what a kill can cost."""


WORTH_RAY = 8
"""Fewer batches than this are read in the time that Ray takes to start."""

MAX_EMPTY_DRAWS = 6
"""At most this many proxies are named on the screen."""


USUAL_IMAGES = 64
"""In a mini-batch, if there are so many."""

MOST_POINTS = 500_000
"""Of a space that is scored as a whole: a day's work, and some hundred megabytes of points."""


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """What decides scores. `sample`: how many distinct architectures are drawn, None for all of a finite space.

    `sample_seed` draws them, a smaller sample being part of a larger one; `seed` draws images and weights.
    `resolution`: of the students' images, 0 for their own. `proxy_teacher`: with "random" weights, or the "trained"
    ones that `teacher` brings. `task`, `tokenizer`: as of an experiment's data. `images`: in a mini-batch; 0 for
    `USUAL_IMAGES`, or all where there are fewer.
    """

    space: str
    proxies: tuple[str, ...]
    sample: int | None = 100
    sample_seed: int = 0
    seed: int = 0
    data: str = "digits"
    teacher: str = "resnet56"
    images: int = 0
    repeats: int = 1
    resolution: int = 0
    proxy_teacher: Literal["random", "trained"] = "random"
    tokenizer: str = ""
    task: str = "classification"

    def digest(self, data: str) -> str:
        """Names the scores: by what is asked, and the digest of the images' content."""
        asked = {**asdict(self), "images": self.images or USUAL_IMAGES}
        for name in ("resolution", "proxy_teacher", "tokenizer", "task"):  # later than the first scores that are kept
            if asked[name] == getattr(Scoring, name):
                del asked[name]
        record = {**spec_names.stored_scoring(asked), "data": data, "version": SCORING_VERSION, "batch": BATCH}
        return hash_json(record)


@dataclass(frozen=True, kw_only=True)
class Labour:
    """Who does it. `workers`: processes, 0 for one on each processor. `shard`: (i, n), the i-th of n equal parts."""

    workers: int = 0
    gpus: float = 0.0
    address: str = ""
    shard: tuple[int, int] = (1, 1)


def score_space(
    scoring: Scoring, labour: Labour, *, out: Path, data_root: Path, watcher: Watcher
) -> tuple[Path, pd.DataFrame | None]:
    """The file of scores and the ranked frame; for a shard that is not the last one done, the folder of parts and None.

    Scores of an earlier run of the same command are reused, however it ended.
    """
    require_writable(out)
    if scoring.sample is None:
        require_countable(load_space(scoring.space))
    fetch_folder(out / "scores")
    new = [one for one in (out / "scores", out) if not one.exists()]
    teacher = settle_member(TeacherSpec(model=scoring.teacher))
    if scoring.proxy_teacher == "trained" and not teacher.checkpoint:
        raise ConfigError(
            f"{scoring.teacher!r} brings no weights, and a trained teacher was asked for; name one that does, such as "
            "timm:local-dir:PATH, or leave the weights random"
        )
    dataset = load_scored_data(scoring, teacher, data_root, watcher)
    scoring = settle_images(scoring, len(dataset.train))
    account = sets.account_of(dataset, data_root)
    watcher.note(account["line"])
    name = scoring.digest(account["digest"])
    file, folder = out / "scores" / f"{name}.parquet", out / "scores" / f"parts-{name}"
    if file.exists():
        watcher.note(f"scored before, read from {storage.name_addresses(str(file))}")
    else:
        space = load_space(scoring.space)
        points = DistinctPoints.of(space, scoring)
        teacher = settle_member_classes(teacher, dataset) if scoring.proxy_teacher == "trained" else teacher
        if not read_everything(scoring, labour, points, dataset, teacher, folder, watcher) and not file.exists():
            return folder, None
        try:
            with lock(folder, wait=True):  # the last two shards may end together
                if not file.exists():
                    write_score_table(scoring, space, points, dataset.student_shape, file, folder)
        except BaseException:
            if not parts.finished_batches(folder):
                parts.remove_batches(folder, new=new)
            raise
        parts.remove_batches(folder)
    scores = read_scores_file(file)
    report_failures(scores, watcher)
    return file, rank_architectures(scores)


def load_scored_data(scoring: Scoring, teacher: TeacherSpec, root: Path, watcher: Watcher) -> Dataset:
    """The set that is scored on: streamed where a search would stream it, so that only what is looked at is decoded."""
    shown = LoadingStages(watcher)
    spec = sets.settle_loading(settle_data(scoring, teacher), root, random_crops=False, notify=shown)
    return sets.load_data(spec, root, notify=shown)


def settle_images(scoring: Scoring, most: int) -> Scoring:
    """With the number of images in a mini-batch. `ConfigError` for one that was given and is too large."""
    if scoring.images > most:
        raise ConfigError(f"a batch of {scoring.images} images was asked for, but {scoring.data} has {most}")
    return replace(scoring, images=scoring.images or min(USUAL_IMAGES, most))


def settle_data(scoring: Scoring, teacher: TeacherSpec) -> DataSpec:
    """What is loaded: with a view for a teacher that has weights, and with a tokenizer for texts."""
    asked: dict[str, Any] = {"resolution": scoring.resolution, "tokenizer": scoring.tokenizer, "task": scoring.task}
    spec = DataSpec(name=scoring.data, **asked)
    spec = settle_tokenizer(sets.resolve_path(spec), teacher)
    if spec.name.startswith(sets.TEXTS) and not spec.tokenizer:
        raise ConfigError(
            "texts become tokens by a tokenizer, and none is named; give --tokenizer (in Python, data's tokenizer), or "
            "a teacher hf:FOLDER that has one"
        )
    return settle_view(spec, teacher) if scoring.proxy_teacher == "trained" else spec


def read_everything(
    scoring: Scoring,
    labour: Labour,
    points: DistinctPoints,
    dataset: Dataset,
    teacher: TeacherSpec,
    folder: Path,
    watcher: Watcher,
) -> bool:
    """Have this shard's functions read; whether those of all shards are."""
    looks = looking(scoring.proxies)
    names = ", ".join(scoring.proxies) if len(scoring.proxies) <= MAX_EMPTY_DRAWS else f"{len(scoring.proxies)} proxies"
    title = f"scoring {len(points.architectures)} architectures by {names}"
    if not looks:
        watcher.stage(title, len(points.architectures), "architectures")
        return True
    images, draws, seed = scoring.images, scoring.repeats, scoring.seed
    weights = storage.local_path(teacher.checkpoint) if scoring.proxy_teacher == "trained" else None
    name = f"teacher {label_pickled(teacher.members[0].model)!r}, with which proxies compare students,"
    with in_a_sentence(name, dataset.student_shape, "name another teacher, or proxies that need none"):
        probes = make_probes(dataset, looks, teacher, images=images, draws=draws, seed=seed, weights=weights)
    task = ScoringTask(scoring.space, looks, probes, seed)
    return read_functions(task, points.functions, folder, labour, watcher, title)


def looking(proxies: Sequence[str]) -> tuple[str, ...]:
    """Those that look at a network, and do not only count."""
    return tuple(name for name in expand_proxies(proxies) if not isinstance(proxy_entry(name).proxy, OfCost))


def write_score_table(
    scoring: Scoring,
    space: SearchSpace,
    points: DistinctPoints,
    shape: InputShape,
    file: Path,
    folder: Path,
) -> None:
    """Make the table of the parts. `ConfigError` if nothing but failures is in it; then nothing is left."""
    columns = assemble_scores(
        scoring, space, points, shape, parts.read_batches(folder) if looking(scoring.proxies) else None
    )
    if reason := why_hopeless(scoring, columns):
        parts.remove_batches(folder)
        raise ConfigError(reason)
    write_columns(file, columns)


@dataclass(frozen=True, eq=False)
class DistinctPoints:
    """Architectures, and for each the place of its function among the distinct `functions`."""

    architectures: list[Architecture]
    functions: list[Architecture]
    place: np.ndarray

    @staticmethod
    def of(space: SearchSpace, scoring: Scoring) -> DistinctPoints:
        chosen = (
            list(spaces.enumerate_all(space))
            if scoring.sample is None
            else draw_distinct_points(space, scoring.sample, scoring.sample_seed)
        )
        stand_ins = chosen
        if (canonical := space.canonical) is not None:
            stand_ins = [Architecture.of(canonical(one.as_dict())) for one in chosen]
        places = {one: number for number, one in enumerate(dict.fromkeys(stand_ins))}
        return DistinctPoints(chosen, list(places), np.array([places[one] for one in stand_ins]))


def read_functions(
    task: ScoringTask, functions: Sequence[Architecture], folder: Path, labour: Labour, watcher: Watcher, title: str
) -> bool:
    """Have this shard's functions read, each batch on disk as soon as it is; whether those of all shards are."""
    batches = [functions[start : start + BATCH] for start in range(0, len(functions), BATCH)]
    shard, shards = labour.shard
    ours = range(shard - 1, len(batches), shards)
    present = parts.finished_batches(folder)
    todo = [number for number in ours if number not in present]
    total = sum(len(batches[number]) for number in ours)
    done = total - sum(len(batches[number]) for number in todo)
    watcher.stage(title, total, "architectures")
    watcher.step(done)
    workers = labour.workers or (count_workers(labour.address) if len(todo) >= WORTH_RAY else 1)
    chosen = [batches[number] for number in todo]
    found = readings(task, chosen, workers=workers, gpus=labour.gpus, address=labour.address) if todo else ()
    for position, read in found:
        parts.write_batch(folder, todo[position], flattened(todo[position] * BATCH, read))
        done += len(read)
        watcher.step(done)
    fetch_folder(folder)  # what other machines read meanwhile
    return len(parts.finished_batches(folder)) == len(batches)


def count_workers(address: str) -> int:
    """A worker for each processor that this process may use; on a cluster as many as that has room for."""
    if address or os.environ.get("RAY_ADDRESS"):
        return sys.maxsize
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def assemble_scores(
    scoring: Scoring, space: SearchSpace, points: DistinctPoints, shape: InputShape, frame: pd.DataFrame | None
) -> dict[str, object]:
    """Columns of the table of scores: for each architecture in turn, the proxies in the order asked."""
    draws, chosen = scoring.repeats, points.architectures
    cube = ScoreTensor({}, {}, {})
    if frame is not None:
        cube = ScoreTensor.of(frame, len(points.functions), draws, points.place)
    costs = [cost_of(space, one, shape) for one in chosen]
    for name in expand_proxies(scoring.proxies):
        if isinstance(proxy := proxy_entry(name).proxy, OfCost):
            cube.count(name, proxy.measure, costs, draws)
    for name in scoring.proxies:
        if (aggregate := aggregate_of(name)) is not None:
            cube.aggregate(name, aggregate)
    names = scoring.proxies
    values = np.stack([cube.values[name] for name in names])  # (proxies, repeats, architectures)
    spread = values.std(axis=1, ddof=1) if draws > 1 else np.where(np.isnan(values[:, 0]), np.nan, 0.0)
    among = [None if aggregate_of(name) is None else len(chosen) for name in names]
    repeated = {
        "architecture_id": [one.key for one in chosen],
        "values_json": [json.dumps(one.as_dict()) for one in chosen],
        "student": [space.label(one) for one in chosen],
        "params": [cost.params for cost in costs],
        "macs": [cost.macs for cost in costs],
    }
    return {
        **{name: np.repeat(np.array(column), len(names)) for name, column in repeated.items()},
        "proxy": np.tile(np.array(names, dtype=object), len(chosen)),
        "score": values.mean(axis=1).T.ravel(),
        "spread": spread.T.ravel(),
        "seconds": np.stack([cube.seconds[name].sum(0) for name in names]).T.ravel(),
        "error": np.stack([cube.errors[name] for name in names]).T.ravel(),
        "space": scoring.space,
        "dataset": scoring.data,
        "teacher": scoring.teacher,
        "seed": scoring.seed,
        "repeats": draws,
        "images": scoring.images,
        "among": np.tile(np.array(among, dtype=object), len(chosen)),
    }


def require_countable(space: SearchSpace) -> None:
    """`ConfigError` for a space of too many points to score them all, found without making one."""
    if (count := spaces.count_points(space)) > MOST_POINTS:
        many = f"{count:.2g} architectures" if math.isfinite(count) else "no end of architectures"
        raise ConfigError(
            f"space {space.name!r} has {many}, and at most {MOST_POINTS:,} are scored as a whole; give --sample (in "
            "Python, sample)"
        )


def why_hopeless(scoring: Scoring, columns: Mapping[str, object]) -> str:
    """The reason if no proxy succeeded on any architecture, so that they do not suit the space; else nothing."""
    errors = np.asarray(columns["error"])
    if not all(isinstance(error, str) for error in errors):
        return ""
    count = len(errors) // len(scoring.proxies)
    return f"proxy {scoring.proxies[0]!r} fails on all {count} architectures: {errors[0]}"


def report_failures(frame: pd.DataFrame, watcher: Watcher) -> None:
    """Note for each proxy how often it failed, and the first reason."""
    for proxy, ours in frame.groupby("proxy", observed=True):
        if len(reasons := ours["error"].dropna()):
            watcher.note(f"proxy {proxy!r} fails on {len(reasons)} of {len(ours)} architectures: {reasons.iloc[0]}")


def draw_distinct_points(space: SearchSpace, count: int, seed: int) -> list[Architecture]:
    """Distinct random points; fewer if many draws in a row bring nothing new."""
    rng = np.random.default_rng(seed)
    found: dict[Architecture, None] = {}
    for _ in range(20 * count + 100):
        found[spaces.sample_architecture(space, rng)] = None
        if len(found) == count:
            break
    return list(found)

"""The proxy filter: ranks a pool of untrained students by the proxies of an experiment."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from automl_kd.data import Dataset, plain_view
from automl_kd.errors import ConfigError, UnknownNameError
from automl_kd.models import build_model
from automl_kd.models.costs.cost import cost_of
from automl_kd.models.features import find_feature
from automl_kd.models.input_adapter import resize_batch
from automl_kd.models.pickled import label_pickled
from automl_kd.models.weights.checkpoint import load_weights
from automl_kd.proxies import expand_proxies, proxy_entry
from automl_kd.proxies.aggregate import average_ranks
from automl_kd.proxies.functions import NEED_LABELS
from automl_kd.proxies.probe import PROXY_FEATURES, Probe, make_probe
from automl_kd.proxies.score import ProxyScore, score_architectures
from automl_kd.proxies.scorer import Scorer
from automl_kd.results.store.row import ScoreRow
from automl_kd.seeds import derive
from automl_kd.space import Architecture, InputShape, SearchSpace
from automl_kd.spec import TeacherSpec
from automl_kd.training.trial import build_teacher


def make_probes(
    dataset: Dataset,
    proxies: Sequence[str],
    teacher: TeacherSpec,
    *,
    images: int,
    draws: int,
    seed: int,
    weights: Path | None = None,
    as_teaching: bool = False,
    device: str = "cpu",
) -> list[Probe]:
    """One probe per repeat: `images` random training images, without augmentation.

    The teacher, the first of several, is built only if a proxy asks for one: with random weights, as those proxies'
    papers have it, for images of the students; or with those of the file `weights`, and then as it teaches.
    `as_teaching`: as it teaches without a file too, untrained. `ConfigError` for a teacher without the maps that these
    proxies read, and for proxies that look at classes where labels are none.
    """
    refuse_label_readers(dataset, proxies)
    placed, as_teaching = dataset.to(device), as_teaching or weights is not None
    needy = [name for name in expand_proxies(proxies) if proxy_entry(name).needs_teacher]
    probes = []
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        chosen = rng.choice(len(dataset.train), size=min(images, len(dataset.train)), replace=False)
        rows = torch.from_numpy(np.sort(chosen)).to(device)
        network = probe_teacher(teacher.members[0], dataset, weights, as_teaching) if needy else None
        if network is not None:
            require_maps(network, teacher.members[0], needy[0])
        views, shape = plain_view(placed, placed.train, rows), dataset.student_shape
        pictures = resize_batch(views, dataset.student_size) if dataset.student_size else views
        trained = {"seed": None, "views": views} if as_teaching else {"seed": derive(seed, "teacher", draw)}
        labels = placed.train.labels[rows] if placed.task.labels_are_classes else torch.zeros_like(rows)
        probes.append(make_probe(pictures, labels, shape, network, **trained))
    return probes


def refuse_label_readers(dataset: Dataset, proxies: Sequence[str]) -> None:
    """`ConfigError` for proxies that look at the classes of labels where these are something else."""
    looking = [name for name in expand_proxies(proxies) if name in NEED_LABELS or ":" in name]
    if looking and not dataset.task.labels_are_classes:
        verb = "may look" if ":" in looking[0] else "looks"
        raise ConfigError(
            f"proxy {looking[0]!r} {verb} at classes, and data.task is {dataset.task.name!r}; choose proxies that look "
            "at no labels, such as zen, naswot, synflow or params"
        )


def probe_teacher(teacher: TeacherSpec, dataset: Dataset, weights: Path | None, as_teaching: bool) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        if not as_teaching:
            return build_model(teacher.model, dataset.student_shape)
        network = build_teacher(teacher, dataset)
    if weights is not None:
        load_weights(network, weights, teacher.weights)
    return network


def require_maps(network: nn.Module, teacher: TeacherSpec, proxy: str) -> None:
    for name in PROXY_FEATURES:
        try:
            find_feature(network, name)
        except UnknownNameError as error:
            raise ConfigError(
                f"proxy {proxy!r} compares students with a teacher's maps, and {label_pickled(teacher.model)!r} has no "
                f"{name!r}, as transformers have none; take another teacher, or proxies that need no teacher"
            ) from error


def rank_sums(scores: Sequence[ProxyScore], proxies: Sequence[str], count: int) -> list[float]:
    """For each of `count` architectures the sum of its ranks under `proxies`; nan where a proxy failed.

    `scores` as `score_architectures` returns them: for each architecture in turn, in the order of `proxies`.
    """
    values = np.array([one.value for one in scores]).reshape(count, len(proxies))
    sound = ~np.isnan(values).any(axis=1)
    sums = np.full(count, np.nan)
    sums[sound] = sum(average_ranks(column[sound]) for column in values.T)
    return [float(value) for value in sums]


Ranking = Callable[[Sequence[Architecture]], list[float]]
"""More is better; nan where an architecture cannot be judged."""


def by_student(rank: Ranking, student_of: Callable[[Architecture], Architecture]) -> Ranking:
    """`rank` for points that hold more than a student: each student is judged once, and its points are equal.

    Of several proposals with the best student, the sampler's first one is taken.
    """

    def rank_points(points: Sequence[Architecture]) -> list[float]:
        students = [student_of(point) for point in points]
        distinct = list(dict.fromkeys(students))
        found = dict(zip(distinct, rank(distinct), strict=True))
        return [found[student] for student in students]

    return rank_points


def screen(
    space: SearchSpace,
    proxies: Sequence[str],
    probes: Sequence[Probe],
    *,
    seed: int,
    on_scores: Callable[[Sequence[ProxyScore]], None],
) -> Ranking:
    """The score that ranks a pool: rank sums of the proxies. `on_scores` receives every score.

    `ConfigError` if every architecture of a pool fails under some proxy: the proxy does not suit the space.
    """
    scorer = Scorer(space, proxies, probes, seed=seed)

    def rank(architectures: Sequence[Architecture]) -> list[float]:
        scores = score_architectures(space, architectures, proxies, probes, seed=seed, scorer=scorer)
        on_scores(scores)
        sums = rank_sums(scores, proxies, len(architectures))
        if all(np.isnan(sums)):
            raise none_scored(scores, len(sums))
        return sums

    return rank


def none_scored(scores: Sequence[ProxyScore], count: int) -> ConfigError:
    """What `count` architectures of which none has all its scores are refused with."""
    reason = next(one for one in scores if one.error)
    return ConfigError(f"proxy {reason.proxy!r} fails on all {count} candidates: {reason.error}")


def score_row(
    one: ProxyScore,
    space: SearchSpace,
    shape: InputShape,
    *,
    reference: str,
    data: str,
    teacher: str,
    images: int,
    seed: int,
) -> ScoreRow:
    """A score as it is put on record."""
    cost = cost_of(space, one.architecture, shape)
    return ScoreRow(
        space=reference,
        architecture_id=one.architecture.key,
        values_json=json.dumps(one.architecture.as_dict()),
        student=space.label(one.architecture),
        proxy=one.proxy,
        score=None if one.error else one.value,
        spread=None if one.error else one.spread,
        repeats=one.draws,
        images=images,
        seconds=one.seconds,
        params=cost.params,
        macs=cost.macs,
        error=one.error or None,
        dataset=data,
        teacher=teacher,
        seed=seed,
    )

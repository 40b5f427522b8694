"""Whether the proxies of a search can score with its networks, before a teacher is trained or measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import torch

from automl_kd.experiment.context import ExperimentContext
from automl_kd.experiment.networks import TRIED_IMAGES
from automl_kd.experiment.sentences import in_a_sentence
from automl_kd.experiment.stages.proxy_filter import make_probes, none_scored
from automl_kd.experiment.student_budget import BUDGET_DRAWS
from automl_kd.models.pickled import label_pickled
from automl_kd.proxies.probe import Probe
from automl_kd.proxies.score import ProxyScore, score_architectures
from automl_kd.proxies.scorer import Scorer
from automl_kd.space import Architecture, sample_architecture
from automl_kd.training.trial import teacher_shape


def filters_students(context: ExperimentContext) -> bool:
    """Whether a search ranks students by proxies; they are not used if there is only one."""
    experiment = context.experiment
    return bool(experiment.search.proxy_filter and context.space.parameters and not experiment.comparison.methods)


def check_proxy_filter(context: ExperimentContext) -> None:
    """Raise `ConfigError` for proxies that cannot score. The teacher is untrained, as that makes no difference here.

    The default student is scored on a few images. Its failure may be due to them, or to this student: only then a pool
    is scored as in the search, until one student has all its scores.
    """
    if not filters_students(context):
        return
    with torch.random.fork_rng(devices=[]):
        if not failed_scores(context, [context.baseline], TRIED_IMAGES):
            return
        if failed := failed_scores(context, pool_of_students(context), context.experiment.search.probe_images):
            raise none_scored(failed, len(failed))


def failed_scores(context: ExperimentContext, students: Iterable[Architecture], images: int) -> list[ProxyScore]:
    """For each student the first proxy that fails; none as soon as one student has all its scores."""
    proxies, seed = context.experiment.search.proxy_filter, context.experiment.seed
    probes = probes_before_training(context, images)
    scorer = Scorer(context.space, proxies, probes, seed=seed)
    found: list[ProxyScore] = []
    for student in students:
        scores = score_architectures(context.space, [student], proxies, probes, seed=seed, scorer=scorer)
        failed = next((one for one in scores if one.error), None)
        if failed is None:
            return []
        found.append(failed)
    return found


def probes_before_training(context: ExperimentContext, images: int) -> list[Probe]:
    """One probe as the search makes them."""
    experiment, dataset = context.experiment, context.dataset
    first, trained = experiment.teacher.members[0], experiment.search.proxy_teacher == "trained"
    name = f"teacher {label_pickled(first.model)!r}, with which proxies compare students,"
    shape = teacher_shape(first, dataset) if trained else dataset.student_shape
    remedy = 'set search.proxy_teacher = "trained", or leave out proxies that need a teacher'
    with in_a_sentence(name, shape, *([] if trained else [remedy])):
        return make_probes(
            dataset,
            experiment.search.proxy_filter,
            experiment.teacher,
            images=images,
            draws=1,
            seed=experiment.seed,
            as_teaching=trained,
        )


def pool_of_students(context: ExperimentContext) -> Iterator[Architecture]:
    """As many as a pool holds, within the budget, the default one first."""
    rng = np.random.default_rng(context.experiment.seed)
    drawn = (sample_architecture(context.space, rng) for _ in range(BUDGET_DRAWS))
    yield context.baseline
    yield from islice(filter(context.within_budget, drawn), context.experiment.search.pool - 1)

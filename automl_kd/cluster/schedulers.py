"""Tune's schedulers that end trials early, as an experiment names them: all by validation accuracy and epochs.

"asha": Li et al. A System for Massively Parallel Hyperparameter Tuning. 2020. arXiv:1810.05934.
"hyperband": Li et al. Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization. 2018. arXiv:1603.06560.
"median": Golovin et al. Google Vizier: A Service for Black-Box Optimization. KDD 2017, section 3.2.2.

Populations ("pbt", "pb2") are no schedulers to Tune: their trials end at each change and are assigned again, see
`automl_kd.experiment.stages.population`. Tune's own refuse a searcher, keep their state in memory and draw from global
generators, so that no killed search could continue as the unbroken one would have.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from typing import Any

from ray.tune.schedulers import ASHAScheduler, MedianStoppingRule, TrialScheduler

from automl_kd.cluster.hyperband import Ghost, HyperBand, brackets
from automl_kd.cluster.sessions.session import concurrency
from automl_kd.cluster.tune_searcher import Assignment
from automl_kd.config import Resources, SearchSection


def make_scheduler(search: SearchSection | None, epochs: int) -> Forward | None:
    """The scheduler that `search` names for trials of `epochs`; None if each is to run to its end."""
    if search is None:
        return None
    common = {"time_attr": "epoch", "metric": search.objectives[0], "mode": "max"}
    if search.scheduler == "hyperband":
        plan = brackets(search.trials, epochs, search.reduction)
        return Forward(HyperBand(plan, time_attr="epoch", metric=search.objectives[0]))
    if search.grace_epochs >= epochs:
        return None
    if search.scheduler == "asha":
        rungs = {"grace_period": search.grace_epochs, "reduction_factor": search.reduction}
        return Forward(ASHAScheduler(**common, max_t=epochs, **rungs))
    if search.scheduler == "median":
        needed = {"grace_period": search.grace_epochs, "min_samples_required": search.median_trials}
        # A slice without end: it is not to pause a trial until there are others to compare with.
        return Forward(MedianStoppingRule(**common, min_time_slice=math.inf, **needed))
    return None


def max_unfinished_trials(search: SearchSection | None, resources: Resources) -> int:
    """How many trials Tune may have begun and not ended by now, of which there may be more when machines join.

    HyperBand pauses trials, which count, until its bracket is full; there what fits runs, and one more waits.
    """
    return sys.maxsize if search is not None and search.scheduler == "hyperband" else concurrency(resources)


def unhalved(search: SearchSection, epochs: int) -> str:
    """A sentence about trials that HyperBand compares with no other before their end; empty for other schedulers."""
    if search.scheduler != "hyperband":
        return ""
    never, sizes = 0, Counter[int]()
    for one in brackets(search.trials, epochs, search.reduction):
        never += one.unhalved
        sizes[one.rungs[0]] += one.size - one.unhalved
    phrases = ", ".join(f"{size} from epoch {first} on" for first, size in sorted(sizes.items()) if size)
    return f"hyperband compares {phrases or 'none'}; {never} of {search.trials} never"


class Forward(TrialScheduler):  # type: ignore[misc]  # ray is untyped here
    """A scheduler that sees each epoch of a trial once, in order.

    A trial that was paused, or whose process died, first reports again what it had reported, and one that failed
    reports an error without an epoch. Tune's schedulers reckon with neither: HyperBand would step back in time or raise
    a KeyError, and the median would count epochs twice.
    """

    def __init__(self, inner: TrialScheduler) -> None:
        super().__init__()
        self.inner = inner
        self.seen: dict[str, int] = {}
        self.repeated = 0

    @property
    def pauses(self) -> bool:
        """Whether trials may be begun that wait for others."""
        return isinstance(self.inner, HyperBand)

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        return bool(self.inner.set_search_properties(metric, mode, **spec))

    def on_trial_add(self, controller: Any, trial: Any) -> None:
        self.inner.on_trial_add(controller, trial)

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if not self.is_new(trial, result):
            return str(TrialScheduler.CONTINUE)
        self.seen[trial.trial_id] = result["epoch"]
        return str(self.inner.on_trial_result(controller, trial, result))

    def on_trial_complete(self, controller: Any, trial: Any, result: dict[str, Any]) -> None:
        if self.is_new(trial, result):
            self.inner.on_trial_complete(controller, trial, result)
        else:
            self.inner.on_trial_remove(controller, trial)

    def repeat(self, assignment: Assignment) -> int:
        """Show it, outside of Tune, what a trial of an earlier session reported; the epoch at which it ends that now.

        Its decisions about other trials are then those of a session in which this one was trained.
        """
        ghost = Ghost(f"repeated-{self.repeated}")
        self.repeated += 1
        self.on_trial_add(None, ghost)
        result: dict[str, Any] = {}
        for epoch, metrics in enumerate(assignment.replay or (), start=1):
            result = {**metrics, "epoch": epoch}
            if self.on_trial_result(None, ghost, result) == TrialScheduler.STOP:
                break
        self.on_trial_complete(None, ghost, result)
        return int(result.get("epoch", 0))

    def close(self) -> None:
        """There will be no more trials."""
        if isinstance(self.inner, HyperBand):
            self.inner.close()

    def is_new(self, trial: Any, result: dict[str, Any]) -> bool:
        return bool(result.get("epoch", 0) > self.seen.get(trial.trial_id, 0))

    def on_trial_error(self, controller: Any, trial: Any) -> None:
        self.inner.on_trial_error(controller, trial)

    def on_trial_remove(self, controller: Any, trial: Any) -> None:
        self.inner.on_trial_remove(controller, trial)

    def choose_trial_to_run(self, controller: Any) -> Any:
        return self.inner.choose_trial_to_run(controller)

    def debug_string(self) -> str:
        return str(self.inner.debug_string())

    @property
    def supports_buffered_results(self) -> bool:
        return bool(self.inner.supports_buffered_results)

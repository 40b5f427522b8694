"""Methods that train one student, one file or package each, and their table. May import `teacher_cache` and below.

A Python program makes them as `automl_kd.methods.KD(temperature=4.0)`: every option is checked when it is given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

from automl_kd import distributed, spec_names, storage
from automl_kd.config import parse_record
from automl_kd.config.strict import strict
from automl_kd.data import Dataset
from automl_kd.errors import ConfigError, UnknownNameError
from automl_kd.methods.base import CostEstimate, Method
from automl_kd.methods.data_fit import require_data
from automl_kd.methods.distpro.method import DistPro
from automl_kd.methods.distpro.search import DistProSearch
from automl_kd.methods.dry_run import DryRunnable
from automl_kd.methods.from_file import FromFile
from automl_kd.methods.kd import PlainKD as KD  # noqa: N814 - its public name
from automl_kd.methods.lkd.method import LKD
from automl_kd.methods.logits_only import require_more_than_logits
from automl_kd.methods.own_method import require_usable
from automl_kd.methods.prokt.method import ProKT
from automl_kd.methods.recipe_fit import require_recipe
from automl_kd.methods.schedule import follow
from automl_kd.methods.scratch import Scratch
from automl_kd.methods.subgraph.method import Subgraph
from automl_kd.methods.weighted_losses import WeightedLosses
from automl_kd.models import load_space
from automl_kd.models.costs.cost import count_cost
from automl_kd.registry import lookup_options
from automl_kd.results.store.row import FROM_FILE
from automl_kd.space import Scalar
from automl_kd.spec import Report, TrialPaths, TrialSpec, require_shares
from automl_kd.storage.content_hash import pin
from automl_kd.training.divergence import refuse_metrics
from automl_kd.training.trial import TrialContext, build_student, build_teacher, load_teacher, prepare_trial

__all__ = [
    "KD",
    "LKD",
    "METHODS",
    "CostEstimate",
    "DistPro",
    "DistProSearch",
    "Method",
    "ProKT",
    "Scratch",
    "Subgraph",
    "WeightedLosses",
    "cached_features",
    "dry_run_method",
    "ends_with_whole_epochs",
    "estimate_cost",
    "make_method",
    "method_type",
    "pin_files",
    "run_trial",
]

METHODS: Mapping[str, type[Method]] = {
    "scratch": strict(Scratch),
    "kd": strict(KD, "KD"),
    "weighted_losses": strict(WeightedLosses),
    "distpro_search": strict(DistProSearch),
    "distpro": strict(DistPro),
    "prokt": strict(ProKT),
    "lkd": strict(LKD),
    "subgraph": strict(Subgraph),
}


def method_type(name: str) -> type[Method]:
    """The table's entry, or the one that `module:attribute` refers to; `ConfigError` if that is no method."""
    if (new := spec_names.current_method(name)) != name:
        raise UnknownNameError(f"method {name!r} is now called {new!r}; write that")
    if name == FROM_FILE:  # of teachers alone, so not in the table
        return FromFile
    return lookup_options(METHODS, name, "method", ("needs_teacher", "macs", "__call__"))


def make_method(name: str, options: Mapping[str, Scalar]) -> Method:
    """Make the method called `name` with these options; raise `ConfigError` for unknown or invalid ones."""
    return parse_record(method_type(name), options, f"options of method {name!r}")


def makes_students(method: Method) -> bool:
    """Whether it makes its students itself, weights included."""
    return getattr(method, "makes_students", False)


def inherits(method: Method) -> bool:
    """Whether the students that it makes keep weights of the teacher."""
    return makes_students(method) and getattr(method, "inherit", False)


def uses_unlabelled(method: Method) -> bool:
    """Whether images without labels are among those that it trains on."""
    return getattr(method, "uses_unlabelled", False)


def cached_features(method: Method) -> tuple[str, ...] | None:
    """The teacher's feature layers that it reads from the cache beside the logits; None where nothing is read there."""
    found: tuple[str, ...] | None = getattr(method, "cached_features", None)
    return found


def ends_with_whole_epochs(method: Method) -> bool:
    """Whether its trainings cannot end inside an epoch."""
    return getattr(method, "whole_epochs", False)


def pin_files(method: Method) -> Method:
    """Add content hashes to the files in the options of `method`; raise `ConfigError` if one cannot be read.

    Such an option is a field with `metadata={"file": True}`; empty, it names none.
    """
    options: Any = method  # a dataclass, which the protocol cannot express
    pins: dict[str, str] = {}
    for item in dataclasses.fields(options):
        if item.metadata.get("file") and (name := getattr(options, item.name)):
            try:
                pins[item.name] = pin(name)
            except ConfigError as error:
                raise ConfigError(f"option {item.name}: {error}") from error
    pinned: Method = dataclasses.replace(options, **pins)
    return pinned


def dry_run_method(spec: TrialSpec, dataset: Dataset, paths: TrialPaths) -> None:
    """Raise an `AutoMLKDError` for a trial that is known to fail, before its teacher is trained. Writes nothing."""
    method = make_method(spec.method, spec.options)
    if spec.method not in METHODS and spec.method != FROM_FILE:
        require_usable(method, spec.method)
    require_recipe(spec.recipe, method, spec.method)
    require_data(spec.data, spec.recipe, method, spec.method)
    if getattr(method, "moves_teacher", False):
        require_more_than_logits(spec.teacher, f"method {spec.method!r} trains its teacher")
    if not isinstance(method, DryRunnable) or spec.teacher is None:
        return
    student = build_student(load_space(spec.space), spec.architecture, dataset, seed=0)
    with torch.random.fork_rng(devices=[]):
        teacher = build_teacher(spec.teacher, dataset).requires_grad_(False).eval()
    method.dry_run(TrialContext(spec, paths, dataset, student), teacher)


def run_trial(spec: TrialSpec, report: Report, paths: TrialPaths) -> None:
    """Run the trial of any spec: look up its method and run it, stage after stage if it has a schedule.

    In a process group all call it, and the main process reports. `DivergedError` instead of a report of numbers that
    are not finite.
    """
    require_shares(spec.recipe, distributed.size(), "recipe.")
    storage.pull(paths.trial, weights=True)
    reporter = refuse_nonfinite_reports(distributed.report_from_main(report))
    if spec.schedule:
        follow(spec, reporter, paths, by_method)
    else:
        by_method(spec, reporter, paths)


def estimate_cost(spec: TrialSpec, paths: TrialPaths) -> CostEstimate:
    """Estimate the cost of a trial by its method's `cost`, or by its `macs`.

    No schedule changes what an epoch costs. Nothing is trained, searched or written.
    """
    require_shares(spec.recipe, distributed.size(), "recipe.")
    method = make_method(spec.method, spec.options)
    if hasattr(method, "cost"):  # which a user's own method may lack
        return method.cost(spec, paths)
    context = prepare_trial(spec, paths, transfer=uses_unlabelled(method))
    teacher_macs = count_cost(load_teacher(context), context.dataset.shape).macs if method.needs_teacher else 0
    return CostEstimate.of(context, method.macs(context.training_macs, teacher_macs))


def refuse_nonfinite_reports(report: Report) -> Report:
    """`report`, after a look at the numbers: whatever the method, a trial that reports NaN is not complete."""

    def looked_at(metrics: Mapping[str, float], *, epoch: int) -> None:
        refuse_metrics(metrics, epoch)
        report(metrics, epoch=epoch)

    return looked_at


def by_method(spec: TrialSpec, report: Report, paths: TrialPaths) -> None:
    method = make_method(spec.method, spec.options)
    require_recipe(spec.recipe, method, spec.method)
    require_data(spec.data, spec.recipe, method, spec.method)
    method(spec, report, paths)

"""Tune's callbacks for TensorBoard, MLflow and Weights & Biases, which log every trial by its name and epochs.

Everything goes to the experiment's folder `loggers`, in which tensorboard, `mlflow ui` and `wandb sync` find it, unless
MLFLOW_TRACKING_URI names a server, or WANDB_API_KEY or WANDB_MODE request the W&B server. None of these
packages is required. An interrupted trial is logged from its first epoch on when another session continues it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.logger import LoggerCallback

from automl_kd.cluster.tune_searcher import from_config, own_metrics
from automl_kd.errors import ConfigError
from automl_kd.models import load_space
from automl_kd.space import Scalar
from automl_kd.spec import TrialSpec, schedule_text

PACKAGES = {
    "tensorboard": ("tensorboardX", "tensorboardX"),
    "mlflow": ("mlflow", "mlflow-skinny"),
    "wandb": ("wandb", "wandb"),
}
"""For each logger the module that it needs, and what pip calls it."""


def require_loggers(names: Sequence[str]) -> None:
    """`ConfigError` if one is named whose package is not installed."""
    for name in names:
        module, package = PACKAGES[name]
        if importlib.util.find_spec(module) is None:
            raise ConfigError(
                f"trial.loggers names {name!r} and its package is not installed; pip install {package}, or leave it out"
            )


def make_loggers(names: Sequence[str], scratch: Path) -> list[tune.Callback]:
    """The callbacks of one run; `scratch` is the folder of the experiment."""
    return [Named(MAKERS[name](scratch / "loggers", scratch.name), scratch / "loggers" / name) for name in names]


def tensorboard(_folder: Path, _experiment: str) -> LoggerCallback:
    from ray.tune.logger import TBXLoggerCallback  # noqa: PLC0415 - needs a package that may be missing

    return TBXLoggerCallback()


def mlflow(folder: Path, experiment: str) -> LoggerCallback:
    from ray.air.integrations.mlflow import MLflowLoggerCallback  # noqa: PLC0415 - needs a package that may be missing

    (folder / "mlflow").mkdir(parents=True, exist_ok=True)
    place = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}"
    return MLflowLoggerCallback(tracking_uri=place, experiment_name=experiment)


def wandb(folder: Path, experiment: str) -> LoggerCallback:
    from ray.air.integrations.wandb import WandbLoggerCallback  # noqa: PLC0415 - needs a package that may be missing

    (folder / "wandb").mkdir(parents=True, exist_ok=True)
    if "WANDB_API_KEY" not in os.environ:
        os.environ.setdefault("WANDB_MODE", "offline")  # which the callback reads
    mode = os.environ.get("WANDB_MODE", "online")
    return WandbLoggerCallback(
        project="automl_kd", group=experiment, mode=mode, dir=str(folder / "wandb"), resume="allow"
    )


MAKERS = {"tensorboard": tensorboard, "mlflow": mlflow, "wandb": wandb}


@dataclass(eq=False)
class LoggedTrial:
    """A trial as a logger is to see it, with the attributes of Tune's trials that loggers read."""

    name: str
    trial_id: str
    config: dict[str, Scalar]
    local_path: str
    epoch: int = 0
    begun: bool = False
    failed: bool = False

    @property
    def evaluated_params(self) -> dict[str, Scalar]:
        return self.config

    def init_local_path(self) -> None:
        Path(self.local_path).mkdir(parents=True, exist_ok=True)

    def __str__(self) -> str:
        return self.name


class Named(tune.Callback):  # type: ignore[misc]  # ray is untyped here
    """A logger that sees each epoch of a trial once, under the trial's key and label instead of Tune's names.

    What an earlier session reported is not logged again, and the parts of a trial that ends and is assigned again are
    one to it.
    """

    def __init__(self, inner: LoggerCallback, folder: Path) -> None:
        self.inner, self.folder = inner, folder
        self.shown: dict[str, LoggedTrial] = {}

    def setup(self, *arguments: Any, **info: Any) -> None:
        self.inner.setup(*arguments, **info)

    def on_trial_start(self, *, trial: Any, **_reported: Any) -> None:
        assignment = from_config(trial.config)
        if assignment.replay is not None:
            return
        key = assignment.spec.key
        if key not in self.shown:
            self.shown[key] = logged_trial(assignment.spec, self.folder)
        shown = self.shown[key]
        if not shown.begun:  # a trial whose process died is begun once
            shown.begun = True
            self.inner.log_trial_start(shown)

    def on_trial_result(self, *, iteration: int, trial: Any, result: dict[str, Any], **_reported: Any) -> None:
        shown = self.of(trial)
        if shown is None:
            return
        shown.failed = shown.failed or "error" in result
        if result.get("epoch", 0) > shown.epoch:
            shown.epoch = result["epoch"]
            self.inner.log_trial_result(iteration, shown, {**own_metrics(result), "training_iteration": shown.epoch})

    def on_trial_complete(self, *, trial: Any, **_reported: Any) -> None:
        self.end(trial)

    def on_trial_error(self, *, trial: Any, **_reported: Any) -> None:
        self.end(trial, failed=True)

    def end(self, trial: Any, *, failed: bool = False) -> None:
        if (shown := self.of(trial)) is not None and shown.begun:
            shown.begun = False
            self.inner.log_trial_end(shown, failed=failed or shown.failed)

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        self.inner.on_experiment_end(trials, **info)

    def of(self, trial: Any) -> LoggedTrial | None:
        assignment = from_config(trial.config)
        return None if assignment.replay is not None else self.shown.get(assignment.spec.key)


def logged_trial(spec: TrialSpec, folder: Path) -> LoggedTrial:
    """The name of a trial is its key, its student and its method; what an earlier session logged of it is removed."""
    name = f"{spec.key} {load_space(spec.space).label(spec.architecture)} {spec.method}"
    config: dict[str, Scalar] = {
        "space": spec.space,
        "method": spec.method,
        "dataset": spec.data.name,
        "teacher": " + ".join(one.model for one in spec.teacher.members) if spec.teacher else "",
        "epochs": spec.recipe.epochs,
        "seed": spec.seed,
        **spec.architecture.as_dict(),
        **{f"method.{option}": value for option, value in spec.options.items()},
    }
    if spec.schedule:
        config["schedule"] = schedule_text(spec.schedule)
    local = folder / re.sub(r"[^A-Za-z0-9._=-]+", "-", name)[:120]
    shutil.rmtree(local, ignore_errors=True)
    shown = LoggedTrial(name, spec.key, config, str(local))
    shown.init_local_path()
    return shown

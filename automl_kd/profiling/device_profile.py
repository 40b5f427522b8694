"""A device in a file: what operators and networks take on it, and the predictor that was fitted to them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from automl_kd import files
from automl_kd.errors import ConfigError, FileError
from automl_kd.models import load_space
from automl_kd.profiling.operator_times import OperatorTimes
from automl_kd.profiling.operators import Operator, list_operators
from automl_kd.profiling.predictor import HeldOutError, NetworkWeights, fit_networks, sum_by_kind
from automl_kd.profiling.preparing import MEASURED, ProfilePlan, read_list
from automl_kd.profiling.tracing import trace_architecture
from automl_kd.space import Architecture, InputShape, SearchSpace

VERSION = 1

Timing = Mapping[str, Any]
"""`median_ms`, `low_ms` and `high_ms`, the quartiles, of `runs` passes."""


@dataclass(frozen=True, eq=False, kw_only=True)
class DeviceProfile:
    """`device`: in words. `load`: processes that ran when measuring began, in the mean of a minute. `operators`,
    `networks`: what was measured. `predictor`, `held_out`: fitted to these, and its error on networks left out.
    """

    plan: ProfilePlan
    device: str
    runtime: str
    runtime_version: str
    threads: int
    date: str
    load: float
    operators: Sequence[tuple[Operator, Timing]]
    networks: Sequence[tuple[Architecture, Timing]]
    predictor: NetworkWeights
    held_out: HeldOutError
    times: OperatorTimes = field(init=False)
    predicted: dict[Any, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        measured = {operator: timing["median_ms"] for operator, timing in self.operators}
        object.__setattr__(self, "times", OperatorTimes(measured, self.device))

    @property
    def label(self) -> str:
        """What its latencies are of, such as "AMD EPYC, onnxruntime 1.32.0, 1 thread"."""
        threads = f"{self.threads} thread" + "s" * (self.threads > 1)
        batch = f", batches of {self.plan.batch}" * (self.plan.batch > 1)
        return f"{self.device}, {self.runtime} {self.runtime_version}, {threads}{batch}"

    def predict(self, space: SearchSpace, architecture: Architecture, shape: InputShape) -> float:
        """Milliseconds of a pass of `plan.batch` inputs of `shape` through a point of `space` on this device.

        The same for the same profile on any machine, and computed once. `ConfigError` for a layer that is like none
        that was measured.
        """
        key = (space.build, architecture, shape)
        if key not in self.predicted:
            trace = trace_architecture(space, architecture, shape, self.plan.batch)
            operators = [one.operator for one in list_operators(trace)]
            self.predicted[key] = self.predictor.combine(sum_by_kind(operators, self.times), len(operators))
        return self.predicted[key]

    def describe_error(self) -> str:
        found = self.held_out
        return (
            f"off by {found.median_error:.1%} in the median of {found.networks} networks that were left out "
            f"(Spearman {found.spearman:.3f})"
        )

    def describe_for(self, shape: InputShape) -> str:
        """What latencies of students for `shape` are, in a sentence."""
        known, asked = self.plan.shape.many_inputs, shape.many_inputs
        further = f"; it was measured with {known}, and these are {asked}, so it may be further off" * (known != asked)
        return f"latency_ms is predicted for {self.label}, {self.describe_error()}{further}"

    def to_record(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "device": self.device,
            "runtime": self.runtime,
            "runtime_version": self.runtime_version,
            "threads": self.threads,
            "date": self.date,
            "load": self.load,
            "plan": self.plan.to_record(),
            "held_out": asdict(self.held_out),
            "predictor": self.predictor.to_record(),
            "networks": [{"architecture": one.as_dict(), **timing} for one, timing in self.networks],
            "operators": [{"operator": one.to_record(), **timing} for one, timing in self.operators],
        }

    def write(self, path: Path) -> None:
        with files.created(path.parent):
            files.write(path, json.dumps(self.to_record(), indent=1))

    @staticmethod
    def read(path: Path) -> DeviceProfile:
        """`ConfigError` for what is no file of automl-kd profile."""
        try:
            record = files.read_json(path)
            if record["version"] != VERSION:
                raise ConfigError(
                    f"{path} is a profile of version {record['version']}, and this program reads {VERSION}; make it "
                    "anew by automl-kd profile"
                )
            return profile_of_record(record)
        except FileError as error:
            raise ConfigError(f"no profile could be read: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{path} is no profile of a device ({type(error).__name__}: {error}); make one by automl-kd profile"
            ) from error


def profile_of_record(record: Mapping[str, Any]) -> DeviceProfile:
    return DeviceProfile(
        plan=ProfilePlan.from_record(record["plan"]),
        **{name: record[name] for name in ("device", "runtime", "runtime_version", "threads", "date", "load")},
        operators=[(Operator.from_record(one["operator"]), timing_of(one)) for one in record["operators"]],
        networks=[(Architecture.of(one["architecture"]), timing_of(one)) for one in record["networks"]],
        predictor=NetworkWeights(**record["predictor"]),
        held_out=HeldOutError(**record["held_out"]),
    )


def timing_of(record: Mapping[str, Any]) -> Timing:
    return {name: record[name] for name in ("median_ms", "low_ms", "high_ms", "runs")}


def read_measured(path: Path) -> dict[str, Any]:
    """What measure.py left at `path`; `ConfigError` if it is not finished, or is no such file."""
    try:
        found = files.read_json(path)
    except FileError as error:
        raise ConfigError(f"no measurements could be read: {error}") from error
    if not isinstance(found, dict) or not {"times", "finished", "list", "device"} <= set(found):
        raise ConfigError(f"{path} holds no measurements; give the {MEASURED} that measure.py writes")
    if not found["finished"]:
        raise ConfigError(f"{path} is not finished ({len(found['times'])} graphs so far); run measure.py again")
    return found


def fit_profile(measured_path: Path) -> DeviceProfile:
    """The profile of what was measured, beside whose file the list of it lies; nothing is measured here.

    `ConfigError` for measurements of another list.
    """
    measured, content = read_measured(measured_path), read_list(measured_path.parent)
    if measured["list"] != content["id"]:
        raise ConfigError(
            f"{measured_path} was measured of other graphs than those listed beside it; take it into the folder that "
            "was carried to the device"
        )
    times, plan = measured["times"], ProfilePlan.from_record(content["plan"])
    operators = [
        (Operator.from_record(one["operator"]), shared_timing(times[one["file"]], content["copies"]))
        for one in content["items"]
        if "operator" in one
    ]
    networks = [
        (Architecture.of(one["architecture"]), timing_of(times[one["file"]]))
        for one in content["items"]
        if "architecture" in one
    ]
    space = load_space(plan.space)
    layers = [
        [one.operator for one in list_operators(trace_architecture(space, architecture, plan.shape, plan.batch))]
        for architecture, _ in networks
    ]
    known = OperatorTimes({operator: timing["median_ms"] for operator, timing in operators}, measured["device"])
    found = np.array([timing["median_ms"] for _, timing in networks])
    weights, error = fit_networks(layers, found, known)
    return DeviceProfile(
        plan=plan,
        **{name: measured[name] for name in ("device", "runtime", "runtime_version", "threads", "date", "load")},
        operators=operators,
        networks=networks,
        predictor=weights,
        held_out=error,
    )


def shared_timing(record: Mapping[str, Any], copies: int) -> Timing:
    """Of one of the copies of an operator in a graph."""
    timing = timing_of(record)
    return {name: value if name == "runs" else value / copies for name, value in timing.items()}

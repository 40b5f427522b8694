"""The folder that is measured: graphs of operators and networks of a space, their list, and the program that measures.

It may be carried to a device that has onnxruntime and numpy alone, and weighs a few megabytes.
"""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from automl_kd import files
from automl_kd.errors import ConfigError, FileError
from automl_kd.hashing import hash_json
from automl_kd.models import load_space
from automl_kd.profiling import measure
from automl_kd.profiling.operators import OperatorGroup, list_operators
from automl_kd.profiling.skeleton import make_skeleton
from automl_kd.profiling.tracing import CONSTANT, Operation, TensorSlot, Trace, find_operands, trace_architecture
from automl_kd.space import Architecture, InputShape, SearchSpace, TextShape, read_shape, sample_architecture
from automl_kd.spec import require

LIST, MEASURED, PROGRAM = "list.json", "measured.json", "measure.py"

COPIES_OF_OPERATOR = 8
"""An operator is measured so often in one graph: what a run costs beside it, as the change of layout, counts less."""

TRIES_PER_NETWORK = 50
"""Draws for each network that is wanted before a space counts as too small for that many different ones."""

Notify = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class ProfilePlan:
    """What is measured. `space`: its reference. `networks` (1 or more): points of it, the default one and random ones
    by `seed`. `operators` (1 or more): the most layers of theirs that are measured by themselves. `threads`, `batch` (1
    or more). `rounds` (1 or more): how often everything is measured. `operator_seconds`, `network_seconds` (above 0):
    for one graph in one round.
    """

    space: str
    shape: InputShape
    threads: int = 1
    batch: int = 1
    networks: int = 40
    operators: int = 400
    seed: int = 0
    rounds: int = 2
    operator_seconds: float = 0.1
    network_seconds: float = 0.5

    def __post_init__(self) -> None:
        counts = (self.threads, self.batch, self.networks, self.operators, self.rounds)
        require(min(counts) >= 1, f"threads, batch, networks, operators and rounds must be 1 or more, got {counts}")
        seconds = (self.operator_seconds, self.network_seconds)
        require(min(seconds) > 0, f"seconds must be above 0, got {seconds}")

    def to_record(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> ProfilePlan:
        """As `to_record` wrote it; `KeyError`, `TypeError` or `ValueError` for another record."""
        return ProfilePlan(**{**record, "shape": read_shape(record["shape"])})


def draw_networks(space: SearchSpace, count: int, seed: int) -> list[Architecture]:
    """`count` different points, or as many as are found: the default and random ones."""
    rng = np.random.default_rng(seed)
    found = {Architecture.of(space.default): None}
    for _ in range(TRIES_PER_NETWORK * count):
        if len(found) >= count:
            break
        found[sample_architecture(space, rng)] = None
    return list(found)


def is_prepared(folder: Path, plan: ProfilePlan) -> bool:
    """Whether `folder` holds what `plan` wants measured; `ConfigError` if it holds something else."""
    if not (folder / LIST).exists():
        return False
    if read_list(folder)["plan"] == json.loads(json.dumps(plan.to_record())):
        return True
    raise ConfigError(
        f"{folder} was prepared for other networks, inputs, threads or times; repeat the command that made it, or "
        "remove the folder"
    )


def read_list(folder: Path) -> dict[str, Any]:
    try:
        found = files.read_json(folder / LIST)
    except FileError as error:
        raise ConfigError(
            f"{folder} is no folder of automl-kd profile --prepare: {LIST} cannot be read ({error.strerror}); give one"
        ) from error
    if not isinstance(found, dict) or not {"plan", "items", "id"} <= set(found):
        raise ConfigError(f"{folder / LIST} is no list of automl-kd profile --prepare; prepare the folder again")
    return found


def prepare_folder(folder: Path, plan: ProfilePlan, notify: Notify | None = None) -> None:
    """Write graphs, list and program to `folder`, which must not exist; whole or not at all.

    `notify(done, total)`: told of each network. `ConfigError` for students that do what cannot be profiled.
    """
    space = load_space(plan.space)
    drawn = draw_networks(space, plan.networks, plan.seed)
    groups: dict[Any, OperatorGroup] = {}
    items: list[dict[str, Any]] = []
    with files.making_folder(folder) as scratch:
        for number, architecture in enumerate(drawn):
            trace = trace_architecture(space, architecture, plan.shape, plan.batch)
            file = f"networks/{number:04}.onnx"
            write_graph(scratch / file, trace)
            items.append({"file": file, "seconds": plan.network_seconds, "architecture": architecture.as_dict()})
            groups |= {one.operator: one for one in list_operators(trace)}
            if notify is not None:
                notify(number + 1, len(drawn))
        for number, group in enumerate(choose_operators(list(groups.values()), plan.operators)):
            file = f"operators/{number:04}.onnx"
            write_graph(scratch / file, repeat_group(group))
            record = group.operator.to_record()
            items.append({"file": file, "seconds": plan.operator_seconds, "operator": record})
        content = {
            "plan": plan.to_record(),
            "threads": plan.threads,
            "rounds": plan.rounds,
            "copies": COPIES_OF_OPERATOR,
            **({"sizes": open_sizes(plan.shape, plan.batch)} if isinstance(plan.shape, TextShape) else {}),
            "items": items,
        }
        content = {"version": 1, "id": hash_json(content), **content}
        files.write(scratch / LIST, json.dumps(content, indent=1))
        files.write(scratch / PROGRAM, files.read_text(Path(measure.__file__)))


def open_sizes(shape: InputShape, batch: int = 1) -> dict[str, int]:
    """What a graph leaves open, by name: of texts the length, which costs and latency are stated at."""
    return {"batch": batch, **({"length": shape.width} if isinstance(shape, TextShape) else {})}


def write_graph(path: Path, trace: Trace) -> None:
    path.parent.mkdir(exist_ok=True)
    files.write(path, make_skeleton(trace).SerializeToString(), durable=False)


def choose_operators(groups: Sequence[OperatorGroup], most: int) -> Iterator[OperatorGroup]:
    """At most about `most`, of each kind its share, from the smallest to the largest in equal steps."""
    kinds: dict[str, list[OperatorGroup]] = defaultdict(list)
    for group in sorted(groups, key=lambda one: (one.operator.macs, one.operator.leaving, one.operator)):
        kinds[group.operator.kind].append(group)
    for _, held in sorted(kinds.items()):
        count = min(len(held), max(8, round(len(held) * most / len(groups))))
        yield from (held[place] for place in np.linspace(0, len(held) - 1, count).round().astype(int))


def repeat_group(group: OperatorGroup, copies: int = COPIES_OF_OPERATOR) -> Trace:
    """The operator `copies` times in one graph: convolutions of one map, added up, others of tensors of their own."""
    first = group.operations[0]
    if first.name == "conv2d":
        return repeat_convolution(group, copies)
    inputs: list[TensorSlot] = []
    operations: list[Operation] = []
    outputs: list[TensorSlot] = []
    values = iter(range(10**9))
    for _ in range(copies):
        own = {one.value: one._replace(value=next(values)) for one in first.operands}
        inputs += own.values()
        made = tuple(one._replace(value=next(values)) for one in first.outputs)
        operations.append(Operation(first.name, renamed(first.arguments, own), made))
        outputs += made
    return Trace(tuple(inputs), tuple(operations), tuple(outputs))


def repeat_convolution(group: OperatorGroup, copies: int) -> Trace:
    """A clip is measured as the maximum with 0: onnxruntime takes it into a convolution, but not after an addition."""
    first = group.operations[0]
    given = TensorSlot(0, first.operands[0].shape)
    values, last, operations = iter(range(1, 10**9)), None, []
    activation = next((one for one in group.operations if one.name == group.operator.activation), None)
    for _ in range(copies):
        made = TensorSlot(next(values), first.output.shape)
        operations.append(Operation("conv2d", renamed(first.arguments, {first.operands[0].value: given}), (made,)))
        if last is not None:
            added = TensorSlot(next(values), made.shape)
            operations.append(Operation("add", {"input": made, "other": last}, (added,)))
            made = added
        if activation is not None:
            activated = TensorSlot(next(values), made.shape)
            name = "relu" if activation.name == "hardtanh" else activation.name
            operations.append(Operation(name, {**activation.arguments, "input": made}, (activated,)))
            made = activated
        last = made
    assert last is not None
    return Trace((given,), tuple(operations), (last,))


def renamed(arguments: Mapping[str, Any], values: Mapping[int, TensorSlot]) -> dict[str, Any]:
    def rename(one: Any) -> Any:
        if isinstance(one, TensorSlot):
            return one if one.value == CONSTANT else values[one.value]
        return [rename(item) for item in one] if holds_operands(one) else one

    return {name: rename(one) for name, one in arguments.items()}


def holds_operands(one: Any) -> bool:
    return isinstance(one, list) and any(True for _ in find_operands(one))

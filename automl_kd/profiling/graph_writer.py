"""A graph of ONNX that is being written, node by node."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from automl_kd.models.foreign.packages import library
from automl_kd.profiling.tracing import CONSTANT, Sizes, TensorSlot, Trace, ValueUses

OPSET = 20
"""The one that torch's exporter writes."""

IR_VERSION = 10


OPEN_SIZES = {0: "batch", 1: "length"}
"""Axes of tokens whose sizes a graph of texts leaves open, as an export does."""


class GraphWriter:
    """Nodes and small numbers of a graph that is being written."""

    def __init__(self, trace: Trace) -> None:
        onnx = library("onnx", "onnx")
        self.trace, self.uses = trace, ValueUses.of(trace)
        self.helper, self.types = onnx.helper, onnx.TensorProto
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.described: list[Any] = []
        self.shared: dict[Hashable, str] = {}
        self.names: dict[int, str] = {one.value: f"input{place}" for place, one in enumerate(trace.inputs)}
        self.kinds = {"float": self.types.FLOAT, "int": self.types.INT64, "bool": self.types.BOOL}

    def add(self, kind: str, inputs: Sequence[str], outputs: Sequence[str] = (), **attributes: Any) -> str:
        """Add a node; the name of its first output."""
        made = list(outputs) or [f"{kind.lower()}{len(self.nodes)}"]
        self.nodes.append(self.helper.make_node(kind, list(inputs), made, f"node{len(self.nodes)}", **attributes))
        return made[0]

    def once(self, key: Hashable, write: Callable[[], str]) -> str:
        """What `write` adds the first time that `key` is asked for."""
        if key not in self.shared:
            self.shared[key] = write()
        return self.shared[key]

    def integers(self, values: Sequence[int]) -> str:
        return self.initializer(self.types.INT64, [len(values)], list(values))

    def number(self, value: float, numbers: str = "float") -> str:
        return self.initializer(self.kinds[numbers], [], [int(value) if numbers == "int" else float(value)])

    def initializer(self, kind: int, sizes: list[int], values: list[Any]) -> str:
        name = f"number{len(self.initializers)}"
        self.initializers.append(self.helper.make_tensor(name, kind, sizes, values))
        return name

    def constant(self, shape: Sizes, value: float, numbers: str = "float") -> str:
        """A tensor of equal numbers; no two are quite equal, as runtimes compute equal things once.

        Whole numbers are 0, as a place in a text may be.
        """
        value = value * (1 + len(self.nodes) * 1e-5) if numbers == "float" else 0
        return self.add(
            "ConstantOfShape",
            [self.integers(shape)],
            value=self.helper.make_tensor("value", self.kinds[numbers], [1], [value]),
        )

    def name(self, operand: Any, terms: int = 1, numbers: str = "float") -> str:
        """What an argument is called. `terms`: how many products with a constant are added up. `numbers`: of what a
        plain number is computed with.
        """
        if not isinstance(operand, TensorSlot):
            return self.number(operand, numbers)
        if operand.value == CONSTANT:
            return self.constant(operand.shape, 1 / terms, operand.numbers)
        return self.names[operand.value]

    def cast(self, operand: Any, numbers: str, terms: int = 1) -> str:
        """What an argument is called as a tensor of these numbers."""
        name = self.name(operand, terms, numbers)
        if not isinstance(operand, TensorSlot) or operand.numbers == numbers:
            return name
        return self.add("Cast", [name], to=self.kinds[numbers])

    def describe(self, slot: TensorSlot, opened: Mapping[int, str]) -> Any:
        """What is said of a tensor, of which the sizes of some axes may be any."""
        sizes = [opened.get(axis, size) for axis, size in enumerate(slot.shape)]
        return self.helper.make_tensor_value_info(self.names[slot.value], self.kinds[slot.numbers], sizes)

    def finish(self) -> Any:
        inputs = [self.describe(one, OPEN_SIZES if self.trace.of_texts else {}) for one in self.trace.inputs]
        outputs = [self.describe(one, {0: "batch"} if self.trace.of_texts else {}) for one in self.trace.outputs]
        graph = self.helper.make_graph(
            self.nodes, "skeleton", inputs, outputs, self.initializers, value_info=self.described
        )
        opsets = [self.helper.make_opsetid("", OPSET)]
        return self.helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)

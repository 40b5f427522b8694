"""A backward pass without torch's engine, which looks for the streams of a GPU before it starts.

Nodes are torch's own and start what they start in the engine; what meets at a node is added up as there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


def walk_backward(loss: Tensor, *, retain_graph: bool = False) -> None:  # noqa: ARG001 - as Tensor.backward
    """Accumulate the gradients of a scalar into the leaves, as `loss.backward()` does."""
    last: Any = loss.grad_fn
    waited = Counter(after for node in nodes_before(last) for after, _ in node.next_functions)
    slopes: dict[Any, dict[int, Tensor]] = {last: {0: torch.ones_like(loss)}}
    ready = [last]
    with torch.no_grad():
        while ready:
            node = ready.pop()
            given = slopes.pop(node, {})
            made = run_node(node, given) if given else ()
            for place, (after, number) in enumerate(node.next_functions):
                if after is None:
                    continue
                if place < len(made) and (slope := made[place]) is not None:
                    met = slopes.setdefault(after, {})
                    if slope.shape != (shape := torch.Size(after._input_metadata[number].shape)):
                        slope = slope.sum_to_size(shape)  # of what was broadcast
                    slope = slope.to(after._input_metadata[number].dtype)
                    met[number] = met[number] + slope if number in met else slope
                waited[after] -= 1
                if not waited[after]:
                    ready.append(after)


def run_node(node: Any, given: Mapping[int, Tensor]) -> tuple[Tensor | None, ...]:
    """The gradients that a node gives for those that it is given; a leaf keeps its own."""
    if hasattr(node, "variable"):
        accumulate(node.variable, given[0])
        return ()
    made = node(*(given.get(place) for place in range(len(node._input_metadata))))
    return made if isinstance(made, tuple) else (made,)


def accumulate(leaf: Tensor, slope: Tensor) -> None:
    """As torch's AccumulateGrad, which takes what nobody else holds as it is if it lies in memory as the leaf does."""
    if leaf.grad is not None:
        leaf.grad += slope
    elif all(size == 1 or a == b for size, a, b in zip(leaf.shape, leaf.stride(), slope.stride(), strict=True)):
        leaf.grad = slope
    else:
        leaf.grad = torch.empty_like(leaf).copy_(slope)


def nodes_before(last: Any) -> Iterator[Any]:
    """The graph's nodes, each once."""
    seen, waiting = {last}, [last]
    while waiting:
        node = waiting.pop()
        yield node
        for after, _ in node.next_functions:
            if after is not None and after not in seen:
                seen.add(after)
                waiting.append(after)

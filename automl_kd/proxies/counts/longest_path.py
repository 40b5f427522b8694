"""The most convolutions in a row between an image and its logits: depth as the signal meets it.

A baseline like the counts in `live_convolutions`, not from a paper on proxies. The path is found in the autograd graph,
so nothing need be known of how the student is built, and what the logits do not depend on is no part of it. Where no
other proxy has asked for a graph, one image is run to get one, and batch normalisation, which has no convolution, not.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.graph import Node

from automl_kd.proxies.base import Shared
from automl_kd.proxies.hooks import refuse_words
from automl_kd.proxies.passes import NEED_GRAPH, Passes, bypassed

CONVOLUTION = "ConvolutionBackward"
"""How the names of a convolution's nodes begin."""


def longest_path(passes: Passes) -> float:
    """The number of convolutions, pointwise ones included, on the path that has most of them; 0 without any."""
    refuse_words(passes.student, "longest_path", "counts convolutions in a row", "params or macs")
    root = graph_of(passes).grad_fn
    if root is None:
        return 0.0
    deepest: dict[Node, int] = {}
    for node in from_the_leaves(root):
        before = max((deepest[one] for one in parents(node)), default=0)
        deepest[node] = before + is_layer(node)
    return float(deepest[root])


def is_layer(node: Node) -> bool:
    """Whether it is a convolution with a weight that is learnt; a fixed one may stand for a pool."""
    return node.name().startswith(CONVOLUTION) and node.next_functions[1][0] is not None


def graph_of(passes: Passes) -> Tensor:
    """Logits that remember how they came about; not all images are needed for that."""
    if passes.sees & NEED_GRAPH:
        return passes.outputs.logits

    def run() -> Tensor:
        with torch.enable_grad(), bypassed(passes.student):
            logits: Tensor = passes.student(passes.probe.images[:1])
        return logits

    return passes.once("graph of one image", run)


def from_the_leaves(root: Node) -> list[Node]:
    """The nodes that `root` depends on and itself, each after those that it depends on.

    With a stack of our own: graphs are deeper than Python lets functions call themselves.
    """
    order: list[Node] = []
    seen, stack = {root}, [(root, iter(parents(root)))]
    while stack:
        node, rest = stack[-1]
        parent = next((one for one in rest if one not in seen), None)
        if parent is None:
            order.append(node)
            stack.pop()
        else:
            seen.add(parent)
            stack.append((parent, iter(parents(parent))))
    return order


def parents(node: Node) -> list[Node]:
    return [parent for parent, _ in node.next_functions if parent is not None]


LONGEST_PATH = Shared(longest_path)

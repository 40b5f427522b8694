"""Blocks that can be left out: modules whose output is their input plus a branch, found in a traced graph.

He, Zhang, Ren, Sun. Identity Mappings in Deep Residual Networks. 2016. arXiv:1603.05027, section 2: where the shortcut
is the identity, a block without its branch passes its input on. After an activation that follows the addition, it still
does, as that activation is then applied twice and is idempotent (ReLU). Blocks with a projection are not removable.
"""

from __future__ import annotations

import operator
from collections import Counter
from typing import Any

import torch
from torch import fx, nn

from automl_kd.models.pruning.coupling import RemovableBlock

SUMS: frozenset[Any] = frozenset({operator.add, operator.iadd, torch.add, "add", "add_"})


def find_blocks(graph: fx.Graph, model: nn.Module, mixing: frozenset[str]) -> dict[str, RemovableBlock]:
    """The removable blocks by name, in the order in which they run; `mixing` names the layers that make a branch."""
    modules = dict(model.named_modules())
    runs = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    found: dict[str, RemovableBlock] = {}
    for node in graph.nodes:
        if node.target not in SUMS or len(node.all_input_nodes) != 2:
            continue
        one, two = node.all_input_nodes
        for branch, shortcut in ((one, two), (two, one)):
            block = block_at(graph, node, branch, shortcut, modules)
            if block is not None and runs[block.branch] == 1 and any(x.startswith(f"{block.name}.") for x in mixing):
                found[block.name] = block
    return found


def block_at(
    graph: fx.Graph, node: fx.Node, branch: fx.Node, shortcut: fx.Node, modules: dict[str, nn.Module]
) -> RemovableBlock | None:
    """The block whose addition is `node`, if `shortcut` is its input and everything else in it is the branch."""
    owner = owners(node)[-1] if owners(node) else ""
    start, identities = behind_identities(shortcut, modules)
    inside = between(branch, start)
    if not owner or inside is None or branch.op != "call_module":
        return None
    if any(user not in inside and user is not node for inner in inside for user in inner.users):
        return None
    mine = [other for other in graph.nodes if owner in owners(other)]
    after = [other for other in mine if other not in inside and other not in identities and other is not node]
    if not inside <= set(mine) or start in mine or not follows(node, after, modules):
        return None
    return RemovableBlock(
        owner, str(branch.target), tuple(str(other.target) for other in after), owner.rpartition(".")[0]
    )


def owners(node: fx.Node) -> list[str]:
    """The modules in whose forward pass the node runs, outermost first, a leaf module itself left out."""
    # A module's second run is recorded as "name@1".
    names = [key.partition("@")[0] for key in node.meta.get("nn_module_stack", {})]
    return names[:-1] if node.op == "call_module" else names


def behind_identities(node: fx.Node, modules: dict[str, nn.Module]) -> tuple[fx.Node, set[fx.Node]]:
    """The node whose value `node` passes on, and the identity modules on the way."""
    passed: set[fx.Node] = set()
    while node.op == "call_module" and isinstance(modules[str(node.target)], nn.Identity):
        passed.add(node)
        node = node.all_input_nodes[0]
    return node, passed


def between(last: fx.Node, start: fx.Node) -> set[fx.Node] | None:
    """The nodes from which `last` is made, up to `start`; None if `last` depends on anything else, or on nothing."""
    inside: set[fx.Node] = set()
    open_ends = [last]
    while open_ends:
        node = open_ends.pop()
        if node is start or node in inside:
            continue
        if not node.all_input_nodes:
            return None
        inside.add(node)
        open_ends += node.all_input_nodes
    return inside


def follows(node: fx.Node, after: list[fx.Node], modules: dict[str, nn.Module]) -> bool:
    """Whether `after` is nothing, or one ReLU of the sum."""
    if not after:
        return True
    return (
        len(after) == 1
        and after[0].op == "call_module"
        and after[0].all_input_nodes == [node]
        and list(node.users) == after
        and isinstance(modules[str(after[0].target)], nn.ReLU)
    )

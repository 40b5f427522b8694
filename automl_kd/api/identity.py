"""The identity of an object that a program gives: equal in every process that gives the same, however it is pickled.

It is made of qualified names, of the source of all functions and classes that come from the object's own module, of
plain values, and of the state of a network. What other modules hold counts by its name alone, as a `module:attribute`
of an experiment's file does.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from automl_kd.hashing import hash_json
from automl_kd.space import SearchSpace

PLAIN = (bool, int, float, str, bytes, type(None))


def identity_of(found: object) -> str:
    """Sixteen hex digits."""
    if isinstance(found, nn.Module):
        return hash_json(["network", *describe_network(found)])
    if isinstance(found, SearchSpace):
        functions = [found.build, found.describe, found.canonical, found.part_cache]
        plain = [found.name, found.source, repr(found.parameters), repr(sorted(found.default.items()))]
        return hash_json(["space", *plain, *(sorted(sources(one)) for one in functions)])
    if inspect.isroutine(found) or isinstance(found, type | functools.partial):
        return hash_json(["function", sorted(sources(found))])
    return hash_json(["callable", sorted(sources(type(found))), sorted(plain_values(vars(found)))])


def describe_network(network: nn.Module) -> Iterator[Any]:
    """Classes with their sources, plain attributes and state, module by module."""
    kinds = {type(module) for module in network.modules()}
    yield sorted({line for kind in kinds for line in sources(kind)})
    for name, module in network.named_modules():
        yield [name, qualified_name(type(module)), sorted(plain_values(vars(module)))]
    for name, value in network.state_dict().items():
        yield [name, digest_tensor(value) if isinstance(value, torch.Tensor) else repr(value)]


def digest_tensor(value: torch.Tensor) -> str:
    whole = value.detach().cpu().contiguous()
    content: Any = whole.flatten().view(torch.uint8).numpy() if whole.numel() else b""
    return f"{whole.dtype} {tuple(whole.shape)} {hashlib.sha256(content).hexdigest()}"


def qualified_name(found: Any) -> str:
    return f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', type(found).__qualname__)}"


def plain_values(named: dict[str, Any]) -> Iterator[str]:
    """Numbers, texts and sequences of them, with their names."""
    for name, value in named.items():
        members = value if isinstance(value, (tuple, list)) else (value,)
        if all(isinstance(one, PLAIN) for one in members) and name != "training":
            yield f"{name} = {value!r}"


def sources(found: Any) -> set[str]:
    """The name and source of a function or class, and of what they use from their own module."""
    texts: dict[str, str] = {}
    waiting = [found]
    while waiting:
        one = waiting.pop()
        if isinstance(one, functools.partial):
            waiting += [one.func, *one.args, *one.keywords.values()]
        elif isinstance(one, (*PLAIN, dict, list, tuple)):
            texts[repr(one)] = ""
        elif (name := qualified_name(one)) not in texts:
            texts[name] = source_of(one)
            waiting += used_by(one, texts[name])
    return {f"{name}\n{text}" for name, text in texts.items()}


def source_of(found: Any) -> str:
    """The source; where none is kept, as of a program on the command line, a hash of the code."""
    if qualified_name(found).startswith("torch."):
        return ""
    try:
        return textwrap.dedent(inspect.getsource(found))
    except (OSError, TypeError):
        code = getattr(found, "__code__", None)
        return "" if code is None else hash_json([code.co_code.hex(), list(code.co_names), repr(code.co_consts)])


def used_by(found: Any, source: str) -> Iterator[Any]:
    """Functions, classes and plain values of the same module, or of the function around it, that a source names."""
    names = {node.id for node in ast.walk(parse_source(source)) if isinstance(node, ast.Name)}
    module = inspect.getmodule(found)
    around = getattr(found, "__globals__", None) or (vars(module) if module else {})
    if hasattr(found, "__closure__"):
        around = {**around, **inspect.getclosurevars(found).nonlocals}
    for name in sorted(names & set(around)):
        value = around[name]
        own = getattr(value, "__module__", None) == getattr(found, "__module__", "")
        if isinstance(value, PLAIN):
            yield f"{name} = {value!r}"
        elif own and (inspect.isfunction(value) or inspect.isclass(value)):
            yield value


def parse_source(source: str) -> ast.AST:
    try:
        return ast.parse(source)
    except SyntaxError:  # a lambda's line that is no statement by itself, or a hash
        return ast.parse("")

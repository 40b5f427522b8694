"""The identity of an object that a program gives: equal in every process that gives the same, however it is pickled.

It is made of qualified names, of the source of all functions and classes that come from the object's own module, of
the values that they use and hold, and of the state of a network. What other modules hold counts by its name alone, as a
`module:attribute` of an experiment's file does. A value of a kind that is not known here counts by its pickle: if that
differs between processes, an experiment is refused as another one, and never continued with an older object.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

import cloudpickle  # type: ignore[import-untyped]  # it has no types
import numpy as np
import torch
from torch import nn

from automl_kd.hashing import hash_json
from automl_kd.space import SearchSpace

PLAIN = (bool, int, float, complex, str, bytes, type(None))

TORCH_OWN = frozenset(vars(nn.Module())) | {"training"}
"""What every module holds: its weights, counted by their state, and hooks."""


def identity_of(found: object) -> str:
    """Sixteen hex digits."""
    if isinstance(found, nn.Module):
        return hash_json(["network", *describe_network(found)])
    if isinstance(found, SearchSpace):
        functions = [found.build, found.describe, found.canonical, found.part_cache]
        plain = [found.name, found.source, repr(found.parameters), repr(sorted(found.default.items()))]
        return hash_json(["space", *plain, *(sorted(sources(one)) for one in functions)])
    return hash_json(["function", sorted(sources(found))])


def describe_network(network: nn.Module) -> Iterator[Any]:
    """Classes with their sources, plain attributes and state, module by module."""
    kinds = {type(module) for module in network.modules()}
    yield sorted({line for kind in kinds for line in sources(kind)})
    for name, module in network.named_modules():
        own = {key: value for key, value in vars(module).items() if key not in TORCH_OWN}
        yield [name, qualified_name(type(module)), describe_value(own)]
    for name, value in [*network.state_dict().items(), *network.named_buffers()]:
        yield [name, describe_value(value)]


def digest_tensor(value: torch.Tensor) -> str:
    whole = value.detach().cpu().contiguous()
    content: Any = whole.flatten().view(torch.uint8).numpy() if whole.numel() else b""
    return f"{whole.dtype} {tuple(whole.shape)} {hashlib.sha256(content).hexdigest()}"


def qualified_name(found: Any) -> str:
    return f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', type(found).__qualname__)}"


def describe_value(value: Any) -> str:
    """A text that differs where values differ; sets and tables in an order of their own."""
    if isinstance(value, (*PLAIN, torch.dtype, torch.device, Enum, PurePath)):
        return repr(value)
    if isinstance(value, torch.Tensor):
        return digest_tensor(value)
    if isinstance(value, np.ndarray) and value.dtype != object:
        return f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    return f"{qualified_name(type(value))}({', '.join(describe_members(value))})"


def describe_members(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        members = sorted(f"{describe_value(key)}: {describe_value(item)}" for key, item in value.items())
    elif isinstance(value, (tuple, list)):
        members = [describe_value(item) for item in value]
    elif isinstance(value, (set, frozenset)):
        members = sorted(map(describe_value, value))
    elif isinstance(value, functools.partial):
        members = [describe_value(part) for part in (value.func, value.args, value.keywords)]
    elif inspect.isroutine(value) or isinstance(value, type):  # not what they use, which may be this value again
        members = [qualified_name(value), source_of(value)]
    elif dataclasses.is_dataclass(value):
        members = [f"{item.name}: {describe_value(getattr(value, item.name))}" for item in dataclasses.fields(value)]
    elif isinstance(value, nn.Module):
        members = [repr(line) for line in describe_network(value)]
    else:
        members = [hash_pickle(value)]
    return members


def hash_pickle(value: Any) -> str:
    try:
        return hashlib.sha256(cloudpickle.dumps(value)).hexdigest()
    except Exception:  # whatever it refuses to be pickled with; what is written of it then says so
        return "unpicklable"


def sources(found: Any) -> set[str]:
    """The name and source of a function or class, and of what they use from their own module."""
    texts: dict[str, str] = {}
    waiting = [found]
    while waiting:
        one = waiting.pop()
        if isinstance(one, functools.partial):
            waiting += [one.func, *one.args, *one.keywords.values()]
        elif not (inspect.isroutine(one) or isinstance(one, type)):
            if callable(one) and not isinstance(one, nn.Module):  # an object with __call__
                waiting.append(type(one))
                texts[describe_value(vars(one)) if hasattr(one, "__dict__") else ""] = ""
            else:
                texts[describe_value(one)] = ""
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
        if inspect.isfunction(value) or inspect.isclass(value):
            if getattr(value, "__module__", None) == getattr(found, "__module__", ""):
                yield value
        elif not inspect.ismodule(value) and not inspect.isroutine(value):
            yield f"{name} = {describe_value(value)}"


def parse_source(source: str) -> ast.AST:
    try:
        return ast.parse(source)
    except SyntaxError:  # a lambda's line that is no statement by itself, or a hash
        return ast.parse("")

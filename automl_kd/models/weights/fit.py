"""Whether weights fit a network, and in which words they do not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Never

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from automl_kd.errors import CheckpointError
from automl_kd.models.weights.sets import Match

SHOWN_NAMES = 3
"""How many of the names that a message is about it shows."""


def fits_network(own: Mapping[str, Any], found: Match) -> bool:
    """Whether names and shapes are those of the network with the state `own`."""
    return not found.missing and not found.surplus and not other_shapes(own, found)


def other_shapes(own: Mapping[str, Any], found: Match) -> list[str]:
    """Names under which shapes differ; a lazy parameter takes the shape that it is given."""
    ours = {name: value for name, value in own.items() if not is_lazy(value)}
    return [name for name, value in found.found.items() if name in ours and shape(value) != shape(ours[name])]


def shape(value: Any) -> list[int]:
    return list(value.shape) if isinstance(value, Tensor) else []


def refuse_misfit(own: Mapping[str, Any], found: Match, path: Path) -> Never:
    """Raise a `CheckpointError` that names the difference of weights and network."""
    if found.missing or found.surplus:
        raise CheckpointError(
            f"checkpoint {path} is of another network: {list_some(found.missing, 'missing')}, "
            f"{list_some(found.surplus, 'unexpected')}; name the model that it was saved from"
        )
    different = other_shapes(own, found)
    if (classes := class_counts(own, found.found, different)) is not None:
        raise CheckpointError(
            f"checkpoint {path} has {classes[0]} classes, the data has {classes[1]}; say by teacher.classes which of "
            "its outputs are the data's classes, or take a checkpoint trained on this data"
        )
    shapes = (f"{name} is {shape(found.found[name])}, wanted {shape(own[name])}" for name in different[:SHOWN_NAMES])
    raise CheckpointError(
        f"checkpoint {path} has {len(different)} tensors of another shape ({'; '.join(shapes)}); "
        "name the model that it was saved from"
    )


def list_some(keys: Iterable[str], kind: str) -> str:
    names = list(keys)
    return f"{len(names)} keys {kind}{in_brackets(names)}"


def in_brackets(names: Sequence[str]) -> str:
    return f" ({', '.join(names[:SHOWN_NAMES])}{', ...' if len(names) > SHOWN_NAMES else ''})" if names else ""


def class_counts(own: Mapping[str, Any], saved: Mapping[str, Any], different: Iterable[str]) -> tuple[int, int] | None:
    """Classes (saved, wanted), if the last layer's number of outputs is all that differs."""
    classifier = list(own)[-1].rpartition(".")[0]
    for key in different:
        same_inside = shape(own[key])[1:] == shape(saved[key])[1:]
        if key.rpartition(".")[0] != classifier or not shape(own[key]) or not shape(saved[key]) or not same_inside:
            return None
    last = next(iter(different))
    return shape(saved[last])[0], shape(own[last])[0]


def check_values(own: Mapping[str, Any], found: Mapping[str, Any], path: Path) -> None:
    """`CheckpointError` unless all are numbers that weights can be: dense, there, of a floating type, finite."""
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    if odd := [name for name, value in tensors.items() if kind(value)]:
        raise CheckpointError(
            f"checkpoint {path} has {len(odd)} tensors that are {kind(tensors[odd[0]])}{in_brackets(odd)}; save dense "
            "tensors with their values, as model.state_dict() of a network on the processor has them"
        )
    if rounded := [name for name, value in tensors.items() if is_float(own.get(name)) and not is_float(value)]:
        raise CheckpointError(
            f"checkpoint {path} has {len(rounded)} tensors of type {tensors[rounded[0]].dtype}{in_brackets(rounded)} "
            "where the network has real numbers; save it before it is quantised"
        )
    if broken := [name for name, value in tensors.items() if not is_finite_where_needed(value, own.get(name))]:
        raise CheckpointError(
            f"checkpoint {path} holds values that are not finite (NaN or infinite) in {len(broken)} of {len(tensors)} "
            f"tensors{in_brackets(broken)}: its training diverged or the file was spoilt; take an earlier checkpoint"
        )


def kind(value: Tensor) -> str:
    """What keeps the tensor from being copied as it is; empty for ordinary ones."""
    if value.is_meta:
        return "without values (on the device meta)"
    if value.is_quantized:
        return "quantised"
    return "" if value.layout == torch.strided else f"sparse ({value.layout})"


def is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())


def is_finite_where_needed(value: Tensor, own: Any) -> bool:
    """Infinite values pass where the fresh network has them at the same places, as masks of attention do."""
    if not is_float(value) or (good := torch.isfinite(value)).all():
        return True
    return isinstance(own, Tensor) and own.shape == value.shape and torch.equal(good, torch.isfinite(own).cpu())


def telling(path: Path, chosen: Match, able: Sequence[Match]) -> str:
    """What was unwrapped, in a line; empty for a bare state_dict."""
    parts = [f"the weights are {chosen.name!r}{alternatives(chosen, able)}"] if chosen.name else []
    parts += [f"{chosen.before!r} before their names is dropped"] if chosen.before else []
    parts += [f"{len(chosen.aside)} other entries are left aside{in_brackets(chosen.aside)}"] if chosen.aside else []
    parts += [f"{len(chosen.untracked)} counts of batches, which it lacks, stay at 0"] if chosen.untracked else []
    narrow = {str(value.dtype) for value in chosen.found.values() if is_float(value) and value.dtype.itemsize < 4}
    parts += [f"{' and '.join(sorted(narrow))} is widened".replace("torch.", "")] if narrow else []
    return f"{path}: {'; '.join(parts)}" if parts else ""


def alternatives(chosen: Match, able: Sequence[Match]) -> str:
    others = [one.name for one in able if one is not chosen]
    if not others:
        return ""
    return f" and not {', '.join(map(repr, others))}, which teacher.weights = {others[0]!r} takes"

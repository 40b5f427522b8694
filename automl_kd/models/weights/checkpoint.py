"""Weights on disk: saved whole or not at all, loaded only where they fit."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from automl_kd import storage
from automl_kd.errors import CheckpointError
from automl_kd.files import open_file
from automl_kd.models.black_box.network import BlackBox
from automl_kd.models.weights.file import StandIn, read_weights_file
from automl_kd.models.weights.fit import (
    check_values,
    class_counts,
    fits_network,
    other_shapes,
    refuse_misfit,
    telling,
)
from automl_kd.models.weights.sets import Match, matches, sets_in


def save_weights(model: nn.Module, path: str | Path) -> None:
    """Write the model's `state_dict`, making folders as needed; a reader sees the old file or the new, whole.

    `CheckpointError` if the file cannot be written.
    """
    path = Path(path)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    try:
        storage.write(path, buffer.getbuffer())
    except OSError as error:
        raise CheckpointError(
            f"weights could not be written to {path} ({error.strerror}); free or choose a folder"
        ) from error


def load_weights(model: nn.Module, path: str | Path, weights: str = "") -> str:
    """Copy the weights in `path` into `model`, all of them or none; return what was unwrapped, in words.

    Reads what `torch.save` and safetensors write: a `state_dict`, bare or within other things, under any prefix that
    wrappers of networks leave. Where several sets of weights fit, `weights` names the one to take; without it the
    first is taken that is no average over training. A bare `state_dict` gets no note.
    A network in a file has its weights already.
    `CheckpointError` if the file is missing, damaged, of another network, or holds values that are not finite.
    """
    if isinstance(model, BlackBox):
        return ""
    path, own = Path(path), model.state_dict()
    found = matches_in(path, own)
    able = [one for one in found if fits_network(own, one)]
    if able:
        chosen = choose(able, weights, path)
        check_values(own, chosen.found, path)
        versions = {**versions_of(own), **chosen.versions} if chosen.versioned else versions_of(own)
        load_state(model, {**own, **chosen.found}, versions)
        return telling(path, chosen, able)
    nearest = min(called(found, weights) or found, key=lambda one: len(one.missing) + len(one.surplus))
    if not converts(model, nearest):
        refuse_misfit(own, nearest, path)
    check_values(own, nearest.found, path)
    load_state(model, {**nearest.found, **nearest.surplus}, nearest.versions)
    return telling(path, nearest, []) or f"{path}: of an earlier version of the network, which converts it"


def count_classes_in(model: nn.Module, path: Path, weights: str = "") -> int:
    """How many outputs the last layer of the weights in `path` has; those of `model` where they fit it as it is.

    `CheckpointError` if more than the number of outputs differs.
    """
    own = model.state_dict()
    found = matches_in(path, own)
    nearest = min(called(found, weights) or found, key=lambda one: len(one.missing) + len(one.surplus))
    different = other_shapes(own, nearest)
    if nearest.missing or nearest.surplus or (different and class_counts(own, nearest.found, different) is None):
        refuse_misfit(own, nearest, path)
    counts = class_counts(own, nearest.found, different) if different else None
    return counts[0] if counts else int(next(reversed(own.values())).shape[0])


def matches_in(path: Path, own: Mapping[str, Any]) -> list[Match]:
    """Every set of weights in a file, as those of a network with the state `own`; `CheckpointError` without any."""
    saved = read_weights_file(path)
    found = [one for each in sets_in(saved) for one in matches(each, own, versions_of(own))]
    if found:
        return found
    model = saved if isinstance(saved, StandIn) else whole_model(saved)
    if model is not None:
        raise CheckpointError(
            f"checkpoint {path} holds a whole object, {model.origin}, which only its own code could build; where you "
            "trust the file, load it there and save its weights by torch.save(model.state_dict(), 'weights.pt')"
        )
    raise CheckpointError(f"checkpoint {path} holds no state_dict; save model.state_dict(), bare or under any key")


def whole_model(saved: object) -> StandIn | None:
    """The first thing beside plain values that was saved under a key, where there are no weights."""
    values = saved.values() if isinstance(saved, Mapping) else ()
    return next((one for one in values if isinstance(one, StandIn)), None)


def choose(able: Sequence[Match], asked: str, path: Path) -> Match:
    """Of sets that fit, the one that is asked for; the first that is no average, where none is."""
    if not (named := called(able, asked)):
        there = ", ".join(repr(one.name or "bare") for one in able)
        raise CheckpointError(
            f"checkpoint {path} holds no weights {asked!r} for this network, only {there}; set teacher.weights to what "
            "is there or leave it out"
        )
    exact = [one for one in named if one.name == asked]
    return min(exact or named, key=lambda one: one.is_average and not asked)


def called(found: Sequence[Match], asked: str) -> list[Match]:
    return [one for one in found if not asked or one.is_called(asked)]


def versions_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """The version of each module by its path, of which some convert what an earlier one saved."""
    return dict(getattr(state, "_metadata", {}))


def converts(model: nn.Module, found: Match) -> bool:
    """Whether the network itself knows how to load this: weights that an earlier version of its code saved.

    Modules convert by the versions of a state; a network with a load hook does by names.
    """
    if not found.versions and not model._load_state_dict_pre_hooks:
        return False
    try:
        load_state(deepcopy(model), {**found.found, **found.surplus}, found.versions)
    except Exception:  # whatever a network's own code may raise on what is not meant for it
        return False
    return True


def load_state(model: nn.Module, state: Mapping[str, Any], versions: Mapping[str, Any]) -> None:
    ordered: OrderedDict[str, Any] = OrderedDict(state)
    ordered._metadata = OrderedDict(versions)  # type: ignore[attr-defined]  # where torch looks for it
    with warnings.catch_warnings(action="ignore"):  # that an earlier version is converted, which our own note reports
        model.load_state_dict(ordered)


def digest_file(path: str | Path) -> str:
    """SHA-256 of the file's content, as 64 hex digits; `CheckpointError` if there is no such file."""
    try:
        with open_file(Path(path)) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"checkpoint file {path} cannot be read ({error.strerror}); check the path") from error

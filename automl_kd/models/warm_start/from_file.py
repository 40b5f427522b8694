"""A student that begins with weights from a file, as far as their names are its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from automl_kd.models.warm_start.slices import silence_blocks, traced
from automl_kd.models.warm_start.started import NothingToTakeError, WarmStart
from automl_kd.models.weights.checkpoint import matches_in
from automl_kd.models.weights.fit import check_values
from automl_kd.registry import name_type
from automl_kd.space import InputShape

LEAST_SHARE = 0.5
"""Of the tensors of the student or the file, whichever has fewer, those that must agree in a family."""


def take_file(student: nn.Module, path: Path, shape: InputShape) -> WarmStart:
    """Overwrite in place what of `student` the file has under the same name; on the processor.

    Of a wider tensor the first channels are taken, of a narrower one the student's first are filled. A classifier of
    other classes keeps its drawn weights, and blocks that the file lacks begin as identities. `shape`: of the images of
    a batch. `CheckpointError` for a file that cannot be read or holds values that are not finite; `NothingToTakeError`
    for one that has fewer than half of the names of the student, if that is the smaller of the two, or else the student
    of its.
    """
    own = student.state_dict()
    found = max(matches_in(path, own), key=lambda one: len(one.found))
    theirs = {name: value for name, value in found.found.items() if fits_partly(own[name], value)}
    last = list(own)[-1].rpartition(".")[0]
    classifier = {name for name in theirs if name.rpartition(".")[0] == last and len(own[name]) != len(theirs[name])}
    theirs = {name: value for name, value in theirs.items() if name not in classifier}
    fewer = min(len(own), len(found.found) + len(found.surplus)) - len(classifier)
    if len(theirs) < LEAST_SHARE * fewer:
        raise NothingToTakeError(
            f"student.init: {path} holds weights of another family: {len(theirs)} of the {len(own)} tensors of the "
            f"student, {name_type(student)}, are in it under their names; name a file of the same model, or take "
            "'teacher' or 'fresh'"
        )
    check_values(own, theirs, path)
    with torch.no_grad():
        for name, value in theirs.items():
            fill_first(own[name], value)
        identities = tuple(silence_blocks(student, traced(student, shape), layers_of(theirs)))
    parameters = dict(student.named_parameters())
    taken = sum(overlap(parameters[name], value) for name, value in theirs.items() if name in parameters)
    return WarmStart(taken / max(1, sum(one.numel() for one in parameters.values())), layers_of(theirs), identities)


def fits_partly(own: object, theirs: object) -> bool:
    """Whether one is a slice of the other, kernels aside, which must be equal."""
    if not isinstance(own, Tensor) or not isinstance(theirs, Tensor) or own.ndim != theirs.ndim:
        return False
    return own.shape[2:] == theirs.shape[2:]


def overlap(own: Tensor, theirs: Tensor) -> int:
    return torch.Size(map(min, zip(own.shape, theirs.shape, strict=True))).numel()


def fill_first(own: Tensor, theirs: Tensor) -> None:
    """Of what is narrower in the file the first rows are filled, and read nothing beyond its columns."""
    shared = tuple(slice(min(sizes)) for sizes in zip(own.shape, theirs.shape, strict=True))
    own[shared[:1]] = 0
    own[shared] = theirs[shared].to(own)


def layers_of(tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.rpartition(".")[0] for name in tensors))

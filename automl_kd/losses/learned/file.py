"""A learned loss on disk: phi as it was found, and what it was over the course of that run. Fits any number of classes.

The file holds plain values and tensors; `LEARNED_LOSS_VERSION` is raised when what they mean changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor

from automl_kd import storage
from automl_kd.errors import CheckpointError
from automl_kd.losses.learned.loss import HIDDEN_WIDTH, LossLayout, Phi

HISTORY = "course"
"""Under this key files and checkpoints hold the history of phi, since their first version."""

LEARNED_LOSS_VERSION = 1


@dataclass(frozen=True, eq=False)
class LearnedLoss:
    """phi, and `history`: what it was at equal steps of the run in which it was learned, first to last, at least one.

    `temperature`: the one at which its inputs were taken.
    """

    layout: LossLayout
    temperature: float
    phi: Phi
    history: Sequence[Phi]

    def at(self, progress: float) -> Phi:
        """What phi was at this part of its run, in [0, 1)."""
        return self.history[min(int(progress * len(self.history)), len(self.history) - 1)]


def save_learned(loss: LearnedLoss, path: Path) -> None:
    """Write the file whole or not at all."""
    record = {
        "version": LEARNED_LOSS_VERSION,
        "layout": asdict(loss.layout),
        "temperature": loss.temperature,
        "phi": {name: value.cpu() for name, value in loss.phi.items()},
        HISTORY: {name: torch.stack([phi[name] for phi in loss.history]).cpu() for name in loss.phi},
    }
    with storage.replacing(path) as scratch:
        torch.save(record, scratch)


def load_learned(path: Path, layout: LossLayout, like: Tensor) -> LearnedLoss:
    """The learned loss in `path`, on the device and in the dtype of `like`.

    `CheckpointError` if it is missing, damaged, of another version, or was learned with another layout.
    """
    record = read_learned_loss_record(path)
    if record["version"] != LEARNED_LOSS_VERSION:
        raise CheckpointError(
            f"{path} is a learned loss of version {record['version']!r}, wanted is version {LEARNED_LOSS_VERSION}; "
            "learn it again, or read it with the release that wrote it"
        )
    if record["layout"] != asdict(layout):
        raise CheckpointError(
            f"{path} is a learned loss with {describe_layout(record['layout'])}, and the options ask for "
            f"{describe_layout(asdict(layout))}; make form, label, weight and stages agree with it"
        )
    shapes = phi_shapes(layout)
    phi, histories = record["phi"], record[HISTORY]
    fits = phi.keys() == histories.keys() == shapes.keys() and all(
        tuple(phi[name].shape) == shape == tuple(histories[name].shape[1:]) and len(histories[name])
        for name, shape in shapes.items()
    )
    if not fits:
        raise CheckpointError(f"{path} lacks weights of its own loss networks; learn it again")
    phi, histories = ({name: value.to(like) for name, value in part.items()} for part in (phi, histories))
    history = [
        dict(zip(histories, values, strict=True))
        for values in zip(*(v.unbind() for v in histories.values()), strict=True)
    ]
    return LearnedLoss(layout, record["temperature"], phi, history)


def phi_shapes(layout: LossLayout) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for name, inputs in layout.networks().items():
        for layer, (into, out) in {
            "first": (inputs, HIDDEN_WIDTH),
            "second": (HIDDEN_WIDTH, HIDDEN_WIDTH),
            "last": (HIDDEN_WIDTH, 1),
        }.items():
            found |= {f"{name}.{layer}.weight": (out, into), f"{name}.{layer}.bias": (out,)}
    return found


def describe_layout(layout: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in layout.items())


def read_learned_loss_record(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(
            f"there is no learned loss {path}; give the path of a learned_loss.pt that lkd has written"
        )
    try:
        record: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # What torch raises depends on where the damage lies.
        raise CheckpointError(
            f"the learned loss {path} cannot be read ({type(error).__name__}); learn it again"
        ) from error
    if not is_learned(record):
        raise CheckpointError(f"{path} is not a learned loss; give the path of a learned_loss.pt that lkd has written")
    return record


def is_learned(record: object) -> TypeGuard[dict[str, Any]]:
    """Whether this has the parts of a learned loss, each of its kind; another version may have others."""
    if not isinstance(record, dict) or not {"version", "phi"} <= record.keys():
        return False
    if record["version"] != LEARNED_LOSS_VERSION:
        return True
    layout, tables = record.get("layout"), [record.get("phi"), record.get(HISTORY)]
    return (
        isinstance(record.get("temperature"), int | float)
        and isinstance(layout, dict)
        and bool(layout)
        and all(isinstance(one, dict) and all(isinstance(value, Tensor) for value in one.values()) for one in tables)
    )

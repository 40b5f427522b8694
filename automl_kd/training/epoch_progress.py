"""How far a run has come in an epoch that has begun: what a checkpoint inside the epoch holds beside that of an epoch's
end.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from automl_kd import distributed
from automl_kd.bilevel.pure import GeneratorStates
from automl_kd.training.checkpoint import State


@dataclass(eq=False)
class EpochProgress:
    """The epoch that a run is in.

    `loss`: this process's losses, summed over the `step` steps taken so far. `begun`: when the epoch began, on the
    clock of `time.monotonic`, brought forward by what earlier sessions spent on it. `counts`: of the teacher cache in
    these steps. `draws`: where torch's generators stood when the epoch was saved; None of one that began here.
    """

    loss: Tensor
    begun: float
    step: int = 0
    counts: dict[str, float] = field(default_factory=dict)
    draws: GeneratorStates | None = None

    @property
    def seconds(self) -> float:
        """Spent on the epoch, over all sessions."""
        return time.monotonic() - self.begun

    def count(self, counts: Mapping[str, float]) -> None:
        self.counts = {**self.counts, **{name: self.counts.get(name, 0) + value for name, value in counts.items()}}

    def state(self, buffers: Mapping[str, Tensor]) -> State:
        """Plain values and tensors. In a process group all must call it: what is each process's own is a list of all
        of theirs. `buffers`: of all networks, of which those are saved that differ between processes.
        """
        draws = GeneratorStates.now(self.loss.device)
        return {
            "step": self.step,
            "seconds": self.seconds,
            "counts": dict(self.counts),
            "loss": distributed.gather_values(self.loss),
            "draws": [distributed.gather_values(one) for one in draws.states],
            "buffers": {name: distributed.gather_values(value) for name, value in unequal(buffers).items()},
        }

    @staticmethod
    def of(state: State, device: torch.device) -> EpochProgress:
        # A checkpoint is read onto the device, and generators want their states on the processor.
        draws = tuple(one[distributed.rank() % len(one)].cpu() for one in state["draws"])
        # One from a device of another kind says nothing about the generators here.
        fitting = len(draws) == len(GeneratorStates.now(device).states)
        return EpochProgress(
            loss=own_or_mean(state["loss"]).to(device),
            begun=time.monotonic() - state["seconds"],
            step=state["step"],
            counts=dict(state["counts"]),
            draws=GeneratorStates(device, draws) if fitting else None,
        )


def own_or_mean(values: list[Tensor]) -> Tensor:
    """What each process had, for this one, or the mean where there are more or fewer processes now."""
    return values[distributed.rank()] if len(values) == distributed.size() else torch.stack(values).mean(dim=0)


def unequal(buffers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of floating type that are not the same on all processes; all must ask."""
    if distributed.size() == 1:
        return {}
    own = {name: value for name, value in buffers.items() if value.is_floating_point()}
    first = {name: value.clone() for name, value in own.items()}
    distributed.broadcast_from_main(first.values())
    return {name: value for name, value in own.items() if distributed.any_of(not torch.equal(value, first[name]))}

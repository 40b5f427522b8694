"""Students of the past: where a run stood at some of its steps, so that a step can be repeated from there.

Ran, Huang, Yang. Tailored knowledge distillation with automated loss function learning. 2025. PLoS ONE 20(6): e0325599.
The paper draws uniformly from recorded students and compares strategies; what "recent" and "by_loss" mean here, and how
long a student is kept, is a reconstruction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from automl_kd import distributed
from automl_kd.bilevel.pure import GeneratorStates
from automl_kd.data import Batch
from automl_kd.models.features import Outputs

Sampling = Literal["uniform", "latest", "recent", "by_loss"]
KeepPolicy = Literal["window", "reservoir"]


@dataclass(frozen=True, eq=False)
class Past:
    """One student before one of its steps, and that step's batch, of which a process in a process group has its part.

    `weights` and `projections` (of the learned loss) are copies. `teacher_out`: outputs of the batch. `draws`: from
    where the step drew its dropout. `rate`: its learning rate. `loss`: its training cross entropy. The buffers are not
    kept: a network in training looks at its batch's statistics.
    """

    step: int
    rate: float
    batch: Batch
    weights: Mapping[str, Tensor]
    projections: Mapping[str, Tensor]
    teacher_out: Outputs
    draws: GeneratorStates
    loss: Tensor

    def state(self) -> dict[str, Any]:
        """Plain values and tensors, of the whole batch. The images are left out: index and epoch make them again.

        `draws`: the states of the first process's generators, then of the second one's.
        """
        every = distributed.gather_shards if self.batch.parts > 1 else identity_average
        return {
            "step": self.step,
            "rate": self.rate,
            "labels": every(self.batch.labels),
            "index": every(self.batch.index),
            "epoch": self.batch.epoch,
            "weights": dict(self.weights),
            "projections": dict(self.projections),
            "logits": every(self.teacher_out.logits),
            "features": {name: every(value) for name, value in self.teacher_out.features.items()},
            "draws": [
                one for states in zip(*map(distributed.gather_values, self.draws.states), strict=True) for one in states
            ],
            "loss": self.loss,
        }

    @staticmethod
    def of(state: Mapping[str, Any], view: Callable[[Tensor, int, Tensor], Batch]) -> Past:
        """`view`: from indices of images, an epoch and the indices of all its images to a batch or its part."""
        with distributed.shard_rows(torch.arange(len(state["index"]), device=state["index"].device)) as rows:
            batch = view(state["index"][rows], state["epoch"], state["index"])
            features = {name: distributed.own_shard(value) for name, value in state["features"].items()}
            # A checkpoint is read onto the device, and generators want their states on the processor.
            kinds, draws = len(GeneratorStates.now(batch.inputs.device).states), [one.cpu() for one in state["draws"]]
            mine = kinds * distributed.rank() % len(draws)
            return Past(
                step=state["step"],
                rate=state["rate"],
                batch=batch,
                weights=state["weights"],
                projections=state["projections"],
                teacher_out=Outputs(distributed.own_shard(state["logits"]), features),
                draws=GeneratorStates(batch.inputs.device, tuple(draws[mine : mine + kinds])),
                loss=state["loss"],
            )


def identity_average(value: Tensor) -> Tensor:
    return value


@dataclass
class Pool:
    """At most `size` >= 1 past students, on the device.

    `keep`: "window" keeps the last ones; "reservoir" every one that was ever recorded with the same probability, so
    that they span the whole run (Vitter. Random Sampling with a Reservoir. ACM TOMS 11(1), 1985, algorithm R).
    """

    size: int
    keep: KeepPolicy
    recorded: int = 0
    past: list[Past] = field(default_factory=list)

    def add(self, one: Past, rng: np.random.Generator) -> None:
        """Afterwards `past` holds `one`, or, of a full reservoir, perhaps not; the oldest comes first."""
        self.recorded += 1
        if len(self.past) < self.size:
            self.past.append(one)
            return
        place = 0 if self.keep == "window" else int(rng.integers(self.recorded))
        if place < self.size:
            del self.past[place]
            self.past.append(one)

    def draw(self, sampling: Sampling, rng: np.random.Generator) -> Past:
        """One of a pool that is not empty.

        "recent": one of the newest quarter, "by_loss": with probability proportional to its training cross entropy,
        which waits for the device.
        """
        count = len(self.past)
        if sampling == "latest":
            return self.past[-1]
        if sampling == "recent":
            return self.past[count - 1 - int(rng.integers(max(count // 4, 1)))]
        if sampling == "by_loss":
            losses = torch.stack([one.loss for one in self.past]).double().cpu().numpy()
            finite = np.where(np.isfinite(losses), losses, 0.0)
            shares = finite / finite.sum() if finite.sum() > 0 else np.full(count, 1 / count)
            return self.past[int(rng.choice(count, p=shares))]
        return self.past[int(rng.integers(count))]

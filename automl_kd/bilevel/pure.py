"""A network in training as a pure function of its weights: no buffer, gradient or generator is changed by calling it.

Batch normalisation uses the batch's statistics, as in training, but writes its running statistics into copies that
are thrown away. Layers that draw, such as dropout, draw what they drew in the forward pass that is to be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from automl_kd import distributed
from automl_kd.bilevel.base import Tensors
from automl_kd.models.features import FeatureExtractor

LOGITS_KEY = "logits"
"""The name of the logits among a network's outputs; the others are named as their feature layers."""


@dataclass(frozen=True, eq=False)
class GeneratorStates:
    """Where torch's generators stood at one moment: the processor's, and the device's if it has one of its own."""

    device: torch.device
    states: tuple[Tensor, ...]

    @staticmethod
    def now(device: torch.device) -> GeneratorStates:
        """Taken before a forward pass, it lets that pass be repeated with the same dropout."""
        states = [torch.get_rng_state()]
        if device.type != "cpu":
            states.append(torch.get_device_module(device).get_rng_state(device))
        return GeneratorStates(device, tuple(states))

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Draw from this moment on; on leaving, the generators are as they were on entering."""
        entered = GeneratorStates.now(self.device)
        self.restore()
        try:
            yield
        finally:
            entered.restore()

    def restore(self) -> None:
        torch.set_rng_state(self.states[0])
        if self.device.type != "cpu":
            torch.get_device_module(self.device).set_rng_state(self.states[1], self.device)


def trainable_parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name: the network's own tensors, not copies."""
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}


def outputs_of(
    extractor: FeatureExtractor,
    inputs: Tensor,
    draws: GeneratorStates | None = None,
    *,
    parts: int = 0,
    behind: Behind | None = None,
) -> Callable[[Tensors], dict[str, Tensor]]:
    """The function from weights to the network's outputs on `inputs`: logits as `LOGITS_KEY`, features by their names.

    `draws`: the moment from which layers draw at each call; now, if None. `parts`: into how many parts a process group
    of processes has divided the images, of which these are one; 0 for those of the batch at hand. `behind`: layers
    that go on from the outputs.

    The network runs in the mode that its modules are in when the function is called, and in the precision of weights
    and images even where autocast surrounds the call: tangents and differences of bfloat16 passes are mostly noise.
    Parameters that a call does not name keep their values.
    """
    drawn = GeneratorStates.now(inputs.device) if draws is None else draws
    whole = (parts or distributed.shard_count()) == 1
    seen = FunctionalFeatures(extractor, behind)

    def outputs(weights: Tensors) -> dict[str, Tensor]:
        # Running statistics are written into copies, which are thrown away with the call.
        state = {name: buffer.clone() for name, buffer in seen.named_buffers()}
        state |= {seen.place(name): value for name, value in weights.items()}
        with drawn.replayed(), distributed.whole_batch(whole), torch.autocast(inputs.device.type, enabled=False):
            found: dict[str, Tensor] = functional_call(seen, state, (inputs,))
        return found

    return outputs


@dataclass(frozen=True, eq=False)
class Behind:
    """Layers that go on from a network's outputs.

    `run`: from the outputs by name, to all that are wanted, by the layers of `module`. `prefix`: before the names of
    these layers' parameters among the weights.
    """

    module: nn.Module
    run: Callable[[Tensors], dict[str, Tensor]]
    prefix: str


class FunctionalFeatures(nn.Module):
    """A network with its feature layers, and what is behind them, as one module: `functional_call` needs one."""

    def __init__(self, extractor: FeatureExtractor, behind: Behind | None = None) -> None:
        super().__init__()
        self.network = extractor.model
        self.behind = behind.module if behind else nn.Identity()
        self._extractor, self._behind = extractor, behind

    def place(self, name: str) -> str:
        """Where the weight called `name` stands in this module."""
        if self._behind and name.startswith(self._behind.prefix):
            return f"behind.{name.removeprefix(self._behind.prefix)}"
        return f"network.{name}"

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        found = self._extractor(inputs)
        outputs = {LOGITS_KEY: found.logits, **found.features}
        return self._behind.run(outputs) if self._behind else outputs

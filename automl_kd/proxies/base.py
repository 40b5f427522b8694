"""The protocol of proxies, and their entries in the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor, nn

from automl_kd.models.costs.cost import NetworkCost
from automl_kd.proxies.passes import Passes, Sight
from automl_kd.proxies.probe import Probe


@runtime_checkable
class Proxy(Protocol):
    """A score of an untrained student; higher promises better.

    The student arrives in training mode. A proxy may do as it likes with its weights, buffers, gradients, mode, hooks
    and torch's global generator, because `score` puts them back. It must not change the probe, which the next student
    is to see as well, nor keep anything between calls: equal students and probes give equal scores.
    """

    def __call__(self, student: nn.Module, probe: Probe, /) -> float: ...


@dataclass(frozen=True)
class Shared:
    """The proxy that only reads the passes that all proxies of its kind share, and changes nothing.

    `sees`: what of them it reads beside logits and the maps before and after pooling. `measure` may return a tensor
    without axes; on an accelerator nobody waits for it before the next student is under way. Random numbers come from
    the passes' `generator`, so that a score does not depend on what else is measured.
    """

    measure: Callable[[Passes], Tensor | float]
    sees: tuple[Sight, ...] = ()

    def __call__(self, student: nn.Module, probe: Probe) -> float:
        return float(self.measure(Passes(student, probe, self.sees)))


@dataclass(frozen=True)
class OfCost:
    """The proxy that only counts: a function of parameters and multiply-adds of the network as it is trained."""

    measure: Callable[[NetworkCost], float]


@dataclass(frozen=True, kw_only=True)
class ProxyEntry:
    """A proxy and what `score` must know to call it.

    `source`: the paper, in one line. `initialisation`: the weights that it wants, as the network's builder leaves them
    ("default") or of unit variance ("normal", see `normal_weights`). `needs_gradient`: a proxy of its own, neither
    `Shared` nor `OfCost`, is otherwise run in inference mode. `needs_teacher`: the probe must have the teacher's
    outputs.
    """

    proxy: Proxy | Shared | OfCost
    source: str
    initialisation: Literal["default", "normal"] = "default"
    needs_gradient: bool = False
    needs_teacher: bool = False

"""The passes of one untrained student that proxies share: each runs once, at its first use.

A dozen proxies read one forward pass, and half a dozen the gradients of one loss. What is kept of the forward pass is
decided before it by `sees`, since feature maps that nobody reads are better forgotten at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_kd.errors import ConfigError
from automl_kd.models.features import Outputs, find_feature
from automl_kd.proxies.clock import Instant, instant
from automl_kd.proxies.hooks import LAYERS, RECURRENT, run_with_hooks
from automl_kd.proxies.probe import Probe
from automl_kd.seeds import derive

T = TypeVar("T")
Sight = Literal[
    "relus",
    "layers",
    "blocks",
    "stages",
    "graph",
    "noise_graph",
    "weight_gradients",
    "layer_gradients",
    "input_gradient",
    "embeddings",
]
"""What a proxy may see beside the logits and the maps of `PROXY_FEATURES`:

    relus             outputs of all rectifiers, in the order in which they run
    layers            outputs of all convolutions and linear layers, likewise
    blocks            outputs of the stem and of each block of each stage, likewise
    stages            the feature layers "stage1", "stage2", ..., in `outputs.features`
    graph             the autograd graph of the forward pass, for a backward pass of the proxy's own
    noise_graph       likewise, of a pass on noise that az_nas shares
    weight_gradients  of the mean cross entropy, by convolutional, linear and recurrent weights
    layer_gradients   of the mean cross entropy, by the outputs of convolutions and linear layers
    input_gradient    of the sum of all logits, by the images, or by what the first embedding makes of the tokens
    embeddings        outputs of all embeddings, in the order in which they run
"""

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
NEED_GRAPH = frozenset({"graph", "weight_gradients", "layer_gradients", "input_gradient"})

Pairs = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """One forward pass: the outputs, and the maps that were to be seen, each list in the order of computation.

    Rectifiers that run on one map may share what they make: it is then listed once for each of them.
    """

    outputs: Outputs
    relus: list[Tensor]
    layers: list[Tensor]
    blocks: list[Tensor]
    layer_weights: list[Tensor]
    """Whose products `layers` are, in the same order."""
    embeddings: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class LayerGradient:
    """The output of a convolution or linear layer, d(mean cross entropy)/d(output), and the layer's weight."""

    output: Tensor
    gradient: Tensor
    weight: Tensor


class Passes:
    """What a proxy is shown of one student on one probe. It must not change anything that it finds here.

    `student` is in training mode, so batch normalisation uses the batch's own statistics. `seed` is that of the draw.
    Maps are (batch, channels, height, width), channels last in memory; of texts (batch, channels, tokens, 1).
    """

    def __init__(self, student: nn.Module, probe: Probe, sees: Iterable[Sight] = (), *, seed: int = 0) -> None:
        self.student, self.probe, self.sees, self.seed = student, probe, frozenset(sees), seed
        self.images = probe.images
        if "input_gradient" in self.sees and probe.of_tokens:
            self.sees |= {"embeddings"}
        elif "input_gradient" in self.sees:
            self.images = self.images.detach().requires_grad_()
        self.done: dict[str, object] = {}
        self.times: dict[str, tuple[Instant, Instant]] = {}
        self.used: set[str] = set()

    def once(self, name: str, run: Callable[[], T]) -> T:
        """The result of the pass called `name`, which is run and timed if nobody asked before."""
        device = self.probe.images.device
        if name not in self.done:
            begun = instant(device)
            with seeded_generators(
                device, derive("pass", self.seed, name)
            ):  # layers that draw random numbers draw the same ones beside any other proxy
                self.done[name] = run()
            self.times[name] = (begun, instant(device))
        self.used.add(name)
        return cast(T, self.done[name])

    @property
    def outputs(self) -> Outputs:
        """Logits of one forward pass in training mode, and its maps: `PROXY_FEATURES`, and the stages if seen."""
        return self.forward.outputs

    def feature(self, name: str) -> Tensor:
        """The map of one of `PROXY_FEATURES` or of a stage; `UnknownNameError` if the student has none of that name."""
        if name not in self.outputs.features:
            find_feature(self.student, name)
        return self.outputs.features[name]

    @property
    def forward(self) -> ForwardPass:
        return self.once("forward", self.run_forward)

    @property
    def weight_gradients(self) -> Pairs:
        """Weights of convolutions, linear and recurrent layers with their gradients, where the loss depends on them."""
        return self.backward[0]

    @property
    def layer_gradients(self) -> list[LayerGradient]:
        """Of convolutions and linear layers, in the order in which they run, where the loss depends on them."""
        return self.backward[1]

    @property
    def backward(self) -> tuple[Pairs, list[LayerGradient]]:
        seen = self.forward
        return self.once("backward", lambda: self.run_backward(seen))

    @property
    def input_gradient(self) -> Tensor:
        """(batch, channels, height, width): of the sum of all logits, so row i is of image i but for batch norm.

        Of tokens, which have none, (batch, length, channels): by the first embedding's output, 0 where there is
        padding.
        """
        logits, images = self.outputs.logits, self.images
        if self.probe.of_tokens:
            images = first_embedding(self.forward.embeddings)
        with torch.enable_grad():
            return self.once("input backward", lambda: gradient_of(logits.sum(), images))

    @property
    def synaptic_flow(self) -> Pairs:
        """|w| and dR/d|w| in float64 for each convolutional and linear weight on which R depends.

        R is the sum of the logits for one image of ones; all parameters are replaced by their absolute values, and
        batch normalisation passes its input through (Tanaka et al. 2020, arXiv:2006.05467, section 4).
        """
        return self.once("synaptic flow", self.run_synaptic_flow)

    def generator(self, *names: str | int) -> torch.Generator:
        """Random numbers of the proxy that calls itself `names`: the same for all students of a draw. On the CPU."""
        return proxy_generator(self.seed, *names)

    def run_forward(self) -> ForwardPass:
        with torch.set_grad_enabled(bool(self.sees & NEED_GRAPH)):
            logits, maps, kept = run_with_hooks(self.student, self.sees, lambda: self.student(self.images))
        return ForwardPass(Outputs(logits, maps), **kept)

    def run_backward(self, seen: ForwardPass) -> tuple[Pairs, list[LayerGradient]]:
        weights = layer_weights(self.student) if "weight_gradients" in self.sees else []
        layers = seen.layers if "layer_gradients" in self.sees else []
        with torch.enable_grad():
            loss = F.cross_entropy(seen.outputs.logits, self.probe.labels)
        found = torch.autograd.grad(loss, [*weights, *layers], retain_graph=True, allow_unused=True)
        pairs = with_gradient((one.detach(), gradient) for one, gradient in zip(weights, found, strict=False))
        by_layer = zip(layers, found[len(weights) :], seen.layer_weights, strict=False)
        return pairs, [
            LayerGradient(output.detach(), gradient, weight.detach())
            for output, gradient, weight in by_layer
            if gradient is not None
        ]

    def run_synaptic_flow(self) -> Pairs:
        student, images = self.student, self.probe.images
        with bypassed(student), torch.enable_grad():
            absolute = {name: one.detach().abs().double().requires_grad_() for name, one in student.named_parameters()}
            weights = [absolute[f"{name}.weight"] for name, one in student.named_modules() if isinstance(one, LAYERS)]
            ones = images.new_ones((1, *images.shape[1:]), dtype=torch.float64)
            total = torch.func.functional_call(student, absolute, (ones,)).sum()
            found = torch.autograd.grad(total, weights, allow_unused=True)
        return with_gradient([(one.detach(), gradient) for one, gradient in zip(weights, found, strict=True)])


def proxy_generator(seed: int, *names: str | int) -> torch.Generator:
    return torch.Generator().manual_seed(derive("proxy", seed, *names))


def first_embedding(embeddings: Sequence[Tensor]) -> Tensor:
    if not embeddings:
        raise ConfigError(
            "gradients by what a network reads are, for tokens, those by its embeddings, and no nn.Embedding runs in "
            "this one; choose grad_norm, snip or zico"
        )
    return embeddings[0]


def layer_weights(student: nn.Module) -> list[Tensor]:
    """Weights of convolutions, linear and recurrent layers, in the order of their modules."""
    return [weight for module in student.modules() for weight in weights_of(module)]


def weights_of(module: nn.Module) -> list[Tensor]:
    """Matrices by which a layer multiplies; none of other modules."""
    if isinstance(module, RECURRENT):
        return [one for name, one in module.named_parameters(recurse=False) if name.startswith("weight")]
    return [module.weight] if isinstance(module, LAYERS) else []


@contextmanager
def bypassed(student: nn.Module) -> Iterator[None]:
    """Batch normalisation hands on what it is given.

    It does not run, for its statistics may be of another type than the input, and one image too few for it.
    """
    norms = [vars(module) for module in student.modules() if isinstance(module, NORMS)]
    for norm in norms:
        norm["forward"] = hand_on
    try:
        yield
    finally:
        for norm in norms:
            del norm["forward"]


def hand_on(x: Tensor) -> Tensor:
    return x


def gradient_of(value: Tensor, at: Tensor) -> Tensor:
    """Zeros where `value` does not depend on `at`. The graph is kept."""
    (found,) = torch.autograd.grad(value, at, retain_graph=True, allow_unused=True)
    return torch.zeros_like(at) if found is None else found


def with_gradient(pairs: Iterable[tuple[Tensor, Tensor | None]]) -> Pairs:
    return [(one, gradient) for one, gradient in pairs if gradient is not None]


@contextmanager
def seeded_generators(device: torch.device, seed: int) -> Iterator[None]:
    """Torch's own generators seeded inside, and afterwards as they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        yield

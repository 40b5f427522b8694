"""Feature maps of a student, recorded by hooks as its modules made them, for all proxies."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from automl_kd.errors import ConfigError
from automl_kd.models.features import KeepOutput, list_feature_layers
from automl_kd.models.foreign.overwriting import version_of, written_over
from automl_kd.proxies.probe import PROXY_FEATURES, is_stage

T = TypeVar("T")
RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU)
LAYERS = (nn.Conv2d, nn.Linear)
RECURRENT = nn.RNNBase
KEPT = ("relus", "layers", "blocks", "layer_weights", "embeddings")

Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]
Maps = dict[str, Tensor]
Lists = dict[str, list[Tensor]]


def run_with_hooks(student: nn.Module, sees: Collection[str], run: Callable[[], T]) -> tuple[T, Maps, Lists]:
    """What a pass gives; the maps of feature layers by name, and lists of the maps that it `sees`, as they were made.

    The feature layers are those of `PROXY_FEATURES`, with the stages if it sees "stages". The lists: see `Sight`.

    Where the network wrote over one of them later, as activations in place do, it is run again on copies.
    """
    record = HookRecord()
    for apart in (False, True):
        record = HookRecord(apart)
        with hooked(student, sees, record):
            made = run()
        if not any(written_over(*one) for one in record.versions):
            break
    return made, record.maps, record.kept


@dataclass(frozen=True, eq=False)
class HookRecord:
    """The records of one pass. `versions`, `apart`: as of `KeepOutput`."""

    apart: bool = False
    maps: Maps = field(default_factory=dict)
    kept: Lists = field(default_factory=lambda: {name: [] for name in KEPT})
    versions: list[tuple[Tensor, int | None]] = field(default_factory=list)

    def keep(self, name: str) -> KeepOutput:
        return KeepOutput(self.kept[name], self.versions, self.apart)

    def catch(self, name: str, value: Tensor) -> None:
        value = value.clone() if self.apart else value
        self.maps[name] = value
        self.versions.append((value, version_of(value)))


@contextmanager
def hooked(student: nn.Module, sees: Collection[str], record: HookRecord) -> Iterator[None]:
    modules, layers = dict(student.named_modules()), list_feature_layers(student)  # first, as it may take a pass
    handles = [module.register_forward_hook(hook) for module, hook in hooks(student, modules, sees, record)]
    for name, layer in layers.items():
        if name in PROXY_FEATURES or ("stages" in sees and is_stage(name)):
            handles.append(hook_feature(modules[layer.module], layer.side, partial(record.catch, name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def hooks(
    student: nn.Module, modules: Mapping[str, nn.Module], sees: Collection[str], record: HookRecord
) -> Iterator[tuple[nn.Module, Hook]]:
    """The modules to listen to, and what then fills the lists."""
    for module in modules.values():
        if "relus" in sees and isinstance(module, RECTIFIERS):
            yield module, record.keep("relus")
        if {"layers", "layer_gradients"} & set(sees) and isinstance(module, LAYERS):
            yield module, record.keep("layers")
            yield module, partial(keep_weight, record.kept["layer_weights"])
        if "embeddings" in sees and isinstance(module, nn.Embedding):
            yield module, record.keep("embeddings")
    for name in blocks_of(student) if "blocks" in sees else ():
        yield modules[name], record.keep("blocks")


def hook_feature(module: nn.Module, side: str, catch: Callable[[Tensor], None]) -> RemovableHandle:
    if side == "input":  # before it runs, for it may write over what it is given
        return module.register_forward_pre_hook(lambda _, given: catch(given[0]))
    return module.register_forward_hook(lambda _module, _given, made: catch(made))


def require_convolutions(student: nn.Module, proxy: str, does: str = "reads maps of convolutions") -> None:
    """Refuse, in the name of `proxy`, a transformer: more linear layers than convolutions, and normalised tokens.

    And what `refuse_words` refuses.
    """
    refuse_words(student, proxy, does)
    kinds = [type(module) for module in student.modules()]
    convolutions, linear = (sum(issubclass(kind, one) for kind in kinds) for one in LAYERS)
    if linear > convolutions and any(issubclass(kind, nn.LayerNorm) for kind in kinds):
        raise ConfigError(
            f"{proxy} {does}, and {linear} of the {linear + convolutions} layers of this network are linear, as in "
            f"transformers; leave {proxy} out for such networks"
        )


def refuse_words(student: nn.Module, proxy: str, does: str, instead: str = "grad_norm, snip or jacob_cov") -> None:
    """Refuse, in the name of `proxy`, a network that reads words and has no convolution.

    `does`: what the proxy does with convolutions or images. `instead`: what scores such networks.
    """
    modules = list(student.modules())
    if any(isinstance(one, nn.Embedding) for one in modules) and not any(isinstance(one, nn.Conv2d) for one in modules):
        raise ConfigError(
            f"{proxy} {does}, and this network reads words and has no convolution; choose {instead} for texts"
        )


def refuse_recurrence(student: nn.Module, proxy: str, does: str) -> None:
    """Refuse, in the name of `proxy`, a network with recurrent layers, of which the proxy would see nothing."""
    if any(isinstance(module, RECURRENT) for module in student.modules()):
        raise ConfigError(
            f"{proxy} {does}, and this network has recurrent ones; choose grad_norm, snip or zico for such networks"
        )


def keep_weight(where: list[Tensor], layer: nn.Module, _given: tuple[Tensor, ...], _made: Tensor) -> None:
    where.append(layer.get_parameter("weight"))


def blocks_of(student: nn.Module) -> list[str]:
    """Names of the modules whose outputs are its `blocks`: the stem, and the members of its stages.

    A stage is a sequence whose members have layers of their own; the first child is the stem if it is no stage.
    """
    names: list[str] = []
    for name, child in student.named_children():
        members = dict(child.named_children()) if isinstance(child, nn.Sequential) else {}
        if any(next(one.children(), None) is not None for one in members.values()):
            names += [f"{name}.{number}" for number in members]
        elif not names:
            names.append(name)
    return names

"""Feature maps by name: what a network computes on the way to its logits, caught by forward hooks.

A *feature layer* is a place in a network: the input or the output of one of its modules. The zoo's models name theirs
in an attribute `feature_layers`, so that a loss can name "stage2" or "pre_pool" of any of them:

    stem             the map that enters the first stage
    stage1, ...      the map that leaves a stage, after the stage's last activation
    stage1.pre, ...  the same map before that activation
    pre_pool         the last map before global pooling
    pooled           what the classifier sees: a vector for each image

Networks for large images have `stage1` to `stage4` at strides 4, 8, 16 and 32, so that they pair up by equal stride;
the layers of networks from elsewhere are found by a pass, and have the same names (`foreign.discovery`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from automl_kd.errors import NetworkError, UnknownNameError
from automl_kd.models.foreign.adoption import known_layers
from automl_kd.models.foreign.overwriting import kind_of_pass, version_of, written_over
from automl_kd.registry import name_type, suggestion

MAP_NAME = re.compile(r"stem|pre_pool|stage\d+(\.pre)?")
QKV_NAME = re.compile(r"qkv\d*")
"""Queries, keys and values of a self-attention."""
FOREIGN_STAGES = ("layer1", "layer2", "layer3", "layer4", "features", "avgpool")
"""Modules under which torchvision's classifiers keep their stages."""


@dataclass(frozen=True)
class Outputs:
    """Outputs of a network on a batch: `logits` (batch, classes), and the feature maps that were requested."""

    logits: Tensor
    features: Mapping[str, Tensor]


@dataclass(frozen=True)
class FeatureLayer:
    """The input or the output of `module`, named as in `named_modules`; "" is the whole model."""

    module: str
    side: Literal["input", "output"] = "output"


def list_feature_layers(model: nn.Module) -> dict[str, FeatureLayer]:
    """The model's own `feature_layers`, or those that a pass shows (`discover_layers`) and torchvision's names.

    Empty for other models. Module names serve as feature layers everywhere (`find_feature`).
    """
    own = getattr(model, "feature_layers", None)
    if isinstance(own, Mapping):
        return dict(own)
    children = dict(model.named_children())
    feature_layers = {name: FeatureLayer(*found) for name, found in known_layers(model).items()}
    feature_layers |= {name: FeatureLayer(name) for name in FOREIGN_STAGES if name in children}
    if "avgpool" in children:
        feature_layers["pre_pool"] = FeatureLayer("avgpool", "input")
    if isinstance(children.get("fc"), nn.Linear):
        feature_layers["pooled"] = FeatureLayer("fc", "input")
    return feature_layers


def find_feature(model: nn.Module, name: str) -> FeatureLayer:
    """The feature layer called `name`, or the output of that module; `UnknownNameError` if there is neither."""
    feature_layers = list_feature_layers(model)
    if name in feature_layers:
        return feature_layers[name]
    modules = dict(model.named_modules())
    if name in modules:
        return FeatureLayer(name)
    if MAP_NAME.fullmatch(name) and not any(map(MAP_NAME.fullmatch, feature_layers)):
        raise UnknownNameError(
            f"no feature layer is called {name!r} in this network, which has no maps that shrink in stages, as "
            "transformers have none; choose losses or proxies of logits, or name one of its modules"
        )
    if QKV_NAME.fullmatch(name) and not any(map(QKV_NAME.fullmatch, feature_layers)):
        raise UnknownNameError(
            f"no feature layer is called {name!r} in this network, which shows no queries, keys and values of "
            "self-attention, as encoders of texts do (search_spaces.bert, and hf:FOLDER of BERT's family); choose such "
            "networks, or losses that read other layers"
        )
    # Feature layers first: a large network has hundreds of modules, too many to list in a sentence.
    raise UnknownNameError(
        f"no feature layer or module is called {name!r} in this network; {suggestion(name, feature_layers or modules)}"
    )


@dataclass(frozen=True, eq=False)
class KeepOutput:
    """A forward hook that keeps what its module makes, and looks at nothing else.

    So whoever has that map already may hand it over in place of another run of the module. `versions`: the maps, each
    with its version when it was made. `apart`: the network goes on with a copy, so that nobody writes over the map.
    """

    where: list[Tensor]
    versions: list[tuple[Tensor, int | None]] = field(default_factory=list)
    apart: bool = False

    def __call__(self, _module: nn.Module, _given: tuple[Any, ...], made: Tensor) -> Tensor | None:
        self.where.append(made)
        self.versions.append((made, version_of(made)))
        return made.clone() if self.apart else None


@dataclass(frozen=True, eq=False)
class Caught:
    """A map as the network goes on with it, its version when it was caught, and a copy from then if one was made."""

    value: Tensor
    version: int | None
    copy: Tensor | None

    @property
    def overwritten(self) -> bool:
        if self.version is None:
            return self.copy is not None and not torch.equal(self.value, self.copy)
        return written_over(self.value, self.version)


class FeatureExtractor:
    """A network that also returns the feature maps called `names`.

    The maps are what the modules returned, also where the network writes over them later, as activations in place do:
    the first pass of each kind copies all maps, later ones those that were written over. They keep their place in the
    autograd graph. Nothing is held between calls, and a call of the network itself is not listened to. Where a module
    runs more than once in a forward pass, its last run counts. Without names no hook is set. Raises `UnknownNameError`
    for a name that is neither feature layer nor module, or a module that did not run.
    """

    def __init__(self, model: nn.Module, names: Sequence[str] = ()) -> None:
        self.model = model
        self.names = tuple(names)
        feature_layers = {name: find_feature(model, name) for name in self.names}
        self._caught: dict[str, Caught] | None = None
        self._written: dict[Hashable, frozenset[str]] = {}
        self._copy = frozenset(self.names)
        self._handles = [self._listen(name, layer) for name, layer in feature_layers.items()]

    def _listen(self, name: str, layer: FeatureLayer) -> Any:
        module = self.model.get_submodule(layer.module)
        catch = self._catcher(name)
        if layer.side == "input":
            return module.register_forward_pre_hook(lambda _, given: catch(given[0]))
        return module.register_forward_hook(lambda _module, _given, made: catch(made))

    def _catcher(self, name: str) -> Callable[[object], None]:
        def catch(value: object) -> None:
            if self._caught is None:
                return
            if not isinstance(value, Tensor):
                raise NetworkError(
                    f"feature layer {name!r} is {name_type(value)}, one tensor was wanted; name another module"
                )
            self._caught[name] = Caught(value, version_of(value), value.clone() if name in self._copy else None)

        return catch

    def __call__(self, x: Tensor) -> Outputs:
        kind = kind_of_pass(self.model, x)
        self._copy = self._written.get(kind, frozenset(self.names))
        self._caught = {}
        try:
            logits = self.model(x)
            caught = self._caught
        finally:
            self._caught = None
        if not isinstance(logits, Tensor):
            raise NetworkError(
                f"the network returned {name_type(logits)} where one tensor of logits was wanted; "
                "name a function that builds it without auxiliary outputs"
            )
        if silent := [name for name in self.names if name not in caught]:
            raise UnknownNameError(
                f"feature layer {silent[0]!r} is a module that the forward pass does not run; "
                f"{suggestion(silent[0], caught)}"
            )
        return Outputs(logits, self._as_made(caught, kind))

    def _as_made(self, caught: Mapping[str, Caught], kind: Hashable) -> dict[str, Tensor]:
        """The maps as their modules returned them. `NetworkError` if one was lost."""
        written = frozenset(name for name, one in caught.items() if one.overwritten)
        if lost := sorted(written - self._copy):
            raise NetworkError(
                f"feature layer {lost[0]!r} is a map that the network writes over, and not in every pass; "
                "name another module"
            )
        written = self._written.setdefault(kind, written)
        return {
            name: one.copy if name in written and one.copy is not None else one.value for name, one in caught.items()
        }

    def close(self) -> None:
        """Remove the hooks; the network is then as it was before."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def __enter__(self) -> FeatureExtractor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

"""Networks by name, and students from points of a search space. May import `config` and below."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import SequenceMatcher, get_close_matches
from functools import partial
from pathlib import PurePath

import torch
from torch import nn

from automl_kd import space as spaces
from automl_kd.errors import ConfigError, UnknownNameError
from automl_kd.models import resnet, vgg, wide_resnet
from automl_kd.models.black_box.file import GRAPHS, pin_graph
from automl_kd.models.black_box.network import BlackBox
from automl_kd.models.foreign.adoption import adopt
from automl_kd.models.foreign.external import referenced_model, torchvision_model, torchvision_names
from automl_kd.models.foreign.pretrained import BUILDERS
from automl_kd.models.imagenet.mobilenet_v1 import MobileNetV1
from automl_kd.models.imagenet.published import PUBLISHED_MOBILE, published_network
from automl_kd.models.pickled import label_pickled, load_pickled
from automl_kd.models.pruning.description import Description, read_description
from automl_kd.models.pruning.surgery import carve
from automl_kd.models.text.folder import pin_encoder
from automl_kd.registry import PICKLED, load_reference, suggestion
from automl_kd.space import Architecture, InputShape, SearchSpace, Values
from automl_kd.spec import BLACK_BOX
from automl_kd.storage.content_hash import pin

MODELS: Mapping[str, Callable[[InputShape], nn.Module]] = {
    **{name: partial(resnet.zoo_resnet, name) for name in resnet.RESNETS},
    **{name: partial(wide_resnet.zoo_wide_resnet, name) for name in wide_resnet.WIDE_RESNETS},
    **{name: partial(vgg.zoo_vgg, name) for name in vgg.VGGS},
    "mobilenet-v1": MobileNetV1,
    **{name: partial(published_network, name) for name in PUBLISHED_MOBILE},
}


SUBGRAPH = "subgraph:"


def build_model(name: str, shape: InputShape) -> nn.Module:
    """A freshly initialised network: an entry of `MODELS`, `torchvision:NAME`, `timm:NAME`, `timm:local-dir:PATH`,
    `hf:PATH`, `subgraph:FILE`, `file:FILE` with its hash, or `module:function`.

    FILE of a subgraph is a subgraph.json, the description of a student inside another model that the method subgraph
    leaves. Draws from torch's global generator, which the caller seeds. The network is adopted (`adoption`): it leaves
    images as they are and returns logits, whatever its forward function does.
    """
    return adopt(network_called(name, shape), shape)


def network_called(name: str, shape: InputShape) -> nn.Module:
    if name in MODELS:
        return MODELS[name](shape)
    for prefix, builder in {"torchvision:": torchvision_model, **BUILDERS}.items():
        if name.startswith(prefix):
            return builder(name.removeprefix(prefix), shape)
    if name.startswith(SUBGRAPH):
        return build_from(read_description(name.removeprefix(SUBGRAPH)), shape)
    if name.startswith(BLACK_BOX):
        return BlackBox(name, shape)
    if name.startswith(PICKLED):
        return network_of(load_pickled(name), shape)
    if ":" in name:
        return referenced_model(name, shape)
    raise UnknownNameError(f"no model is called {name!r}; {nearest(name)}")


def network_of(found: object, shape: InputShape) -> nn.Module:
    """A network that a Python program gave, or what its function of an `InputShape` returns."""
    if isinstance(found, nn.Module) or not callable(found):
        return found  # type: ignore[return-value]  # `adopt` refuses what is no network
    made: nn.Module = found(shape)
    return made


def nearest(name: str) -> str:
    """The close of a message about an unknown model: torchvision's, too, whose names people know without the prefix."""
    if PurePath(name).suffix in GRAPHS:
        return f"a network in a file is called 'file:{name}'"
    theirs = get_close_matches(name, torchvision_names(), n=1, cutoff=0.8)
    ours = get_close_matches(name, MODELS, n=1, cutoff=0.5)
    if theirs and (not ours or likeness(name, theirs[0]) > likeness(name, ours[0])):
        return f"did you mean 'torchvision:{theirs[0]}'?"
    return suggestion(name, MODELS)


def likeness(name: str, other: str) -> float:
    return SequenceMatcher(None, name, other).ratio()


def build_from(description: Description, shape: InputShape) -> nn.Module:
    """The described student, freshly initialised; `ConfigError` if the description does not fit its model."""
    return carve(description, build_model(description.model, shape), shape)


def pin_reference(name: str) -> str:
    """The name of a model, or reference to a space, with the content hash of the file that it names."""
    before, pickled, file = name.partition(PICKLED)
    if pickled and before in {"", "model:"}:
        return f"{before}{pickled}{pin(file)}"
    if name.startswith(BLACK_BOX):
        return pin_graph(name)
    name = pin_encoder(name)
    before, subgraph, file = name.partition(SUBGRAPH)
    return f"{before}{subgraph}{pin(file)}" if subgraph and before in {"", "model:"} else name


def model_label(model: str) -> str:
    """What the model called `model` is, for people."""
    return read_description(model.removeprefix(SUBGRAPH)).label if model.startswith(SUBGRAPH) else label_pickled(model)


def load_space(reference: str) -> SearchSpace:
    """The space at `module:attribute`, or for `model:NAME` the space whose only point is that model."""
    if reference.startswith("model:"):
        return one_point(reference.removeprefix("model:"))
    found = load_pickled(reference) if reference.startswith(PICKLED) else load_reference(reference)
    if not isinstance(found, SearchSpace):
        raise ConfigError(f"{reference!r} is of type {type(found).__name__}; name a SearchSpace, such as module:SPACE")
    return found


def one_point(model: str) -> SearchSpace:
    """The space without parameters whose only network is `model`."""
    label = model_label(model)

    def build_it(_values: Values, shape: InputShape) -> nn.Module:
        return build_model(model, shape)

    return SearchSpace(
        name=f"model:{model}",
        source="one model, nothing to search",
        parameters={},
        build=build_it,
        default={},
        describe=lambda _values: label,
    )


def build(space: SearchSpace, architecture: Architecture, shape: InputShape, *, seed: int) -> nn.Module:
    """The network of `architecture`, with weights that depend on `seed` alone, on the processor.

    Adopted, as by `build_model`. The caller's random state stays as it is.
    `InfeasibleArchitectureError` for a point outside the space.
    """
    spaces.check_architecture(space, architecture)
    # Not torch.manual_seed, which would also seed the accelerators, whose state is not put back here.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        return adopt(space.build(architecture.as_dict(), shape), shape)

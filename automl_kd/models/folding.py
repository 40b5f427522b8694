"""A fixed network made faster: batch normalisation in evaluation mode goes into the convolution before it.

There it is a factor and a shift. The network computes the same function but for rounding, with a pass over memory less
for each normalisation. It can no longer be trained as before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def fold_norms(model: nn.Module, keep: Collection[str] = ()) -> int:
    """Fold in place what batch norms follow a convolution that nobody else reads; how many there were.

    `model` is in evaluation mode. Module names stay: a folded normalisation becomes an identity, and what the
    convolution gives is then what the normalisation gave. Those in `keep`, names of modules somebody listens to, stay
    as they are, and so does a model that torch.fx cannot trace.
    """
    try:
        graph = fx.Tracer().trace(model)
    # What a forward function of anybody's may raise when it meets a stand-in for a tensor: then nothing is folded.
    except (fx.proxy.TraceError, TypeError, RuntimeError, NotImplementedError):
        return 0
    pairs = [pair for pair in foldable(model, graph) if not set(pair) & set(keep)]
    for convolution, norm in pairs:
        fold(model, convolution, norm)
    return len(pairs)


def foldable(model: nn.Module, graph: fx.Graph) -> Iterator[tuple[str, str]]:
    """Names of convolutions and the normalisations that alone read what they give; each runs once in a pass."""
    modules = dict(model.named_modules())
    runs = Counter(id(modules[str(node.target)]) for node in graph.nodes if node.op == "call_module")
    for node in graph.nodes:
        before = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        names = str(before.target), str(node.target)
        convolution, norm = (modules[name] for name in names)
        # Exact types: what derives from them may do more.
        if type(convolution) is nn.Conv2d and type(norm) is nn.BatchNorm2d and norm.running_mean is not None:
            alone = not any(one._forward_hooks or one._forward_pre_hooks for one in (convolution, norm))
            if alone and runs[id(convolution)] == runs[id(norm)] == 1:
                yield names


def fold(model: nn.Module, convolution: str, norm: str) -> None:
    layer, after = model.get_submodule(convolution), model.get_submodule(norm)
    assert isinstance(layer, nn.Conv2d)
    assert isinstance(after, nn.BatchNorm2d)
    mean, variance = after.running_mean, after.running_var
    assert mean is not None
    assert variance is not None
    with torch.no_grad():
        weight, bias = fuse_conv_bn_weights(
            layer.weight, layer.bias, mean, variance, after.eps, after.weight, after.bias
        )
    was = layer.get_parameter("weight")
    layer.weight, layer.bias = as_is(weight, was), as_is(bias, was)
    model.set_submodule(norm, nn.Identity())


def as_is(value: Tensor, like: nn.Parameter) -> nn.Parameter:
    """Whether it is trained, and how it lies in memory, is as before."""
    layout = torch.channels_last if value.ndim == 4 and like.is_contiguous(memory_format=torch.channels_last) else None
    value = value.detach().contiguous(memory_format=layout) if layout else value.detach()
    return nn.Parameter(value, requires_grad=like.requires_grad)

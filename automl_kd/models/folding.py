"""A fixed network made faster: batch normalisation in evaluation mode goes into the convolution before it.

There it is a factor and a shift. The network computes the same function but for rounding, with a pass over memory less
for each normalisation. It can no longer be trained as before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from automl_kd.models.black_box.network import BlackBox
from automl_kd.models.features import FeatureExtractor, Outputs, find_feature
from automl_kd.models.foreign.copying import copy_network
from automl_kd.models.teacher_mean import TeacherMean

FOLDING_ROUNDING = 1e-3
"""Tolerance of the folded network's outputs, as a share of the original's largest number. In double
precision only the folded weights are rounded: an untrained ResNet-152 moved by 5e-7. A convolution whose weight is used
elsewhere too moves by the size of the outputs."""

COARSE = 0.1
"""The same for networks that run in single precision alone, in which accelerators may round to ten bits."""


SAME_CONVOLUTION, NORM_WITH_ACTIVATION = "timm.layers.conv2d_same.Conv2dSame", "timm.layers.norm_act.BatchNormAct2d"
"""Layers of timm that can be folded: one pads by the size of its images, which cannot be traced; one goes on with a
dropout and an activation, its modules `drop` and `act`.
"""


class LayerTracer(fx.Tracer):
    """Does not look into the layers that are folded."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return name_class(m) in {SAME_CONVOLUTION, NORM_WITH_ACTIVATION} or super().is_leaf_module(
            m, module_qualified_name
        )


def name_class(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


@dataclass(frozen=True, eq=False)
class Folded:
    """A network for inference. `reason`: why it is not folded, or empty; `wrong`: folded, it gave other outputs."""

    teacher: FeatureExtractor
    reason: str = ""
    wrong: bool = False


def fold_teacher(teacher: FeatureExtractor, images: Tensor) -> Folded:
    """A folded copy of `teacher`, in evaluation mode, with its feature layers, if its outputs on `images` are equal.

    Otherwise a copy as it is, or the network itself if it cannot be copied. Random state stays.
    """
    if isinstance(teacher.model, BlackBox | TeacherMean):  # the first has no layers to fold
        return fold_members(teacher.model, images) if isinstance(teacher.model, TeacherMean) else Folded(teacher)
    try:
        model = copy_network(teacher.model)
    # Whatever somebody's module raises when it is copied; it has been run before, and can be run as it is.
    except Exception as error:
        return Folded(teacher, f"it cannot be copied ({first_line_of_error(error)})")
    try:
        graph = LayerTracer().trace(model)
    except Exception as error:  # likewise, when its forward function meets a stand-in for a tensor
        return unfolded(teacher, f"it cannot be traced ({first_line_of_error(error)})")
    if not fold_pairs(model, graph, [find_feature(model, name).module for name in teacher.names]):
        return Folded(FeatureExtractor(model, teacher.names))
    quick = FeatureExtractor(model, teacher.names)
    if reason := disagreement(teacher, quick, images):
        return unfolded(teacher, reason, wrong=True)
    return Folded(quick)


def fold_members(teacher: TeacherMean, images: Tensor) -> Folded:
    """Several teachers, each folded by itself."""
    found = [fold_teacher(FeatureExtractor(member), images) for member in teacher.members]
    quick = TeacherMean([one.teacher.model for one in found], teacher.shares, teacher.temperature, teacher.task)
    quick.shares = teacher.shares  # to the last bit
    reasons = "; ".join(dict.fromkeys(one.reason for one in found if one.reason))
    return Folded(FeatureExtractor(quick.eval()), reasons, any(one.wrong for one in found))


def unfolded(teacher: FeatureExtractor, reason: str, *, wrong: bool = False) -> Folded:
    return Folded(FeatureExtractor(copy_network(teacher.model), teacher.names), reason, wrong)


def first_line_of_error(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def disagreement(original: FeatureExtractor, other: FeatureExtractor, images: Tensor) -> str:
    """Describe the difference of the two networks' outputs on `images`, beyond rounding; empty if none."""
    try:
        expected, limit = run_in_evaluation(doubled(original), images.double()), FOLDING_ROUNDING
        other, images = doubled(other), images.double()
    except Exception:  # its forward function asks for single precision somewhere
        expected, limit = run_in_evaluation(original, images), COARSE
    try:
        found = run_in_evaluation(other, images)
    except Exception as error:  # it may look for a layer that is folded away
        return f"its folded copy cannot be run ({first_line_of_error(error)})"
    pairs = {"logits": (expected.logits, found.logits)}
    pairs |= {name: (value, found.features[name]) for name, value in expected.features.items()}
    different = [name for name, pair in pairs.items() if not agree(*pair, limit)]
    return f"its folded copy gives other {different[0]}" if different else ""


def doubled(network: FeatureExtractor) -> FeatureExtractor:
    """A copy in double precision, which no setting of the device makes coarser."""
    return FeatureExtractor(copy_network(network.model).double(), network.names)


def run_in_evaluation(network: FeatureExtractor, images: Tensor) -> Outputs:
    """With the random state as it is, which stays."""
    devices = [images.device] if images.is_cuda else []
    with torch.random.fork_rng(devices), torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        return network(images)


def agree(one: Tensor, other: Tensor, limit: float = FOLDING_ROUNDING) -> bool:
    """Up to `limit` of the largest number, and in what is not finite."""
    finite = one.isfinite()
    if one.shape != other.shape or not torch.equal(finite, other.isfinite()):
        return False
    one, other = one[finite].double(), other[finite].double()
    return not len(one) or bool((one - other).abs().max() <= limit * one.abs().max())


def fold_norms(model: nn.Module, keep: Collection[str] = ()) -> int:
    """Fold in place what batch norms follow a convolution that nobody else reads; how many there were.

    `model` is in evaluation mode. Module names stay: a folded normalisation becomes an identity, or the activation that
    it ended with, and what the convolution gives is then what the normalisation gave. Those in `keep`, names of modules
    somebody listens to, stay as they are, and so does a model that torch.fx cannot trace. The graph does not show
    everything (a weight used by hand, a length that was looked at): the caller checks that the model's outputs stay the
    same (`folded`).
    """
    try:
        graph = LayerTracer().trace(model)
    except Exception:  # whatever a forward function of anybody's raises when it meets a stand-in for a tensor
        return 0
    return fold_pairs(model, graph, keep)


def fold_pairs(model: nn.Module, graph: fx.Graph, keep: Collection[str]) -> int:
    pairs = [pair for pair in foldable(model, graph) if not set(pair) & set(keep)]
    for convolution, norm in pairs:
        fold_into_convolution(model, convolution, norm)
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
        convolves = type(convolution) is nn.Conv2d or name_class(convolution) == SAME_CONVOLUTION
        normalises = type(norm) is nn.BatchNorm2d or name_class(norm) == NORM_WITH_ACTIVATION
        if convolves and normalises and norm.running_mean is not None:
            alone = not any(one._forward_hooks or one._forward_pre_hooks for one in (convolution, norm))
            if alone and runs[id(convolution)] == runs[id(norm)] == 1:
                yield names


def fold_into_convolution(model: nn.Module, convolution: str, norm: str) -> None:
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
    left = (
        nn.Identity()
        if type(after) is nn.BatchNorm2d
        else nn.Sequential(after.get_submodule("drop"), after.get_submodule("act"))
    )
    model.set_submodule(norm, left.eval())


def as_is(value: Tensor, like: nn.Parameter) -> nn.Parameter:
    """Whether it is trained, and how it lies in memory, is as before."""
    layout = torch.channels_last if value.ndim == 4 and like.is_contiguous(memory_format=torch.channels_last) else None
    value = value.detach().contiguous(memory_format=layout) if layout else value.detach()
    return nn.Parameter(value, requires_grad=like.requires_grad)

"""The protocols of losses: options before training, a loss function during it; and what all losses share.

A loss begins as options: a frozen dataclass that names the feature layers it needs. `make` turns options into a loss
function, given one example of both networks' outputs: itself where nothing has to be built, an `nn.Module` where the
loss has layers or memories of its own. These go to the student's optimizer and into checkpoints, and never into the
student.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Protocol, TypeVar, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from automl_kd.data import Batch
from automl_kd.errors import ConfigError
from automl_kd.models.features import Outputs
from automl_kd.spec import require

M = TypeVar("M", bound=nn.Module)

LossTerms = Mapping[str, Tensor]


@runtime_checkable
class LossFunction(Protocol):
    """Loss terms by name, each a scalar; a term is called by the loss's name, or `name.part`.

    Gradients reach the student's outputs, the loss function's own layers and never the teacher's outputs. The outputs
    are not changed in place, and nothing is drawn from a global random generator. `name.own` is a term that trains the
    loss function's own layers alone: a weighted sum adds it as it is.
    """

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> Mapping[str, Float[Tensor, ""]]: ...


@dataclass(frozen=True)
class FeatureNames:
    """Names of the feature maps that a loss looks at; the logits are always there."""

    student: tuple[str, ...] = ()
    teacher: tuple[str, ...] = ()

    @staticmethod
    def of(stages: str) -> FeatureNames:
        """Both sides of the pairs that `stages` names."""
        pairs = read_stages(stages)
        return FeatureNames(tuple(one for one, _ in pairs), tuple(two for _, two in pairs))

    def __or__(self, other: FeatureNames) -> FeatureNames:
        return FeatureNames(
            tuple(dict.fromkeys(self.student + other.student)), tuple(dict.fromkeys(self.teacher + other.teacher))
        )


@dataclass(frozen=True)
class Standard:
    """The default weights of a loss: `weight` for itself, `ce` for the labels if it is the only loss.

    `warmup`: the fraction of the run over which the weight rises linearly from zero.
    """

    weight: float
    ce: float = 1.0
    warmup: float = 0.0


@dataclass(frozen=True, eq=False)
class Example:
    """What a loss function is built from: both networks' outputs for the same few images, and facts of the run.

    `labels`, `index`: of all training images, as in `Batch`. `classes`: of the data. `batch`: largest batch of
    training. `epochs`: length of the run. `last_epoch`: the part of the images that the last one trains on. `seed`: of
    what the loss function draws while it is used. `classifier`: the teacher's last linear layer, None if it has none.
    `sizes_differ`: whether batches have maps of different sizes, as those of texts have.
    """

    student: Outputs
    teacher: Outputs
    labels: Shaped[Tensor, "images ..."]
    index: Int[Tensor, " images"]
    classes: int
    batch: int
    epochs: int
    last_epoch: float = 1.0
    seed: int = 0
    classifier: nn.Linear | None = None
    sizes_differ: bool = False


@runtime_checkable
class Loss(Protocol):
    """Options of one loss: a frozen dataclass whose fields have defaults and are bool, int, float or str.

    A loss is a mean over images. One that compares images with each other, or remembers them, has `whole:
    ClassVar[bool] = True`: where a process group divides the batch, each process then gives it the outputs, labels and
    indices of all images, and no pixels. One that looks at the label of each image has `needs_labels: ClassVar[bool] =
    True`, and images cannot be mixed for it; one that remembers each image has `remembers_images: ClassVar[bool] =
    True`, and an image must not come twice in a batch.

    `make` refuses, as a `ConfigError`, outputs that the loss cannot compare. It draws initial weights from torch's
    global generator, which the caller seeds, and does not keep the example.
    """

    standard: ClassVar[Standard]

    @property
    def features(self) -> FeatureNames: ...

    def make(self, example: Example) -> LossFunction: ...


@lru_cache
def read_stages(text: str) -> tuple[tuple[str, str], ...]:
    """Pairs of layers: "stage1+stage2:layer3" pairs stage1 with stage1, and the student's stage2 with layer3."""
    pairs = []
    for item in text.split("+"):
        one, colon, two = (part.strip() for part in item.partition(":"))
        require(
            bool(one) and bool(two) == bool(colon),
            f"stages are names of feature layers joined by '+', student:teacher where they differ; got {text!r}",
        )
        pairs.append((one, two or one))
    return tuple(pairs)


def both(stages: str, student: Outputs, teacher: Outputs) -> Iterator[tuple[Tensor, Tensor]]:
    """The student's and the teacher's feature for each pair of `stages`; no gradient reaches the teacher's."""
    for one, two in read_stages(stages):
        yield student.features[one], teacher.features[two].detach()


def example_maps(loss: str, stages: str, example: Example) -> list[tuple[Tensor, Tensor]]:
    """The example's features at `stages`; a `ConfigError` unless all are maps (batch, channels, height, width)."""
    for (one, two), maps in zip(read_stages(stages), both(stages, example.student, example.teacher), strict=True):
        for side, name, found in (("student", one, maps[0]), ("teacher", two, maps[1])):
            if found.ndim != 4:
                raise ConfigError(
                    f"{loss} compares maps (batch, channels, height, width) and feature layer {name!r} of the {side} "
                    f"gives {tuple(found.shape)}; choose a stage of convolutions"
                )
    return list(both(stages, example.student, example.teacher))


def example_vectors(loss: str, stages: str, example: Example) -> list[tuple[Tensor, Tensor]]:
    """The example's features at `stages`, for layers that read all of one; a `ConfigError` if sizes differ."""
    pairs = list(both(stages, example.student, example.teacher))
    if example.sizes_differ and any(found.ndim > 2 for pair in pairs for found in pair):
        raise ConfigError(
            f"{loss} reads a whole map and needs one size for all batches, and {stages!r} has maps of texts, which are "
            "as long as the longest of a batch; choose pooled"
        )
    return pairs


def example_widths(loss: str, stages: str, example: Example) -> list[tuple[int, int]]:
    """The channels of the student's and of the teacher's map at each pair of `stages`; refusals as `example_maps`."""
    return [(one.shape[1], two.shape[1]) for one, two in example_maps(loss, stages, example)]


def same_size(
    one: Float[Tensor, "batch c1 h1 w1"], two: Float[Tensor, "batch c2 h2 w2"]
) -> tuple[Float[Tensor, "batch c1 h w"], Float[Tensor, "batch c2 h w"]]:
    """Both maps, the larger averaged adaptively to the smaller one's height and width."""
    size = (min(one.shape[2], two.shape[2]), min(one.shape[3], two.shape[3]))
    return pooled_to(one, size), pooled_to(two, size)


def pooled_to(x: Float[Tensor, "batch channels height width"], size: tuple[int, int]) -> Tensor:
    return x if tuple(x.shape[2:]) == size else F.adaptive_avg_pool2d(x, size)


def both_same_size(stages: str, student: Outputs, teacher: Outputs) -> Iterator[tuple[Tensor, Tensor]]:
    """The maps of `both`, the larger of each pair averaged adaptively to the smaller one's height and width."""
    return (same_size(one, two) for one, two in both(stages, student, teacher))


def sum_of_terms(terms: Sequence[Float[Tensor, ""]]) -> Float[Tensor, ""]:
    return torch.stack(list(terms)).sum()


def halved_towards_the_first(terms: Sequence[Float[Tensor, ""]]) -> Float[Tensor, ""]:
    """Their sum, the last with weight 1 and each other with half the weight of the next."""
    last = len(terms) - 1
    return sum_of_terms([2.0 ** (place - last) * term for place, term in enumerate(terms)])


def beside(module: M, example: Example) -> M:
    """`module` on the example's device; in float64 for networks in float64, else in float32."""
    logits = example.student.logits
    return module.to(logits.device, torch.float64 if logits.dtype == torch.float64 else torch.float32)

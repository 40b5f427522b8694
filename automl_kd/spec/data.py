"""The record of images or texts, and of how they are divided."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from automl_kd.spec.checks import require
from automl_kd.spec.preprocessing import (
    INTERPOLATIONS,
    RESIZES,
    Interpolation,
    ResizeRule,
    require_moments,
    wrong_interpolation,
    wrong_resize,
)

OnError = Literal["fail", "skip"]


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """Which images or texts, and how they are divided. Validation is cut from the training images, stratified by class.

    `name`: an entry of the dataset table, or one's own images, such as `folder:PATH`; 'automl-kd show datasets' lists
    all forms. `train_images` (0 or more): keep so many training images (validation not counted), stratified; 0 keeps
    all. `labelled_images` (0 or more): keep the labels of so many of these, stratified; the others join the unlabelled
    images, for which the teacher's outputs are the only target; 0 keeps all labels. `unlabelled`: more images without
    labels, `folder:PATH` or `arrays:PATH.npz`; empty for none. `validation` (above 0, below 1): the fraction of the
    training images held out for every choice. `test` (above 0, below 1): the fraction of all images held out for
    testing, of a set that has no test images. `split_seed` (any): draws the division; the same for all trials of an
    experiment. `resolution` (0 to 4096): height and width to which images are resized; 0 keeps the set's own. `crop`
    (above 0, at most 1): the part of the shorter side that the middle square has which is cut out of images from files.
    `interpolation`: how images are resized. `resize` (torchvision, transformers or squash): how images from files
    become square: their middle is cut out, sides and offsets rounded as one of these libraries does, or all of the
    image is squashed; empty cuts as torchvision where crop is below 1, and to the nearest pixel where it is 1. `view`
    (0 to 4096): height and width that images are kept at, at least, for a teacher that takes larger ones than students;
    filled in when the experiment is opened. `max_value` (0 or more): what is white in images of more than 8 bits, such
    as 4095 for 12 bits in files of 16; 0 for the range that each file states. `mean` (0 to 1): means by which the
    channels of images are normalised for students, and for a teacher that has none of its own, as fractions of white;
    empty takes those of the training images. `std` (above 0, at most 1): the deviations that go with `mean`. `loading`:
    where images are kept: "resident" decodes all of them once and keeps them on the training device, "stream" decodes
    them as they are needed, and "auto" takes "stream" for image files that would take more than 4 GiB or than this
    machine has, or of which random parts are shown (recipe.augment = "random-resized-crop"). `decoder`: "exact", or
    "scaled" to let streamed JPEGs be reduced while they are decoded, which is faster and changes pixels. `transform`: a
    function, module:attribute, of images and random words, or an object of torchvision.transforms.v2: it augments
    training images in place of the recipe; empty for none. `transform_deterministic`: whether that makes the same of an
    image in every process, so that the teacher's outputs may be cached. `digest`: hash of the divided images
    themselves, filled in when the experiment is opened, so that a trial's key follows what the set holds rather than
    where it lies. `on_error` (fail or skip): whether an image that is empty, cut off, no image or too large to open
    ends the run, or is left out, counted and named. `task`: what
    labels are: "classification", one class of each input; "multi-label", any number; "regression", numbers; or a task
    of one's own, module:attribute. `metric`: what is followed and reported as accuracy, of which more is better: of
    classes "accuracy" or "macro_f1", of several labels "mean_average_precision" or "macro_f1", of numbers "r2" or
    "negative_mse"; empty takes the first. `tokenizer`: the file tokenizer.json by which texts become tokens, or the
    folder that holds it; empty takes that of a teacher hf:FOLDER. `max_length` (4 to 8192): tokens of a text, beyond
    which it is cut off.
    """

    name: str = "digits"
    train_images: int = 0
    validation: float = 0.1
    split_seed: int = 0
    resolution: int = 0
    max_value: float = 0.0
    digest: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    labelled_images: int = 0
    unlabelled: str = ""
    test: float = 0.2
    crop: float = 1.0
    interpolation: Interpolation = "bilinear"
    view: int = 0
    resize: ResizeRule = ""
    loading: Literal["auto", "resident", "stream"] = "auto"
    decoder: Literal["exact", "scaled"] = "exact"
    transform: str = ""
    transform_deterministic: bool = False
    on_error: OnError = "fail"
    task: str = "classification"
    metric: str = ""
    tokenizer: str = ""
    max_length: int = 128

    def __post_init__(self) -> None:
        require(0 <= self.max_value < math.inf, f"max_value must be 0 (as files state) or more, got {self.max_value}")
        for name in ("validation", "test"):
            require(0 < getattr(self, name) < 1, f"{name} must lie between 0 and 1, got {getattr(self, name)}")
        for name in ("train_images", "labelled_images"):
            require(getattr(self, name) >= 0, f"{name} must be 0 (all) or more, got {getattr(self, name)}")
        for name in ("resolution", "view"):
            size = getattr(self, name)
            require(0 <= size <= 4096, f"{name} must lie in 0 (the set's own) to 4096, got {size}")
        for name, allowed in (("loading", ("auto", "resident", "stream")), ("decoder", ("exact", "scaled"))):
            chosen = getattr(self, name)
            require(chosen in allowed, f"{name} must be one of {', '.join(allowed)}, got {chosen!r}")
        require(0 < self.crop <= 1, f"crop must lie above 0 and at most at 1, got {self.crop}")
        require(self.interpolation in INTERPOLATIONS, wrong_interpolation(self.interpolation))
        require(self.resize in RESIZES, wrong_resize(self.resize))
        require(
            self.on_error in {"fail", "skip"},
            f"on_error must be 'fail' (the first flawed image ends the run) or 'skip', got {self.on_error!r}",
        )
        require(4 <= self.max_length <= 8192, f"max_length must lie in 4 to 8192, got {self.max_length}")
        require_moments(self.mean, self.std)
        require(
            bool(self.transform) or not self.transform_deterministic,
            "transform_deterministic is about transform, and there is none; name one, or drop it",
        )

    @property
    def repeatable(self) -> bool:
        """Whether an epoch's views are the same for all who make them."""
        return not self.transform or self.transform_deterministic


YOUNGER_DATA_FIELDS = (
    *("mean", "std", "labelled_images", "unlabelled", "test"),
    *(
        "crop",
        "interpolation",
        "view",
        "resize",
        "loading",
        "decoder",
        "transform",
        "transform_deterministic",
        "on_error",
        *("task", "metric", "tokenizer", "max_length"),
    ),
)
"""Those that records of earlier releases do not have; they are stored where they are set."""


def read_data(record: Mapping[str, Any]) -> DataSpec:
    return DataSpec(**{**record, **{name: tuple(record[name]) for name in ("mean", "std") if name in record}})

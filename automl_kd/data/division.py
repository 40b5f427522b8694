"""Training, validation and test images that never overlap, drawn class by class.

Which images are drawn depends on the labels and a seed alone, through `counter`, so every process and every version of
every library divides the same way; and for one seed, more training images always include the fewer, but for a rounding
of the classes' shares.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from automl_kd.data.counter import draw_words, key
from automl_kd.data.dataset import (
    DIGEST_CHUNK,
    Dataset,
    Split,
    as_size,
    moments_of,
    require_classes,
    require_inputs,
)
from automl_kd.data.fit import Fit
from automl_kd.data.kept import KEPT_FROM, hashed, recall
from automl_kd.data.load_progress import MEASURING, LoadProgress, ignore_progress
from automl_kd.data.source import Source, SourceSplit, TextFacts, list_paths, refuse_beyond_memory
from automl_kd.data.stream.decoder import decoder_identity
from automl_kd.data.streamed import FEW_IMAGES
from automl_kd.errors import DataError
from automl_kd.space import InputShape, TextShape
from automl_kd.spec import DataSpec
from automl_kd.tasks import UNLABELLED

TEST, VALIDATION, KEEP, LABELLED = 1, 2, 3, 4  # the first word of each draw's key


def divide(
    name: str, source: Source, spec: DataSpec, root: Path | None = None, notify: LoadProgress = ignore_progress
) -> Dataset:
    """The dataset that `spec` asks for. `DataError` if the images do not suffice for it.

    `root`: where measures of a large set of files are kept for other processes; without it they are taken anew.
    A test part that is missing is cut from the training images, the same whatever `split_seed`, so that results under
    different seeds are measured on the same images.
    """
    check_classes(name, source)
    student = student_size(name, source, spec)
    fit = Fit.of(spec, max(spec.view, student))
    require_memory(name, source, spec, fit.size)
    whole, rows = source.train, torch.arange(len(source.train))
    if source.test is None:
        rows, held = hold_out(name, source, rows, spec.test, key(TEST), "add images or change data.test")
        test = take_rows(whole, held, fit)
    else:
        test = take_rows(source.test, torch.arange(len(source.test)), fit)
    if source.validation is None:
        stream, advice = key(VALIDATION, spec.split_seed), "add images or change data.validation"
        rows, held = hold_out(name, source, rows, spec.validation, stream, advice)
        validation = take_rows(whole, held, fit)
    else:
        own = torch.arange(len(source.validation))
        validation = take_rows(source.validation, own, fit, first=len(whole))
    train = take_rows(whole, keep(name, source, rows, spec), fit)
    if source.judge is not None:
        source.judge(train)
    labelled, transfer = divide_transfer(name, source, spec, fit, train)
    found = assemble_dataset(name, source, spec, (labelled, validation, test), root, notify)
    return replace(found, transfer=transfer, student_size=student if fit.size > student else 0)


def student_size(name: str, source: Source, spec: DataSpec) -> int:
    """Height and width of students' images; 0 where these are the images' own, and no teacher needs larger ones."""
    if spec.resolution or not spec.view:
        return spec.resolution
    height, width = source.train.pixels(torch.arange(1), Fit()).shape[2:]
    if height != width:
        raise DataError(
            f"{name} has images of {height}x{width} and the teacher takes {spec.view}x{spec.view}; set data.resolution "
            "to the height and width of the students' images"
        )
    return height


def divide_transfer(name: str, source: Source, spec: DataSpec, fit: Fit, train: Split) -> tuple[Split, Split | None]:
    """The training images that keep their labels; and these with all that have none after them, if there are such."""
    if (spec.labelled_images or spec.unlabelled) and not source.task.labels_are_classes:
        option = "labelled_images" if spec.labelled_images else "unlabelled"
        raise DataError(f"data.{option} is for classification, and data.task is {source.task.name!r}; drop it")
    labelled, hidden = hide_labels(name, len(source.class_names), spec, train)
    parts = [part for part in (hidden, unlabelled_part(source, fit)) if part is not None]
    if not parts:
        return train, None
    for part in parts:
        require_same_size(name, part, train)
    transfer = Split.joined([labelled, *parts])
    return transfer[: len(labelled)], transfer


def hide_labels(name: str, classes: int, spec: DataSpec, train: Split) -> tuple[Split, Split | None]:
    """`train` as the `labelled_images` that keep their labels, and the others."""
    if spec.labelled_images in {0, len(train)}:
        return train, None
    if not classes <= spec.labelled_images <= len(train):
        raise DataError(
            f"data.labelled_images = {spec.labelled_images}, but {name} has {classes} classes and {len(train)} images "
            f"to train on; choose {classes} to {len(train)}, or 0 for all"
        )
    keeps = torch.zeros(len(train), dtype=torch.bool)
    keeps[stratified(train.labels, spec.labelled_images, key(LABELLED, spec.split_seed), least=1)] = True
    others = train[(~keeps).nonzero().flatten()]
    return train[keeps.nonzero().flatten()], replace(others, labels=torch.full_like(others.labels, UNLABELLED))


def unlabelled_part(source: Source, fit: Fit) -> Split | None:
    """The images of `data.unlabelled`, numbered after those of the set."""
    if (part := source.unlabelled) is None:
        return None
    numbered = len(source.train) + (0 if source.validation is None else len(source.validation))
    return take_rows(part, torch.arange(len(part)), fit, first=numbered)


def require_same_size(name: str, unlabelled: Split, train: Split) -> None:
    if unlabelled.inputs.shape[1:] != train.inputs.shape[1:]:
        raise DataError(
            f"{name} has images of {as_size(train.inputs)}, and data.unlabelled of {as_size(unlabelled.inputs)}; set "
            "data.resolution, or make all images one size"
        )


def require_memory(name: str, source: Source, spec: DataSpec, size: int) -> None:
    """Refuse a size at which the images that are used fill the memory, before any is resized."""
    if not size or not source.train.channels:
        return
    count = images_used(source, spec)
    option = f"{'data' if size == spec.resolution else 'teacher'}.resolution"
    refuse_beyond_memory(
        count * source.train.channels * size**2,
        f"{count:,} images of {name} at {option} = {size}",
        f"lower {option}" + " or set data.train_images" * (not spec.train_images),
    )


def images_used(source: Source, spec: DataSpec) -> int:
    """At most so many of the images are kept."""
    count = sum(map(len, source.parts))
    if not spec.train_images:
        return count
    # Held out of the rest are at most `test` and `validation`; of those to train on, so many are kept.
    cut = len(source.train) * (spec.validation * (source.validation is None) + spec.test * (source.test is None))
    return count + min(spec.train_images + round(cut), len(source.train)) - len(source.train)


def assemble_dataset(
    name: str,
    source: Source,
    spec: DataSpec,
    splits: tuple[Split, Split, Split],
    root: Path | None,
    notify: LoadProgress,
) -> Dataset:
    if source.texts is not None:
        return assemble_texts(name, source, source.texts, splits)
    train, validation, test = splits
    channels, height, width = train.inputs.shape[1:]
    stamp = measures_stamp(source, spec, splits) if root else ""
    measured = recall(root, stamp, "statistics", lambda: train_statistics(train, notify))
    mean, std = tuple(measured["mean"]), tuple(measured["std"])
    require_spread(name, mean, std)
    if spec.mean:
        if len(spec.mean) != channels:
            raise DataError(f"data.mean has {len(spec.mean)} numbers, and images of {name} have {channels} channels")
        mean, std = spec.mean, spec.std
    return Dataset(
        name=name,
        shape=InputShape(channels, height, width, len(source.class_names)),
        train=train,
        validation=validation,
        test=test,
        mean=mean,
        std=std,
        augment=source.augment,
        pad=max(1, height // 8),
        class_names=source.class_names,
        note=source.note,
        made=made_from(source),
        passed_over=source.passed_over,
        stamp=stamp,
        task=source.task,
    )


def assemble_texts(name: str, source: Source, facts: TextFacts, splits: tuple[Split, Split, Split]) -> Dataset:
    """Costs are stated at the mean length of a training text, which that of a batch hardly exceeds."""
    train, validation, test = splits
    assert train.lengths is not None
    return Dataset(
        name=name,
        shape=TextShape(
            width=round(train.lengths.double().mean().item()),
            classes=len(source.class_names),
            vocabulary=facts.vocabulary,
            padding=facts.padding,
            separator=facts.separator,
            longest=facts.longest,
        ),
        train=train,
        validation=validation,
        test=test,
        mean=(),
        std=(),
        augment="none",
        pad=0,
        class_names=source.class_names,
        note=source.note,
        made=made_from(source),
        passed_over=source.passed_over,
        task=source.task,
    )


def train_statistics(train: Split, notify: LoadProgress) -> dict[str, tuple[float, ...]]:
    return dict(zip(("mean", "std"), moments_of(count_pieces(train, notify)), strict=True))


def count_pieces(train: Split, notify: LoadProgress) -> Iterator[Tensor]:
    done, of = 0, len(train) if train.streamed is None else len(train.streamed.sample)
    for piece in train.pieces(DIGEST_CHUNK):
        yield piece
        done += len(piece)
        notify(MEASURING, done, of)


def measures_stamp(source: Source, spec: DataSpec, splits: Sequence[Split]) -> str:
    """What names the measures of these splits; empty for a small set, or one that is no matter of files."""
    asked = replace(spec, digest="", mean=(), std=())
    if splits[0].streamed is not None:  # what takes long is to decode them, however small they are made
        return stamp_of_streamed(source, asked, splits) if sum(map(len, splits)) > FEW_IMAGES else ""
    if not source.files or sum(one.inputs.numel() for one in splits) < KEPT_FROM:
        return ""
    return hashed(asked, list_paths(source.files))


def stamp_of_streamed(source: Source, asked: DataSpec, splits: Sequence[Split]) -> str:
    """By what the images are, wherever they lie, which `check_encoded` knows without reading them again."""
    placeless = replace(asked, name="", unlabelled="")
    whole = hashlib.sha256(repr((placeless, source.class_names, decoder_identity(asked.decoder))).encode())
    for split in splits:
        assert split.streamed is not None
        whole.update(split.labels.numpy().tobytes())
        whole.update(split.streamed.digests.tobytes())
    if source.unlabelled is not None and source.unlabelled.scan is not None:
        whole.update(source.unlabelled.scan.digests.tobytes())
    return whole.hexdigest()[:16]


def made_from(source: Source) -> dict[str, str]:
    parts = {"training": source.train, "validation": source.validation, "test": source.test}
    made = {name: "cut from training" if part is None else source.made.get(name, "") for name, part in parts.items()}
    return made | {name: text for name, text in source.made.items() if name not in made}


def require_spread(name: str, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Refuse images without contents. Of fractions a real standard deviation is at most 0.5; 1 stands for none."""
    if all(value == 1 for value in std):
        colour = ", ".join(f"{255 * value:.0f}" for value in mean)
        raise DataError(
            f"all pixels of the training images of {name} are the same ({colour} of 255), and nothing is to be learnt; "
            "look at how the images were saved, at what is transparent in them and at their depth (data.max_value)"
        )


def check_classes(name: str, source: Source) -> None:
    classes = len(source.class_names)
    for part_name, part in (("training", source.train), ("validation", source.validation), ("test", source.test)):
        if part is None:
            continue
        require_inputs(name, f"{part_name} {part.noun}", len(part))
        if source.task.labels_are_classes and not 0 <= int(part.labels.min()) <= int(part.labels.max()) < classes:
            raise DataError(
                f"{name} has {part_name} labels from {int(part.labels.min())} to {int(part.labels.max())}; "
                f"with {classes} classes in training they must lie in 0 to {classes - 1}, correct the labels"
            )
    if not source.task.labels_are_classes:
        return
    sizes = torch.bincount(source.train.labels, minlength=classes)
    require_classes(name, classes)
    if source.class_names[0] == "0" and not sizes[0] and sizes[1:].all():
        raise DataError(
            f"{name} has training labels from 1 to {classes - 1}, and classes are numbered from 0; subtract 1 from each"
            " label, in all parts"
        )
    if not sizes.all():
        empty = source.class_names[int(sizes.argmin())]
        noun = source.train.noun.removesuffix("s")
        raise DataError(f"{name} has no training {noun} of class {empty!r}; each class needs one, add some or drop it")


def hold_out(
    name: str, source: Source, rows: Tensor, fraction: float, stream: int, advice: str
) -> tuple[Tensor, Tensor]:
    """`rows` as what stays and what is held out, each ascending."""
    strata = source.task.strata(source.train.labels[rows])
    held = held_positions(strata, round(fraction * len(rows)), stream, every=source.task.labels_are_classes)
    stays = torch.ones(len(rows), dtype=torch.bool)
    stays[held] = False
    left = torch.bincount(strata[stays], minlength=len(source.class_names))
    if not len(held) or not (left.all() if source.task.labels_are_classes else stays.any()):
        raise DataError(
            f"{name} has {len(rows)} training {source.train.noun}, too few to hold out {fraction:g} of them and keep "
            f"some of every class; {advice}"
        )
    return rows[stays], rows[held]


def held_positions(strata: Tensor, count: int, stream: int, *, every: bool) -> Tensor:
    """Positions of `count` inputs that are held out, ascending.

    `every`: keep one of every stratum. Where a plain draw does not, all but one of each can be drawn, if so many are
    enough.
    """
    held = stratified(strata, count, stream)
    sizes = torch.bincount(strata)
    kept = sizes - torch.bincount(strata[held], minlength=len(sizes))
    if not every or (kept >= sizes.clamp(max=1)).all() or count > int((sizes - 1).clamp(min=0).sum()):
        return held
    return stratified(strata, count, stream, spare=1)


def set_apart(dataset: Dataset, fraction: float, stream: int) -> tuple[Dataset, Split]:
    """`dataset` without `fraction` of its training images, for a method that learns from others too; and these.

    Drawn class by class under the key `stream`. `DataError` unless 2 images are left on both sides, because a batch of
    one has no batch statistics.
    """
    whole = dataset.train
    labels = whole.labels.cpu()
    held = stratified(dataset.task.strata(labels), round(fraction * len(labels)), stream)
    if not 2 <= len(held) <= len(labels) - 2:
        raise DataError(
            f"{dataset.name} has {len(labels)} training images, too few to hold out {fraction:g} of them and keep 2 on "
            "both sides; add images or change method.held_out"
        )
    stays = torch.ones(len(labels), dtype=torch.bool)
    stays[held] = False
    kept, apart = (whole[rows.to(whole.labels.device)] for rows in (stays.nonzero().flatten(), held))
    return replace(dataset, train=kept, transfer=None), apart


def keep(name: str, source: Source, rows: Tensor, spec: DataSpec) -> Tensor:
    """The `train_images` of `rows` that are trained on, all of them for 0."""
    classes = len(source.class_names)
    if not spec.train_images:
        return rows
    if not classes <= spec.train_images <= len(rows):
        raise DataError(
            f"data.train_images = {spec.train_images}, but {name} has {classes} classes and {len(rows)} "
            f"{source.train.noun} to "
            f"train on beside those held out; choose {classes} to {len(rows)}, or 0 for all"
        )
    strata = source.task.strata(source.train.labels[rows])
    least = int(source.task.labels_are_classes)
    return rows[stratified(strata, spec.train_images, key(KEEP, spec.split_seed), least=least)]


def take_rows(part: SourceSplit, rows: Tensor, fit: Fit, *, first: int = 0) -> Split:
    labels, index = part.labels[rows], rows + first
    if part.stream is not None:
        return Split.of_streamed(part.stream(rows, index, fit), labels, index)
    return Split(part.pixels(rows, fit), labels, index, lengths=None if part.lengths is None else part.lengths[rows])


def stratified(labels: Tensor, count: int, stream: int, *, least: int = 0, spare: int = 0) -> Tensor:
    """Positions of `count` labels, ascending, each class in proportion but with `least` members at least, and without
    `spare` of them.
    """
    sizes = torch.bincount(labels)
    quotas = torch.tensor(apportion(sizes.tolist(), count, least=least, spare=spare))
    shuffled = torch.argsort(draw_words(stream, torch.arange(len(labels))))
    by_class = shuffled[torch.argsort(labels[shuffled], stable=True)]
    of = labels[by_class]
    rank = torch.arange(len(labels)) - (sizes.cumsum(0) - sizes)[of]
    return by_class[rank < quotas[of]].sort().values


def apportion(sizes: Sequence[int], count: int, *, least: int = 0, spare: int = 0) -> list[int]:
    """`count` seats for classes of these sizes: largest remainders, after `least` seats for each, and so that `spare`
    of each class get none.

    `count` lies between `least * len(sizes)` and the sum of what may get seats, and no size is below `least`.
    """
    exact = [count * size / sum(sizes) for size in sizes]
    most = [max(size - spare, 0) for size in sizes]
    seats = [min(max(math.floor(share), least), limit) for share, limit in zip(exact, most, strict=True)]
    while sum(seats) < count:
        free = [i for i in range(len(seats)) if seats[i] < most[i]]
        seats[max(free, key=lambda i: exact[i] - seats[i])] += 1
    while sum(seats) > count:
        given = [i for i in range(len(seats)) if seats[i] > least]
        seats[max(given, key=lambda i: seats[i] - exact[i])] -= 1
    return seats

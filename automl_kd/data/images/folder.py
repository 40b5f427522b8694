"""`folder:PATH`: one subfolder of image files for each class, in train/, val/ and test/ or directly in PATH.

The test images are those of test/, else of val/ (the set's note states it), else a fifth of the training images.
Validation is val/ where there is test/ too, else it is cut from training. Classes are numbered in the order of their
names, as torchvision's ImageFolder does. `layout` defines how splits may be spelt, `listing` which files are images,
`pixels` how they are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch

from automl_kd.data.dataset import UNLABELLED
from automl_kd.data.fit import Fit
from automl_kd.data.images.decode import decoded, read_image_size
from automl_kd.data.images.depth import require_depth
from automl_kd.data.images.layout import FolderLayout, Kind, find_layout
from automl_kd.data.images.listing import Listing, images_below, loose, name_listing_errors, subfolders
from automl_kd.data.source import Source, SourceSplit, Unlabelled, counted
from automl_kd.errors import DataError

Classes = Mapping[str, Listing]


def folder(path: Path, root: Path, max_value: float = 0.0) -> Source:
    """Pixels are decoded when they are asked for; large sets are kept, decoded, below `root`.

    `max_value`: what is white in images of more than 8 bits; 0 for what they state. `DataError` if the folder is
    missing, or its subfolders are not as described above.
    """
    with name_listing_errors(path):
        there = path.is_dir()
    if not there:
        raise DataError(f"no folder {path}; give the path of a folder with one subfolder of images for each class")
    layout = find_layout(path)
    found = {kind: {name: images_below(top / name) for name in subfolders(top)} for kind, top in layout.tops.items()}
    require_known(layout, found)
    passed_over = passed_over_in(layout, found)
    training = list_images(found["training"])
    if not training:
        raise DataError(
            f"{layout.tops['training']} has no class subfolder with images in it"
            f"{f' (passed over: {counted(passed_over)})' if passed_over else ''}; put each class's images into one of "
            "its own"
        )
    names = tuple(found["training"])
    parts = {kind: folder_part(classes, names, training[0], root, max_value) for kind, classes in found.items()}
    made: dict[str, str] = {kind: f"{top.relative_to(path)}/".removeprefix("./") for kind, top in layout.tops.items()}
    if borrowed := "validation" in parts and "test" not in parts:
        parts["test"], made["test"] = parts.pop("validation"), made.pop("validation")
    return Source(
        train=parts["training"],
        validation=parts.get("validation"),
        test=parts.get("test"),
        class_names=names,
        augment="crop-flip",
        note=f"the test images are those of {made['test']}, as there is no test/" if borrowed else "",
        made=made,
        passed_over=passed_over,
        files=tuple(file for classes in found.values() for file in list_images(classes)),
        judge=lambda split: require_depth(path, [training[row] for row in split.index.tolist()], split, max_value),
    )


def require_known(layout: FolderLayout, found: Mapping[Kind, Classes]) -> None:
    """Refuse a class that only another split than training has."""
    for kind, classes in found.items():
        if strange := set(classes) - set(found["training"]):
            raise DataError(
                f"{layout.tops[kind]} has a class {min(strange)!r} that {layout.tops['training'].name}/ has not; give "
                "all of them the same class subfolders"
            )


def passed_over_in(layout: FolderLayout, found: Mapping[Kind, Classes]) -> dict[str, int]:
    """How many files were not read, by suffix or in words, the most first."""
    whole: Counter[str] = Counter(
        {f"files in {name}/": len(images_below(layout.path / name).files) for name in layout.beside}
    )
    for kind, classes in found.items():
        whole.update({f"{what} beside the class folders": n for what, n in loose(layout.tops[kind]).items()})
        for one in classes.values():
            whole.update(one.passed_over)
    return {what: count for what, count in whole.most_common() if count}


def list_images(classes: Classes) -> list[Path]:
    return [file for one in classes.values() for file in one.files]


def folder_part(classes: Classes, names: tuple[str, ...], first: Path, root: Path, max_value: float) -> SourceSplit:
    """The images of a split. At their own resolution all must be as large as the file `first`."""
    labels = [label for label, name in enumerate(names) if name in classes for _ in classes[name].files]
    return files_part(list_images(classes), torch.tensor(labels, dtype=torch.int64), first, root, max_value)


def unlabelled_folder(path: Path, root: Path, max_value: float = 0.0) -> Unlabelled:
    """All images below `path`, in whatever subfolders. `DataError` if there are none."""
    with name_listing_errors(path):
        listing = images_below(path) if path.is_dir() else None
    if listing is None or not listing.files:
        passed_over = counted(listing.passed_over) if listing else ""
        raise DataError(
            f"data.unlabelled: {path} {'has no image' if listing else 'is no folder'}"
            f"{f' (passed over: {passed_over})' if passed_over else ''}; give the path of a folder of images"
        )
    files = listing.files
    part = files_part(files, torch.full((len(files),), UNLABELLED), files[0], root, max_value)
    return Unlabelled(part, tuple(files), listing.passed_over)


def files_part(files: list[Path], labels: torch.Tensor, first: Path, root: Path, max_value: float) -> SourceSplit:
    def pixels(rows: torch.Tensor, fit: Fit) -> torch.Tensor:
        size = (fit.size, fit.size) if fit.size else read_image_size(first, max_value)
        wanted = [files[row] for row in rows.tolist()]
        return decoded(wanted, size, fit=fit, root=root, max_value=max_value)

    import numpy as np

    from automl_kd.data.encoded.ranges import EncodedImages

    n = len(files)
    return SourceSplit(
        labels, pixels, encoded=EncodedImages.of(files, np.arange(n), np.zeros(n), np.full(n, -1), labels.numpy())
    )

"""`folder:PATH`: one subfolder of image files for each class, in train/, val/ and test/ or directly in PATH.

The test images are those of test/, else of val/ (the set's note says so), else a fifth of the training images.
Validation is val/ where there is test/ too, else it is cut from training. Classes are numbered in the order of their
names, as torchvision's ImageFolder does; names that begin with a dot are passed over.
"""

from __future__ import annotations

from pathlib import Path

import torch

from automl_kd.data.decode import decoded, size_of
from automl_kd.data.source import Part, Source
from automl_kd.errors import DataError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"})


def folder(path: Path, root: Path) -> Source:
    """Pixels are decoded when they are asked for; sets too large for memory are kept below `root`.

    `DataError` if the folder is missing, or its subfolders are not as described above.
    """
    if not path.is_dir():
        raise DataError(f"no folder {path}; give the path of a folder with one subfolder of images for each class")
    has = {name for name in ("train", "val", "test") if (path / name).is_dir()}
    if has and "train" not in has:
        raise DataError(f"{path} has {min(has)}/ but no train/; add one, or give the path of the class folders")
    top = path / "train" if has else path
    names = class_names(top)
    first = next((file for name in names for file in files_of(top / name)), None)
    if first is None:
        raise DataError(f"{top} has no class subfolder with images in it; put each class's images into one of its own")
    parts = {name: part(path / name, names, first, root) for name in sorted(has - {"train"})}
    return Source(
        train=part(top, names, first, root),
        validation=parts.get("val") if "test" in parts else None,
        test=parts.get("test", parts.get("val")),
        class_names=names,
        augment="crop-flip",
        note="" if has != {"train", "val"} else "the test images are those of val/, as there is no test/",
    )


def class_names(top: Path) -> tuple[str, ...]:
    return tuple(sorted(child.name for child in top.iterdir() if child.is_dir() and not child.name.startswith(".")))


def files_of(class_folder: Path) -> list[Path]:
    found = class_folder.rglob("*")
    return sorted(file for file in found if file.suffix.lower() in SUFFIXES and not file.name.startswith("."))


def part(top: Path, names: tuple[str, ...], first: Path, root: Path) -> Part:
    """The images below `top`. At their own resolution all must be as large as the file `first`."""
    strange = set(class_names(top)) - set(names)
    if strange:
        raise DataError(
            f"{top} has a class {min(strange)!r} that train/ has not; give all of them the same class subfolders"
        )
    listed = [(file, label) for label, name in enumerate(names) for file in files_of(top / name)]
    files = [file for file, _ in listed]

    def pixels(rows: torch.Tensor, resolution: int) -> torch.Tensor:
        size = (resolution, resolution) if resolution else size_of(first)
        return decoded([files[row] for row in rows.tolist()], size, fit=resolution > 0, root=root)

    return Part(torch.tensor([label for _, label in listed], dtype=torch.int64), pixels)

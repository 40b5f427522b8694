"""`folder:PATH`: one subfolder of image files for each class, in train/, val/ and test/ or directly in PATH.

The test images are those of test/, else of val/ (the set's note states it), else a fifth of the training images.
Validation is val/ where there is test/ too, else it is cut from training. Classes are numbered in the order of their
names, as torchvision's ImageFolder does. `layout` defines how splits may be spelt, `listing` which files are images,
`pixels` how they are read.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from automl_kd.data.encoded.encoded_set import encoded_part, encoded_source
from automl_kd.data.encoded.folder_index import index_folder, whole_files
from automl_kd.data.encoded.index_file import cut_out
from automl_kd.data.images.listing import images_below, name_listing_errors
from automl_kd.data.load_progress import LISTING, LoadProgress, ignore_progress
from automl_kd.data.source import Source, Unlabelled, counted
from automl_kd.errors import DataError
from automl_kd.tasks import UNLABELLED


def folder(path: Path, root: Path, max_value: float = 0.0, notify: LoadProgress = ignore_progress) -> Source:
    """Pixels are decoded when they are asked for; large sets are kept, decoded, below `root`, and so is their index.

    `max_value`: what is white in images of more than 8 bits; 0 for what they state. `DataError` if the folder is
    missing, or its subfolders are not as described above.
    """
    found = index_folder(path, root, partial(notify, LISTING))
    return encoded_source(found, path, root, max_value, files=(found.images,))


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
    images = whole_files(listing.files, np.full(len(listing.files), UNLABELLED))
    part = encoded_part(images, cut_out(images, 0, 1), root, max_value)
    return Unlabelled(part, (images,), listing.passed_over)

"""CIFAR-10 and CIFAR-100: 50,000 training and 10,000 test images, 32x32 in colour, in 10 or 100 classes.

Krizhevsky. Learning Multiple Layers of Features from Tiny Images. Technical report, University of Toronto, 2009.
Read from the files that torchvision downloads; nothing is downloaded.
"""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from automl_kd import storage
from automl_kd.data.source import Source, SourceSplit, in_memory
from automl_kd.errors import DataError


def cifar10(root: Path) -> Source:
    return read_cifar("CIFAR10", root)


def cifar100(root: Path) -> Source:
    return read_cifar("CIFAR100", root)


def read_cifar(kind: str, root: Path) -> Source:
    from torchvision import datasets  # noqa: PLC0415  a second to import

    reader = getattr(datasets, kind)
    folder, get = root / reader.base_folder, download_command(kind, root)
    storage.pull(folder, weights=True)
    if not folder.is_dir():
        raise DataError(f"no {kind} was found, looked for {folder}; get it with {get}")
    try:
        with warnings.catch_warnings():
            # numpy 2.4.0 to 2.4.4 warn about how the numpy of 2009 that wrote these files pickled a dtype.
            warnings.filterwarnings("ignore", message="dtype\\(\\): align should be passed")
            train, test = (reader(root, train=train, download=False) for train in (True, False))
    except (RuntimeError, OSError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise DataError(f"the {kind} files in {folder} are incomplete or damaged; remove it and run {get}") from error
    return Source(
        train=cifar_part(train),
        test=cifar_part(test),
        class_names=tuple(train.classes),
        augment="crop-flip",
        made={"training": "its training files", "test": "its test file"},
        files=tuple(sorted(path for path in folder.iterdir() if path.is_file())),
    )


def download_command(kind: str, root: Path) -> str:
    return f"python -c \"import torchvision; torchvision.datasets.{kind}('{root}', download=True)\""


def cifar_part(read_set: Any) -> SourceSplit:
    images = torch.from_numpy(read_set.data).permute(0, 3, 1, 2).contiguous()
    return in_memory(images, torch.tensor(read_set.targets, dtype=torch.int64))

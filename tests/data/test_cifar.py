"""CIFAR-10 and CIFAR-100 from files laid out as the published ones, but with a few images each."""

import hashlib
import os
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.exceptions import VisibleDeprecationWarning
from torchvision import datasets

from automl_kd.data import load_data
from automl_kd.errors import DataError
from automl_kd.spec import DataSpec


class OldArray:
    """An array pickled so that reading it warns, as numpy 2.4.0 to 2.4.4 do for the published files."""

    def __init__(self, values: np.ndarray[Any, Any]) -> None:
        self.values = values

    def __reduce__(self):
        return read_old, (self.values.tobytes(), self.values.shape)


def read_old(content: bytes, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    message = "dtype(): align should be passed as Python or NumPy boolean but got `align=0`."
    warnings.warn(message, VisibleDeprecationWarning, stacklevel=2)
    return np.frombuffer(content, np.uint8).reshape(shape)


def publish(monkeypatch: pytest.MonkeyPatch, root: Path, kind: str, labels_key: str, classes: int) -> Path:
    """Write a set of 20 images per training file and 10 to test on; image i of a file is filled with i."""
    reader = getattr(datasets, kind)
    folder: Path = root / reader.base_folder
    folder.mkdir(parents=True)

    def write(name: str, record: Mapping[str, object]) -> str:
        content = pickle.dumps(record, protocol=2)
        (folder / name).write_bytes(content)
        return hashlib.md5(content).hexdigest()

    def batch(name: str, count: int) -> list[str]:
        values = np.repeat(np.arange(count, dtype=np.uint8), 3072).reshape(count, 3072)
        values[:, 2048:] = 255  # blue
        return [name, write(name, {"data": OldArray(values), labels_key: [i % classes for i in range(count)]})]

    monkeypatch.setattr(reader, "train_list", [batch(name, 20) for name, _ in reader.train_list])
    monkeypatch.setattr(reader, "test_list", [batch(name, 10) for name, _ in reader.test_list])
    names = {reader.meta["key"]: [f"class{i}" for i in range(classes)]}
    digest = write(reader.meta["filename"], names)
    monkeypatch.setattr(reader, "meta", {**reader.meta, "md5": digest})
    return folder


@pytest.mark.parametrize(("name", "labels_key", "files"), [("cifar10", "labels", 5), ("cifar100", "fine_labels", 1)])
def test_files_are_read_as_published(tmp_path, monkeypatch, name, labels_key, files):
    publish(monkeypatch, tmp_path, name.upper(), labels_key, classes=4)
    found = load_data(DataSpec(name=name), tmp_path)
    assert len(found.train) + len(found.validation) == 20 * files
    assert (found.shape.channels, found.shape.height, found.shape.width) == (3, 32, 32)
    assert (found.augment, found.pad, found.class_names[3]) == ("crop-flip", 4, "class3")
    for split in (found.train, found.validation, found.test):
        value = split.index % 20
        assert split.labels.tolist() == (value % 4).tolist()
        expected = torch.stack([value, value, torch.full_like(value, 255)], dim=1)
        assert torch.equal(split.inputs.long(), expected[:, :, None, None].expand(-1, 3, 32, 32))


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_missing_files_say_where_and_how(tmp_path, name):
    with pytest.raises(DataError, match="was found, looked for") as caught:
        load_data(DataSpec(name=name), tmp_path)
    folder = getattr(datasets, name.upper()).base_folder
    command = f"""python -c "import torchvision; torchvision.datasets.{name.upper()}('{tmp_path}', download=True)\""""
    assert str(caught.value) == f"no {name.upper()} was found, looked for {tmp_path / folder}; get it with {command}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["data_batch_3", "batches.meta"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path, monkeypatch, name):
    folder = publish(monkeypatch, tmp_path, "CIFAR10", "labels", classes=4)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(DataError, match=r"the CIFAR10 files in .* are incomplete or damaged"):
        load_data(DataSpec(name="cifar10"), tmp_path)


def test_damaged_and_incomplete_files_are_one_sentence(tmp_path, monkeypatch):
    folder = publish(monkeypatch, tmp_path, "CIFAR10", "labels", classes=4)
    for damage in (lambda: (folder / "data_batch_3").write_bytes(b"x"), (folder / "batches.meta").unlink):
        damage()
        with pytest.raises(DataError, match=r"the CIFAR10 files in .* are incomplete or damaged; remove it and run"):
            load_data(DataSpec(name="cifar10"), tmp_path)

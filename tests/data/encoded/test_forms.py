"""The same images in a folder, in shards, in Parquet files, in a pack and in arrays are the same set."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
import torch

from automl_kd.data import load_data
from automl_kd.data.encoded.checked import check_encoded, encoded_parts
from automl_kd.spec import DataSpec
from tests.data.encoded import forms

SPEC = DataSpec()


@pytest.fixture(scope="module")
def named(tmp_path_factory) -> dict[str, str]:
    top, given = tmp_path_factory.mktemp("sets"), forms.samples()
    folder = forms.write_folder(top / "a folder é", given)
    return {
        "folder": folder,
        "shards": forms.write_shards(top / "shards", given),
        "shards of json": forms.write_shards(top / "json", given, json_labels=True, form=tarfile.GNU_FORMAT),
        "parquet": forms.write_parquet(top / "parquet", given),
        "pack": forms.write_packed(top / "pack", folder),
        "arrays": forms.write_arrays(top / "set.npz", given),
    }


FORMS = ("folder", "shards", "shards of json", "parquet", "pack", "arrays")
ENCODED = FORMS[:-1]


@pytest.mark.parametrize("form", ENCODED)
def test_bytes_labels_and_identity_are_equal(tmp_path, named, form):
    expected, found = (forms.open_source(named[one], tmp_path) for one in ("folder", form))
    assert found.class_names == forms.CLASSES
    assert encoded_parts(found).keys() == {"training", "validation", "test"}
    for name, part in encoded_parts(expected).items():
        other = encoded_parts(found)[name]
        assert part.encoded is not None
        assert other.encoded is not None
        assert torch.equal(part.labels, other.labels)
        assert other.encoded.labels.tolist() == part.labels.tolist()
        assert [other.encoded.read(row) for row in range(len(part))] == [
            part.encoded.read(row) for row in range(len(part))
        ]
    assert check_encoded(found, SPEC, tmp_path).identity == check_encoded(expected, SPEC, tmp_path).identity


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [0, 4])
def test_pixels_are_equal_in_memory(tmp_path, named, form, size):
    if form == "arrays" and size:
        pytest.skip("arrays are resized by torch, and files by Pillow")
    expected = load_data(DataSpec(name=named["folder"], resolution=size), tmp_path)
    found = load_data(DataSpec(name=named[form], resolution=size), tmp_path)
    for name, split in expected.splits.items():
        assert torch.equal(found.splits[name].inputs, split.inputs)
        assert torch.equal(found.splits[name].labels, split.labels)
    assert found.mean == expected.mean


def test_arrays_are_streamed_as_they_are(tmp_path, named):
    expected, found = forms.open_source(named["folder"], tmp_path), forms.open_source(named["arrays"], tmp_path)
    for name, part in encoded_parts(expected).items():
        other, rows = encoded_parts(found)[name], torch.arange(len(part))
        fit = forms.fit(4)
        assert torch.equal(other.pixels(rows, fit), part.pixels(rows, fit))
        assert torch.equal(other.labels, part.labels)


def test_identity_follows_labels_and_bytes_and_not_names(tmp_path):
    given = forms.samples()
    same = {part: [(f"x{name}", label, content) for name, label, content in rows] for part, rows in given.items()}
    other: forms.Samples = {**given, "test": [(name, 1 - label, content) for name, label, content in given["test"]]}
    sets: list[forms.Samples] = [given, same, other]
    known = [
        check_encoded(forms.open_source(forms.write_folder(tmp_path / f"{place}", one), tmp_path), SPEC, tmp_path)
        for place, one in enumerate(sets)
    ]
    assert known[0].identity == known[1].identity != known[2].identity


def test_a_part_of_the_validation_images_is_lent_to_the_test(tmp_path):
    given = {part: rows for part, rows in forms.samples().items() if part != "test"}
    found = forms.open_source(forms.write_shards(tmp_path / "set", given), tmp_path)
    assert found.validation is None
    assert found.test is not None
    assert found.note == "the test images are those of 2 shards, as there is no test part"


def test_nothing_is_left_of_a_small_folder(tmp_path):
    name = forms.write_folder(tmp_path / "set", forms.samples())
    forms.open_source(name, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_deep_image_is_as_bright_in_every_form(tmp_path):
    given = forms.samples()
    folder = forms.write_folder(tmp_path / "set", given)
    for part in given:
        for name in forms.CLASSES:
            forms.dim(next((tmp_path / "set" / part / name).glob("*.png")))
    pack = forms.write_packed(tmp_path / "pack", folder)
    found = [load_data(DataSpec(name=name, max_value=4095), tmp_path) for name in (folder, pack)]
    assert torch.equal(found[0].train.inputs, found[1].train.inputs)
    assert Path(pack.removeprefix("pack:")).is_dir()

"""Folders of image files: every layout, decoding, the file for sets too large for memory, and what is damaged."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from automl_kd.data import Split, load_data
from automl_kd.data.fit import Fit
from automl_kd.data.images import decode
from automl_kd.errors import DataError
from automl_kd.spec import DataSpec
from tests.data.pictures import whole

RNG = np.random.default_rng(0)


def write(folder: Path, classes: Sequence[str], count: int, *, height: int = 6, width: int = 6, base: int = 0) -> None:
    """`count` images for each class; the red of an image is 80 times its label, the green its number."""
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
            pixels[..., 0], pixels[..., 1] = 80 * label, base + number
            Image.fromarray(pixels).save(folder / name / f"{number:03d}.png")


def spec_of(path: Path, **options: Any) -> DataSpec:
    return DataSpec(name=f"folder:{path}", **options)


def greens(split: Split) -> Tensor:
    return split.inputs[:, 1].flatten(1).float().mean(dim=1)


def matches(split: Split) -> bool:
    return torch.equal((split.inputs[:, 0, 0, 0] // 80).long(), split.labels)


def test_class_folders_alone_are_divided_three_ways(tmp_path):
    write(tmp_path / "set", ("ant", "bee"), 20)
    found = load_data(spec_of(tmp_path / "set"), tmp_path)
    # 8 of 40 for testing, 3 of the other 32 for validation
    assert (len(found.train), len(found.validation), len(found.test)) == (29, 3, 8)
    assert (found.class_names, found.augment, found.note) == (("ant", "bee"), "crop-flip", "")
    assert set(torch.cat([part.index for part in (found.train, found.validation, found.test)]).tolist()) == set(
        range(40)
    )
    assert matches(found.train)
    assert matches(found.validation)
    assert matches(found.test)


@pytest.mark.parametrize(
    ("given", "sizes", "note"),
    [
        (("train",), (14, 2, 4), ""),
        (("train", "test"), (18, 2, 6), ""),
        (("train", "val"), (18, 2, 6), "the test images are those of val/, as there is no test/"),
        (("train", "val", "test"), (20, 6, 6), ""),
    ],
)
def test_layouts(tmp_path, given, sizes, note):
    for place, name in enumerate(given):
        write(tmp_path / "set" / name, ("ant", "bee"), 3 if place else 10, base=100 * place)
    found = load_data(spec_of(tmp_path / "set"), tmp_path)
    assert (len(found.train), len(found.validation), len(found.test)) == sizes
    assert found.note == note
    assert found.train.inputs[:, 1].max() < 100
    if len(given) > 1:
        assert greens(found.test).min() >= 100 * (len(given) - 1)
    if len(given) == 3:
        assert ((greens(found.validation) >= 100) & (greens(found.validation) < 200)).all()
        assert found.validation.index.tolist() == list(range(20, 26))


def test_strangers_among_the_files_are_passed_over(tmp_path):
    write(tmp_path, ("ant", "bee", ".cache"), 10)
    (tmp_path / "ant" / "readme.txt").write_text("no image")
    (tmp_path / "ant" / "._000.png").write_bytes(b"what another system left here")
    write(tmp_path / "bee", ("deeper",), 2)
    found = load_data(spec_of(tmp_path), tmp_path)
    assert found.class_names == ("ant", "bee")
    assert len(found.train) + len(found.validation) + len(found.test) == 22


def test_decoding_equals_pillow_in_every_mode(tmp_path):
    pixels = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    for mode in ("RGB", "L", "P", "RGBA", "1"):
        file = tmp_path / f"{mode}.png"
        Image.fromarray(pixels).convert(mode).save(file)
        expected = np.asarray(Image.open(file).convert("RGB")).transpose(2, 0, 1)
        assert np.array_equal(decode.decode(whole(file), 0, (6, 8), fit=Fit()), expected)


@pytest.mark.parametrize(("height", "width"), [(8, 16), (16, 8), (8, 17)])
def test_the_shorter_side_is_scaled_and_the_middle_kept(tmp_path, height, width):
    # Left and top thirds red, right and bottom thirds blue, the middle green: only green may remain.
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[..., 1] = 255
    if width > height:
        pixels[:, :3], pixels[:, -3:] = (255, 0, 0), (0, 0, 255)
    else:
        pixels[:3], pixels[-3:] = (255, 0, 0), (0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = decode.decode(whole(tmp_path / "a.png"), 0, (4, 4), fit=Fit(4))
    assert found.shape == (3, 4, 4)
    assert (found == np.array([0, 255, 0], dtype=np.uint8)[:, None, None]).all()


@pytest.mark.parametrize(
    ("resize", "width", "left"),
    [
        ("", 8, 2),  # 7.5 pixels to the nearest
        ("torchvision", 7, 2),  # down; the offset of 1.5 to the nearest even number
        ("transformers", 7, 1),
        ("squash", 4, 0),
    ],
)
def test_sides_and_offsets_are_rounded_as_a_library_does(tmp_path, resize, width, left):
    picture = Image.fromarray(RNG.integers(0, 256, (8, 15, 3), dtype=np.uint8))
    picture.save(tmp_path / "a.png")
    expected = np.asarray(picture.resize((width, 4), Image.Resampling.BILINEAR))[:, left : left + 4]
    found = decode.decode(whole(tmp_path / "a.png"), 0, (4, 4), fit=Fit(4, resize=resize))
    assert np.array_equal(found, expected.transpose(2, 0, 1))


def test_resolution_zero_wants_images_of_one_size(tmp_path):
    write(tmp_path / "set", ("ant", "bee"), 10, height=6, width=9)
    assert load_data(spec_of(tmp_path / "set"), tmp_path).train.inputs.shape[1:] == (3, 6, 9)
    write(tmp_path / "set", ("cow",), 10, height=7, width=9)
    with pytest.raises(DataError, match=r"cow.*png has 7x9 pixels where another has 6x9; set data.resolution"):
        load_data(spec_of(tmp_path / "set"), tmp_path)
    assert load_data(spec_of(tmp_path / "set", resolution=4), tmp_path).train.inputs.shape[1:] == (3, 4, 4)


def test_only_the_images_that_are_kept_are_decoded(tmp_path):
    write(tmp_path / "set", ("ant", "bee"), 20)
    kept = load_data(spec_of(tmp_path / "set", train_images=6), tmp_path)
    used = torch.cat([part.index for part in (kept.train, kept.validation, kept.test)]).tolist()
    files = sorted((tmp_path / "set").rglob("*.png"))
    # The header of the first file is read in any case, for the size that all must have.
    for position in set(range(1, 40)) - set(used):
        files[position].write_bytes(b"damaged")
    again = load_data(spec_of(tmp_path / "set", train_images=6), tmp_path)
    assert torch.equal(again.train.inputs, kept.train.inputs)
    with pytest.raises(DataError, match="could not be decoded as an image; replace or remove it"):
        load_data(spec_of(tmp_path / "set"), tmp_path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_a_damaged_image_is_named(tmp_path, suffix):
    file = tmp_path / f"a.{suffix}"
    Image.fromarray(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(file)
    complete = file.read_bytes()
    for content in (complete[: len(complete) // 2], b"", b"text"):
        file.write_bytes(content)
        with pytest.raises(DataError, match=rf"{file} could not be decoded"):
            decode.decoded(whole(file), (40, 40), fit=Fit(), root=tmp_path)
    with pytest.raises(DataError, match=rf"{file} could not be decoded"):
        decode.read_image_size(whole(file))


@pytest.fixture
def little_memory(tmp_path, monkeypatch):
    """A set of which only the training images exceed the memory that a split may take."""
    write(tmp_path / "set", ("ant", "bee"), 20)
    expected = load_data(spec_of(tmp_path / "set"), tmp_path)
    monkeypatch.setattr(decode, "IN_MEMORY", 10 * 3 * 6 * 6)
    return expected


def test_large_sets_are_mapped_from_a_file_made_once(tmp_path, little_memory):
    root = tmp_path / "root"
    for _ in range(2):
        found = load_data(spec_of(tmp_path / "set"), root)
        assert torch.equal(found.train.inputs, little_memory.train.inputs)
        assert found.mean == little_memory.mean
        (kept,) = (root / ".decoded").glob("*.npy")
    made = kept.stat().st_mtime_ns
    load_data(spec_of(tmp_path / "set"), root)
    assert kept.stat().st_mtime_ns == made
    assert np.load(kept).shape == (29, 3, 6, 6)


def test_a_changed_file_is_decoded_again(tmp_path, little_memory):
    root = tmp_path / "root"
    load_data(spec_of(tmp_path / "set"), root)
    changed = sorted((tmp_path / "set").rglob("*.png"))[int(little_memory.train.index[0])]
    Image.new("RGB", (6, 6), (1, 2, 3)).save(changed)
    os.utime(changed, ns=(1, 1))
    found = load_data(spec_of(tmp_path / "set"), root)
    assert found.train.inputs[0, :, 0, 0].tolist() == [1, 2, 3]
    assert len(list((root / ".decoded").glob("*.npy"))) == 2


@pytest.mark.usefixtures("little_memory")
def test_nothing_half_written_is_left(tmp_path, monkeypatch):
    root = tmp_path / "root"
    sorted((tmp_path / "set").rglob("*.png"))[-1].write_bytes(b"damaged")
    with pytest.raises(DataError, match="could not be decoded"):
        load_data(spec_of(tmp_path / "set", validation=0.04), root)
    assert [path.suffix for path in (root / ".decoded").iterdir()] == [".lock"]
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("Usage", (), {"free": 5}))
    with pytest.raises(DataError, match=r"needs 0.0 GB in .* make room or lower data.resolution"):
        load_data(spec_of(tmp_path / "set"), root)


def test_a_wrong_layout_is_one_sentence(tmp_path):
    def sentence(match: str) -> None:
        with pytest.raises(DataError, match=match) as caught:
            load_data(spec_of(tmp_path / "set"), tmp_path)
        assert "\n" not in str(caught.value)

    sentence("no folder .*set; give the path of a folder")
    (tmp_path / "set").mkdir()
    sentence("has no class subfolder with images in it")
    write(tmp_path / "set" / "val", ("ant", "bee"), 3)
    sentence("has val/ but no train/; add one")
    write(tmp_path / "set" / "train", ("ant",), 8)
    sentence("val has a class 'bee' that train/ has not")
    (tmp_path / "set" / "train" / "bee").mkdir()
    sentence("has no training image of class 'bee'")
    write(tmp_path / "set" / "train", ("bee",), 8)
    (tmp_path / "set" / "test").mkdir()
    sentence("has no test images")

"""Images of other kinds than eight-bit colour: nothing of them is lost unsaid."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from automl_kd.data import load_data
from automl_kd.data.fit import Fit
from automl_kd.data.images import pixels
from automl_kd.data.images.decode import decode, read_image_size
from automl_kd.errors import DataError
from automl_kd.spec import DataSpec
from tests.data.pictures import fill, noise, whole


def greys(file: Path, max_value: float = 0.0) -> list[int]:
    """The first row of an image that must have come out grey."""
    found = np.asarray(pixels.read_encoded(whole(file), 0, max_value))
    assert (found == found[..., :1]).all()
    return [int(value) for value in found[0, :, 0]]


def png16(file: Path, values: np.ndarray) -> None:
    """A PNG of 16-bit colour (height, width, 3), which Pillow reads but does not write."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)))
    with file.open("wb") as out:
        out.write(b"\x89PNG\r\n\x1a\n")
        for name, content in (*chunks, (b"IEND", b"")):
            out.write(struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content)))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_to_eight(tmp_path, suffix):
    file = tmp_path / f"a.{suffix}"
    Image.fromarray(np.array([[0, 257, 25700, 65535]], np.uint16)).save(file)
    assert greys(file) == [0, 1, 100, 255]
    Image.fromarray(np.array([[0, 819, 4095]], np.uint16)).save(file)
    assert greys(file, 4095) == [0, 51, 255]
    with pytest.raises(DataError, match=r"values from 0 to 4095, and 0 to 4000 are read as black to white"):
        pixels.read_encoded(whole(file), 0, 4000)


def test_a_pgm_states_its_largest_value(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5 3 1 4095\n" + struct.pack(">3H", 0, 819, 4095))
    assert greys(tmp_path / "a.pgm") == [0, 51, 255]


def test_a_tiff_of_twelve_bits_is_scaled_by_twelve(tmp_path):
    # One strip of 2 x 1 values 0xfff and 0x333, packed in three bytes; the tags as TIFF 6.0 wants them, in order.
    short, long = 3, 4
    tags = [
        (256, short, 2),
        (257, short, 1),
        (258, short, 12),
        (259, short, 1),
        (262, short, 1),
        (273, long, 8),
        (277, short, 1),
        (278, short, 1),
        (279, long, 3),
    ]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    folder = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", 12) + b"\xff\xf3\x33\0" + folder)
    assert greys(tmp_path / "a.tif") == [255, 51]


def test_floats_run_from_0_to_1_or_to_the_value_that_is_given(tmp_path):
    file = tmp_path / "a.tif"
    Image.fromarray(np.array([[0, 0.2, 1]], np.float32)).save(file)
    assert greys(file) == [0, 51, 255]
    Image.fromarray(np.array([[0, 51, 255]], np.float32)).save(file)
    assert greys(file, 255) == [0, 51, 255]
    with pytest.raises(DataError, match=r"values from 0 to 255, and 0 to 1 are .*; set data.max_value"):
        pixels.read_encoded(whole(file), 0)
    for value, sentence in ((-0.5, "shift them to begin at 0"), (np.nan, "not finite"), (np.inf, "not finite")):
        Image.fromarray(np.array([[0, value]], np.float32)).save(file)
        with pytest.raises(DataError, match=sentence):
            pixels.read_encoded(whole(file), 0)


def test_long_integers_state_no_white(tmp_path):
    Image.fromarray(np.array([[0, 819, 4095]], np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"integers of 32 bits, which state no white; set data.max_value"):
        pixels.read_encoded(whole(tmp_path / "a.tif"), 0)
    assert greys(tmp_path / "a.tif", 4095) == [0, 51, 255]


def test_colour_of_sixteen_bits_is_read_by_its_upper_eight(tmp_path):
    file = tmp_path / "a.png"
    png16(file, np.full((2, 2, 3), 0x12FF))
    assert greys(file) == greys(file, 65535) == [0x12, 0x12]
    assert pixels.is_deep(whole(file), 0)
    with pytest.raises(DataError, match=r"16 bits for each colour, of which the upper 8 are read"):
        pixels.read_encoded(whole(file), 0, 4095)


def test_what_is_transparent_is_white(tmp_path):
    drawing = np.zeros((1, 3, 4), np.uint8)
    drawing[0, :, 3] = (255, 0, 51)  # black, nothing, a fifth of black
    Image.fromarray(drawing).save(tmp_path / "rgba.png")
    assert greys(tmp_path / "rgba.png") == [0, 255, 204]
    Image.fromarray(drawing[..., 2:]).save(tmp_path / "la.png")
    assert greys(tmp_path / "la.png") == [0, 255, 204]
    Image.fromarray(np.array([[9, 77]], np.uint8)).save(tmp_path / "one.png", transparency=77)
    assert greys(tmp_path / "one.png") == [9, 255]
    palette = Image.fromarray(np.array([[9, 77]], np.uint8)).convert("P")
    palette.save(tmp_path / "p.png", transparency=bytes([255] * 77 + [0]))
    assert greys(tmp_path / "p.png") == [9, 255]


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_inks_are_not_turned_into_their_opposite(tmp_path, suffix):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / f"red.{suffix}")
    red, green, blue = np.asarray(pixels.read_encoded(whole(tmp_path / f"red.{suffix}"), 0))[0, 0].tolist()
    assert red > 240
    assert green < 15
    assert blue < 15


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_stand_upright(tmp_path, suffix, orientation):
    """Eight ways to store one picture, of which a camera writes four."""
    upright = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: upright.T[::-1],
        7: upright.T[::-1, ::-1],
        8: upright.T[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    options: Any = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(np.ascontiguousarray(np.repeat(stored[..., None], 3, axis=2))).save(
        tmp_path / f"a.{suffix}", exif=exif, **options
    )
    assert read_image_size(whole(tmp_path / f"a.{suffix}")) == (3, 4)
    assert np.array_equal(decode(whole(tmp_path / f"a.{suffix}"), 0, (3, 4), fit=Fit())[0], upright)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_remarks_do_not_damage_the_image(tmp_path):
    noise().save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xffgarbage")
    assert pixels.read_encoded(whole(tmp_path / "a.jpg"), 0).size == (6, 6)


def test_pages_are_counted_without_small_copies_of_them(tmp_path):
    first, second = noise(), noise()
    first.save(tmp_path / "two.tif", save_all=True, append_images=[second])
    with pytest.raises(DataError, match=r"two.tif has 2 pages, and which of them is meant is not known"):
        pixels.read_encoded(whole(tmp_path / "two.tif"), 0)
    second.encoderinfo = {"tiffinfo": {254: 1}}
    first.save(tmp_path / "copy.tif", save_all=True, append_images=[second])
    with Image.open(tmp_path / "copy.tif") as saved:
        assert getattr(saved, "n_frames", 1) == 2
    assert pixels.read_encoded(whole(tmp_path / "copy.tif"), 0).tobytes() == first.tobytes()
    first.save(tmp_path / "film.gif", save_all=True, append_images=[second])
    with Image.open(tmp_path / "film.gif") as saved:
        assert pixels.read_encoded(whole(tmp_path / "film.gif"), 0).tobytes() == saved.convert("RGB").tobytes()


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match="it is a pipe, not a file"):
        pixels.read_encoded(whole(tmp_path / "pipe.png"), 0)
    with pytest.raises(DataError, match="it is a device, not a file"):
        pixels.read_encoded(whole(Path("/dev/zero")), 0)
    with pytest.raises(DataError, match=r"gone.png cannot be read: No such file"):
        pixels.read_encoded(whole(tmp_path / "gone.png"), 0)


def of_depth(top: Path, high: float, *, suffix: str = "png", kind: object = np.uint16) -> Path:
    fill(top)
    for file in list(top.rglob("*.png")):
        noise(0, high, channels=1, kind=kind).save(file.with_suffix(f".{suffix}"))
        if suffix != "png":
            file.unlink()
    return top


def spec_of(top: Path, max_value: float = 0.0) -> DataSpec:
    return DataSpec(name=f"folder:{top}", max_value=max_value)


def test_a_set_that_uses_a_sixteenth_of_its_range_is_asked_about(tmp_path):
    top = of_depth(tmp_path / "set", 4096)
    with pytest.raises(DataError, match=r"no pixel .* exceeds a sixteenth .*4,095 of 65,535.* set data.max_value"):
        load_data(spec_of(top), tmp_path)
    assert load_data(spec_of(top, 4095), tmp_path).train.inputs.max() > 240
    assert load_data(spec_of(top, 65535), tmp_path).train.inputs.max() == 16
    noise(0, 60000, channels=1, kind=np.uint16).save(top / "ant" / "0.png")
    noise(0, 60000, channels=1, kind=np.uint16).save(top / "bee" / "0.png")
    assert load_data(spec_of(of_depth(tmp_path / "whole", 65535)), tmp_path).train.inputs.max() > 240


def test_dark_floats_and_dark_deep_colour_are_asked_about(tmp_path):
    with pytest.raises(DataError, match=r"set data.max_value"):
        load_data(spec_of(of_depth(tmp_path / "floats", 0.03, suffix="tif", kind=np.float32)), tmp_path)
    fill(tmp_path / "colour")
    for number, file in enumerate(sorted((tmp_path / "colour").rglob("*.png"))):
        png16(file, np.arange(12).reshape(2, 2, 3) * 300 + number)
    with pytest.raises(DataError, match=r"set data.max_value"):
        load_data(spec_of(tmp_path / "colour"), tmp_path)


def test_dark_images_of_eight_bits_are_taken_as_they_are(tmp_path):
    fill(tmp_path / "set")
    for file in (tmp_path / "set").rglob("*.png"):
        noise(0, 9).save(file)
    assert load_data(spec_of(tmp_path / "set"), tmp_path).train.inputs.max() == 8


def test_a_white_that_nothing_heeds_is_refused(tmp_path):
    fill(tmp_path / "set")
    with pytest.raises(DataError, match=r"data.max_value = 4095 is for images of more than 8 bits, and none"):
        load_data(spec_of(tmp_path / "set", 4095), tmp_path)
    with pytest.raises(DataError, match=r"data.max_value = 4095 is for files .* 'digits'; drop it"):
        load_data(DataSpec(max_value=4095), tmp_path)
    with pytest.raises(ValueError, match="max_value must be 0"):
        DataSpec(max_value=-1)


def test_a_set_without_any_contrast_is_refused(tmp_path):
    fill(tmp_path / "set")
    for file in (tmp_path / "set").rglob("*.png"):
        Image.new("RGBA", (6, 6), (3, 2, 1, 0)).save(file)
    with pytest.raises(DataError, match=r"all pixels of the training images .* are the same \(255, 255, 255 of 255\)"):
        load_data(spec_of(tmp_path / "set"), tmp_path)

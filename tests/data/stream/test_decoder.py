"""Whatever the image, its pixels are those of `pixels.decode_image`."""

from __future__ import annotations

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from automl_kd.data.images import pixels
from automl_kd.data.stream import decoder
from automl_kd.errors import DataError
from tests import ROOT
from tests.data.stream.samples import jpeg, picture


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[pixels.ORIENTATION] = orientation
    return exif


def png(image: Image.Image) -> bytes:
    encoded = io.BytesIO()
    image.save(encoded, "PNG")
    return encoded.getvalue()


SIZES = [(1, 1), (7, 5), (8, 8), (17, 33), (64, 48), (101, 99)]
PLAIN = {
    **{f"4:{name} {size}": jpeg(picture(*size), subsampling=way, quality=q)
       for (name, way, q) in (("4:4", 0, 97), ("2:2", 1, 60), ("2:0", 2, 75)) for size in SIZES},
    **{f"4:1:1 {size}": jpeg(picture(*size), subsampling="4:1:1") for size in SIZES},
    **{f"progressive {size}": jpeg(picture(*size), progressive=True, quality=30) for size in SIZES},
    "optimized": jpeg(picture(40, 30), optimize=True),
    "grey": jpeg(picture(33, 21).convert("L")),
    "grey progressive": jpeg(picture(33, 21).convert("L"), progressive=True),
    "restart markers": jpeg(picture(65, 47), restart_marker_blocks=2),
    "restart rows": jpeg(picture(65, 47), restart_marker_rows=1, progressive=True),
    "RGB kept": jpeg(picture(31, 47), keep_rgb=True),
    "upright by EXIF": jpeg(picture(31, 47), exif=turned(1)),
    "profile and remark": jpeg(picture(31, 47), icc_profile=b"\0" * 200, comment=b"\xff\xd9"),
}  # fmt: skip
OTHERS = {
    **{f"turned {number}": jpeg(picture(31, 47), exif=turned(number)) for number in range(2, 9)},
    "turned by XMP": jpeg(picture(31, 47), xmp=b'<x tiff:Orientation="6"/>'),
    "CMYK": jpeg(picture(31, 47).convert("CMYK")),
    "PNG": png(picture(31, 47)),
    "grey PNG": png(picture(31, 47).convert("L")),
    "transparent PNG": png(picture(31, 47).convert("RGBA").rotate(30, fillcolor=(0, 0, 0, 0))),
    "more behind the end": jpeg(picture(31, 47)) + b"more",
}


@pytest.mark.parametrize("kind", [*PLAIN, *OTHERS])
def test_pixels_are_those_of_pillow(kind):
    content = {**PLAIN, **OTHERS}[kind]
    found = decoder.decode_pixels(content, kind)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.asarray(pixels.decode_image(io.BytesIO(content), kind)))


@pytest.mark.parametrize("kind", PLAIN)
def test_plain_images_are_decoded_by_torchvision(kind, monkeypatch):
    assert decoder.torchvision_agrees()
    monkeypatch.setattr(pixels, "decode_image", lambda *_: pytest.fail("it was Pillow"))
    height, width, _ = decoder.decode_pixels(PLAIN[kind], kind).shape
    assert decoder.plain_jpeg_size(PLAIN[kind]) == (width, height)


@pytest.mark.parametrize("kind", OTHERS)
def test_other_images_are_decoded_by_pillow(kind):
    assert decoder.plain_jpeg_size(OTHERS[kind]) is None


def outcome(decode, content: bytes) -> object:
    try:
        return np.asarray(decode(content)).tobytes()
    except DataError as error:
        return str(error)


@pytest.mark.parametrize("progressive", [False, True])
def test_damaged_images_end_as_with_pillow(progressive):
    content, rng = jpeg(picture(40, 56), progressive=progressive, restart_marker_blocks=3), np.random.default_rng(5)
    damaged = [content[:cut] for cut in range(0, len(content), 97)]
    damaged += [content[:cut] + decoder.END_OF_JPEG for cut in range(0, len(content), 61)]
    for _ in range(60):
        spoilt = np.frombuffer(content, np.uint8).copy()
        spoilt[rng.integers(0, len(spoilt), 3)] = rng.integers(0, 256, 3)
        damaged.append(spoilt.tobytes())
    for one in damaged:
        expected = outcome(lambda given: pixels.decode_image(io.BytesIO(given), "it"), one)
        assert outcome(lambda given: decoder.decode_pixels(given, "it"), one) == expected


def test_photographs_are_decoded_as_by_pillow(shared_data):
    photographs = pd.read_parquet(shared_data / "imagenet_sample_100.parquet", columns=["jpeg"])["jpeg"]
    for content in photographs[::3]:
        expected = np.asarray(pixels.decode_image(io.BytesIO(content), "it"))
        np.testing.assert_array_equal(decoder.decode_pixels(content, "it"), expected)


def test_pillow_decodes_all_where_the_libraries_differ(monkeypatch):
    monkeypatch.setattr(decoder, "decode_by_torchvision", lambda content: np.zeros((83, 101, 3), np.uint8))
    decoder.torchvision_agrees.cache_clear()
    try:
        assert not decoder.torchvision_agrees()
        content = PLAIN["optimized"]
        assert decoder.decode_pixels(content, "it").any()
    finally:
        decoder.torchvision_agrees.cache_clear()


def test_threads_decode_alike():
    contents = list(PLAIN.values()) * 3
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda content: decoder.decode_pixels(content, "it").tobytes(), contents))
    assert found == [decoder.decode_pixels(content, "it").tobytes() for content in contents]


@pytest.mark.parametrize("factor", decoder.JPEG_FACTORS)
def test_a_reduced_image_has_its_sides_divided_and_rounded_up(factor):
    for height, width in ((64, 48), (101, 99), (17, 33)):
        found = decoder.decode_reduced(jpeg(picture(height, width)), "it", factor)
        assert found.size == (-(-width // factor), -(-height // factor))


@pytest.mark.parametrize("factor", decoder.JPEG_FACTORS)
def test_a_reduced_image_looks_as_one_that_is_averaged(factor):
    image = picture(64, 48)
    found = decoder.decode_reduced(jpeg(image, quality=95, subsampling=0), "it", factor)
    averaged = image.resize(found.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(found).astype(int) - np.asarray(averaged)).mean() < 4


def test_a_damaged_image_is_named_when_it_is_reduced():
    content = jpeg(picture(40, 56))
    with pytest.raises(DataError, match="it could not be decoded as an image; replace or remove it"):
        decoder.decode_reduced(content[: len(content) // 2], "it", 2)


@pytest.mark.parametrize(("ratio", "factor"), [(0.5, 1), (1.99, 1), (2, 2), (5, 4), (100, 8)])
def test_a_factor_leaves_as_many_pixels_as_are_wanted(ratio, factor):
    assert decoder.factor_below(ratio) == factor


def test_the_identity_tells_the_modes_apart():
    exact, scaled = decoder.decoder_identity("exact"), decoder.decoder_identity("scaled")
    assert exact.startswith("pillow ")
    assert "libjpeg" in exact
    assert exact != scaled


def test_decoding_does_not_import_torchvision():
    script = (
        "import sys; from automl_kd.data.stream import decoder; assert decoder.torchvision_agrees();"
        "sys.exit('torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0

"""What the first bytes of a JPEG say is what Pillow says, or nothing."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image, ImageCms

from automl_kd.data.images.jpeg_header import plain_size
from tests.data.stream.samples import picture


def encoded(mode: str = "RGB", form: str = "JPEG", **options: Any) -> bytes:
    written = io.BytesIO()
    picture(23, 41).convert(mode).save(written, form, **options)
    return written.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[274] = 6
    return exif


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize(
    "content",
    [
        encoded(),
        encoded("L"),
        encoded(progressive=True),
        encoded(subsampling=0),
        encoded(icc_profile=PROFILE),
        encoded(comment=b"of nothing"),
        encoded(dpi=(72, 72), restart_marker_blocks=2),
        b"\xff\xd8\xff\xff" + encoded()[3:],
    ],
    ids=["colour", "grey", "progressive", "444", "profile", "comment", "restarts", "filled"],
)
def test_plain_ones_are_known_by_their_size(content):
    assert plain_size(content) == (41, 23)
    with Image.open(io.BytesIO(content)) as image:
        assert image.size == (41, 23)


@pytest.mark.parametrize(
    "content",
    [
        encoded("CMYK"),
        encoded(exif=turned()),
        encoded(xmp=b"<x:xmpmeta>"),
        encoded(form="MPO", save_all=True, append_images=[picture(23, 41)]),
        encoded(form="PNG"),
        encoded()[:100],
        encoded()[:3],
        b"",
    ],
    ids=["four colours", "turned", "described", "two pictures", "png", "cut off", "three bytes", "nothing"],
)
def test_of_others_nothing_is_said(content):
    assert plain_size(content) is None


def test_no_beginning_of_a_file_ends_in_an_error():
    whole = encoded(icc_profile=PROFILE)
    assert {plain_size(whole[:length]) for length in range(len(whole))} == {None, (41, 23)}

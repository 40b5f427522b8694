"""What a look at the bytes finds: digests, flaws, and that only changed files are read again."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from PIL import Image

from automl_kd.data import load_data
from automl_kd.data.encoded import scan
from automl_kd.data.encoded.checked import check_encoded
from automl_kd.data.encoded.scan import CUT_OFF, EMPTY, TOO_LARGE, UNKNOWN, UNREADABLE, find_flaw, scan_images
from automl_kd.errors import DataError
from automl_kd.spec import DataSpec
from tests.data.encoded import forms
from tests.data.pictures import whole

JPEG = forms.picture(40, 40, "JPEG")
PNG = forms.picture(40, 40)
WEBP = forms.picture(40, 40, "WEBP")


def with_thumbnail() -> bytes:
    """A JPEG with another in a segment of its header, whose end is not that of the whole."""
    inner = forms.picture(4, 4, "JPEG")
    return JPEG[:2] + b"\xff\xe1" + (len(inner) + 2).to_bytes(2, "big") + inner + JPEG[2:]


@pytest.mark.parametrize(
    ("content", "flaw"),
    [
        (JPEG, 0),
        (PNG, 0),
        (WEBP, 0),
        (forms.picture(form="GIF"), 0),
        (JPEG + b"what a camera appends \xff\xda", 0),
        (with_thumbnail(), 0),
        (with_thumbnail()[:-2], CUT_OFF),
        (JPEG[:-2], CUT_OFF),
        (JPEG[:20], CUT_OFF),
        (PNG[:-12], CUT_OFF),
        (WEBP[:-20], CUT_OFF),
        (b"", EMPTY),
        (b"text", UNKNOWN),
        (b"\x89PNG\r\n\x1a\n damaged IEND\xaeB`\x82", UNKNOWN),
    ],
)
def test_flaws_are_seen_without_decoding(content, flaw):
    assert find_flaw(content) == flaw


def test_more_pixels_than_pillow_opens(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert find_flaw(PNG) == TOO_LARGE


@pytest.fixture
def read(monkeypatch) -> list[bytes]:
    """The contents that were hashed."""
    done: list[bytes] = []
    inner = scan.sha256_of

    def sha256_of(content: bytes):
        done.append(content)
        return inner(content)

    monkeypatch.setattr(scan, "sha256_of", sha256_of)
    return done


def test_only_changed_files_are_read_again(tmp_path, read):
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for path in paths:
        path.write_bytes(forms.picture())
    paths[3].write_bytes(b"")
    images, kept = whole(*paths), tmp_path / "kept" / "scan"
    done: list[tuple[int, int]] = []
    first = scan_images(images, kept=kept, notify=lambda *progress: done.append(progress))
    assert [bytes(row).hex() for row in first.digests] == [
        hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
    ]
    assert first.flaws.tolist() == [0, 0, 0, EMPTY, 0]
    assert done == [(5, 5)]
    assert len(read) == 5
    again = scan_images(images, kept=kept)
    assert (again.digests == first.digests).all()
    assert again.flaws.tolist() == first.flaws.tolist()
    assert len(read) == 5
    status = paths[1].stat()
    content = bytearray(paths[1].read_bytes())
    content[-20] ^= 1
    paths[1].write_bytes(content)  # of the same size and date
    os.utime(paths[1], ns=(status.st_atime_ns, status.st_mtime_ns))
    assert bytes(scan_images(images, kept=kept).digests[1]) == hashlib.sha256(content).digest()
    assert len(read) == 6
    for damaged in (b"", b"text", kept.read_bytes()[:-5]):
        kept.write_bytes(damaged)
        assert (scan_images(images, kept=kept).digests[2] == first.digests[2]).all()


def test_a_file_that_is_gone_is_a_flaw_until_it_is_back(tmp_path):
    path, kept = tmp_path / "a.png", tmp_path / "scan"
    images = whole(path)
    assert scan_images(images, kept=kept).flaws.tolist() == [UNREADABLE]
    path.write_bytes(PNG)
    assert scan_images(images, kept=kept).flaws.tolist() == [0]


@pytest.fixture
def flawed(tmp_path) -> Path:
    """A folder in which two images to train on, the first of them, and one to test on are flawed."""
    forms.write_folder(tmp_path / "set", forms.samples(count=2))
    for name, content in (("train/ant/0-00", b""), ("train/bee/1-03", PNG[:-12]), ("test/bee/1-01", b"text")):
        (tmp_path / "set" / f"{name}.png").write_bytes(content)
    top: Path = tmp_path / "set"
    return top


def test_a_flawed_image_is_named_and_the_others_counted(tmp_path, flawed):
    source = forms.open_source(f"folder:{flawed}", tmp_path)
    with pytest.raises(
        DataError, match=r'ant/0-00.png is empty, and 2 other images have such faults; .*"skip"'
    ) as caught:
        check_encoded(source, DataSpec(), tmp_path)
    assert "\n" not in str(caught.value)


def test_flawed_images_are_left_out_counted_and_noted(tmp_path, flawed):
    spec = DataSpec(name=f"folder:{flawed}", on_error="skip")
    found = load_data(spec, tmp_path)
    assert (len(found.train), len(found.validation), len(found.test)) == (18, 8, 11)
    assert found.passed_over == {"images that cannot be read": 3}
    assert "left out as they cannot be read: " in found.note
    assert found.note.count(".png") == 3
    for name in ("train/ant/0-00", "train/bee/1-03", "test/bee/1-01"):
        (flawed / f"{name}.png").unlink()
    again = load_data(DataSpec(name=spec.name), tmp_path)
    assert (again.train.inputs == found.train.inputs).all()
    sources = [forms.open_source(spec.name, tmp_path)]
    assert check_encoded(sources[0], DataSpec(), tmp_path).identity


def test_no_image_that_can_be_read_is_one_sentence(tmp_path):
    forms.write_folder(tmp_path / "set", forms.samples())
    for file in (tmp_path / "set" / "train").rglob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(DataError, match="no image to train on can be read, the first is"):
        load_data(DataSpec(name=f"folder:{tmp_path / 'set'}", on_error="skip"), tmp_path)


def test_other_words_are_refused():
    with pytest.raises(ValueError, match=r"on_error must be 'fail' .* or 'skip', got 'ignore'"):
        DataSpec(on_error="ignore")  # type: ignore[arg-type]

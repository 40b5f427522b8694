"""Images as ranges of bytes in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from automl_kd.data.encoded.ranges import WHOLE_FILE, EncodedImages
from automl_kd.errors import DataError


def three(folder: Path) -> EncodedImages:
    """Two images in one file, and one that is a file."""
    (folder / "pack").write_bytes(b"..first second")
    (folder / "whole é").write_bytes(b"third")
    paths = [folder / "pack", folder / "whole é"]
    numbers = [np.array(one) for one in ([0, 0, 1], [2, 8, 0], [5, 6, WHOLE_FILE], [4, 0, 2])]
    return EncodedImages.of(paths, *numbers)


def test_each_image_is_its_range_of_bytes(tmp_path):
    images = three(tmp_path)
    assert [images.read(row) for row in range(len(images))] == [b"first", b"second", b"third"]
    assert images.path(2) == tmp_path / "whole é"


def test_what_was_saved_is_read_back(tmp_path):
    images = three(tmp_path)
    images.save(tmp_path / "index")
    found = EncodedImages.load(tmp_path / "index")
    assert [found.read(row) for row in range(3)] == [images.read(row) for row in range(3)]
    assert found.labels.tolist() == [4, 0, 2]
    assert isinstance(found.offset, np.memmap)


def test_rows_are_taken_in_their_order(tmp_path):
    found = three(tmp_path).take(np.array([2, 0]))
    assert [found.read(row) for row in range(2)] == [b"third", b"first"]
    assert found.labels.tolist() == [2, 4]


def test_several_are_joined_in_their_order(tmp_path):
    images = three(tmp_path)
    found = EncodedImages.joined([images.take(np.array([2])), images, images.take(np.array([1]))])
    assert [found.read(row) for row in range(5)] == [b"third", b"first", b"second", b"third", b"second"]
    assert found.labels.tolist() == [2, 4, 0, 2, 0]


def test_no_images_are_saved_too(tmp_path):
    three(tmp_path).take(np.empty(0, np.int64)).save(tmp_path / "index")
    assert len(EncodedImages.load(tmp_path / "index")) == 0


@pytest.mark.parametrize(
    ("row", "spoil", "sentence"),
    [
        (1, lambda folder: (folder / "pack").write_bytes(b"..first sec"), "ends before the image at byte 8"),
        (2, lambda folder: (folder / "whole é").unlink(), "whole é cannot be read: No such file"),
    ],
)
def test_files_that_changed_are_named(tmp_path, row, spoil, sentence):
    images = three(tmp_path)
    spoil(tmp_path)
    with pytest.raises(DataError, match=sentence):
        images.read(row)

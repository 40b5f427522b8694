"""Dividing: parts that never overlap, every class in proportion, the same for the same seed."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from automl_kd.data.counter import key
from automl_kd.data.dataset import Dataset, Split
from automl_kd.data.division import apportion, divide, set_apart, stratified
from automl_kd.data.fit import Fit
from automl_kd.data.source import Source, SourceSplit, in_memory
from automl_kd.errors import DataError
from automl_kd.spec import DataSpec

LABELS = torch.arange(200).remainder(5).clamp(max=3)  # 40, 40, 40 and 80 images of four classes


def images_of(labels: Tensor) -> Tensor:
    """The first pixel of image i is i, so that an image tells where it came from."""
    images = torch.zeros(len(labels), 1, 4, 4, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(len(labels))
    return images


def part_of(labels: Tensor) -> SourceSplit:
    return in_memory(images_of(labels), labels)


def source_of(
    labels: Tensor = LABELS, validation: SourceSplit | None = None, test: SourceSplit | None = None
) -> Source:
    names = tuple(f"class{label}" for label in range(int(labels.max()) + 1))
    return Source(train=part_of(labels), validation=validation, test=test, class_names=names, augment="none")


def test_apportion_by_hand():
    # shares 1.5, 1.5, 7: the first of equal remainders is served first
    assert apportion([15, 15, 70], 10) == [2, 1, 7]
    # shares 0.2, 9.8: one seat at least each
    assert apportion([2, 98], 10, least=1) == [1, 9]
    assert apportion([2, 98], 10) == [0, 10]
    # shares 0.5, 0.5, 4: one seat at least each makes six, and only the third can spare one
    assert apportion([1, 1, 8], 5, least=1) == [1, 1, 3]


def test_apportion_spares_what_it_is_asked_to():
    # shares 0.2 of 1, 0.2 of 1, 1.6 of 8: the small ones cannot give any
    assert apportion([1, 1, 8], 2, spare=1) == [0, 0, 2]
    assert apportion([1, 2, 3], 3, spare=1) == [0, 1, 2]


def test_classes_of_one_image_keep_it():
    sizes = [1] * 8 + [10] * 4
    labels = torch.repeat_interleave(torch.arange(12), torch.tensor(sizes))
    found = divide("set", source_of(labels), DataSpec(validation=0.2, test=0.2))
    assert torch.bincount(found.train.labels, minlength=12).min() == 1
    assert (len(found.test), len(found.validation)) == (10, 8)
    with pytest.raises(
        DataError, match=r"set has 12 training images, too few to hold out 0.2 of them and keep some of"
    ):
        divide("set", source_of(torch.arange(12)), DataSpec(test=0.2))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.data())
def test_apportion_is_exact_and_near_proportion(sizes, data):
    least = data.draw(st.sampled_from([0, 1]))
    count = data.draw(st.integers(least * len(sizes), sum(sizes)))
    seats = apportion(sizes, count, least=least)
    assert sum(seats) == count
    for seat, size in zip(seats, sizes, strict=True):
        assert least <= seat <= size
        assert least == 1 or abs(seat - count * size / sum(sizes)) < 1


def test_stratified_draws_uniformly_within_a_class():
    labels = torch.tensor([0, 1] * 10)
    drawn = torch.zeros(20)
    for seed in range(2000):
        drawn[stratified(labels, 6, key(seed))] += 1
    # Each image is drawn with probability 0.3: 600 of 2000 times, standard deviation 20.5.
    assert (drawn - 600).abs().max() < 90
    assert drawn[labels == 0].sum() == drawn[labels == 1].sum() == 6000


@pytest.mark.parametrize("seed", range(5))
def test_parts_never_overlap_and_are_stratified(seed):
    found = divide("set", source_of(), DataSpec(split_seed=seed, validation=0.25))
    parts = [found.train, found.validation, found.test]
    # test: 40 of 200; validation: 40 of the 160 left
    assert [len(part) for part in parts] == [120, 40, 40]
    assert torch.cat([part.index for part in parts]).sort().values.tolist() == list(range(200))
    assert [torch.bincount(part.labels).tolist() for part in parts] == [[24, 24, 24, 48], [8, 8, 8, 16], [8, 8, 8, 16]]
    for part in parts:
        assert part.inputs[:, 0, 0, 0].tolist() == part.index.tolist()
        assert part.labels.tolist() == LABELS[part.index].tolist()


def test_a_seed_moves_validation_but_never_test():
    first, again, other = (divide("set", source_of(), DataSpec(split_seed=seed)) for seed in (0, 0, 1))
    assert first.validation.index.tolist() == again.validation.index.tolist()
    assert first.validation.index.tolist() != other.validation.index.tolist()
    assert first.test.index.tolist() == other.test.index.tolist()


def test_fewer_training_images_leave_the_rest_alone():
    every, few, fewer = (divide("set", source_of(), DataSpec(train_images=count)) for count in (0, 60, 20))
    assert torch.bincount(few.train.labels).tolist() == [12, 12, 12, 24]
    assert set(fewer.train.index.tolist()) < set(few.train.index.tolist()) < set(every.train.index.tolist())
    assert few.validation.index.tolist() == every.validation.index.tolist()
    assert few.test.index.tolist() == every.test.index.tolist()


def test_a_sets_own_parts_are_kept_and_numbered_apart():
    own = torch.tensor([0, 1, 2, 3, 3])
    found = divide("set", source_of(validation=part_of(own), test=part_of(own)), DataSpec())
    assert len(found.train) == 200
    assert found.validation.index.tolist() == [200, 201, 202, 203, 204]
    assert found.test.index.tolist() == [0, 1, 2, 3, 4]
    assert found.validation.labels.tolist() == found.test.labels.tolist() == own.tolist()


def test_mean_and_deviation_are_those_of_the_training_images():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (200, 3, 4, 4), dtype=torch.uint8, generator=generator)
    images[:, 2] = 51  # a channel without spread
    source = Source(train=in_memory(images, LABELS), class_names=("a", "b", "c", "d"), augment="none")
    found = divide("set", source, DataSpec())
    pixels = found.train.inputs.double() / 255
    torch.testing.assert_close(torch.tensor(found.mean, dtype=torch.float64), pixels.mean(dim=(0, 2, 3)))
    expected = pixels.std(dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(torch.tensor(found.std[:2], dtype=torch.float64), expected[:2])
    assert found.std[2] == 1.0


def test_resolution_resizes_every_part():
    found = divide("set", source_of(), DataSpec(resolution=2))
    assert (found.shape.height, found.shape.width, found.pad) == (2, 2, 1)
    assert {tuple(part.inputs.shape[1:]) for part in (found.train, found.validation, found.test)} == {(1, 2, 2)}
    assert found.train.inputs.dtype == torch.uint8


def test_shrinking_averages_over_what_it_drops():
    stripes = torch.tensor([200, 0, 0, 200], dtype=torch.uint8).repeat(8, 2)[None, None].expand(4, 1, 8, 8)
    source = Source(train=in_memory(stripes, torch.tensor([0, 1, 0, 1])), class_names=("a", "b"), augment="none")
    small = source.train.pixels(torch.arange(4), Fit(2))
    # Without antialiasing each pixel would come from the two black columns at its centre.
    assert (small.int() - 100).abs().max() <= 20


TWO = torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("source", "spec", "sentence"),
    [
        (source_of(torch.zeros(9, dtype=torch.int64)), DataSpec(), "set has 1 class; at least 2 are needed"),
        (source_of(test=part_of(TWO[:0])), DataSpec(), "set has no test images"),
        (source_of(test=part_of(TWO - 1)), DataSpec(), "test labels from -1 to 0; with 4 classes .* 0 to 3"),
        (source_of(test=part_of(TWO + 3)), DataSpec(), "test labels from 3 to 4; with 4 classes .* 0 to 3"),
        (source_of(TWO.repeat(9) * 2), DataSpec(), "no training image of class 'class1'"),
        (source_of(TWO.repeat(2), test=part_of(TWO)), DataSpec(), "too few to hold out 0.1 of them"),
        (
            source_of(TWO),
            DataSpec(),
            "too few to hold out 0.2 of them .* of every class; add images or change data.test$",
        ),
        (source_of(), DataSpec(validation=0.999), "hold out 0.999 of them .* or change data.validation"),
        (source_of(), DataSpec(train_images=3), "train_images = 3, but set has 4 classes and 144 images"),
        (source_of(), DataSpec(train_images=145), "choose 4 to 144, or 0 for all"),
    ],
)
def test_too_little_is_one_sentence(source, spec, sentence):
    with pytest.raises(DataError, match=sentence) as caught:
        divide("set", source, spec)
    assert "\n" not in str(caught.value)


def test_records_do_not_hold_what_they_should_not():
    index = torch.arange(2)
    with pytest.raises(ValueError, match=r"images must be uint8 .* got torch.float32 \(2, 1, 4, 4\)"):
        Split(torch.zeros(2, 1, 4, 4), TWO, index)
    with pytest.raises(ValueError, match=r"labels must be int64 \(2,\), got torch.int64 \(1,\)"):
        Split(images_of(TWO), TWO[:1], index)
    found = divide("set", source_of(), DataSpec())
    large = Split(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), TWO, index)
    with pytest.raises(DataError, match="validation images of 1x8x8, wanted are 1x4x4"):
        Dataset("set", found.shape, found.train, large, found.test, (0.5,), (0.5,), "none", 1, found.class_names)


def test_images_set_apart_are_gone_from_training_and_drawn_class_by_class():
    data = divide("four", source_of(), DataSpec(name="four", validation=0.25))
    kept, held = set_apart(data, 0.25, key(1))
    # 120 images remain for training after a fifth for test and a quarter of the rest: 24, 24, 24 and 48 of a class.
    assert held.labels.bincount().tolist() == [6, 6, 6, 12]
    assert sorted([*kept.train.index.tolist(), *held.index.tolist()]) == sorted(data.train.index.tolist())
    assert torch.equal(held.inputs[:, 0, 0, 0].long(), held.index)
    assert kept.validation is data.validation
    assert set_apart(data, 0.25, key(1))[1].index.tolist() == held.index.tolist()
    assert set_apart(data, 0.25, key(2))[1].index.tolist() != held.index.tolist()


@pytest.mark.parametrize("fraction", [0.01, 0.99])
def test_less_than_two_images_on_a_side_are_refused(fraction):
    data = divide("four", source_of(), DataSpec(name="four", validation=0.25))
    with pytest.raises(DataError, match=rf"four has 120 training images, too few to hold out {fraction} .* keep 2"):
        set_apart(data, fraction, key(1))

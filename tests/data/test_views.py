"""Views: a crop worked out by hand, and the same view of an image wherever and whenever it is asked for."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from automl_kd.data import Dataset, Split, epoch_order, epoch_windows, plain_view, train_view
from automl_kd.data.counter import draw_below, draw_words, key
from automl_kd.data.views import VIEW, crop_windows, numbers_of
from automl_kd.space import InputShape


def set_of(images: Tensor, pad: int = 1) -> Dataset:
    channels, height, width = images.shape[1:]
    split = Split(images, torch.arange(len(images)).remainder(2), torch.arange(len(images)) * 3 + 5)
    shape = InputShape(channels, height, width, 2)
    mean, std = (0.5, 0.25, 0.4)[:channels], (0.2, 0.3, 0.1)[:channels]
    return Dataset("set", shape, split, split, split, mean, std, "crop-flip", pad, ("a", "b"))


@pytest.fixture(scope="module")
def noise():
    generator = torch.Generator().manual_seed(0)
    return set_of(torch.randint(0, 256, (40, 3, 6, 5), dtype=torch.uint8, generator=generator), pad=2)


def cropped(images: Tensor, pad: int, down: Tensor, right: Tensor, mirror: Tensor) -> Tensor:
    framed_width = images.shape[3] + 2 * pad
    windows = torch.stack([down * framed_width + right, mirror], dim=1).to(torch.int32)
    places = numbers_of(set_of(images, pad), images.device).places
    return crop_windows(images, pad, windows, places)


def view_by_batch(dataset: Dataset, rows: Tensor, *, seed: int, epoch: int, flips: bool) -> Tensor:
    """Each batch by itself, image by image, each step of the arithmetic written out."""
    split, pad, (height, width) = dataset.train, dataset.pad, dataset.train.inputs.shape[2:]
    drawn = draw_words(key(VIEW, seed, epoch), split.index[rows])
    down, right = (draw_below(drawn, field, 2 * pad + 1) for field in (0, 1))
    mirror = draw_below(drawn, 2, 2) if flips else torch.zeros_like(drawn)
    framed = torch.nn.functional.pad(split.inputs[rows], (pad,) * 4)
    seen = [one[:, y : y + height, x : x + width] for one, y, x in zip(framed, down, right, strict=True)]
    out = torch.stack([one.flip(2) if back else one for one, back in zip(seen, mirror, strict=True)]).float()
    for channel, (mean, std) in enumerate(zip(dataset.mean, dataset.std, strict=True)):
        out[:, channel].mul_(1 / (255 * std)).sub_(mean / std)
    return out


NINE = torch.arange(1, 10, dtype=torch.uint8).view(1, 1, 3, 3)  # 1 2 3 / 4 5 6 / 7 8 9


@pytest.mark.parametrize(
    ("down", "right", "mirror", "expected"),
    [
        (1, 1, 0, [[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
        (1, 1, 1, [[3, 2, 1], [6, 5, 4], [9, 8, 7]]),
        (0, 0, 0, [[0, 0, 0], [0, 1, 2], [0, 4, 5]]),
        (2, 1, 0, [[4, 5, 6], [7, 8, 9], [0, 0, 0]]),
        (1, 2, 0, [[2, 3, 0], [5, 6, 0], [8, 9, 0]]),
        (0, 2, 1, [[0, 0, 0], [0, 3, 2], [0, 6, 5]]),
    ],
)
def test_windows_by_hand(down, right, mirror, expected):
    found = cropped(NINE, 1, *(torch.tensor([value]) for value in (down, right, mirror)))
    assert found[0, 0].tolist() == expected


def test_windows_agree_with_slices(noise):
    images, pad = noise.train.inputs, 2
    generator = torch.Generator().manual_seed(1)
    down, right = torch.randint(0, 5, (2, 40), generator=generator)
    mirror = torch.randint(0, 2, (40,), generator=generator)
    found = cropped(images, pad, down, right, mirror)
    for i, image in enumerate(torch.nn.functional.pad(images, (pad,) * 4)):
        window = image[:, down[i] : down[i] + 6, right[i] : right[i] + 5]
        assert torch.equal(found[i], window.flip(2) if mirror[i] else window)


def test_plain_view_is_normalised(noise):
    rows = torch.tensor([3, 0])
    mean, std = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in (noise.mean, noise.std))
    expected = ((noise.train.inputs[rows].double() / 255 - mean) / std).float()
    found = plain_view(noise, noise.train, rows)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_the_frame_is_black():
    white = set_of(torch.full((300, 1, 3, 3), 255, dtype=torch.uint8))
    found = train_view(white, white.train, torch.arange(300), seed=0, epoch=0, augment="crop")
    # (0 - 0.5) / 0.2 and (1 - 0.5) / 0.2, and nothing else
    assert set(found.flatten().tolist()) == {-2.5, 2.5}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 39), min_size=1, max_size=12),
    st.integers(0, 2**40),
    st.integers(0, 500),
    st.sampled_from(["crop", "crop-flip"]),
)
def test_a_view_is_the_same_alone_and_in_any_batch(noise, rows, seed, epoch, augment):
    batch = train_view(noise, noise.train, torch.tensor(rows), seed=seed, epoch=epoch, augment=augment)
    whole = train_view(noise, noise.train, torch.arange(40), seed=seed, epoch=epoch, augment=augment)
    assert torch.equal(batch, whole[torch.tensor(rows)])


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 39), min_size=1, max_size=12),
    st.integers(0, 2**40),
    st.integers(0, 500),
    st.sampled_from(["crop", "crop-flip"]),
)
def test_windows_drawn_for_an_epoch_are_those_of_each_batch(noise, rows, seed, epoch, augment):
    chosen = torch.tensor(rows)
    windows = epoch_windows(noise, noise.train, seed=seed, epoch=epoch, augment=augment)
    assert windows is not None
    assert windows.nbytes == 8 * len(noise.train)
    found = train_view(noise, noise.train, chosen, seed=seed, epoch=epoch, augment=augment, windows=windows)
    assert torch.equal(found, train_view(noise, noise.train, chosen, seed=seed, epoch=epoch, augment=augment))
    flips = augment == "crop-flip"
    assert torch.equal(found, view_by_batch(noise, chosen, seed=seed, epoch=epoch, flips=flips))


def test_images_that_are_seen_whole_have_no_windows(noise):
    assert epoch_windows(noise, noise.train, seed=0, epoch=1, augment="none") is None
    assert epoch_windows(replace(noise, augment="none"), noise.train, seed=0, epoch=1, augment="auto") is None


def test_every_byte_is_normalised_as_plain_numbers_do_it():
    images = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1).expand(-1, 3, 2, 2).contiguous()
    found = plain_view(bytes_of := set_of(images), bytes_of.train, torch.arange(256))
    expected = images.float()
    for channel, (mean, std) in enumerate(zip(bytes_of.mean, bytes_of.std, strict=True)):
        expected[:, channel].mul_(1 / (255 * std)).sub_(mean / std)
    assert torch.equal(found, expected)
    with torch.inference_mode():  # asked first while something is evaluated
        plain_view(other := set_of(images), other.train, torch.arange(2))
    assert not numbers_of(other, images.device).factor.is_inference()


def test_a_view_follows_the_index_not_the_row(noise):
    kept = torch.tensor([7, 30, 12])
    train = noise.train
    fewer = replace(noise, train=Split(train.inputs[kept], train.labels[kept], train.index[kept]))
    found = train_view(fewer, fewer.train, torch.arange(3), seed=4, epoch=2, augment="auto")
    assert torch.equal(found, train_view(noise, train, kept, seed=4, epoch=2, augment="auto"))


def test_seeds_and_epochs_give_other_views(noise):
    rows = torch.arange(40)
    views = [
        train_view(noise, noise.train, rows, seed=seed, epoch=epoch, augment="crop")
        for seed, epoch in [(0, 0), (0, 1), (1, 0), (1, 1)]
    ]
    for i, one in enumerate(views):
        for other in views[:i]:
            # Of 25 windows each, two agree once in 25 images.
            assert (one == other).flatten(1).all(dim=1).sum() < 10


def test_every_window_is_as_likely_and_half_are_mirrored():
    # An image with one bright pixel in the middle of its left half shows where its window was and which way round.
    images = torch.zeros(18_000, 1, 7, 9, dtype=torch.uint8)
    images[:, :, 3, 2] = 255
    dataset = set_of(images)
    found = train_view(dataset, dataset.train, torch.arange(18_000), seed=3, epoch=8, augment="auto")
    place = found.flatten(1).argmax(dim=1)
    row, column = place // 9, place % 9
    # rows 2, 3, 4; columns 1, 2, 3, or mirrored 7, 6, 5: 18 places with 1000 each, standard deviation 31
    counts = torch.bincount(row * 9 + column, minlength=63).view(7, 9)
    expected = counts[2:5][:, [1, 2, 3, 5, 6, 7]]
    assert expected.sum() == 18_000
    assert (expected - 1000).abs().max() < 125


def test_none_is_plain_and_auto_is_what_the_set_recommends(noise):
    rows = torch.arange(40)
    plain = plain_view(noise, noise.train, rows)

    def view(dataset: Dataset, augment: str) -> Tensor:
        return train_view(dataset, dataset.train, rows, seed=1, epoch=1, augment=augment)

    assert torch.equal(view(noise, "none"), plain)
    assert torch.equal(view(replace(noise, augment="none"), "auto"), plain)
    assert torch.equal(view(noise, "auto"), view(noise, "crop-flip"))
    assert torch.equal(view(replace(noise, augment="crop"), "auto"), view(noise, "crop"))
    assert not torch.equal(view(noise, "crop"), view(noise, "crop-flip"))
    with pytest.raises(ValueError, match=r"augment must be .* got 'mirror'"):
        view(noise, "mirror")


@given(st.integers(1, 300), st.integers(0, 100), st.integers(0, 100))
def test_order_is_a_permutation_that_repeats(count, seed, epoch):
    found = epoch_order(count, seed=seed, epoch=epoch)
    assert found.dtype == torch.int64
    assert found.sort().values.tolist() == list(range(count))
    assert torch.equal(found, epoch_order(count, seed=seed, epoch=epoch))


def test_order_changes_with_seed_and_epoch():
    orders = [epoch_order(50, seed=seed, epoch=epoch).tolist() for seed, epoch in [(0, 0), (0, 1), (1, 0)]]
    assert len({tuple(found) for found in orders}) == 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="compares a GPU with the CPU, and there is none here")
def test_views_are_equal_bit_for_bit_on_a_gpu(noise):
    there = noise.to("cuda")
    rows = epoch_order(40, seed=2, epoch=3)
    here = train_view(noise, noise.train, rows, seed=2, epoch=3, augment="crop-flip")
    found = train_view(there, there.train, rows.to("cuda"), seed=2, epoch=3, augment="crop-flip")
    assert torch.equal(found.cpu(), here)

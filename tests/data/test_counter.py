"""Words by counting: the published generator's outputs, and fields that are uniform and independent."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from automl_kd.data.counter import MASK, draw_below, draw_words, key, mix_one, to_int64


def test_words_are_splitmix64():
    # The first outputs of splitmix64 started at 1234567, as listed for checking implementations of it.
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert draw_words(1234567, torch.arange(5)).tolist() == [to_int64(word) for word in expected]


@given(st.integers(0, MASK), st.integers(0, 2**62))
def test_tensors_wrap_around_as_whole_numbers_do(stream, counter):
    expected = mix_one((stream + 0x9E3779B97F4A7C15 * (counter + 1)) & MASK)
    assert draw_words(stream, torch.tensor([counter])).item() == to_int64(expected)


@given(st.lists(st.integers(-(2**70), 2**70), min_size=1, max_size=4))
def test_keys_depend_on_values_and_their_order(parts):
    assert 0 <= key(*parts) <= MASK
    assert key(*parts) == key(*parts)
    assert key(*parts) != key(*parts, 0)
    assert key(0, 1) != key(1, 0)


@pytest.mark.parametrize("count", [2, 3, 9])
@pytest.mark.parametrize("field", [0, 1, 2])
def test_fields_are_uniform(field, count):
    drawn = draw_below(draw_words(key(7), torch.arange(90_000)), field, count)
    expected = 90_000 / count
    squares = ((torch.bincount(drawn, minlength=count) - expected) ** 2 / expected).sum()
    assert drawn.min() == 0
    assert drawn.max() == count - 1
    # Chi-square with count - 1 <= 8 degrees of freedom exceeds 26.1 once in a thousand.
    assert squares < 26.1


def test_fields_epochs_and_seeds_are_independent():
    counters = torch.arange(50_000)
    first = draw_words(key(1, 0), counters)
    others = [draw_below(first, field, 1000) for field in (1, 2)]
    others += [draw_below(draw_words(key(*parts), counters), 0, 1000) for parts in ((1, 1), (2, 0), (0, 1))]
    others.append(draw_below(first, 0, 1000).roll(1))  # the neighbour's
    table = torch.stack([draw_below(first, 0, 1000), *others]).double()
    correlations = torch.corrcoef(table)[0, 1:]
    # The standard deviation of a correlation of 50,000 independent pairs is 0.0045.
    assert correlations.abs().max() < 0.02

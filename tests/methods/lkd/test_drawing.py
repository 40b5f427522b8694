"""The picture of a learned loss: one panel for each surface, the same text for the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

from automl_kd.methods.lkd.drawing import learned_loss_svg, scale_of

P = np.linspace(0.0, 1.0, 5)


@pytest.mark.parametrize("what", ["weight", "cost"])
def test_each_surface_has_a_panel_and_equal_numbers_give_equal_text(what):
    surfaces = {"true class": P[:, None] + P, "other class": np.ones((5, 5))}
    drawn = learned_loss_svg(surfaces, P, what)
    assert drawn == learned_loss_svg(surfaces, P, what)
    for words in ("true class", "other class", "teacher's probability", what):
        assert words in drawn
    assert drawn != learned_loss_svg({**surfaces, "other class": P[:, None] + P}, P, what)
    assert "other class" not in learned_loss_svg({"true class": np.ones((5, 5))}, P, what)


def test_weights_are_coloured_around_one_and_costs_by_their_range():
    levels, _ = scale_of({"a": np.ones((2, 2))}, "weight")
    assert (levels[0], levels[10], levels[-1]) == (0.0, 1.0, 2.0)
    levels, _ = scale_of({"a": np.array([[1.0, 2.0]]), "b": np.array([[5.0, 3.0]])}, "cost")
    assert (levels[0], levels[-1]) == (1.0, 5.0)

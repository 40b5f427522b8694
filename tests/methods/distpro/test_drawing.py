"""The drawn process is well-formed, complete, and the same each time."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from automl_kd.methods.distpro.drawing import styled, weights_over_time

PATHWAYS = [("stem", "stem", "plain"), ("stem", "deep", "plain"), ("deep", "deep", "2conv")]
WEIGHTS = [[1.0, 0.2, 0.3], [0.5, 0.4, 0.9]]


def test_an_svg_names_stages_and_transforms_and_keeps_no_placeholder_colour():
    drawn = weights_over_time([0.0, 1.0], WEIGHTS, PATHWAYS)
    ET.fromstring(drawn)
    for words in (
        "student's stem",
        "student's deep",
        "teacher's stem, plain",
        "teacher's deep, 2conv",
        "per cent of the run",
    ):
        assert words in drawn.replace("&#39;", "'"), words
    assert not any(f"#0{n}0{n}0{n}" in drawn for n in (1, 2, 3))
    assert drawn == weights_over_time([0.0, 1.0], WEIGHTS, PATHWAYS)


def test_each_line_rises_where_its_weight_does():
    # The third pathway goes from 0.3 to 0.9 under a top of 1.05: up, so its path ends at a smaller y than it starts.
    drawn = weights_over_time([0.0, 1.0], WEIGHTS, PATHWAYS)
    colour = styled(PATHWAYS)[2]["color"]
    path = next(part for part in drawn.split("<path")[1:] if colour in part)
    points = [word for word in path.split('d="')[1].split('"')[0].split() if word[0].isdigit()]
    assert float(points[-1]) < float(points[1])


def test_colour_tells_the_teachers_stage_and_dashes_the_transform():
    one, two, three = styled(PATHWAYS)
    assert one["color"] == two["color"] != three["color"]
    assert one["linestyle"] == two["linestyle"] != three["linestyle"]


@pytest.mark.parametrize("weights", [[[0.0, 0.0, 0.0]], [[0.1, 2.0, 0.3]]])
def test_one_record_and_no_weight_at_all_can_be_drawn(weights):
    ET.fromstring(weights_over_time([0.0], weights, PATHWAYS))

"""The drawing says what was kept, what was left out, and is the same each time."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from automl_kd.methods.subgraph.drawing import draw_subgraph

LAYERS: list[dict[str, str | int]] = [
    {"name": "stem", "stage": "stem", "block": "", "kept": 4, "total": 16, "params": 100, "macs": 1000},
    {"name": "stage1.0.conv", "stage": "stage1", "block": "stage1.0", "kept": 0, "total": 16, "params": 0, "macs": 0},
    {"name": "fc", "stage": "fc", "block": "", "kept": 10, "total": 10, "params": 300, "macs": 10},
]


def words(drawn: str) -> list[str]:
    return [text for element in ET.fromstring(drawn).iter() if (text := (element.text or "").strip())]


def test_every_layer_and_stage_is_named_with_what_was_kept():
    found = words(draw_subgraph(LAYERS, "inside resnet20"))
    assert "inside resnet20" in found
    assert {"stem", "stage1.0.conv", "fc", "stage1"} <= set(found)
    assert found.count("4 of 16") == 1
    assert found.count("left out") == 1
    assert not any(word.startswith("10 of") for word in found)


def test_the_same_student_is_drawn_alike():
    assert draw_subgraph(LAYERS, "one") == draw_subgraph(LAYERS, "one")
    assert draw_subgraph(LAYERS, "one") != draw_subgraph([{**LAYERS[0], "kept": 8}, *LAYERS[1:]], "one")

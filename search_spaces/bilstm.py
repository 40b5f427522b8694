"""Text students that read word by word: a bidirectional LSTM, as the second student in ProKT's code.

Shi, Song, Zhou, Li, Li. Follow Your Path. 2021. arXiv:2107.09305: one layer, 300 channels for words and states, which
is the default; the other values are ours.
"""

from __future__ import annotations

from torch import nn

from automl_kd.models.text.bilstm import Bilstm, BilstmPlan, bilstm_cost
from automl_kd.models.text.shape import as_text
from automl_kd.space import Choice, InputShape, IntRange, Parameter, SearchSpace, Values


def bilstm_plan(values: Values) -> BilstmPlan:
    return BilstmPlan(int(values["layers"]), int(values["embedding"]), int(values["hidden"]))


def build_bilstm(values: Values, shape: InputShape) -> nn.Module:
    return Bilstm(as_text(shape), bilstm_plan(values))


def cost_bilstm(values: Values, shape: InputShape) -> tuple[int, int]:
    return bilstm_cost(as_text(shape), bilstm_plan(values))


SPACE = SearchSpace(
    name="bilstm",
    source="arXiv:2107.09305 (its code) for the default; values ours",
    parameters={
        "layers": Parameter(IntRange(1, 2)),
        "embedding": Parameter(Choice((64, 128, 200, 300))),
        "hidden": Parameter(Choice((64, 128, 200, 300))),
    },
    build=build_bilstm,
    default={"layers": 1, "embedding": 300, "hidden": 300},
    describe=lambda values: f"{values['layers']}x{values['hidden']} e{values['embedding']}",
    cost=cost_bilstm,
)

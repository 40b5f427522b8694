"""Text encoders as BERT, made smaller: depth, width, heads, perceptrons and the channels of a word.

The axes are those along which small BERTs were published: depth and width by Turc, Chang, Lee, Toutanova. Well-Read
Students Learn Better. 2019. arXiv:1908.08962; factorised words by Lan et al. ALBERT. 2019. arXiv:1909.11942; layers
taken over by Sanh et al. DistilBERT. 2019. arXiv:1910.01108. The default is the half of MiniLM-L6 that keeps its first
three layers.
"""

from __future__ import annotations

from torch import nn

from automl_kd.models.text.bert import LAYER_STARTS, Bert, BertPlan, bert_cost
from automl_kd.models.text.shape import as_text
from automl_kd.space import Choice, InputShape, IntRange, Parameter, SearchSpace, Values


def bert_plan(values: Values, shape: InputShape) -> BertPlan:
    width, embedding = int(values["width"]), int(values["embedding"])
    return BertPlan(
        layers=int(values["layers"]),
        width=width,
        heads=int(values["heads"]),
        inner=int(width * float(values["mlp"])),
        embedding=min(embedding, width),
        positions=max(512, as_text(shape).longest),
        start=str(values["start"]),
    )


def build_bert(values: Values, shape: InputShape) -> nn.Module:
    return Bert(as_text(shape), bert_plan(values, shape))


def cost_bert(values: Values, shape: InputShape) -> tuple[int, int]:
    return bert_cost(as_text(shape), bert_plan(values, shape))


def describe_bert(values: Values) -> str:
    """Such as "3x384 h12 mlp4 e384 first": layers and width, heads, perceptron, channels of a word, start."""
    return (
        f"{values['layers']}x{values['width']} h{values['heads']} mlp{values['mlp']:g} e{values['embedding']} "
        f"{values['start']}"
    )


SPACE = SearchSpace(
    name="bert",
    source="axes of arXiv:1908.08962, arXiv:1909.11942 and arXiv:1910.01108; values ours",
    parameters={
        "layers": Parameter(IntRange(1, 6)),
        "width": Parameter(Choice((96, 192, 288, 384))),
        "heads": Parameter(Choice((3, 6, 12))),
        "mlp": Parameter(Choice((1.0, 2.0, 4.0))),
        "embedding": Parameter(Choice((32, 64, 128, 384))),
        "start": Parameter(Choice(LAYER_STARTS)),
    },
    build=build_bert,
    default={"layers": 3, "width": 384, "heads": 12, "mlp": 4.0, "embedding": 384, "start": "first"},
    describe=describe_bert,
    cost=cost_bert,
)

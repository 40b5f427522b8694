"""What a graph of ONNX costs: multiply-adds of its products from the shapes that onnx infers, and learned numbers."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from automl_kd.models.black_box.graph import uncountable
from automl_kd.models.costs.multiply_adds import Shape
from automl_kd.models.foreign.packages import library
from automl_kd.space import InputShape

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")

QUANTISED = frozenset({"ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"})

HIDING = QUANTISED | {"Attention", "DeformConv", "Einsum", "GRU", "If", "LSTM", "Loop", "RNN", "Scan"}
"""Operators with products in them for which there is no formula here."""

STANDARD_DOMAINS = {"", "ai.onnx"}

STATISTICS = slice(3, 5)
"""Of the inputs of a batch normalisation, running mean and variance, which are not learned."""


def count_learned(model: Any) -> int:
    """Numbers in the initialisers of real types, statistics of batch normalisations excluded."""
    onnx = library("onnx", "onnx")
    real = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16}
    norms = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    statistics = {name for node in norms for name in node.input[STATISTICS]}
    learned = [one for one in model.graph.initializer if one.data_type in real and one.name not in statistics]
    return sum(prod(one.dims) for one in learned)


def count_graph_macs(name: str, model: Any, shape: InputShape, batch: int) -> int:
    """Multiply-adds for one image of `shape`, where the graph takes `batch` of them; `model` is changed.

    `ConfigError` for a product of unknown shapes, or an operator that may hold products and has no formula.
    """
    shapes = infer_shapes(model, (batch, shape.channels, shape.height, shape.width))
    spent = 0
    for node in model.graph.node:
        if node.domain not in STANDARD_DOMAINS or node.op_type in HIDING:
            raise uncountable(name, f"its operator {node.op_type}")
        if node.op_type in PRODUCTS:
            known = [shapes.get(one) for one in (*node.input[:2], node.output[0])]
            if any(one is None for one in known):
                raise uncountable(name, f"the unknown shapes of {node.op_type} {node.name!r}")
            spent += product_macs(node, *known)  # type: ignore[arg-type]  # none is None
    return spent // batch


def product_macs(node: Any, one: Shape, other: Shape, made: Shape) -> int:
    """`one`, `other`: the shapes of the first two inputs, weights second for convolutions. `made`: of the output."""
    if node.op_type == "Conv":
        return prod(made) * prod(other[1:])
    if node.op_type == "ConvTranspose":
        return prod(one) * prod(other[1:])
    turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return prod(made) * (one[0] if turned else one[-1])


def infer_shapes(model: Any, images: Shape) -> Mapping[str, Shape]:
    """The shapes of all tensors of which every axis is known, for images of this shape."""
    learned = {one.name: tuple(one.dims) for one in model.graph.initializer}
    given = next(one for one in model.graph.input if one.name not in learned)
    for axis, size in zip(given.type.tensor_type.shape.dim, images, strict=True):
        axis.dim_value = size
    # What the exporter noted may hold the names of axes in place of sizes.
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    inference = library("onnx.shape_inference", "onnx")
    try:
        inferred = inference.infer_shapes(model, data_prop=True).graph
    except Exception:  # onnx raises classes of its own; the shapes stay unknown
        return learned
    found = [*inferred.value_info, *inferred.output, given]
    return learned | {one.name: sizes for one in found if (sizes := sizes_of(one)) is not None}


def sizes_of(value: Any) -> Shape | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape") or not all(axis.HasField("dim_value") for axis in tensor.shape.dim):
        return None
    return tuple(axis.dim_value for axis in tensor.shape.dim)

"""Vision transformers: depth and width, and heads and perceptron of each block, in three sizes.

The spaces of Chen, Peng, Fu, Ling. AutoFormer: Searching Transformers for Visual Recognition. 2021. arXiv:2107.00651,
table 1 (tiny, small, base), which hold the networks found there, with the patch, the relative positions and the kind of
pooling as choices of ours, so that DeiT-Ti and DeiT-S (Touvron et al. 2020. arXiv:2012.12877), the defaults, are points
too. The paper's tiny space has perceptrons of 3.5 and 4 times the width; the network published of it has some of 3,
which therefore are in ours.
"""

from __future__ import annotations

from torch import nn

from automl_kd.models.imagenet.vit import VisionTransformer, VitPlan, vit_cost
from automl_kd.space import Choice, InputShape, IntRange, Parameter, Scalar, SearchSpace, Values, When


def vit_plan(values: Values) -> VitPlan:
    depth, width = int(values["depth"]), int(values["width"])
    return VitPlan(
        width=width,
        heads=tuple(int(values[f"heads{block}"]) for block in range(1, depth + 1)),
        inner=tuple(int(width * float(values[f"mlp{block}"])) for block in range(1, depth + 1)),
        patch=int(values["patch"]),
        relative=bool(values["relative"]),
        pool=str(values["pool"]),
    )


def build_vit(values: Values, shape: InputShape) -> nn.Module:
    return VisionTransformer(shape, vit_plan(values))


def cost_vit(values: Values, shape: InputShape) -> tuple[int, int]:
    return vit_cost(shape, vit_plan(values))


def describe_vit(values: Values) -> str:
    """Such as "192/16 token 3x4 3x3.5 4x4": width and patch, then heads and relative width of each block."""
    blocks = [f"{values[f'heads{block}']}x{values[f'mlp{block}']:g}" for block in range(1, int(values["depth"]) + 1)]
    positions = " relative" * bool(values["relative"])
    return f"{values['width']}/{values['patch']} {values['pool']}{positions} {' '.join(blocks)}"


def uniform_vit(depth: int, width: int, heads: int) -> Values:
    """A DeiT: equal blocks, perceptrons of four times the width, and a class token."""
    blocks = range(1, depth + 1)
    ends: dict[str, Scalar] = {"patch": 16, "relative": False, "pool": "token", "width": width, "depth": depth}
    return {**ends, **{f"heads{block}": heads for block in blocks}, **{f"mlp{block}": 4.0 for block in blocks}}


def vit_space(
    size: str, depths: tuple[int, int], widths: tuple[int, ...], heads: tuple[int, ...], default: Values
) -> SearchSpace:
    parameters = {
        "patch": Parameter(Choice((8, 16))),
        "relative": Parameter(Choice((False, True))),
        "pool": Parameter(Choice(("token", "mean"))),
        "width": Parameter(Choice(widths)),
        "depth": Parameter(IntRange(*depths)),
    }
    for block in range(1, depths[1] + 1):
        deep = tuple(depth for depth in range(depths[0], depths[1] + 1) if depth >= block)
        exists = When("depth", deep) if block > depths[0] else None
        parameters[f"heads{block}"] = Parameter(Choice(heads), exists)
        parameters[f"mlp{block}"] = Parameter(Choice((3.0, 3.5, 4.0)), exists)
    return SearchSpace(
        name=f"vit-{size}",
        source="arXiv:2107.00651, table 1; patch, positions and pooling ours",
        parameters=parameters,
        build=build_vit,
        default=default,
        describe=describe_vit,
        cost=cost_vit,
    )


SPACE = vit_space("tiny", (12, 14), (192, 216, 240), (3, 4), uniform_vit(12, 192, 3))
SMALL_VIT = vit_space("small", (12, 14), (320, 384, 448), (5, 6, 7), uniform_vit(12, 384, 6))
BASE_VIT = vit_space("base", (14, 16), (528, 576, 624), (8, 9, 10), uniform_vit(14, 576, 9))

"""`resnet224`, `mobile` and `vit`: published networks are points of them or of their grammar, and cost as published."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from automl_kd.models import build_model
from automl_kd.models.costs.cost import count_cost
from automl_kd.models.features import FeatureExtractor, find_feature
from automl_kd.models.foreign.adoption import adopt
from automl_kd.models.imagenet.mobile import mobile_cost
from automl_kd.models.imagenet.published import MOBILENET_V2, PUBLISHED_MOBILE
from automl_kd.models.imagenet.vit import SelfAttention, VisionTransformer
from automl_kd.models.warm_start.slices import take_weights
from automl_kd.space import (
    Architecture,
    InputShape,
    Scalar,
    SearchSpace,
    Values,
    check_architecture,
    sample_architecture,
)
from search_spaces import mobile, resnet224, vit

IMAGENET = InputShape(3, 224, 224, 1000)
STAGES = ("stage1", "stage2", "stage3", "stage4")


def autoformer(width: int, heads: str, mlp: str) -> Values:
    """As its authors write the subnet: heads and relative widths of all blocks."""
    blocks = list(enumerate(zip(heads.split(), mlp.split(), strict=True), start=1))
    ends: dict[str, Scalar] = {"patch": 16, "relative": True, "pool": "mean", "width": width, "depth": len(blocks)}
    each = {f"heads{block}": int(head) for block, (head, _) in blocks}
    return {**ends, **each, **{f"mlp{block}": float(ratio) for block, (_, ratio) in blocks}}


TINY = autoformer(192, "3 3 3 3 3 3 3 3 3 3 4 3 3", "3.5 3.5 3 3.5 3 3 4 4 3.5 4 3.5 4 3.5")
SMALL = autoformer(384, "6 6 5 7 5 5 5 6 6 7 7 6 7", "3 3.5 3 3.5 4 4 4 4 4 4 4 3.5 4")
BASE = autoformer(576, "9 9 9 9 9 10 9 9 10 9 10 9 9 10", "3.5 3.5 4 3.5 4 3.5 3.5 3 4 4 3 4 3 3.5")

# (params, multiply-adds), both in millions, as published; None where the publication counts otherwise
POINTS = [
    (resnet224.SPACE, resnet224.RESNET18, 11.69, 1814),
    (resnet224.SPACE, resnet224.RESNET34, 21.80, 3664),
    (resnet224.SPACE, resnet224.RESNET50, 25.56, 4089),
    (mobile.SPACE, mobile.SPACE.default, 3.505, 301),
    (vit.SPACE, vit.SPACE.default, 5.717, 1254),
    (vit.SMALL_VIT, vit.SMALL_VIT.default, 22.05, 4599),
    (vit.SPACE, TINY, 5.867, None),  # AutoFormer's 1.3 G leave out the products of relative positions
    (vit.SMALL_VIT, SMALL, 22.9, 5100),
    (vit.BASE_VIT, BASE, 53.7, None),
]


@pytest.mark.parametrize(("space", "values", "params", "macs"), POINTS, ids=lambda one: getattr(one, "name", ""))
def test_published_points_cost_what_is_published(space, values, params, macs):
    check_architecture(space, Architecture.of(values))
    found = space.cost(values, IMAGENET)
    assert found[0] / 1e6 == pytest.approx(params, rel=0.01)
    if macs is not None:
        assert found[1] / 1e6 == pytest.approx(macs, rel=0.015 if space is vit.SMALL_VIT else 0.01)


@pytest.mark.parametrize("name", PUBLISHED_MOBILE)
def test_published_mobile_networks_cost_what_is_published(name):
    one = PUBLISHED_MOBILE[name]
    params, macs = mobile_cost(InputShape(3, one.side, one.side, 1000), one.plan)
    assert params / 1e6 == pytest.approx(one.params, rel=0.01)
    assert macs / 1e6 == pytest.approx(one.macs, rel=0.01)


@pytest.mark.parametrize("name", [*PUBLISHED_MOBILE, "mobilenet-v1"])
def test_costs_of_the_zoo_are_counted_ones(name):
    found = count_cost(build_model(name, IMAGENET), IMAGENET)
    if name == "mobilenet-v1":  # arXiv:1704.04861, table 8
        assert (round(found.params / 1e6, 1), round(found.macs / 1e6)) == (4.2, 569)
    else:
        assert mobile_cost(IMAGENET, PUBLISHED_MOBILE[name].plan) == (found.params, found.macs)


def test_the_default_of_mobile_is_mobilenet_v2():
    assert mobile.mobile_plan(mobile.SPACE.default) == MOBILENET_V2


@pytest.mark.parametrize(
    ("values", "name"),
    [(resnet224.RESNET18, "resnet18"), (resnet224.RESNET34, "resnet34"), (resnet224.RESNET50, "resnet50")],
)
def test_resnets_are_torchvisions_with_its_weights(values, name):
    shape = InputShape(3, 64, 64, 10)
    theirs = build_model(f"torchvision:{name}", shape)
    ours = resnet224.build_resnet224(values, shape)
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for mode in (True, False):
            assert torch.equal(ours.train(mode)(images), theirs.train(mode)(images))


def in_order(theirs: nn.Module, ours: nn.Module) -> dict[str, torch.Tensor]:
    """Their weights under our names, which come in the same order."""
    mine, yours = ours.state_dict(), theirs.state_dict()
    assert [one.shape for one in mine.values()] == [one.shape for one in yours.values()]
    return dict(zip(mine, yours.values(), strict=True))


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("mobilenet-v2", "torchvision:mobilenet_v2"), ("mobilenet-v3-large", "torchvision:mobilenet_v3_large")],
)
def test_mobilenets_are_torchvisions_with_its_weights(name, theirs):
    shape = InputShape(3, 64, 64, 10)
    ours, other = build_model(name, shape), build_model(theirs, shape)
    for module in other.modules():  # torchvision's own constant for MobileNetV3
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-5
    ours.load_state_dict(in_order(other, ours))
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(images), other.eval()(images), rtol=1e-5, atol=1e-5)


def test_a_vit_is_timms_with_its_weights():
    timm = pytest.importorskip("timm")
    theirs, ours = timm.create_model("deit_tiny_patch16_224").eval(), vit.build_vit(vit.SPACE.default, IMAGENET).eval()
    names = {
        "patch_embed.proj": "stem", "attn.qkv": "attention.qkv",
        "attn.proj": "attention.projection", "mlp.fc1": "mlp.0", "mlp.fc2": "mlp.2", "head.": "classifier.",
    }  # fmt: skip
    state = theirs.state_dict()
    for old, new in names.items():
        state = {name.replace(old, new): value for name, value in state.items()}
    ours.load_state_dict(state)
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-5)


def first_attention(values: Values, shape: InputShape) -> SelfAttention:
    found = vit.build_vit(values, shape).get_submodule("blocks.0.attention")
    assert isinstance(found, SelfAttention)
    return found


@pytest.mark.parametrize("relative", [False, True])
def test_tokens_attend_as_the_formula_says(relative):
    """One head's output from the definition, pair by pair: softmax(q (k + r_k) / 8) (v + r_v)."""
    values = {**vit.SPACE.default, "relative": relative}
    attention = first_attention(values, InputShape(3, 48, 32, 4)).double()
    x = torch.randn(1, 7, 192, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    q, k, v = attention.qkv(x)[0].view(7, 3, 3, 64).permute(1, 2, 0, 3)
    nothing = torch.zeros(7, 7, 64, dtype=torch.float64)
    r_k, r_v = (nothing if one is None else one((3, 2)) for one in (attention.of_keys, attention.of_values))
    assert r_k.any() == relative
    found = torch.zeros(3, 7, 64, dtype=torch.float64)
    for head in range(3):
        for token in range(7):
            weights = torch.stack([q[head, token] @ (k[head, other] + r_k[token, other]) for other in range(7)])
            weights = (weights / 8).softmax(0)
            found[head, token] = sum(weights[other] * (v[head, other] + r_v[token, other]) for other in range(7))
    expected = attention.projection(found.transpose(0, 1).reshape(1, 7, 192))
    torch.testing.assert_close(attention(x, (3, 2)), expected)


def test_relative_positions_are_rows_and_columns_apart():
    values = {**vit.SPACE.default, "relative": True}
    positions = first_attention(values, InputShape(3, 32, 16 * 40, 4)).of_keys
    assert positions is not None
    found = positions((2, 40))
    assert torch.equal(found[0, 5], positions.vertical[0] + positions.horizontal[0])  # from the class token
    assert torch.equal(found[1, 1], positions.vertical[15] + positions.horizontal[15])
    assert torch.equal(found[1, 42], positions.vertical[16] + positions.horizontal[16])  # a row down, a column on
    assert torch.equal(found[1, 40], positions.vertical[15] + positions.horizontal[29])  # 39 columns count as 14
    assert torch.equal(found[40, 1], positions.vertical[15] + positions.horizontal[1])


@pytest.mark.parametrize("space", [resnet224.SPACE, mobile.SPACE, vit.SPACE], ids=lambda space: space.name)
def test_stages_lie_at_one_stride_in_all_spaces(space: SearchSpace):
    shape = InputShape(3, 64, 96, 10)
    values = {**space.default}
    if space is not vit.SPACE:
        point = sample_architecture(space, np.random.default_rng(3)).as_dict()
        values = {**point, **({"stem": "7x7"} if space is resnet224.SPACE else {"resolution": 100})}
    model = space.build(values, shape).eval()
    with FeatureExtractor(model, STAGES) as extractor, torch.no_grad():
        outputs = extractor(torch.zeros(2, 3, 64, 96))
    sizes = [tuple(outputs.features[stage].shape[2:]) for stage in STAGES]
    assert sizes == ([(4, 6)] * 4 if space is vit.SPACE else [(16, 24), (8, 12), (4, 6), (2, 3)])
    for stage in STAGES:
        find_feature(model, f"{stage}.pre")


def test_a_smaller_resolution_is_the_network_on_smaller_images():
    shape, small = InputShape(3, 96, 96, 10), InputShape(3, 56, 56, 10)
    values = {**mobile.SPACE.default, "resolution": 57}
    reduced, plain = mobile.build_mobile(values, shape).eval(), mobile.build_mobile(mobile.SPACE.default, small).eval()
    plain.load_state_dict(reduced.state_dict())
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    resized = torch.nn.functional.interpolate(images, (56, 56), mode="bilinear")
    with torch.no_grad():
        assert torch.equal(reduced(images), plain(resized))
    assert mobile.cost_mobile(values, shape) == mobile.cost_mobile(mobile.SPACE.default, small)
    assert mobile.SPACE.cost is not None
    assert mobile.SPACE.build(values, InputShape(1, 8, 8, 10))(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_a_vit_takes_images_of_other_sizes():
    shape = InputShape(3, 64, 96, 10)
    model = vit.build_vit({**vit.SPACE.default, "relative": True}, shape)
    assert isinstance(model, VisionTransformer)
    with torch.no_grad():
        assert model(torch.zeros(2, 3, 40, 40)).shape == (2, 10)
        model.pos_embed.zero_()
        model.pos_embed[:, 1:, 0] = torch.arange(6.0).repeat(4)  # its column, of 4 rows and 6 columns
        found = model.positions((8, 3))[0, 1:, 0].view(8, 3)
    assert torch.equal(found, torch.tensor([0.5, 2.5, 4.5]).expand(8, 3))
    assert model.positions((4, 6)) is model.pos_embed


def test_a_warm_start_computes_what_a_vit_of_the_same_heads_does():
    timm = pytest.importorskip("timm")
    shape = InputShape(3, 32, 32, 10)
    torch.manual_seed(0)
    teacher = timm.create_model("deit_tiny_patch16_224", img_size=32, num_classes=10).eval()
    student = vit.build_vit(vit.SPACE.default, shape).eval()
    assert take_weights(student, teacher, shape).share == 1
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(student(images), teacher(images), rtol=1e-4, atol=1e-5)


def test_heads_are_taken_one_by_one():
    timm = pytest.importorskip("timm")
    shape = InputShape(3, 32, 32, 10)
    teacher = timm.create_model("deit_tiny_patch16_224", img_size=32, num_classes=10)
    student = vit.build_vit({**vit.SPACE.default, "heads1": 4}, shape)
    take_weights(student, teacher, shape)
    found = student.get_submodule("blocks.0.attention.qkv").get_parameter("weight").view(3, 4, 64, 192)
    given = teacher.blocks[0].attn.qkv.weight.view(3, 3, 64, 192)
    assert torch.equal(found[:, :3], given)
    assert not student.get_submodule("blocks.0.attention.projection").get_parameter("weight")[:, 192:].any()


def test_a_student_is_exported_for_any_batch():
    shape = InputShape(3, 32, 32, 10)
    student = adopt(mobile.build_mobile(mobile.SPACE.default, shape), shape).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(student, (torch.zeros(2, 3, 32, 32),), dynamic_shapes=({0: batch},))
    images = torch.randn(5, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(exported.module()(images), student(images))

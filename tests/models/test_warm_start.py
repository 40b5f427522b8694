"""What a student takes of a trained network: the same outputs where it can, the largest channels elsewhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from automl_kd.errors import ConfigError
from automl_kd.models import build_model
from automl_kd.models.foreign.adoption import adopt
from automl_kd.models.imagenet.mobile import MobileNet
from automl_kd.models.imagenet.published import PUBLISHED_MOBILE
from automl_kd.models.input_adapter import InputAdapter, adapt, find_adapter
from automl_kd.models.resnet import ResNet
from automl_kd.models.warm_start.alignment import align
from automl_kd.models.warm_start.from_file import take_file
from automl_kd.models.warm_start.layers import block_of, layers_in_order
from automl_kd.models.warm_start.slices import take_weights
from automl_kd.models.warm_start.started import NothingToTakeError
from automl_kd.models.warm_start.student_form import as_student
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.space import InputShape

SHAPE = InputShape(3, 16, 16, 10)


def trained(name: str, shape: InputShape = SHAPE) -> nn.Module:
    """With statistics and scales that differ between channels, as after training."""
    torch.manual_seed(0)
    return settled(build_model(name, shape))


def settled(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return model.eval()


def fresh(name: str, shape: InputShape = SHAPE) -> nn.Module:
    torch.manual_seed(1)
    return build_model(name, shape).eval()


def images(shape: InputShape = SHAPE) -> Tensor:
    return torch.randn(4, shape.channels, shape.height, shape.width, generator=torch.Generator().manual_seed(2))


def assert_same(one: nn.Module, other: nn.Module, shape: InputShape = SHAPE, within: float = 1e-5) -> None:
    with torch.no_grad():
        torch.testing.assert_close(one(images(shape)), other(images(shape)), rtol=within, atol=within)


FAMILIES = ["resnet20", "vgg8", "wrn-16-1", "torchvision:mobilenet_v2", "torchvision:shufflenet_v2_x0_5"]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_student_of_the_same_kind_becomes_the_same_network(name):
    shape = dataclasses.replace(SHAPE, height=32, width=32)
    teacher, student = trained(name, shape), fresh(name, shape)
    taken = take_weights(student, teacher, shape)
    assert taken.share == pytest.approx(1)
    assert not taken.identities
    assert_same(student, teacher, shape)


@pytest.mark.parametrize("deeper", ["resnet56", "resnet32"])
def test_blocks_that_the_teacher_lacks_begin_as_identities(deeper):
    teacher, student = trained("resnet20"), fresh(deeper)
    taken = take_weights(student, teacher, SHAPE)
    assert set(taken.identities) >= {"stage1.3", "stage2.4", "stage3.3"}
    assert_same(student, teacher)
    # and they can learn: their last scales get a gradient
    student.train()(images()).square().mean().backward()
    silent = student.get_submodule("stage2.3.body.4")
    assert isinstance(silent, nn.BatchNorm2d)
    assert not silent.weight.any()
    assert silent.weight.grad is not None
    assert silent.weight.grad.any()


def narrow(widths: list[int], depths: list[int]) -> nn.Module:
    torch.manual_seed(1)
    return adopt(ResNet(SHAPE, depths, widths), SHAPE).eval()


def test_a_student_that_the_teacher_embeds_computes_the_same_when_the_rest_is_silent():
    """Half of the teacher's channels are without effect: what is left is what a student of half its width takes."""
    teacher = trained("resnet20")
    half: dict[int, Tensor] = {}
    with torch.no_grad():
        for module in teacher.modules():
            if isinstance(module, nn.Conv2d):
                kept = half.setdefault(
                    len(module.weight), torch.randperm(len(module.weight))[: len(module.weight) // 2]
                )
                gone = torch.ones(len(module.weight), dtype=torch.bool)
                gone[kept] = False
                module.weight[gone] = 0
            elif isinstance(module, nn.BatchNorm2d):
                gone = torch.ones(module.num_features, dtype=torch.bool)
                gone[half[module.num_features]] = False
                module.weight[gone] = 0
                module.bias[gone] = 0
    student = narrow([8, 8, 16, 32], [3, 3, 3])
    take_weights(student, teacher, SHAPE)
    assert_same(student, teacher)


def test_a_wider_student_computes_the_same():
    teacher, student = trained("resnet20"), narrow([16, 24, 48, 80], [3, 3, 3])
    take_weights(student, narrow_teacher := settled(narrow([16, 16, 32, 64], [3, 3, 3])), SHAPE)
    # where the teacher's shortcut is the identity and the student's a projection, only the rest is the same
    ours, theirs = (one.get_parameter("stage2.1.body.0.weight") for one in (student, narrow_teacher))
    assert ours[:32, :32].equal(theirs)
    assert not ours[:32, 32:].any()
    assert ours[32:].any()
    wide = narrow([24, 24, 48, 80], [3, 3, 3])
    take_weights(wide, teacher, SHAPE)
    assert_same(wide, teacher)


def test_projections_where_the_teacher_has_identities_pass_channels_on():
    teacher, student = trained("resnet20"), narrow([16, 8, 16, 32], [1, 1, 1])
    taken = take_weights(student, teacher, SHAPE)
    assert "stage1.0.shortcut.0" in taken.identities
    weight = student.get_parameter("stage1.0.shortcut.0.weight")[:, :, 0, 0]
    assert weight.equal(torch.eye(8, 16))


@pytest.mark.parametrize("percent", [57, 86])
def test_a_student_that_makes_its_images_smaller_takes_the_same_layers(percent):
    """Its maps are smaller than the teacher's; how often smaller than what its first layer sees is the same."""
    shape, plan = InputShape(3, 96, 96, 10), PUBLISHED_MOBILE["mobilenet-v2"].plan
    trained, other = MobileNet(shape, plan), MobileNet(shape, dataclasses.replace(plan, percent=percent))
    assert take_weights(other, trained, shape).share == 1
    assert all(torch.equal(*pair) for pair in zip(other.parameters(), trained.parameters(), strict=True))


def test_layers_stand_for_those_with_their_place():
    small, large = fresh("resnet8"), fresh("resnet20")
    pairs = align(layers_in_order(small, SHAPE), layers_in_order(large, SHAPE))
    assert all(name == there for name, there in pairs.items())
    assert len(pairs) == len(layers_in_order(small, SHAPE))


@pytest.mark.parametrize(
    ("name", "block"),
    [("layer1.0.conv1", "layer1.0"), ("blocks.1.0.conv_pw", "blocks.1.0"), ("features.1.conv.0.0", "features.1"),
     ("features.0", ""), ("fc", "")],
)  # fmt: skip
def test_blocks_are_what_repeats(name, block):
    assert block_of(name) == block


def test_a_network_of_another_kind_is_refused():
    with pytest.raises(
        ConfigError, match=r"^student\.init: no layer of the student, a Sequential, .*init = \"fresh\"$"
    ):
        take_weights(adopt(nn.Sequential(nn.Flatten(), nn.Linear(768, 10)), SHAPE), trained("resnet20"), SHAPE)


def test_a_teacher_with_images_and_classes_of_its_own_becomes_a_student():
    shape = InputShape(3, 32, 32, 4)
    teacher = trained("resnet20", InputShape(3, 32, 32, 20))
    adapt(teacher, InputAdapter(factor=(2.0, 1.5, 0.5), shift=(0.1, -0.2, 0.3), reverse=True, outputs=(7, 3, 19, 0)))
    student = as_student(teacher, shape, 0)
    assert find_adapter(student) is None
    with torch.no_grad():
        ours, theirs = student(images(shape)), teacher(images(shape))
    assert ours.shape == (4, 4)
    # zeros around an image are other values in the two: a fortieth of the spread
    assert (ours - theirs).abs().max() < 0.1 * theirs.std()
    blank = adapt(trained("resnet20", InputShape(3, 32, 32, 20)), InputAdapter(reverse=True, outputs=(7, 3, 19, 0)))
    assert_same(as_student(blank, shape, 0), blank, shape)


def test_smaller_images_of_students_are_made_of_those_of_the_batch():
    shape = InputShape(3, 32, 32, 10)
    student = as_student(trained("resnet20", shape), shape, 16)
    seen: list[torch.Size] = []
    student.get_submodule("stem").register_forward_hook(lambda _module, _given, made: seen.append(made.shape))
    student(images(shape))
    assert seen == [(4, 16, 16, 16)]


def test_a_teacher_that_is_one_already_is_not_copied():
    teacher = trained("resnet20")
    assert as_student(teacher, SHAPE, 0) is teacher


def test_classes_of_a_head_that_is_no_layer_are_refused():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 6, 3)

        def forward(self, x: Tensor) -> Tensor:
            maps: Tensor = self.stem(x)
            return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], dim=1)

    shape = InputShape(3, 16, 16, 2)
    model = adapt(adopt(Odd(), InputShape(3, 16, 16, 12)).eval(), InputAdapter(outputs=(1, 9)))
    with pytest.raises(ConfigError, match=r"^the teacher, an Odd, does not end with a layer of a row for each"):
        as_student(model, shape, 0)


def test_weights_of_a_file_are_taken_by_name(tmp_path: Path):
    teacher, student = trained("resnet20"), fresh("resnet8")
    save_weights(teacher, tmp_path / "weights.pt")
    taken = take_file(student, tmp_path / "weights.pt", SHAPE)
    assert taken.share == pytest.approx(1)
    assert all(value.equal(teacher.state_dict()[name]) for name, value in student.state_dict().items())


def test_blocks_that_a_file_lacks_begin_as_identities(tmp_path: Path):
    teacher, student = trained("resnet8"), fresh("resnet20")
    save_weights(teacher, tmp_path / "weights.pt")
    taken = take_file(student, tmp_path / "weights.pt", SHAPE)
    assert set(taken.identities) == {f"stage{stage}.{block}" for stage in (1, 2, 3) for block in (1, 2)}
    assert_same(student, teacher)


def test_a_classifier_of_other_classes_stays_fresh(tmp_path: Path):
    save_weights(trained("resnet8", InputShape(3, 16, 16, 100)), tmp_path / "weights.pt")
    student = fresh("resnet8")
    before = student.get_parameter("fc.weight").clone()
    taken = take_file(student, tmp_path / "weights.pt", SHAPE)
    assert student.get_parameter("fc.weight").equal(before)
    assert 0.98 < taken.share < 1


def test_weights_of_another_family_are_refused(tmp_path: Path):
    save_weights(trained("vgg8"), tmp_path / "weights.pt")
    with pytest.raises(
        NothingToTakeError, match=r"^student\.init: .*weights\.pt holds weights of another family: \d+ of"
    ):
        take_file(fresh("resnet8"), tmp_path / "weights.pt", SHAPE)

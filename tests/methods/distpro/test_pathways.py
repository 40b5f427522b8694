"""Which pathways there are and in what order, what each connector is made of, and what cannot be joined."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from automl_kd.errors import ConfigError
from automl_kd.losses.base import Example
from automl_kd.losses.features.hcl import hcl
from automl_kd.methods.distpro.connectors import Attention, Resize, connector
from automl_kd.methods.distpro.pathways import (
    Pathway,
    PathwayLosses,
    at_smaller_size,
    list_pathways,
    needed_features,
    seen,
)
from automl_kd.models.features import Outputs
from automl_kd.tasks.soft_targets import kd_loss

FOUR = "0+1+2+3"


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def outputs(widths: tuple[int, ...], sizes: tuple[int, ...], classes: int, *, batch: int = 2, seed: int = 0) -> Outputs:
    maps = {str(i): random(batch, c, s, s, seed=seed + i) for i, (c, s) in enumerate(zip(widths, sizes, strict=True))}
    return Outputs(random(batch, classes, seed=seed), {**maps, "pooled": random(batch, widths[-1], seed=seed)})


def example(student: Outputs, teacher: Outputs) -> Example:
    labels = torch.zeros(2, dtype=torch.int64)
    return Example(student, teacher, labels, labels, classes=3, batch=2, epochs=1)


def test_the_published_ten_in_their_order():
    found = [(one.teacher, one.student) for one in list_pathways(FOUR, "lower", "complex")]
    assert found == [tuple(pair) for pair in ("00", "01", "02", "03", "11", "12", "13", "22", "23", "33")]
    assert len(list_pathways("0+1+2", "lower", "plain")) == 6


def test_sets_transforms_and_logits():
    assert [one.student for one in list_pathways(FOUR, "same", "plain")] == ["0", "1", "2", "3"]
    assert len(list_pathways(FOUR, "all", "plain")) == 16
    several = list_pathways("0+1:x+logits", "same", "plain+2conv")
    assert several == (
        Pathway("0", "0", "plain"),
        Pathway("0", "0", "2conv"),
        Pathway("x", "1", "plain"),
        Pathway("x", "1", "2conv"),
        Pathway("logits", "logits", "kd"),
    )
    assert needed_features(several).student == ("0", "1")
    assert needed_features(several).teacher == ("0", "x")


@pytest.mark.parametrize(
    ("stages", "connect", "transforms", "message"),
    [
        ("0", "upper", "plain", "no set of pathways is called 'upper'; known are all, lower, same"),
        ("0", "lower", "4conv", "no transform is called '4conv'"),
        ("0+0", "lower", "plain", "something twice"),
        ("0", "lower", "plain+plain", "something twice"),
        ("logits:0", "lower", "plain", "compared with logits only"),
        ("0++1", "lower", "plain", "joined by"),
    ],
)
def test_pathways_that_cannot_be_listed(stages, connect, transforms, message):
    with pytest.raises(ValueError, match=message):
        list_pathways(stages, connect, transforms)


LAYERS = {
    "plain": "Conv1 Norm Resize",
    "2conv": "Conv1 Norm Attention Resize Conv3 Norm",
    "3conv": "Conv1 Norm Attention Resize Conv3 Norm Conv3 Norm",
    "complex": "Conv3 Norm ReLU Attention Conv3 Norm ReLU Resize Conv3 Norm",
}


def name(layer: nn.Module) -> str:
    if isinstance(layer, nn.Conv2d):
        assert layer.bias is None
        return f"Conv{layer.kernel_size[0]}"
    return type(layer).__name__.replace("BatchNorm2d", "Norm")


@pytest.mark.parametrize("kind", LAYERS)
def test_layers_in_the_published_order_and_of_the_teachers_shape(kind):
    made = connector(kind, random(2, 6, 4, 4), random(2, 5, 8, 8))
    assert " ".join(map(name, made)) == LAYERS[kind]
    widths = [layer.out_channels for layer in made if isinstance(layer, nn.Conv2d)]
    assert widths == [5] * len(widths)  # min(6, 5) inside, 5 at the end
    assert made(random(2, 6, 4, 4)).shape == (2, 5, 8, 8)


@pytest.mark.parametrize("kind", LAYERS)
def test_maps_may_have_other_sizes_than_those_a_connector_was_made_for(kind):
    # As maps of texts have, which are as long as the longest text of a batch.
    made = PathwayLosses(list_pathways("0", "same", kind), example(*(maps_of(9) for _ in range(2))))
    values = made(0, *(seen(maps_of(length)) for length in (5, 5)))
    assert values.ndim == 0
    assert connector(kind, random(2, 6, 9, 1), random(2, 5, 9, 1))(random(2, 6, 5, 1), (5, 1)).shape == (2, 5, 5, 1)


def maps_of(length: int) -> Outputs:
    return Outputs(random(2, 3), {"0": random(2, 6, length, 1)})


def test_shared_pathways_have_their_first_layers_in_common():
    pathways = list_pathways("0+1+logits", "lower", "shared")
    student = Outputs(random(2, 3), {"0": random(2, 6, 8, 8), "1": random(2, 5, 4, 4)})
    teacher = Outputs(random(2, 3), {"0": random(2, 7, 8, 8), "1": random(2, 9, 4, 4)})
    losses = PathwayLosses(pathways, example(student, teacher))
    assert len(losses.entrances) == 2
    calls: list[int] = []
    for at, layer in enumerate(losses.entrances):
        layer.register_forward_hook(lambda *_, at=at: calls.append(at))
    entered = losses.enter(seen(student))
    values = [losses(place, entered, seen(teacher)).item() for place in range(len(pathways))]
    assert calls == [0, 1]
    assert values == [losses(place, seen(student), seen(teacher)).item() for place in range(len(pathways))]
    assert set(losses.enter(seen(student), [0, 3])) == {"0", "1", "logits", "entered/0"}


@pytest.mark.parametrize(("mine", "theirs"), [(4, 8), (4, 16), (8, 8)])
def test_a_shared_pathway_has_the_gradient_of_repeated_pixels(mine, theirs):
    """Up to the size of the teacher's map, at which the other kinds compare; the loss differs by a constant."""
    student, teacher = random(2, 6, mine, mine).double(), random(2, 5, theirs, theirs).double()
    losses = PathwayLosses(
        list_pathways("0", "same", "shared"),
        example(Outputs(random(2, 3).double(), {"0": student}), Outputs(random(2, 3).double(), {"0": teacher})),
    )
    losses.train()
    slopes = []
    for repeated in (False, True):
        maps = losses.enter({"0": student.clone().requires_grad_()})
        if repeated:
            grown = Resize((theirs, theirs))(losses.connectors[0](maps["entered/0"]))
            loss = F.mse_loss(grown, teacher)
        else:
            found = losses.connectors[0](maps["entered/0"])
            loss = F.mse_loss(*at_smaller_size(found, teacher))
        slopes.append(torch.autograd.grad(loss, maps["0"])[0])
    torch.testing.assert_close(*slopes)
    assert slopes[0].abs().max() > 0


def test_initial_weights_have_the_published_spread():
    torch.manual_seed(0)
    made = connector("complex", random(1, 64, 4, 4), random(1, 64, 4, 4))
    assert isinstance(made[0], nn.Conv2d)
    # sqrt(2 / (9 * 64)) = 0.0589; 36864 draws tell 2 % apart.
    assert made[0].weight.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)


def test_resizing_repeats_pixels_or_averages_them_by_hand():
    x = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])
    assert Resize((4, 4))(x)[0, 0, 0].tolist() == [1, 1, 3, 3]
    assert Resize((1, 1))(x).item() == 4
    assert Resize((2, 2))(x) is x


def test_attention_is_signed_by_hand():
    layer = Attention(2)
    assert isinstance(layer.score, nn.Conv2d)
    nn.init.constant_(layer.score.weight, -1.0)
    # Score -(1 + 2) = -3, so (1, 2) becomes (-3, -6): no sigmoid.
    assert layer(torch.tensor([[[[1.0]], [[2.0]]]])).flatten().tolist() == [-3, -6]


def test_ten_connectors_cost_what_was_counted_for_resnet56_to_resnet20():
    # 54 million multiply-adds for one image of 32x32, without teacher or student.
    both = [outputs((16, 16, 32, 64), (32, 32, 16, 8), 10, batch=1) for _ in range(2)]
    losses = PathwayLosses(list_pathways(FOUR, "lower", "complex"), example(*both)).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        for place in range(10):
            losses(place, seen(both[0]), seen(both[1]))
    assert counter.get_total_flops() / 2e6 == pytest.approx(54, abs=0.5)


def test_losses_are_the_context_loss_behind_connectors_and_soft_targets_on_logits():
    student, teacher = outputs((2, 3), (8, 4), 3), outputs((4, 5), (8, 4), 3, seed=9)
    pathways = list_pathways("0+1+pooled+logits", "all", "plain")
    losses = PathwayLosses(pathways, example(student, teacher), temperature=2.0).eval()
    for place, one in enumerate(pathways[:-1]):
        a, b = (seen(side)[tap] for side, tap in ((student, one.student), (teacher, one.teacher)))
        a, b = (x[:, :, None, None] if x.ndim == 2 else x for x in (a, b))
        torch.testing.assert_close(losses(place, seen(student), seen(teacher)), hcl(losses.connectors[place](a), b))
    soft = losses(len(pathways) - 1, seen(student), seen(teacher))
    torch.testing.assert_close(soft, kd_loss(student.logits, teacher.logits, 2.0))


def test_no_gradient_reaches_the_teacher():
    student, teacher = outputs((2, 3), (8, 4), 3), outputs((4, 5), (8, 4), 3, seed=9)
    losses = PathwayLosses(list_pathways("0+1+logits", "lower", "2conv"), example(student, teacher))
    ours, theirs = ({n: v.clone().requires_grad_() for n, v in seen(side).items()} for side in (student, teacher))
    torch.stack([losses(place, ours, theirs) for place in range(4)]).sum().backward()
    assert all(ours[tap].grad is not None for tap in ("0", "1", "logits"))
    assert all(value.grad is None for value in theirs.values())
    assert all(parameter.grad is not None for parameter in losses.parameters())


def test_maps_that_no_connector_joins_are_refused_in_a_sentence():
    student, teacher = outputs((2,), (4,), 3), outputs((2,), (4,), 5)
    tokens = replace(student, features={"0": random(2, 7, 5)})
    with pytest.raises(
        ConfigError, match=r"0 -> 0 \(plain\).*student's feature layer gives \(2, 7, 5\); choose another feature layer"
    ):
        PathwayLosses(list_pathways("0", "same", "plain"), example(tokens, teacher))
    with pytest.raises(ConfigError, match="joins 3 student logits with 5 of the teacher"):
        PathwayLosses(list_pathways("0+logits", "same", "plain"), example(student, teacher))


def test_shared_connectors_stay_bounded_at_the_rates_of_training():
    """With an unbounded product in their common layers the loss grew from 1 to 10^7 within eight steps."""
    student, teacher = (outputs((16, 32, 64), (16, 8, 4), 3, batch=64, seed=seed) for seed in (0, 9))
    stages = "0+1+2"
    torch.manual_seed(0)
    losses = PathwayLosses(list_pathways(stages, "lower", "shared"), example(student, teacher))
    optimizer = torch.optim.SGD(losses.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    first = largest = 0.0
    for _ in range(40):
        loss = sum(losses(at, losses.enter(seen(student)), seen(teacher)) for at in range(len(losses.pathways)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first, largest = first or loss.item(), max(largest, loss.item())
    assert largest < 5 * first
    assert loss.item() < first

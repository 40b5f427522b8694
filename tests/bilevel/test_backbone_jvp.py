from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_kd.bilevel.backbone_jvp import BackboneJVP, Captured, Pathways, pathway_gradient
from automl_kd.bilevel.base import Problem, Tensors, copies, detach_tensors, gradient, leaves
from automl_kd.bilevel.inner_step import SGD, InnerStep
from automl_kd.bilevel.pure import LOGITS_KEY, GeneratorStates, outputs_of, trainable_parameters
from automl_kd.bilevel.real_optimizer import step_of
from automl_kd.bilevel.tangents import CentralDifference, OneSidedDifference, forward_mode
from automl_kd.bilevel.unroll import Unroll
from automl_kd.errors import ConfigError
from automl_kd.models.features import FeatureExtractor
from tests.bilevel.problems import RULES, TAPS, batch, case, dropout_net, feature_loss, noise, relative_error, resnet

DOUBLE = torch.float64


def strengths_of(hypers: Tensors) -> Tensor:
    return hypers["w"]


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=DOUBLE)


def test_two_pathways_by_hand():
    # Output F = 2 a, pathway losses F^2 / 2 and 3 F, outer = a. One step of rate 0.1 at a = 1, w = (1/2, 1):
    # h_i = -0.1 * d l_i / d a * d outer / d a = -0.1 * (2 F, 6) = (-0.4, -0.6).
    weights, hypers = {"a": torch.tensor(1.0, dtype=DOUBLE)}, {"w": vector(0.5, 1.0)}
    problem = Problem(
        loss=Pathways(
            base=lambda seen: 0 * seen["F"],
            losses=[lambda s: s["F"] ** 2 / 2, lambda s: 3 * s["F"]],
            strengths=strengths_of,
        ),
        outer=lambda at, _: at["a"],
        step=InnerStep.same(SGD(lr=0.1), weights),
        outputs=lambda at: {"F": 2 * at["a"]},
    )
    torch.testing.assert_close(BackboneJVP()(problem, weights, hypers)["w"], vector(-0.4, -0.6))


@pytest.mark.parametrize("style", ["nesterov", "adamw"])
@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_around_a_real_training_step(style: str, scale: float):
    """The lagged order: the real step is the one looked through. With dropout, clipping and loss scaling."""
    network, names = dropout_net(), ("pre_pool", "pooled")
    optimizer = (
        torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
        if style == "nesterov"
        else torch.optim.AdamW(network.parameters(), lr=0.01)
    )
    (images, labels), (held_out, truth) = batch(6, 0), batch(6, 1)
    w, captured, draws = vector(0.3, 0.7), Captured(), GeneratorStates.now(torch.device("cpu"))
    train, validate = (outputs_of(FeatureExtractor(network, names), seen, draws) for seen in (images, held_out))
    losses = [feature_loss(name, noise(train(trainable_parameters(network))[name], 4)) for name in names]
    loss = Pathways(base=lambda seen: F.cross_entropy(seen[LOGITS_KEY], labels), losses=losses, strengths=strengths_of)
    step = step_of(optimizer, trainable_parameters(network), clip_norm=0.2)
    before = copies(trainable_parameters(network))
    wanted = Unroll()(
        Problem(
            loss=loss, outer=lambda at, _: F.cross_entropy(validate(at)[LOGITS_KEY], truth), step=step, outputs=train
        ),
        before,
        {"w": w},
    )

    seen = FeatureExtractor(network, names)(images)  # the training pass itself, from the same draws, with live buffers
    (scale * loss.weighted({LOGITS_KEY: seen.logits, **seen.features}, w, captured)).backward()
    for parameter in network.parameters():
        assert parameter.grad is not None
        parameter.grad /= scale
    gradients = copies({name: value.grad for name, value in network.named_parameters() if value.grad is not None})
    nn.utils.clip_grad_norm_(network.parameters(), 0.2)
    optimizer.step()
    now = leaves(trainable_parameters(network))
    v = gradient(F.cross_entropy(validate(now)[LOGITS_KEY], truth), now)
    _, tangents = forward_mode(train, before, step.direction(before, gradients, v))
    found = pathway_gradient(captured, tangents, w, scale)
    assert relative_error({"w": found}, wanted) < 1e-10


def test_a_useless_pathway_rises_and_a_useful_one_falls_in_validation():
    """Planted: one pathway shows the class of each image, the other a wrong one. The sign is that of the loss:
    a weight is moved against its hypergradient, so positive falls and negative rises.
    """
    images, labels = batch(32, 0)
    images[:, :, :4] += 3.0 * labels[:, None, None, None]
    network = resnet()
    weights: Tensors = detach_tensors(trainable_parameters(network))
    train, validate = (outputs_of(FeatureExtractor(network), images[rows]) for rows in (slice(0, 16), slice(16, 32)))

    def imitate(shown: Tensor):
        return lambda seen: F.cross_entropy(seen[LOGITS_KEY], shown)

    problem = Problem(
        loss=Pathways(
            base=lambda seen: 0 * seen[LOGITS_KEY].sum(),
            losses=[imitate(labels[:16]), imitate((labels[:16] + 1) % 3)],
            strengths=strengths_of,
        ),
        outer=lambda at, _: F.cross_entropy(validate(at)[LOGITS_KEY], labels[16:]),
        step=InnerStep.same(SGD(lr=0.05), weights),
        outputs=train,
    )
    useful, useless = BackboneJVP()(problem, weights, {"w": vector(1.0, 1.0)})["w"].tolist()
    assert useful < 0 < useless


def test_a_pathway_of_weight_zero_or_that_was_not_run_gets_zero():
    outputs = leaves({"F": vector(2.0, 1.0)})
    captured = Captured()
    w = vector(0.5, 0.0, 1.0)  # the third was clipped away: its loss is not computed
    terms = [captured.aliases(i, outputs)["F"].square().sum() for i in range(2)]
    (w[0] * terms[0] + w[1] * terms[1]).backward()
    # h = (-<(1, 1), 2 F>, 0, 0)
    assert pathway_gradient(captured, {"F": vector(1.0, 1.0)}, w).tolist() == [-6.0, 0.0, 0.0]


def test_tiny_weights_keep_their_relative_precision():
    given = case(RULES["sgd"], resnet())
    hypers = {"alpha": given.hypers["alpha"] - torch.tensor([0.0, 14.0, 0.0, 0.0, 0.0], dtype=DOUBLE)}  # about 1e-7
    found = BackboneJVP()(given.problem, given.weights, hypers)
    assert relative_error(found, Unroll()(given.problem, given.weights, hypers)) < 1e-10


def test_a_pathways_value_does_not_depend_on_the_others_weights():
    # The direction held fixed, switching the second pathway off leaves the first one's h as it is.
    given = case(RULES["nesterov"], resnet(), ("stage2",))
    loss, direction = given.problem.loss, {name: noise(value, 2) for name, value in given.weights.items()}
    assert isinstance(loss, Pathways)
    _, tangents = forward_mode(given.problem.outputs, given.weights, direction)
    answers = []
    for w in (vector(0.3, 0.7), vector(0.3, 0.0)):
        inputs, captured = leaves(given.weights), Captured()
        gradient(loss.weighted(given.problem.outputs(inputs), w, captured), inputs)
        answers.append(pathway_gradient(captured, tangents, w))
    assert answers[0][0].item() == pytest.approx(answers[1][0].item(), rel=1e-12)
    assert answers[0][1] != 0
    assert answers[1][1] == 0


def test_one_pathway_does_not_see_another_ones_gradient():
    # Both look at F; each keeps its own slope, and their sum reaches the network.
    outputs, captured = leaves({"F": vector(2.0)}), Captured()
    (captured.aliases(0, outputs)["F"] * 5 + captured.aliases(1, outputs)["F"] * 7).sum().backward()
    assert [captured.gradients[i]["F"].item() for i in range(2)] == [5.0, 7.0]
    assert outputs["F"].grad is not None
    assert outputs["F"].grad.item() == 12.0


@pytest.mark.parametrize(("tangents", "error"), [(CentralDifference(1e-5), 1e-4), (OneSidedDifference(1e-6), 1e-3)])
def test_differences_stand_in_where_forward_mode_has_no_rule(tangents, error: float):
    # float64 ResNet-8: what is left is the differences' error and the kinks of ReLU within the radius.
    given = case(RULES["nesterov"], resnet())
    wanted = Unroll()(given.problem, given.weights, given.hypers)
    assert relative_error(BackboneJVP(tangents)(given.problem, given.weights, given.hypers), wanted) < error


def test_a_training_step_under_autocast():
    # bfloat16 keeps 8 bits: captured gradients are off by some per cent, the tangents are those of float32.
    given = case(RULES["nesterov"], resnet(torch.float32), size=16)
    network = resnet(torch.float32)
    w = F.softmax(given.hypers["alpha"], dim=0)
    loss = given.problem.loss
    assert isinstance(loss, Pathways)
    answers = []
    for amp in (False, True):
        captured = Captured()
        with torch.autocast("cpu", torch.bfloat16, enabled=amp):
            seen = FeatureExtractor(network, TAPS)(batch(16, 0, torch.float32)[0])
            loss.weighted({LOGITS_KEY: seen.logits, **seen.features}, w, captured).backward()
        assert captured.gradients[0][LOGITS_KEY].dtype == (torch.bfloat16 if amp else torch.float32)
        direction = {name: noise(value, 2) for name, value in given.weights.items()}
        with torch.autocast("cpu", torch.bfloat16, enabled=amp):
            _, tangents = forward_mode(given.problem.outputs, given.weights, direction)
        answers.append(pathway_gradient(captured, tangents, w))
    assert (answers[0] - answers[1]).norm() < 0.1 * answers[0].norm()


def test_the_order_of_images_does_not_matter():
    given = case(RULES["momentum"], resnet())
    turned = case(RULES["momentum"], resnet())
    network, (images, labels) = resnet(), batch(6, 0)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    seen = detach_tensors(given.problem.outputs(given.weights))
    losses = [feature_loss(name, noise(value, i)[order]) for i, (name, value) in enumerate(seen.items())]
    assert isinstance(turned.problem.loss, Pathways)
    base = Pathways(lambda at: F.cross_entropy(at[LOGITS_KEY], labels[order]), losses, turned.problem.loss.strengths)
    problem = replace(turned.problem, loss=base, outputs=outputs_of(FeatureExtractor(network, TAPS), images[order]))
    found = BackboneJVP()(problem, given.weights, given.hypers)
    assert relative_error(found, BackboneJVP()(given.problem, given.weights, given.hypers)) < 1e-10


def test_other_losses_are_refused():
    given = case(RULES["sgd"], resnet())
    crooked = replace(given.problem, loss=lambda seen, hypers: (hypers["alpha"] ** 2).sum() * seen[LOGITS_KEY].sum())
    with pytest.raises(ConfigError, match="type function, wanted is Pathways, whose weights enter linearly; give it"):
        BackboneJVP()(crooked, given.weights, given.hypers)


def test_the_chain_from_alpha_by_hand():
    # w = e^alpha, one pathway l = a, outer = a, rate 0.1: h_alpha = -0.1 w = -0.1 * 2.
    weights = {"a": torch.tensor(1.0, dtype=DOUBLE)}
    problem = Problem(
        loss=Pathways(base=lambda s: 0 * s["a"], losses=[lambda s: s["a"]], strengths=lambda h: h["alpha"].exp()),
        outer=lambda at, _: at["a"],
        step=InnerStep.same(SGD(lr=0.1), weights),
    )
    found = BackboneJVP()(problem, weights, {"alpha": vector(math.log(2))})["alpha"]
    assert found.item() == pytest.approx(-0.2)

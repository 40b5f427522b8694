from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from automl_kd.bilevel.base import Problem, Tensors, detach_tensors
from automl_kd.bilevel.inner_step import SGD, InnerStep
from automl_kd.bilevel.output_backward import OutputBackward, loss_slope
from automl_kd.bilevel.pure import LOGITS_KEY
from automl_kd.bilevel.tangents import CentralDifference
from automl_kd.bilevel.unroll import Unroll
from tests.bilevel.problems import RULES, TAPS, Case, batch, case, noise, relative_error, resnet


def test_one_output_by_hand():
    # loss = h z^2, z = 3, tangent 2: d/dh of h 2 z * 2 = 4 z = 12.
    z, tangent, h = (torch.tensor(value, dtype=torch.float64) for value in (3.0, 2.0, 5.0))
    found = loss_slope(lambda seen, hypers: hypers["h"] * seen["z"] ** 2, {"z": z}, {"z": tangent}, {"h": h})
    assert found["h"].item() == 12.0


def test_outputs_without_a_tangent_do_not_count():
    h = torch.tensor([1.0], dtype=torch.float64)
    seen = {"z": h * 3, "fixed": h * 7}
    found = loss_slope(lambda at, k: (k["h"] * at["z"] * at["fixed"]).sum(), seen, {"z": h * 2}, {"h": h})
    # d/dh of h * fixed * tangent of z
    assert found["h"].tolist() == [14.0]


def learned_case(rule: str = "nesterov") -> Case:
    """A loss network on student and teacher logits and on one pooled vector, all its weights hyper-parameters."""
    given = case(RULES[rule], resnet(), TAPS)
    labels = batch(6, 0)[1]
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        learned = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1)).double()
        compare = nn.Linear(64, 2).double()
    taught = noise(torch.empty(6, 3, dtype=torch.float64), 7)

    def loss(seen: Tensors, hypers: Tensors) -> Tensor:
        pairs = torch.cat([seen[LOGITS_KEY].softmax(dim=1), taught.softmax(dim=1)], dim=1)
        judged = functional_call(learned, {name[2:]: v for name, v in hypers.items() if name[0] == "l"}, (pairs,))
        matched = functional_call(
            compare, {name[2:]: v for name, v in hypers.items() if name[0] == "c"}, seen["pooled"]
        )
        total: Tensor = F.cross_entropy(seen[LOGITS_KEY], labels) + judged.mean() + matched.square().mean()
        return total

    hypers = {f"l.{name}": value for name, value in learned.named_parameters()}
    hypers |= {f"c.{name}": value for name, value in compare.named_parameters()}
    return replace(given, problem=replace(given.problem, loss=loss), hypers=detach_tensors(hypers))


@pytest.mark.parametrize("rule", RULES)
def test_a_learned_loss_equals_double_backward_through_everything(rule: str):
    given = learned_case(rule)
    wanted = Unroll()(given.problem, given.weights, given.hypers)
    # The last layer's bias shifts the loss by a constant: no gradient, so no hypergradient and no relative error.
    assert wanted["l.2.bias"] == 0
    found = OutputBackward()(given.problem, given.weights, given.hypers)
    assert found["l.2.bias"] == 0
    for answer in (found, wanted):
        del answer["l.2.bias"]
    assert relative_error(found, wanted) < 1e-10


def test_tangents_by_central_difference():
    # The error is what lkd's section 2 states for option 3, up to kinks of ReLU within the radius.
    given = learned_case()
    wanted = Unroll()(given.problem, given.weights, given.hypers)
    found = OutputBackward(CentralDifference(1e-5))(given.problem, given.weights, given.hypers)
    for answer in (found, wanted):
        del answer["l.2.bias"]
    assert relative_error(found, wanted) < 1e-4


def test_the_student_is_not_differentiated_twice():
    """A layer whose gradient has no gradient of its own is no obstacle: only its own forward rule is used."""

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(x: Tensor) -> Tensor:
            return x * 3

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, slope: Tensor) -> Tensor:
            return slope * 3

        @staticmethod
        def jvp(ctx, moved: Tensor) -> Tensor:
            return moved * 3

    # z = 3 w, inner = h z^2 / 2, outer = w; rate 0.1: h' = -0.1 * 9 w = -1.8 at w = 2.
    weights = {"w": torch.tensor(2.0, dtype=torch.float64)}
    problem = Problem(
        loss=lambda seen, hypers: hypers["h"] * seen["z"] ** 2 / 2,
        outer=lambda at, _: at["w"],
        step=InnerStep.same(SGD(lr=0.1), weights),
        outputs=lambda at: {"z": Once.apply(at["w"])},
    )
    hypers = {"h": torch.tensor(1.0, dtype=torch.float64)}
    assert OutputBackward()(problem, weights, hypers)["h"].item() == pytest.approx(-1.8)
    # torch cuts the graph at such a layer without a word, so double backward through everything loses it.
    assert Unroll()(problem, weights, hypers)["h"].item() == 0

"""Gradient accumulation and data-parallel runs: parts of a batch, put together, answer as the whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from automl_kd.bilevel.accumulation import accumulated
from automl_kd.bilevel.backbone_jvp import BackboneJVP, Pathways
from automl_kd.bilevel.base import HyperGradient, Problem, Tensors, detach_tensors
from automl_kd.bilevel.conjugate_gradient import ConjugateGradient
from automl_kd.bilevel.distributed import all_reduce_mean
from automl_kd.bilevel.finite_difference import FiniteDifference
from automl_kd.bilevel.inner_step import SGD, InnerStep
from automl_kd.bilevel.neumann import Neumann
from automl_kd.bilevel.output_backward import OutputBackward
from automl_kd.bilevel.pure import LOGITS_KEY, outputs_of, trainable_parameters
from automl_kd.bilevel.unroll import Unroll
from automl_kd.models.features import FeatureExtractor
from tests.bilevel.problems import RULES, batch, noise, relative_error, resnet
from tests.process_group import process_group

MEMBERS: dict[str, HyperGradient] = {
    "backbone_jvp": BackboneJVP(),
    "output_backward": OutputBackward(),
    "finite_difference": FiniteDifference(radius=1e-2),
    "unroll": Unroll(),
    "unroll, 3 steps": Unroll(steps=3),
    "conjugate_gradient": ConjugateGradient(iterations=3, damping=1.0),
    "neumann": Neumann(terms=3, rate=0.1),
}
HYPERS: Tensors = {"w": torch.tensor([0.3, 0.7], dtype=torch.float64)}


def plain_network() -> nn.Module:
    """No layer that mixes images; smooth, so that differences agree as well."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def problem_on(rows: slice, network: nn.Module, *, clip_norm: float = 0.0) -> Problem:
    """Soft and hard targets for these rows of a batch of 12."""
    (images, labels), (held_out, truth) = batch(12, 0), batch(12, 1)
    taught = noise(torch.empty(12, 3, dtype=torch.float64), 2)
    weights = detach_tensors(trainable_parameters(network))
    validate = outputs_of(FeatureExtractor(network), held_out[rows])
    return Problem(
        loss=Pathways(
            base=lambda seen: F.cross_entropy(seen[LOGITS_KEY], labels[rows]),
            losses=[
                lambda seen: F.mse_loss(seen[LOGITS_KEY], taught[rows]),
                lambda seen: F.cross_entropy(seen[LOGITS_KEY], taught[rows].softmax(dim=1)),
            ],
            strengths=lambda hypers: hypers["w"],
        ),
        outer=lambda at, _: F.cross_entropy(validate(at)[LOGITS_KEY], truth[rows]),
        step=InnerStep.same(RULES["nesterov"], weights, clip_norm),
        outputs=outputs_of(FeatureExtractor(network), images[rows]),
    )


THIRDS = [slice(0, 4), slice(4, 8), slice(8, 12)]


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("clip_norm", [0.0, 0.05])
def test_accumulated_micro_batches_equal_one_large_batch(name: str, clip_norm: float):
    network = plain_network()
    weights = detach_tensors(trainable_parameters(network))
    whole = problem_on(slice(0, 12), network, clip_norm=clip_norm)
    parts = accumulated([problem_on(rows, network, clip_norm=clip_norm) for rows in THIRDS])
    together = MEMBERS[name](replace(parts, outer=whole.outer), weights, HYPERS)
    assert relative_error(together, MEMBERS[name](whole, weights, HYPERS)) < 1e-10


def test_losses_that_are_no_pathways_accumulate_as_well():
    def square(at: Tensors, hypers: Tensors) -> Tensor:
        return hypers["h"] * at["w"].square()

    def line(at: Tensors, hypers: Tensors) -> Tensor:
        return hypers["h"] * at["w"]

    one = torch.tensor(3.0, dtype=torch.float64)
    step = InnerStep.same(SGD(lr=0.1), {"w": one})
    problems = [Problem(loss=loss, outer=lambda at, _: at["w"], step=step) for loss in (square, line)]
    # mean loss h (w^2 + w) / 2, so the answer is -0.1 (2 w + 1) / 2 = -0.35
    found = OutputBackward()(accumulated(problems), {"w": one}, {"h": one})
    assert found["h"].item() == pytest.approx(-0.35)


def both_outer(problems: list[Problem]) -> Callable[[Tensors, Tensors], Tensor]:
    return lambda at, hypers: torch.stack([one.outer(at, hypers) for one in problems]).mean()


def one_of_two(rank: int, folder: str) -> None:
    """A process of a data-parallel run: its half of the training batch and of the validation batch."""
    torch.set_num_threads(1)
    half = slice(6 * rank, 6 * rank + 6)
    found = {}
    with process_group(Path(folder), rank, 2):
        for kind, network in (("plain", plain_network()), ("resnet", resnet())):
            problem, weights = problem_on(half, network, clip_norm=0.05), detach_tensors(trainable_parameters(network))
            for name, member in MEMBERS.items():
                found[f"{kind}/{name}"] = member(problem, weights, HYPERS, all_reduce_mean)["w"]
    torch.save(found, f"{folder}/rank{rank}.pt")


@pytest.mark.slow
def test_two_processes_answer_as_one(tmp_path: Path):
    """Batch normalisation keeps to each process's half, in the reference as well."""
    spawn(one_of_two, args=(str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    for kind, network in (("plain", plain_network()), ("resnet", resnet())):
        halves = [problem_on(half, network, clip_norm=0.05) for half in (slice(0, 6), slice(6, 12))]
        whole = replace(accumulated(halves), outer=both_outer(halves))
        for name, member in MEMBERS.items():
            key = f"{kind}/{name}"
            assert torch.equal(first[key], second[key])
            wanted = member(whole, detach_tensors(trainable_parameters(network)), HYPERS)
            # The difference of a float64 loss at a radius of 1e-2 keeps 2 + 6 digits fewer.
            limit = 1e-9 if name == "finite_difference" else 1e-10
            assert relative_error({"w": first[key]}, wanted) < limit, key


def test_the_mean_over_one_process_is_the_tensor_itself(tmp_path: Path):
    with process_group(tmp_path, 0, 1):
        given = {
            "a": torch.arange(6.0).reshape(2, 3),
            "spread": torch.arange(16.0).reshape(1, 4, 2, 2).contiguous(memory_format=torch.channels_last),
            "fine": torch.tensor(3.0, dtype=torch.float64),
        }
        found = all_reduce_mean(given)
        torch.testing.assert_close(found, given, rtol=0, atol=0)
        assert {name: value.dtype for name, value in found.items()} == {name: v.dtype for name, v in given.items()}

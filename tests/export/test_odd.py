"""Networks that exporters could get wrong do the same in a graph, at any batch, or are refused in a sentence."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from automl_kd.errors import ExportError
from automl_kd.export.graphs import StudentGraph, trace_program, write_onnx
from automl_kd.export.runners import run_onnx
from automl_kd.models import build, load_space
from automl_kd.space import Architecture, InputShape
from tests import tiny
from tests.export import odd

BATCHES = (1, 7, 64)


def settle(network: nn.Module) -> nn.Module:
    """With statistics of images, so that training and evaluation mode differ; left in training mode."""
    with torch.no_grad():
        network(torch.randn(32, 1, 8, 8))
    return network.train()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [tiny.Net, odd.AlwaysTraining, odd.InPlace, odd.OwnSize, odd.Named])
def test_a_graph_is_of_evaluation_at_any_batch(tmp_path, kind):
    network = settle(kind(tiny.SHAPE, 4)).to(memory_format=torch.channels_last)
    program = trace_program(StudentGraph(network), InputShape(1, 8, 8, 3))
    write_onnx(program, tmp_path / "student.onnx")
    run = run_onnx(tmp_path / "student.onnx")
    for batch in BATCHES:
        images = torch.randn(batch, 1, 8, 8)
        with torch.no_grad():
            made = network.eval()(images.clone())
        logits = made["logits"] if isinstance(made, dict) else made
        torch.testing.assert_close(program.module()(images), logits)
        torch.testing.assert_close(run(images), logits, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("space", ["vit", "nasbench201"])
def test_students_of_our_spaces_are_traced_for_any_batch(space):
    found = load_space(f"search_spaces.{space}:SPACE")
    shape = InputShape(3, 32, 32, 10)
    network = build(found, Architecture.of(found.default), shape, seed=0).eval()
    program = trace_program(StudentGraph(network), InputShape(3, 32, 32, 10)).module()
    for batch in BATCHES:
        images = torch.randn(batch, 3, 32, 32)
        with torch.no_grad():
            torch.testing.assert_close(program(images), network(images), rtol=1e-4, atol=1e-5)


def test_a_number_of_images_that_is_a_constant_is_refused_with_what_to_write():
    with pytest.raises(ExportError, match=r"a BatchFixed cannot .*, and images.shape\[0\] in place of len\(images\)$"):
        trace_program(StudentGraph(odd.BatchFixed(tiny.SHAPE, 4)), tiny.SHAPE)


def test_a_network_in_bfloat16_is_traced_and_returns_float32():
    network = settle(odd.Halved(tiny.SHAPE, 4)).eval()
    images = torch.randn(7, 1, 8, 8)
    found = trace_program(StudentGraph(network), InputShape(1, 8, 8, 3)).module()(images)
    with torch.no_grad():
        assert network(images).dtype == torch.bfloat16
        torch.testing.assert_close(found, network(images).float(), rtol=0.02, atol=0.02)

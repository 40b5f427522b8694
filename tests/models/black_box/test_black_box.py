"""Networks in files give what the networks gave that they were made from, at the same cost."""

from __future__ import annotations

import copy
import pickle

import onnx
import pytest
import torch
from onnx import helper
from torch import nn

from automl_kd.errors import ConfigError
from automl_kd.models import build_model
from automl_kd.models.black_box.file import load_graph, pin_graph
from automl_kd.models.black_box.network import BlackBox, returns_probabilities
from automl_kd.models.black_box.onnx_macs import count_graph_macs
from automl_kd.models.costs.cost import count_cost
from automl_kd.models.foreign.layout import lay_out
from automl_kd.space import InputShape
from automl_kd.storage.content_hash import by_content
from tests import tiny
from tests.models.black_box import files

KINDS = ("pt2", "onnx")


@pytest.mark.parametrize("batch", ["batch", 1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_logits_and_cost_are_those_of_the_network(tmp_path, kind, batch):
    network = files.trained_net()
    box = build_model(files.save(kind, network, tmp_path, batch), tiny.SHAPE)
    for count in (1, 4, 6):
        images = torch.randn(count, 1, 8, 8)
        for given in (images, images.contiguous(memory_format=torch.channels_last)):
            torch.testing.assert_close(box(given), network(images).detach(), rtol=1e-5, atol=1e-5)
    assert count_cost(box, tiny.SHAPE) == count_cost(network, tiny.SHAPE)


@pytest.mark.parametrize("kind", KINDS)
def test_mode_layout_copies_and_pickles_make_no_difference(tmp_path, kind):
    box, images = BlackBox(files.save(kind, files.trained_net(), tmp_path), tiny.SHAPE), torch.randn(3, 1, 8, 8)
    expected = box(images)
    assert torch.equal(box.train()(images), expected)
    assert torch.equal(copy.deepcopy(box)(images), expected)
    assert torch.equal(pickle.loads(pickle.dumps(box))(images), expected)
    assert len(pickle.dumps(box)) < 2000
    assert lay_out(box, tiny.SHAPE, torch.channels_last)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(box(images), expected)
    assert not box(images.requires_grad_()).requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_cost_is_counted_whoever_asks_first_and_in_any_mode(tmp_path, kind):
    network = files.trained_net()
    box, images = BlackBox(files.save(kind, network, tmp_path), tiny.SHAPE), torch.randn(2, 1, 8, 8)
    assert count_cost(box, tiny.SHAPE) == count_cost(network, tiny.SHAPE)
    load_graph.cache_clear()
    with torch.inference_mode():
        box(images)
    mixed = nn.Linear(3, 3)
    (mixed(box(images)) * box(images)).sum().backward()  # which keeps its outputs
    assert mixed.weight.grad is not None


def test_a_range_of_batches_is_kept_to(tmp_path):
    network, free = files.trained_net(), {0: torch.export.Dim("batch", min=2, max=3)}
    program = torch.export.export(network, (torch.zeros(2, 1, 8, 8),), dynamic_shapes=(free,))
    torch.export.save(program, tmp_path / "net.pt2")
    box, images = BlackBox(pin_graph(f"file:{tmp_path}/net.pt2"), tiny.SHAPE), torch.randn(4, 1, 8, 8)
    assert (box.graph.input.least, box.graph.input.most) == (2, 3)
    torch.testing.assert_close(box(images), network(images).detach(), rtol=1e-5, atol=1e-5)


def test_half_precision_is_that_of_the_file(tmp_path):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).half().eval()
    torch.export.save(torch.export.export(network, (torch.zeros(1, 1, 8, 8).half(),)), tmp_path / "net.pt2")
    box, images = BlackBox(pin_graph(f"file:{tmp_path}/net.pt2"), tiny.SHAPE), torch.randn(2, 1, 8, 8)
    assert box(images).dtype == torch.float32
    torch.testing.assert_close(box(images), network(images.half()).detach().float(), rtol=1e-2, atol=1e-2)


def test_of_several_outputs_the_one_called_logits_is_taken(tmp_path):
    network, images = files.trained_net(), torch.randn(2, 1, 8, 8)

    class Two(nn.Module):
        def forward(self, images):
            return {"doubled": 2 * network(images), "logits": network(images)}

    paths = [
        files.save_pt2(Two(), tmp_path / "two.pt2"),
        files.save_onnx(network, tmp_path / "two.onnx", outputs=("flat", "logits")),
    ]
    for path in paths:
        box = BlackBox(pin_graph(f"file:{path}"), tiny.SHAPE)
        torch.testing.assert_close(box(images), network(images).detach(), rtol=1e-5, atol=1e-5)


def test_weights_in_another_file_belong_to_the_hash(tmp_path):
    network = files.trained_net()
    model, path = files.onnx_of(network), tmp_path / "net.onnx"
    onnx.save(model, path, save_as_external_data=True, location="net.onnx.data", size_threshold=0)
    name, images = pin_graph(f"file:{path}"), torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(BlackBox(name, tiny.SHAPE)(images), network(images).detach(), rtol=1e-5, atol=1e-5)
    weights = bytearray((tmp_path / "net.onnx.data").read_bytes())
    weights[0] ^= 1
    (tmp_path / "net.onnx.data").write_bytes(weights)
    assert pin_graph(f"file:{path}") != name
    with pytest.raises(ConfigError, match=r"^.*net.onnx has changed since it was named in this experiment; put the"):
        pin_graph(name)
    (tmp_path / "net.onnx.data").unlink()
    with pytest.raises(ConfigError, match=r"keeps weights in net.onnx.data, and no such file lies beside it; copy"):
        pin_graph(f"file:{path}")


def test_a_name_counts_by_content_wherever_the_file_lies():
    digest = f"@sha256-{'0' * 64}"
    names = [f"file:{place}/net.onnx{digest}" for place in ("/home/ada", "s3://bucket/models", "gcs://b")]
    assert {by_content(name) for name in names} == {f"file:{digest}"}
    assert by_content(f"model:{names[1]}") == f"model:file:{digest}"


def test_products_of_onnx_by_hand():
    # Of 5 images: 2x4x4 to 3x8x8 by a 2x2 kernel, to 3x2x2 by 4x4 for each channel, 5x12 by 12x7, 12x5 by 5x7.
    nodes = [
        helper.make_node("ConvTranspose", ["images", "deconv"], ["maps"], strides=[2, 2]),
        helper.make_node("Conv", ["maps", "grouped"], ["less"], group=3, strides=[4, 4]),
        helper.make_node("Flatten", ["less"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["one"]),
        helper.make_node("Gemm", ["flat", "square"], ["two"], transA=1),
    ]
    float32 = onnx.TensorProto.FLOAT
    sizes = {"deconv": (2, 3, 2, 2), "grouped": (3, 1, 4, 4), "matrix": (12, 7), "square": (5, 7)}
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("images", float32, ["batch", 2, 4, 4])],
        [helper.make_tensor_value_info("two", float32, None)],
        [helper.make_tensor(name, float32, size, [0.0] * torch.Size(size).numel()) for name, size in sizes.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    by_hand = 5 * (4 * 4 * 2) * (3 * 2 * 2) + 5 * (3 * 2 * 2) * (4 * 4) + 5 * 12 * 7 + 5 * 12 * 7
    assert count_graph_macs("products", model, InputShape(2, 4, 4, 7), 5) == by_hand // 5


def test_probabilities_by_hand():
    logits = torch.tensor([[0.5, -1.0, 2.0], [0.2, 0.3, 0.1]])
    assert returns_probabilities(logits.softmax(1))
    assert not returns_probabilities(logits)
    assert not returns_probabilities(logits.abs())
    assert not returns_probabilities(logits.log_softmax(1))
    assert not returns_probabilities(torch.ones(2, 1))  # which tell nothing

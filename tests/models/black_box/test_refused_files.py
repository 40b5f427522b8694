"""Files that cannot teach are refused in a sentence, whether they are damaged, of another kind, or of another use."""

from __future__ import annotations

import sys
import zipfile

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from automl_kd.errors import AutoMLKDError, ConfigError
from automl_kd.models import build_model, load_space
from automl_kd.models.black_box.file import pin_graph
from automl_kd.models.black_box.network import BlackBox
from automl_kd.space import InputShape
from tests import tiny
from tests.models.black_box import files


def run_and_count(path, shape: InputShape) -> None:
    box = BlackBox(pin_graph(f"file:{path}"), shape)
    box(torch.zeros(2, shape.channels, shape.height, shape.width))
    assert box.macs


def refusal(path, shape: InputShape = tiny.SHAPE) -> str:
    """The sentence for a file, at the latest when it is run and counted."""
    with pytest.raises(AutoMLKDError) as caught:
        run_and_count(path, shape)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", ["net.pt", "net", "pt2"])
def test_another_suffix(tmp_path, name):
    assert "names neither a .pt2 file of torch.export nor an .onnx file; give" in refusal(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path):
    assert "no file could be read from" in refusal(tmp_path / "net.pt2")
    assert "no file could be read from" in refusal(tmp_path / "net.onnx")


def test_no_program_of_export(tmp_path, capfd):
    path = tmp_path / "net.pt2"
    path.write_bytes(b"no archive")
    assert "is no program of torch.export; save it by torch.export.save(" in refusal(path)
    torch.save(files.trained_net().state_dict(), path)
    assert "cannot be read as a program of torch.export (" in refusal(path)
    good = files.save_pt2(files.trained_net(), tmp_path / "good.pt2")
    with zipfile.ZipFile(good) as archive, zipfile.ZipFile(path, "w") as damaged:
        for name in archive.namelist():
            damaged.writestr(name, b"{" if name.endswith("model.json") else archive.read(name))
    assert "cannot be read as a program of torch.export (" in refusal(path)
    assert "Traceback" not in capfd.readouterr().err


def test_a_program_in_training_mode(tmp_path):
    path = files.save_pt2(tiny.Net(tiny.SHAPE, 4).train(), tmp_path / "net.pt2", batch=4)
    assert "was exported in training mode, as its batch_norm shows; call network.eval() before" in refusal(path)


def test_no_graph_of_onnx(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"\x08no graph")
    assert "cannot be read as a graph of ONNX (DecodeError: " in refusal(path)
    path.write_bytes(b"")
    assert "holds no graph of ONNX; export the network to it again" in refusal(path)
    files.save_onnx(files.trained_net(), path, last=("Telepathy",))
    assert "cannot be read as a graph of ONNX (" in refusal(path)


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_onnx_without_its_packages(tmp_path, monkeypatch, missing):
    path = files.save_onnx(files.trained_net(), tmp_path / "net.onnx")
    monkeypatch.setitem(sys.modules, missing, None)
    wanted = f"need the package {missing}; install it by pip install 'automl-kd[onnx]'"
    assert refusal(path).endswith(wanted)


def test_other_images(tmp_path):
    network = files.trained_net(InputShape(3, 8, 8, 3))
    path = files.save_onnx(network, tmp_path / "net.onnx")
    assert "net.onnx takes images of 3 channels, and the data's have 1; export" in refusal(path)
    large = InputShape(3, 16, 16, 3)
    assert "takes images of 8 by 8 pixels, and would be given 16 by 16; set teacher.resolution" in refusal(path, large)
    files.save_onnx(network, path, size=("height", "width"))
    assert BlackBox(pin_graph(f"file:{path}"), large)(torch.zeros(2, 3, 16, 16)).shape == (2, 3)
    flat = nn.Sequential(nn.Linear(64, 3)).eval()
    torch.export.save(torch.export.export(flat, (torch.zeros(1, 64),)), tmp_path / "flat.pt2")
    assert "flat.pt2 takes a tensor of 2 axes where images (batch, channels, hei" in refusal(tmp_path / "flat.pt2")


def test_images_of_whole_numbers(tmp_path):
    path = files.save_onnx(files.trained_net(), tmp_path / "net.onnx", kind=TensorProto.UINT8)
    assert "takes images of uint8 where real numbers were wanted; export it with float32" in refusal(path)


def test_two_inputs(tmp_path):
    class Two(nn.Module):
        def forward(self, one, two):
            return one.flatten(1) + two

    program = torch.export.export(Two(), (torch.zeros(1, 1, 8, 8), torch.zeros(1, 64)))
    torch.export.save(program, tmp_path / "net.pt2")
    assert "net.pt2 takes 2 inputs where images alone were wanted; export it with one input" in refusal(
        tmp_path / "net.pt2"
    )


def test_two_outputs_without_a_name(tmp_path):
    class Two(nn.Module):
        def forward(self, images):
            return images.flatten(1), images.mean((2, 3))

    wanted = "returns 2 outputs of which none is called 'logits'; export the network with its logits as the only"
    assert wanted in refusal(files.save_pt2(Two(), tmp_path / "net.pt2"))
    path = files.save_onnx(files.trained_net(), tmp_path / "net.onnx", outputs=("flat", "scores"))
    assert wanted in refusal(path)


def test_outputs_that_are_not_of_images_by_classes(tmp_path):
    path = files.save_pt2(nn.Conv2d(1, 2, 3), tmp_path / "net.pt2")
    assert "returns float32 of shape (2, 2, 6, 6) for 2 images, where real numbers (images, classes) were" in refusal(
        path
    )


@pytest.mark.parametrize(("last", "reason"), [(("Einsum",), "its operator Einsum")])
def test_what_cannot_be_counted_is_to_be_stated(tmp_path, last, reason):
    model = files.onnx_of(files.trained_net(), last=last)
    model.graph.node[-1].attribute.append(helper.make_attribute("equation", "ij->ij"))
    onnx.save(model, tmp_path / "net.onnx")
    sentence = f"of net.onnx cannot be counted, because of {reason}; state those of one image as teacher.macs"
    assert refusal(tmp_path / "net.onnx").endswith(sentence)
    box = BlackBox(pin_graph(f"file:{tmp_path}/net.onnx"), tiny.SHAPE)
    box.stated_macs = 77
    assert box.macs == 77


def test_an_operator_of_another_library_is_not_counted(tmp_path):
    class Regions(nn.Module):
        def forward(self, images):
            boxes = torch.zeros(1, 5)
            return torch.ops.torchvision.roi_pool(images, boxes, 1.0, 1, 1)[0].flatten(1)

    import torchvision  # noqa: F401  it brings the operator

    path = files.save_pt2(Regions(), tmp_path / "net.pt2", batch=1)
    assert "because of its operator torchvision" in refusal(path) + refusal(path)


def test_it_is_no_student_and_no_untrained_teacher(tmp_path):
    path = files.save_onnx(files.trained_net(), tmp_path / "net.onnx")
    wanted = "is a network in a file, which cannot be trained or drawn anew, so it can only be an experiment's teacher"
    with pytest.raises(ConfigError, match=wanted):
        build_model(f"file:{path}", tiny.SHAPE)
    with pytest.raises(ConfigError, match=wanted):
        load_space(f"model:file:{path}").build({}, tiny.SHAPE)

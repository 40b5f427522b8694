"""Exports networks with random weights and compares their graphs: `python -m benchmarks.export_networks OUT.md`.

Networks of the zoo, of torchvision's families, of the spaces that ship and a student inside another network, at 64
pixels and at batch 1, 7 and 64; ten of them also in eight bits. Every parameter and statistic is drawn, as a network
whose last layer is zero would agree with any graph. The table is written anew after each network; `--only TEXT` takes
those whose names hold it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from automl_kd import files
from automl_kd.export.graphs import StudentGraph, trace_program, write_onnx, write_program
from automl_kd.export.int8 import quantise_onnx
from automl_kd.export.parity import LOGIT_TOLERANCE, Parity, compare_outputs
from automl_kd.export.runners import RUNNERS
from automl_kd.models import build, build_from, build_model, load_space
from automl_kd.models.pruning.coupling import Selection
from automl_kd.models.pruning.description import describe_selection
from automl_kd.models.pruning.tracing import trace
from automl_kd.space import Architecture, InputShape, sample_architecture

SHAPE = InputShape(channels=3, height=64, width=64, classes=10)
BATCHES = (1, 7, 64)
ZOO = ("resnet20", "resnet8x4", "wrn-16-1", "vgg8", "mobilenet-v1", "mobilenet-v2", "mobilenet-v3-large", "ofa-352")
TORCHVISION = (
    *("squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v2", "mobilenet_v3_small", "mnasnet0_5", "resnet18"),
    *("regnet_y_400mf", "efficientnet_b0", "googlenet", "densenet121", "alexnet", "vgg11", "resnext50_32x4d"),
    *("inception_v3", "swin_t", "swin_v2_t", "convnext_tiny", "vit_b_32", "maxvit_t", "efficientnet_v2_s"),
)
SPACES = {"mobile": 3, "nasbench201": 3, "resnet": 1, "vit": 2, "resnet224": 2}
"""Points of each: the default, and others that are drawn."""

IN_EIGHT_BITS = (
    *("resnet20", "mobilenet-v2", "mobilenet-v3-large", "torchvision:squeezenet1_1", "torchvision:resnet18"),
    *("torchvision:shufflenet_v2_x0_5", "mobile 1", "nasbench201 1", "vit 0", "subgraph of resnet20"),
)
COLUMNS = ("network", "onnx nodes", "onnx difference", "pt2 difference", "int8: same class of 64", "failure")


def networks() -> Iterator[tuple[str, Callable[[], nn.Module]]]:
    """Each with its name, the cheap ones first."""
    for name in ZOO:
        yield name, partial(build_model, name, SHAPE)
    yield "subgraph of resnet20", subgraph_student
    for name, points in SPACES.items():
        space = load_space(f"search_spaces.{name}:SPACE")
        rng = np.random.default_rng(0)
        for place in range(points):
            point = sample_architecture(space, rng) if place else Architecture.of(space.default)
            yield f"{name} {place}", partial(build, space, point, SHAPE, seed=0)
    for name in TORCHVISION:
        yield f"torchvision:{name}", partial(build_model, f"torchvision:{name}", SHAPE)


def subgraph_student() -> nn.Module:
    coupling = trace(build_model("resnet20", SHAPE), SHAPE)
    channels = {group.name: tuple(range(0, group.size, 2)) for group in coupling.free}
    return build_from(describe_selection("resnet20", coupling, Selection(channels)), SHAPE)


def draw_weights(network: nn.Module) -> nn.Module:
    """`network` in evaluation mode, with statistics of normalisations drawn, and all parameters that are constant."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_var is not None:
            assert module.running_mean is not None
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.numel() > 1 and bool((parameter == parameter.flatten()[0]).all()):
                parameter.add_(0.05 * torch.randn_like(parameter))
    return network.eval()


def export_network(build_it: Callable[[], nn.Module], folder: Path, *, eight_bits: bool) -> list[str]:
    """The cells after the network's name. What fails is a cell, too."""
    torch.manual_seed(0)
    network = draw_weights(build_it())
    images = torch.randn(max(BATCHES), SHAPE.channels, SHAPE.height, SHAPE.width)
    program = trace_program(StudentGraph(network), SHAPE)
    write_program(program, folder / "student.pt2")
    write_onnx(program, folder / "student.onnx")
    import onnx  # noqa: PLC0415 - after the sentence that asks for it

    found = {name: compare_file(network, folder / name, images) for name in ("student.onnx", "student.pt2")}
    faults = [f"{name}: {fault}" for name, each in found.items() if (fault := fault_of(each))]
    cells = [str(len(onnx.load(str(folder / "student.onnx")).graph.node)), *map(difference_cell, found.values())]
    kept = ""
    if eight_bits:
        quantise_onnx(folder / "student.onnx", folder / "student.int8.onnx", images.numpy())
        kept = str(images.shape[0] - compare_file(network, folder / "student.int8.onnx", images)[-1].changed)
    return [*cells, kept, "; ".join(faults)]


def compare_file(network: nn.Module, path: Path, images: Tensor) -> list[Parity]:
    """At each size of batch; the student's own class is what counts as right."""
    run = RUNNERS[path.suffix](path)
    found = []
    for batch in BATCHES:
        with torch.inference_mode():
            logits = network(images[:batch])
        found.append(compare_outputs(logits, run(images[:batch]), logits.argmax(1), batch))
    return found


def difference_cell(found: list[Parity]) -> str:
    return f"{max(one.difference / one.largest_logit for one in found):.1e}"


def fault_of(found: list[Parity]) -> str:
    for one in found:
        if not one.finite or one.sure_changed or one.difference > LOGIT_TOLERANCE * one.largest_logit:
            return f"differs at batch {one.batch}"
    return ""


def write_table(rows: list[list[str]], out: Path) -> None:
    head = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    body = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    files.write(out, "\n".join([*head, *body]) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    rows: list[list[str]] = []
    for name, build_it in networks():
        if given.only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                cells = export_network(build_it, Path(folder), eight_bits=name in IN_EIGHT_BITS)
            except Exception as error:  # anything of anybody's code; the table says what
                cells = ["", "", "", "", " ".join(f"{type(error).__name__}: {error}".split())[:300]]
        rows.append([name, *cells])
        write_table(rows, given.out)
        print(*rows[-1], sep=" | ", flush=True)


if __name__ == "__main__":
    main()

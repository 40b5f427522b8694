#!/usr/bin/env bash
# Of torch's activations one alone has no second derivative: Hardsigmoid, which gates every MobileNetV3 of torchvision.
#
# Versions: torch 2.14.1, torchvision 0.29.1.
# Expected: piecewise linear activations are differentiated twice like each other: ReLU6, from which the hard sigmoid is made
# (relu6(x + 3) / 6), and Hardswish, which is made of it, are.
# Seen: the backward of Hardsigmoid is not differentiable, in reverse mode and in forward over reverse. The same function of
# ReLU6 is, with equal values.
# So GraSP, Hessian-vector products, implicit differentiation and look-ahead steps fail on torchvision's MobileNetV3 and on
# other networks with squeeze-and-excitation gates, and work on MobileNetV2.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OMP_NUM_THREADS=1
python3 -m venv environment
environment/bin/pip install --quiet --no-compile torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
environment/bin/python -W ignore - <<'PROGRAM'
import torch
import torchvision
from torch import nn

ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.SiLU, nn.GELU, nn.Mish, nn.ELU, nn.CELU,
    nn.SELU, nn.Softplus, nn.Softshrink, nn.Hardshrink, nn.LogSigmoid, nn.Sigmoid, nn.Tanh,
)


def twice(function, weights):
    """Why the squared length of the gradient cannot be differentiated; empty if it can."""
    try:
        first = torch.autograd.grad(function().square().sum(), weights, create_graph=True)
        torch.autograd.grad(sum(one.square().sum() for one in first), weights, allow_unused=True)
    except RuntimeError as error:
        return str(error)
    return ""


class Composed(nn.Module):
    def forward(self, x):
        return nn.functional.relu6(x + 3) / 6


x = torch.linspace(-5, 5, 101, dtype=torch.float64, requires_grad=True)
failed = {one.__name__: why for one in ACTIVATIONS if (why := twice(lambda: one()(x), [x]))}
print("activations without a second derivative:", failed)
equal = torch.allclose(nn.Hardsigmoid()(x), Composed()(x), rtol=0, atol=1e-15)
print("the composed one is equal:", equal, "and can be differentiated twice:", not twice(lambda: Composed()(x), [x]))
networks = {}
for name in ("mobilenet_v2", "mobilenet_v3_small"):
    network = torchvision.models.get_model(name, weights=None, num_classes=4).eval()
    images = torch.rand(2, 3, 64, 64)
    networks[name] = twice(lambda: network(images), list(network.parameters()))
print("networks:", networks)
seen = {
    "activations": list(failed),
    "composed": equal and not twice(lambda: Composed()(x), [x]),
    "networks": {name: bool(why) for name, why in networks.items()},
}
known = {
    "activations": ["Hardsigmoid"],
    "composed": True,
    "networks": {"mobilenet_v2": False, "mobilenet_v3_small": True},
}

print("seen:", seen)
raise SystemExit(0 if seen == known else f"changed: {known} was known")
PROGRAM

"""Networks that oneDNN's kernels for AVX2 would damage memory under, if their images lay with channels last.

In a backward pass on the processor of a convolution with a 1x1 kernel and a stride, over fewer than 8 channels with
channels last, those kernels write beyond the ends of their buffers: "double free or corruption", or a segmentation
fault, some time later. They are chosen where a processor has no AVX-512, or where ONEDNN_MAX_CPU_ISA forbids it. Seen
with torch 2.11.0 and 2.14.1; not with kernels for SSE4.1, AVX or AVX-512, nor with contiguous images, nor with 3x3
kernels. They write 8 channels at a time, so any count that 8 does not divide is avoided.
"""

from __future__ import annotations

import os

import torch
from torch import nn

LANES = 8
"""Numbers of single precision in a register of AVX2."""


def must_stay_contiguous(model: nn.Module) -> bool:
    """Whether training `model` with channels last could damage memory, on the device and processor it is on."""
    return may_use_avx2() and any(isinstance(module, nn.Conv2d) and is_unsafe(module) for module in model.modules())


def is_unsafe(layer: nn.Conv2d) -> bool:
    strided = layer.kernel_size == (1, 1) and max(layer.stride) > 1
    return strided and layer.in_channels // layer.groups % LANES != 0 and layer.weight.device.type == "cpu"


def may_use_avx2() -> bool:
    """Whether oneDNN may choose its kernels for AVX2 in this process. If nothing is known of the processor, it may."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        return False
    limit = isa_limit()
    if limit in ("sse41", "avx") or not supports("avx2"):
        return False
    return not (limit.startswith(("all", "default", "avx512", "avx10")) and supports("avx512"))


def isa_limit() -> str:
    """The most that the environment lets oneDNN use; it reads the first of the two names that is set."""
    names = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
    return next((os.environ[name].lower() for name in names if os.environ.get(name)), "default")


def supports(instructions: str) -> bool:
    """Torch's view of the processor. Private in torch; without it, AVX2 is taken for there and AVX-512 is not.

    `torch.backends.cpu.get_cpu_capability` would not do: it returns what ATEN_CPU_CAPABILITY lets torch's own kernels
    use.
    """
    ask = getattr(torch.cpu, f"_is_{instructions}_supported", None)
    return bool(ask()) if ask is not None else instructions == "avx2"

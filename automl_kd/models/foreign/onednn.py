"""Networks that oneDNN's kernels would damage memory under, if their images lay with channels last.

In a backward pass on the processor of a convolution with a 1x1 kernel and a stride, over fewer channels than a register
holds numbers, with channels last, those kernels write beyond the ends of their buffers: "double free or corruption", or
a segmentation fault, some time later. Seen with torch 2.11.0 and 2.14.1; not with kernels for SSE4.1 or AVX, nor with
contiguous images, nor with 3x3 kernels.

- AVX2, chosen where a processor has no AVX-512 or where ONEDNN_MAX_CPU_ISA forbids it: fewer than 8 channels. They
  write 8 at a time, so any count that 8 does not divide is avoided.
- AVX-512: fewer than 16 channels, of maps of 64x64 and more. Maps of up to 32x32 were written within their bounds, and
  so were 16 to 48 channels, with buffers that end where a page does (torch 2.14.1).
"""

from __future__ import annotations

import os

import torch
from torch import nn

from automl_kd.space import InputShape

AVX2_LANES, AVX512_LANES = 8, 16
"""Numbers of single precision in a register."""

SAFE_SIZE = 32
"""Height and width up to which the kernels for AVX-512 stay within their buffers."""


def must_stay_contiguous(model: nn.Module, shape: InputShape) -> bool:
    """Whether training `model` with channels last could damage memory, on the device and processor it is on.

    `shape`: of its images; no map within it is larger.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d) and is_strided(module)]
    if not layers or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        return False
    widths = [layer.in_channels // layer.groups for layer in layers]
    if may_use_avx2():
        return any(width % AVX2_LANES != 0 for width in widths)
    large = max(shape.height, shape.width) > SAFE_SIZE
    return large and may_use_avx512() and any(width < AVX512_LANES for width in widths)


def is_strided(layer: nn.Conv2d) -> bool:
    """Whether it is a 1x1 convolution with a stride, on the processor."""
    return layer.kernel_size == (1, 1) and max(layer.stride) > 1 and layer.weight.device.type == "cpu"


def may_use_avx2() -> bool:
    """Whether oneDNN may choose its kernels for AVX2 in this process. If nothing is known of the processor, it may."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        return False
    limit = isa_limit()
    if limit in ("sse41", "avx") or not supports("avx2"):
        return False
    return not (limit.startswith(BEYOND_AVX2) and supports("avx512"))


def may_use_avx512() -> bool:
    """Whether oneDNN may choose its kernels for AVX-512 in this process."""
    return isa_limit().startswith(BEYOND_AVX2) and supports("avx512")


BEYOND_AVX2 = ("all", "default", "avx512", "avx10")
"""How limits begin that allow more than AVX2."""


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

"""The identity of a teacher's outputs: everything they depend on. Equal identities mean equal numbers.

The processor is part of it: libraries choose kernels by its kind, and kernels round differently. A results folder that
moves to another kind of machine keeps its teachers and trials, and computes the outputs again.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import torch

from automl_kd import data
from automl_kd.models.black_box.file import runtime_of
from automl_kd.models.weights import checkpoint
from automl_kd.spec import TeacherSpec, teacher_trial
from automl_kd.storage.content_hash import by_content
from automl_kd.storage.mirror import TEACHER_CACHE_FOLDER
from automl_kd.teacher_cache.precision import place_type
from automl_kd.training.evaluate import in_bfloat16
from automl_kd.training.trial import TrialContext, teacher_file

CACHE_VERSION = 2  # with batch normalisation folded into convolutions
"""Part of every identity; raise it when an equal identity begins to mean other numbers."""

PROCESSOR_FIELDS = (
    "vendor_id",
    "cpu family",
    "model",
    "model name",
    "cpu cores",
    "cache size",
    "CPU implementer",
    "CPU part",
)
"""Lines of /proc/cpuinfo that decide which kernels run and how they divide their work."""

INSTRUCTIONS = ("sse", "ssse", "avx", "fma", "f16c", "amx", "asimd", "sve", "bf16", "i8mm")
"""How the names of instruction sets begin; a virtual machine may not have all that its processor has."""

CHOOSING = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR")
"""Environment variables that choose kernels; torch's own shows in its capability."""


def teacher_cache_folder(context: TrialContext) -> Path:
    """The folder for the cached outputs of the context's teacher."""
    teacher, paths = teacher_spec(context), context.paths
    own = teacher_trial(teacher, context.spec.data).key
    return paths.teachers / (weights_digest(context)[:16] if teacher.checkpoint else own) / TEACHER_CACHE_FOLDER


def cache_identity(
    context: TrialContext, features: tuple[str, ...], precision: str, *, still: bool, folded: bool = True
) -> dict[str, Any]:
    """Plain values that a reader of the cache understands. `still`: images are the same under every seed.

    `folded`: False for a teacher whose folded copy gave other outputs, and which earlier versions used even so.
    """
    dataset, spec = context.dataset, context.spec
    recipe, split = spec.recipe, dataset.train
    unlike: dict[str, Any] = {} if folded else {"folded": False}
    members, device = teacher_spec(context).members, split.labels.device.type
    if runtime := " ".join(filter(None, dict.fromkeys(runtime_of(one.model, device) for one in members))):
        unlike["runtime"] = runtime
    unlike |= {name: value for name, value in input_of(teacher_spec(context)).items() if value}
    if precision.startswith("top"):
        unlike["places"] = str(place_type(dataset.shape.classes))  # earlier versions took four bytes
    if teacher_spec(context).others:
        unlike["mean"] = mean_of(context)
    if recipe.views:
        unlike["recipe"] = recipe.views
    if spec.data.transform:
        unlike["transform"] = by_content(spec.data.transform)
    return unlike | {
        "version": CACHE_VERSION,
        "teacher": by_content(teacher_spec(context).model),
        "weights": ":".join(filter(None, [weights_digest(context), teacher_spec(context).weights])),
        "outputs": precision,
        "taps": list(features),
        "data": spec.data.digest or data.digest_dataset(dataset),
        "images": hashlib.sha256(split.index.cpu().numpy().tobytes()).hexdigest()[:16],
        "normalised": [dataset.mean, dataset.std],
        "views": [dataset.augment if recipe.augment == "auto" else recipe.augment, dataset.pad],
        "seed": None if still else spec.seed,
        "batch": recipe.batch_size,
        "channels_last": recipe.channels_last,
        "computed by": computed_by(split.labels.device, context),
    }


def input_of(teacher: TeacherSpec) -> dict[str, Any]:
    """What a teacher makes of images and outputs; empty values where nothing."""
    own = teacher.preprocessing
    return {
        "resolution": teacher.resolution,
        "preprocessing": [own.moments, own.channels] if own.moments or own.channels != "rgb" else [],
        "classes": list(teacher.classes),
    }


def mean_of(context: TrialContext) -> dict[str, Any]:
    """The other teachers, and how the outputs of all are averaged."""
    teacher = teacher_spec(context)
    others = [
        {"teacher": by_content(one.model), "digest": file_digest(one, context), "weights": one.weights, **input_of(one)}
        for one in teacher.others
    ]
    return {"others": others, "shares": list(teacher.shares), "temperature": teacher.temperature}


def teacher_spec(context: TrialContext) -> TeacherSpec:
    assert context.spec.teacher is not None  # it was loaded
    return context.spec.teacher


def weights_digest(context: TrialContext) -> str:
    """Of the file of the teacher, the first of several."""
    return file_digest(teacher_spec(context), context)


def file_digest(teacher: TeacherSpec, context: TrialContext) -> str:
    path = teacher_file(teacher, context.spec.data, context.paths)
    state = path.stat()
    return digest_of(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def digest_of(path: Path, _modified: int, _size: int) -> str:
    """SHA-256 of a file, which a process reads once as long as it is the same."""
    return checkpoint.digest_file(path)


def computed_by(device: torch.device, context: TrialContext) -> dict[str, Any]:
    """The kind of machine and the settings under which it rounds as it does."""
    backends = torch.backends
    found: dict[str, Any] = {"torch": torch.__version__, "precision": torch.get_float32_matmul_precision()}
    if device.type == "cuda":
        found |= {
            "device": torch.cuda.get_device_name(device),
            "cudnn": [
                backends.cudnn.version(),  # type: ignore[no-untyped-call]  # torch leaves it unannotated
                backends.cudnn.allow_tf32,
                backends.cudnn.benchmark,
            ],
            "bfloat16": in_bfloat16(device, context.spec.recipe),
        }
        return found
    if device.type == "cpu":
        chosen = {name: os.environ[name] for name in CHOOSING if name in os.environ}
        return found | {
            "device": [*processor(), backends.cpu.get_cpu_capability(), chosen],
            "threads": torch.get_num_threads(),
        }
    return found | {"device": device.type}


@cache
def processor() -> tuple[str, ...]:
    """The kind of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine(), platform.processor()
    return platform.machine(), *kind_of(lines)


def kind_of(lines: Iterable[str]) -> list[str]:
    """The lines of /proc/cpuinfo on the kind of a processor: equal for all of its cores and at any time."""
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    sets = (fields.get("flags") or fields.get("Features") or "").split()
    known = sorted(name for name in sets if name.startswith(INSTRUCTIONS))
    return [*(fields[name] for name in PROCESSOR_FIELDS if name in fields), " ".join(known)]

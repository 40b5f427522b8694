"""A process: how the weights of distillation pathways go over the course of training, as a file that can be replayed.

Xueqing Deng, Dawei Sun, Shawn Newsam, Peng Wang. DistPro: Searching A Fast Knowledge Distillation Process via Meta
Optimization. 2022. arXiv:2204.05547. A search leaves a number alpha for each pathway at moments of its run; weights are
a function of alpha, the style. The eight styles are the published code's, whose numbers for them are given. That a
process is stretched linearly and that weak pathways are dropped is the paper's, of which only a summary was at hand;
the published code does neither. What is stretched here is alpha, so that weights stay in the range of their style.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from automl_kd import files, storage
from automl_kd.config import parse_record
from automl_kd.errors import ConfigError, FileError
from automl_kd.methods.distpro.pathways import Pathway
from automl_kd.registry import name_type, suggestion
from automl_kd.spec import require

PROCESS_VERSION = 1
SIGNIFICANT = 0.05

CLIPPED_FROM = 500
"""Updates of a search whose weak pathways may be dropped; a shorter one cannot tell them from noise."""

DIGITS = 6
"""Decimals of what is written: far below the difference between two searches."""

Alpha = Float[Tensor, "*moments pathways"]


def biased(alpha: Alpha) -> Tensor:
    """Softmax of alpha beside a constant 1, so that all weights together can shrink."""
    return torch.cat([alpha, torch.ones_like(alpha[..., :1])], dim=-1).softmax(dim=-1)[..., :-1]


WEIGHT_STYLES: Mapping[str, Callable[[Alpha], Tensor]] = {
    "equal": torch.ones_like,  # 0
    "softmax": lambda alpha: alpha.softmax(dim=-1),  # 1
    "biased": biased,  # 2
    "sigmoid": torch.sigmoid,  # 3
    "absolute": torch.abs,  # 4
    "share3": lambda alpha: 3 * alpha.abs() / (1e-12 + alpha.abs().sum(-1, keepdim=True)),  # 5
    "share10": lambda alpha: 10 * alpha.abs() / (1 + alpha.abs().sum(-1, keepdim=True)),  # 6
    "scaled": lambda alpha: alpha.shape[-1] * biased(alpha),  # 333
}
"""From alpha (..., pathways) to weights of 0 or more; behind each, the number that the published code gives it."""

BY_FACTOR = ("equal", "scaled")
"""The styles that the factor kd multiplies."""


def weigh(style: str, alpha: Alpha, kd: float) -> Tensor:
    """The pathways' weights, of alpha's shape (..., pathways)."""
    weights = WEIGHT_STYLES[style](alpha)
    return kd * weights if style in BY_FACTOR else weights


def check_style(style: str) -> None:
    require(style in WEIGHT_STYLES, f"no style of weights is called {style!r}; {suggestion(style, WEIGHT_STYLES)}")


@dataclass(frozen=True, kw_only=True)
class Process:
    """What a search found.

    `pathways`: teacher's feature layer, student's feature layer, transform. `axis`: rising moments of the run in [0,
    1], from its first step to its last. `alpha`: a row of numbers for each moment, one for each pathway, from which
    `style` and `kd` make weights. `steps`: length of the search. `slopes`, `errors`: of the outer loss by each weight,
    the mean over the search and its standard error; empty in files of earlier versions. `updates`: of alpha.
    """

    pathways: tuple[tuple[str, str, str], ...]
    style: str
    kd: float
    steps: int
    axis: tuple[float, ...]
    alpha: tuple[tuple[float, ...], ...]
    slopes: tuple[float, ...] = ()
    errors: tuple[float, ...] = ()
    updates: int = 0
    version: int = PROCESS_VERSION

    def __post_init__(self) -> None:
        require(
            self.version == PROCESS_VERSION,
            f"version {self.version!r} is not {PROCESS_VERSION}; search again with this release",
        )
        check_style(self.style)
        require(self.kd >= 0 and math.isfinite(self.kd), f"kd must be 0 or more, got {self.kd}")
        require(
            bool(self.axis) and len(self.axis) == len(self.alpha), "axis and alpha must be of one length, 1 or more"
        )
        require(
            self.axis[0] >= 0 and self.axis[-1] <= 1 and all(one < two for one, two in pairwise(self.axis)),
            "axis must rise within [0, 1]",
        )
        require(
            all(len(row) == len(self.pathways) and all(map(math.isfinite, row)) for row in self.alpha),
            "each row of alpha must hold a finite number for each pathway",
        )
        require(
            len(self.slopes) == len(self.errors) and len(self.slopes) in {0, len(self.pathways)},
            "slopes and errors must hold a number for each pathway, or none",
        )

    @property
    def significance(self) -> float:
        """The slope, in standard errors, of the pathway that differs most from no effect; infinite without slopes."""
        pairs = [(abs(slope), error) for slope, error in zip(self.slopes, self.errors, strict=True)]
        return max((slope / error if error > 0 else 0.0 for slope, error in pairs), default=math.inf)

    @property
    def is_significant(self) -> bool:
        """Whether any pathway's slope differs from zero at the level of 5 %, by Bonferroni for that many pathways."""
        return self.significance > NormalDist().inv_cdf(1 - SIGNIFICANT / 2 / max(1, len(self.slopes)))

    def stretched(self, steps: int) -> Float[Tensor, "steps pathways"]:
        """Alpha at each of `steps` steps, float64: step r at the moment r / (steps - 1), linearly between records."""
        moments = np.linspace(0, 1, steps) if steps > 1 else np.ones(1)
        columns = [np.interp(moments, self.axis, column) for column in zip(*self.alpha, strict=True)]
        return torch.from_numpy(np.stack(columns, axis=1))


def weights_over(
    process: Process,
    steps: int,
    *,
    final: bool = False,
    clip: float = 0.0,
    style: str = "",
    kd: float | None = None,
    kept: Sequence[int] = (),
) -> Float[Tensor, "steps pathways"]:
    """The weights at each of `steps` steps; those below `clip` before the factor kd are 0.

    `final`: the last record throughout. `style` and `kd` replace the process's own, unless empty or None. `kept`:
    places of pathways that are not clipped.
    """
    alpha = process.stretched(steps)
    if final:
        alpha = alpha[-1:].expand_as(alpha)
    style = style or process.style
    dropped = WEIGHT_STYLES[style](alpha) < clip
    dropped[:, list(kept)] = False
    return torch.where(dropped, 0.0, weigh(style, alpha, process.kd if kd is None else kd))


def save_process(process: Process, path: Path) -> None:
    storage.write(path, json.dumps(asdict(process)))


def load_process(path: Path) -> Process:
    """The process in the file at `path`; `ConfigError` if there is none."""
    try:
        record = files.read_json(path)
    except FileError as error:
        raise ConfigError(
            f"no process could be read from {path}: {error.strerror}; give the process.json that a search left"
        ) from error
    if not isinstance(record, dict):
        raise ConfigError(f"{path} holds {name_type(record)}, not a process; give what a search left")
    return parse_record(Process, record, f"process file {path}")


def require_pathways(process: Process, pathways: Sequence[Pathway], *, by_place: bool) -> None:
    """Raise `ConfigError` unless the process has these pathways; `by_place` lets feature layers have other names."""
    found, wanted = [Pathway(*one) for one in process.pathways], list(pathways)
    if found == wanted or (by_place and pathway_positions(found) == pathway_positions(wanted)):
        return
    lacking = [one for one in wanted if one not in found]
    surplus = [one for one in found if one not in wanted]
    what = f"it lacks {lacking[0]}" if lacking else f"it also has {surplus[0]}" if surplus else "their order differs"
    raise ConfigError(
        f"the process was found for other pathways ({len(found)}) than this trial's ({len(wanted)}): {what}; "
        "set stages, connect and transforms as in its search, or by_place = true if only the layers' names differ"
    )


def pathway_positions(pathways: Sequence[Pathway]) -> list[tuple[int, int, str]]:
    """The pathways with each feature layer replaced by its place among the feature layers of its side."""
    teachers, students = ([*dict.fromkeys(one[side] for one in pathways)] for side in (0, 1))
    return [(teachers.index(one.teacher), students.index(one.student), one.transform) for one in pathways]


def process_from_steps(steps: Sequence[int], rows: Sequence[Tensor], total: int) -> tuple[tuple[float, ...], Any]:
    """Axis and alpha of a search of `total` steps, given alpha after some of them."""
    axis = tuple(round(step / max(total - 1, 1), 9) for step in steps)
    return axis, tuple(tuple(round(value, DIGITS) for value in row) for row in torch.stack(list(rows)).tolist())

"""Scoring a sample of a space by proxies, without any training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from automl_kd import data as sets
from automl_kd import space as spaces
from automl_kd.errors import ConfigError
from automl_kd.experiment.screening import make_probes, score_row
from automl_kd.experiment.watch import Watcher
from automl_kd.models import load_space
from automl_kd.proxies.score import Score, score
from automl_kd.results.folder import require_writable
from automl_kd.results.scores import ranked, write_scores
from automl_kd.space import Architecture, SearchSpace
from automl_kd.spec import DataSpec


def score_sample(
    reference: str,
    proxies: Sequence[str],
    *,
    sample: int,
    seed: int,
    data: str,
    teacher: str,
    images: int,
    draws: int,
    out: Path,
    data_root: Path,
    watcher: Watcher,
) -> tuple[Path, pd.DataFrame]:
    """Score `sample` distinct architectures, fewer if the space is smaller; the file written and the ranked frame."""
    require_writable(out)
    space = load_space(reference)
    dataset = sets.load(sets.resolve(DataSpec(name=data)), data_root)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    probes = make_probes(dataset, proxies, teacher, images=images, draws=draws, seed=seed, device=device)
    architectures = distinct(space, sample, seed)
    watcher.stage(f"scoring {len(architectures)} architectures by {', '.join(proxies)}", len(architectures))
    scores = score(space, architectures, proxies, probes, seed=seed, on_score=watcher.step)
    report_failures(scores, watcher)
    rows = [
        score_row(one, space, dataset.shape, reference=reference, data=data, teacher=teacher, images=images, seed=seed)
        for one in scores
    ]
    path = write_scores(out, rows)
    return path, ranked(pd.DataFrame(rows))


def report_failures(scores: Sequence[Score], watcher: Watcher) -> None:
    """Say of each proxy how often it failed; `ConfigError` if always: it does not suit the space."""
    for proxy in dict.fromkeys(one.proxy for one in scores):
        ours = [one for one in scores if one.proxy == proxy]
        reasons = [one.error for one in ours if one.error]
        if len(reasons) == len(ours):
            raise ConfigError(f"proxy {proxy!r} fails on all {len(ours)} architectures: {reasons[0]}")
        if reasons:
            watcher.note(f"proxy {proxy!r} fails on {len(reasons)} of {len(ours)} architectures: {reasons[0]}")


def distinct(space: SearchSpace, count: int, seed: int) -> list[Architecture]:
    """Distinct random points; gives up on more when many draws bring nothing new."""
    rng = np.random.default_rng(seed)
    found: dict[Architecture, None] = {}
    for _ in range(20 * count + 100):
        found[spaces.sample(space, rng)] = None
        if len(found) == count:
            break
    return list(found)

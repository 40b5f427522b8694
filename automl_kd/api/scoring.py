"""Zero-cost proxies of the architectures of a space, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from automl_kd import storage
from automl_kd.api.images import name_data
from automl_kd.api.objects import name_space
from automl_kd.api.progress import Progress, watcher_of
from automl_kd.api.run import program_folder
from automl_kd.config.strict import check_record
from automl_kd.errors import RecordError
from automl_kd.experiment.stages.scoring import Labour, Scoring, score_space
from automl_kd.registry import search_beside

if TYPE_CHECKING:
    import pandas as pd

    from automl_kd.space import SearchSpace


def rank_by_proxies(
    space: str | SearchSpace,
    proxies: Sequence[str],
    data: str | Mapping[str, Any] | Any = "digits",
    *,
    sample: int | None = 100,
    sample_seed: int = 0,
    seed: int = 0,
    teacher: str = "resnet56",
    images: int | None = None,
    repeats: int = 1,
    resolution: int = 0,
    proxy_teacher: Literal["random", "trained"] = "random",
    workers: int = 1,
    out: Path | str = "results",
    data_root: Path | str = "data",
    address: str = "",
    progress: Progress = "none",
) -> pd.DataFrame:
    """Rank architectures of a space by zero-cost proxies, without training; the best first.

    Scores of the same call are read again from `out`/scores.

    `space`, `data`: as of `search`, but of a table of the data's fields only name, task and tokenizer count.
    `proxies`: names of `automl_kd.proxies.PROXIES` or aggregates such as "rank_sum(naswot+synflow)". `sample`: how many
    random architectures, 1 or more; None for the whole space. `sample_seed` draws them, `seed` images and weights.
    `teacher`: the model of the teacher, for proxies that use one; `proxy_teacher`: with "random" weights, or the
    "trained" ones that it brings. `resolution`: height and width of the images, 0 for their own. `images` (2 or more):
    in a mini-batch; None for 64, or all if there are fewer. `repeats` (1 or more): with new weights and images.
    `workers`: processes, 0 for one on each processor.

    Columns: rank, architecture_id, values_json, student, params, macs, for each proxy its mean and its spread over
    repeats (higher promises better; nan where it fails), and seconds. An `AutoMLKDError` says in one sentence what
    cannot be scored.
    """
    if isinstance(proxies, str):
        raise RecordError(f"proxies = {proxies!r} is one text; give a list of names, [{proxies!r}]")
    search_beside(Path(), *program_folder())
    folder = storage.local_path(out).absolute()
    named = {"space": name_space(space, folder / "scores"), "teacher": teacher, "proxy_teacher": proxy_teacher}
    named |= scored_data(data, folder / "scores")
    given = {"sample": sample, "sample_seed": sample_seed, "seed": seed, "images": images or 0, "repeats": repeats}
    scoring = check_record(Scoring, {**named, "proxies": list(proxies), **given, "resolution": resolution}, "score")
    if 0 in (sample, images) or min(sample or 1, (images or 2) - 1, repeats) < 1:
        raise RecordError("score: sample and repeats must be 1 or more, images 2 or more; None scores a whole space")
    labour, root = Labour(workers=workers, address=address), storage.local_path(data_root).absolute()
    _, frame = score_space(scoring, labour, out=folder, data_root=root, watcher=watcher_of(progress))
    assert frame is not None  # one shard is all
    return frame


def scored_data(data: str | Mapping[str, Any] | Any, folder: Path) -> dict[str, Any]:
    """What scores take of the section `data`."""
    section = name_data(data, folder)
    asked = {"data": section["name"]}
    return asked | {name: section[name] for name in ("task", "tokenizer") if name in section}

"""`automl-kd score`: rank the architectures of a space by zero-cost proxies."""

from __future__ import annotations

import enum
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from automl_kd import storage
from automl_kd.cli import catalogue
from automl_kd.console.options import Address, DataRoot, roots
from automl_kd.console.screen import ProgressMode, ProgressOption, output, watching
from automl_kd.errors import ConfigError
from automl_kd.registry import search_beside

if TYPE_CHECKING:
    import pandas as pd

    from automl_kd.experiment.context import Roots
    from automl_kd.experiment.stages.scoring import Labour, Scoring


class ProxyTeacher(enum.StrEnum):
    """What proxies that use a teacher compare with."""

    RANDOM = "random"
    TRAINED = "trained"


ImagesOption = Annotated[
    str, typer.Option(help="A dataset, or folder:, shards:, parquet:, pack:, arrays: or text:PATH.")
]
TeacherOption = Annotated[ProxyTeacher, typer.Option(help="Weights of the teacher: random ones, or those it brings.")]
ResolutionOption = Annotated[int, typer.Option(help="Height and width of images; 0 for their own.", min=0, max=4096)]
TaskOption = Annotated[str, typer.Option(help="What labels are: classification, multi-label or regression.")]
ImageCountOption = Annotated[
    int | None, typer.Option(help="Images in a mini-batch; by default 64, or all if there are fewer.", min=2)
]
TokenizerOption = Annotated[str, typer.Option(help="Of texts: tokenizer.json, or its folder; default the teacher's.")]


def score(
    space: Annotated[str, typer.Argument(help="A search space as module:ATTRIBUTE.")],
    proxies: Annotated[str, typer.Option(help="Names separated by commas, or 'all'; see 'automl-kd show proxies'.")],
    sample: Annotated[int, typer.Option(help="Number of random architectures; 0 for the whole space.", min=0)] = 100,
    sample_seed: Annotated[int, typer.Option(help="Seed of the sample of architectures.", min=0, max=999_999)] = 0,
    seed: Annotated[int, typer.Option(help="Seed of images and weights.", min=0, max=999_999)] = 0,
    data: ImagesOption = "digits",
    teacher: Annotated[str, typer.Option(help="Model of the teacher, for proxies that use one.")] = "resnet56",
    proxy_teacher: TeacherOption = ProxyTeacher.RANDOM,
    resolution: ResolutionOption = 0,
    tokenizer: TokenizerOption = "",
    task: TaskOption = "classification",
    images: ImageCountOption = None,
    repeats: Annotated[int, typer.Option(help="Repeats to average, with new weights and images.", min=1)] = 1,
    top: Annotated[int, typer.Option(help="Rows printed; the file has all rows.", min=1)] = 20,
    workers: Annotated[int, typer.Option(help="Worker processes; 0 for one per CPU.", min=0)] = 0,
    gpus: Annotated[float, typer.Option(help="GPUs per worker, such as 0.25; 0 for none.", min=0)] = 0.0,
    shard: Annotated[str, typer.Option(metavar="I/N", help="Score the I-th of N parts, for more machines.")] = "1/1",
    out: Annotated[str, typer.Option(help="Folder for the scores, or bucket; earlier scores stay.")] = "results",
    data_root: DataRoot = "data",
    address: Address = "",
    progress: ProgressOption = ProgressMode.AUTO,
) -> None:
    """Rank architectures of a space by zero-cost proxies, without training.

    The same command continues an interrupted run. The shards of one folder become a table when the last shard is done.

    [bold]automl-kd score search_spaces.nasbench201:SPACE --proxies naswot,synflow --sample 20[/bold]
    [bold]automl-kd score search_spaces.nasbench201:SPACE --proxies diswot --sample 0 --data cifar10[/bold]
    """
    from automl_kd.experiment.stages.scoring import Labour, Scoring  # noqa: PLC0415 - torch is slow to import

    search_beside(Path())
    catalogue.require_space(space)
    numbers = {"sample_seed": sample_seed, "seed": seed, "images": images or 0, "repeats": repeats}
    numbers["resolution"] = resolution
    scoring = Scoring(
        space=space,
        proxies=parse_proxies(proxies),
        sample=sample or None,
        data=data,
        teacher=teacher,
        task=task,
        proxy_teacher=proxy_teacher.value,
        tokenizer=tokenizer,
        **numbers,
    )
    labour = Labour(workers=workers, gpus=gpus, address=address, shard=parse_shard(shard))
    path, frame = watched_scores(scoring, labour, roots(out, data_root), progress)
    show_scores(frame, top, shard, storage.name_addresses(str(path)))


def watched_scores(
    scoring: Scoring, labour: Labour, place: Roots, progress: ProgressMode
) -> tuple[Path, pd.DataFrame | None]:
    from automl_kd.experiment.stages.scoring import score_space  # noqa: PLC0415 - torch is slow to import

    with watching(progress) as screen:
        return score_space(scoring, labour, out=place.results, data_root=place.data, watcher=screen)


def show_scores(frame: pd.DataFrame | None, top: int, shard: str, path: str) -> None:
    """Print the table, if every shard of it is done, and its path."""
    from automl_kd.console.report import print_scores  # noqa: PLC0415 - pandas is slow to import

    if frame is None:
        typer.echo(f"shard {shard} is done, others are not; its scores are kept in {path}")
        return
    print_scores(output(), frame, top)
    typer.echo(f"written to {path}")


def parse_proxies(text: str) -> tuple[str, ...]:
    from automl_kd.proxies import PROXIES  # noqa: PLC0415 - torch is slow to import

    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise ConfigError(f"--proxies {text!r} names no proxy; 'automl-kd show proxies' lists them")
    return tuple(PROXIES) if names == ("all",) else names


def parse_shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ConfigError(
            f"--shard is {text!r}, and I/N was wanted with I from 1 to N; write 1/4 for the first of four"
        )
    return int(found[1]), int(found[2])

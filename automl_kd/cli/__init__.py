"""The command line: search, score, distill, leaderboard, show, doctor, import-nasbench201, panel.

Mistakes of the user end in one sentence on stderr and exit code 2, without a traceback; an interrupted run ends with
130 and is continued by the same command; 1 means that the work was done in part only.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from automl_kd import config, storage
from automl_kd.cli import catalogue
from automl_kd.cli.doctor import doctor
from automl_kd.cli.nasbench201 import import_nasbench201
from automl_kd.cli.panel import panel
from automl_kd.cli.proxy_search import search_formulas
from automl_kd.cli.screen import Mode, Shown, output, watching
from automl_kd.cli.tabular import search_table
from automl_kd.config import Experiment
from automl_kd.errors import AutoMLKDError, ConfigError, UnknownNameError
from automl_kd.registry import suggestion

if TYPE_CHECKING:
    from automl_kd.experiment.lab import Roots

QUICKSTART = Path(__file__).parents[1] / "quickstart.toml"

OF_A_JOB = "working_dir_files"
"""In Ray's temporary folders, where it unpacks the working directory of a job."""

ELSEWHERE = "choose another folder"
ADVICE = {
    errno.ENOSPC: "make room or choose another --out",
    errno.EDQUOT: "make room or choose another --out",
    **dict.fromkeys(
        (errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN),
        "bring the file system back",
    ),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG), ELSEWHERE
    ),
}
"""What the system may refuse through no fault of ours, and what to do about it."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Given a teacher and a budget, find the student network and the way of teaching it, "
    "and prove that it was worth it.",
)

Out = Annotated[
    str,
    typer.Option(
        "--out",
        envvar="AUTOML_KD_RESULTS",
        help="Root of all results, a folder or s3://BUCKET/PREFIX or gs://...; each experiment has a folder in it.",
    ),
]
DataRoot = Annotated[
    str,
    typer.Option(
        "--data-root",
        envvar="AUTOML_KD_DATA",
        help="Where CIFAR and other stored image sets lie, a folder or s3://BUCKET/PREFIX or gs://...",
    ),
]
Address = Annotated[
    str,
    typer.Option(
        "--address", help="A Ray cluster to join ('auto' on one of its nodes); else RAY_ADDRESS; else this machine."
    ),
]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Set one field of the experiment; may be repeated.")
]


@app.command()
def search(
    experiment: Annotated[Path, typer.Argument(help="A TOML file; without one, the embedded quickstart.")] = QUICKSTART,
    overrides: Overrides = [],  # noqa: B006 - typer reads it, nothing changes it
    out: Out = "results",
    data_root: DataRoot = "data",
    address: Address = "",
    nasbench201: Annotated[
        Path | None,
        typer.Option("--nasbench201", help="The table to search, or its folder; or AUTOML_KD_NASBENCH201."),
    ] = None,
    progress: Shown = Mode.AUTO,
) -> None:
    """Find a student for a teacher: screen, train under a scheduler, compare with baselines at equal compute.

    Run again, it continues where it ended, however it ended. A file with a [[table.tasks]] section searches a table of
    measured architectures, without training; one with a [[proxy.searches]] section searches for a proxy.

    [bold]automl-kd search[/bold]
    [bold]automl-kd search benchmarks/cifar10_resnet_smoke.toml --set search.trials=20[/bold]
    [bold]automl-kd search benchmarks/nasbench201_search.toml --nasbench201 nasbench201[/bold]
    """
    described = config.load(experiment, overrides)
    catalogue.require_space(described.space)
    if described.table.tasks:
        search_table(described, roots(out, data_root), nasbench201, command_line(), progress)
    elif described.proxy.scores:
        search_formulas(described, roots(out, data_root), nasbench201, command_line(), progress)
    else:
        carry_out(described, out, data_root, address, progress)


@app.command()
def distill(
    student: Annotated[
        str, typer.Option(help="A model of the zoo, torchvision:NAME, subgraph:FILE or module:function.")
    ],
    teacher: Annotated[str, typer.Option(help="Likewise.")] = "resnet56",
    checkpoint: Annotated[str, typer.Option(help="File with the teacher's weights; without one it is trained.")] = "",
    data: Annotated[str, typer.Option(help="A dataset, folder:PATH or arrays:PATH.npz.")] = "digits",
    method: Annotated[str, typer.Option(help="How to teach; 'automl-kd show methods' lists them.")] = "kd",
    epochs: Annotated[int, typer.Option(help="Length of the student's training.")] = 30,
    seeds: Annotated[int, typer.Option(help="How many seeds.")] = 3,
    name: Annotated[str, typer.Option(help="Name of the results folder; by default made of the choices.")] = "",
    overrides: Overrides = [],  # noqa: B006 - typer reads it, nothing changes it
    out: Out = "results",
    data_root: DataRoot = "data",
    address: Address = "",
    progress: Shown = Mode.AUTO,
) -> None:
    """Teach one student by one method, beside plain KD and training from scratch at equal compute.

    [bold]automl-kd distill --student resnet8 --teacher resnet32 --data digits --epochs 10[/bold]
    """
    record = {
        "name": name or default_name(method, student, teacher, data),
        "space": f"model:{student}",
        "method": method,
        "data": {"name": data},
        "teacher": {"model": teacher, "checkpoint": checkpoint, "recipe": {"epochs": epochs}},
        "recipe": {"epochs": epochs},
        "finalists": {"seeds": list(range(seeds))},
    }
    for override in overrides:
        config.merge(record, override)
    carry_out(config.parse(Experiment, record, "distill"), out, data_root, address, progress)


def default_name(method: str, *parts: str) -> str:
    """A name for a folder of results; of a part that is a path, its last piece without suffix."""
    pieces = ["distill", method, *(Path(part).stem if "/" in part else part for part in parts)]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(pieces))


@app.command()
def score(
    space: Annotated[str, typer.Argument(help="A search space as module:ATTRIBUTE.")],
    proxies: Annotated[
        str, typer.Option(help="Names separated by commas, or 'all'; 'automl-kd show proxies' lists them.")
    ],
    sample: Annotated[int, typer.Option(help="How many architectures are drawn; 0 for all of the space.", min=0)] = 100,
    sample_seed: Annotated[int, typer.Option(help="Draws the architectures.", min=0, max=999_999)] = 0,
    seed: Annotated[int, typer.Option(help="Draws images and weights.", min=0, max=999_999)] = 0,
    data: Annotated[str, typer.Option(help="A dataset, folder:PATH or arrays:PATH.npz.")] = "digits",
    teacher: Annotated[str, typer.Option(help="Model of the random teacher, for proxies that compare.")] = "resnet56",
    images: Annotated[int, typer.Option(help="Images in a mini-batch.", min=2)] = 64,
    draws: Annotated[int, typer.Option(help="Draws of weights and images that are averaged.", min=1)] = 1,
    top: Annotated[int, typer.Option(help="Rows printed; the file has them all.", min=1)] = 20,
    workers: Annotated[int, typer.Option(help="Processes; 0 for one on each processor.", min=0)] = 0,
    gpus: Annotated[float, typer.Option(help="GPUs for each worker, such as 0.25; 0 for none.", min=0)] = 0.0,
    shard: Annotated[str, typer.Option(metavar="I/N", help="Only the I-th of N parts, for several machines.")] = "1/1",
    out: Annotated[str, typer.Option(help="Folder of the scores, here or in a bucket; earlier ones stay.")] = "results",
    data_root: DataRoot = "data",
    address: Address = "",
    progress: Shown = Mode.AUTO,
) -> None:
    """Rank architectures of a space by zero-cost proxies: no training.

    Run again, it continues where it ended. Shards of one folder become a table when the last of them is done.

    [bold]automl-kd score search_spaces.nasbench201:SPACE --proxies naswot,synflow --sample 20[/bold]
    [bold]automl-kd score search_spaces.nasbench201:SPACE --proxies diswot --sample 0 --data cifar10[/bold]
    """
    from automl_kd.cli.report import print_scores  # noqa: PLC0415 - pandas is slow to import
    from automl_kd.experiment.scoring import Labour, Scoring, score_space  # noqa: PLC0415 - torch is slow to import
    from automl_kd.proxies import PROXIES  # noqa: PLC0415 - likewise

    catalogue.require_space(space)
    names = tuple(dict.fromkeys(name.strip() for name in proxies.split(",") if name.strip()))
    names = tuple(PROXIES) if names == ("all",) else names
    if not names:
        raise ConfigError(f"--proxies {proxies!r} names none; 'automl-kd show proxies' lists them")
    scoring = Scoring(
        space=space,
        proxies=names,
        sample=sample or None,
        sample_seed=sample_seed,
        seed=seed,
        data=data,
        teacher=teacher,
        images=images,
        draws=draws,
    )
    labour = Labour(workers=workers, gpus=gpus, address=address, shard=parse_shard(shard))
    place = roots(out, data_root)
    with watching(progress) as screen:
        path, frame = score_space(scoring, labour, out=place.results, data_root=place.data, watcher=screen)
    if frame is None:
        typer.echo(f"shard {shard} is done, others are not; its scores wait in {storage.named(str(path))}")
        return
    print_scores(output(), frame, top)
    typer.echo(f"written to {storage.named(str(path))}")


def parse_shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ConfigError(
            f"--shard is {text!r}, and I/N was wanted with I from 1 to N; write 1/4 for the first of four"
        )
    return int(found[1]), int(found[2])


@app.command()
def leaderboard(
    paths: Annotated[list[str], typer.Argument(help="Folders of experiments, or a root that holds several.")],
    out: Annotated[str | None, typer.Option(help="Where the two files go; by default into the first folder.")] = None,
) -> None:
    """Rank what was trained: on the terminal, as Markdown and as one HTML page that needs no network.

    [bold]automl-kd leaderboard results/quickstart[/bold]
    [bold]automl-kd leaderboard results --out reports[/bold]
    """
    from automl_kd.cli.report import report  # noqa: PLC0415 - pandas is slow to import

    folders = [storage.local(path) for path in paths]
    report(output(), folders, storage.local(out or paths[0]).absolute(), command_line())


@app.command()
def show(
    what: Annotated[
        str, typer.Argument(help="An experiment file, or one of: " + ", ".join(catalogue.TABLES) + ".")
    ] = "",
    overrides: Overrides = [],  # noqa: B006 - typer reads it, nothing changes it
) -> None:
    """Show a resolved experiment, or what can be named in one, with its source.

    [bold]automl-kd show proxies[/bold]
    [bold]automl-kd show benchmarks/cifar10_resnet_smoke.toml --set search.trials=20[/bold]
    """
    if what in catalogue.TABLES or not what:
        catalogue.print_tables(output(), [what] if what else list(catalogue.TABLES))
        return
    if not Path(what).exists() and not Path(what).suffix:
        hint = suggestion(what, catalogue.TABLES)
        raise UnknownNameError(f"there is neither a table nor a file called {what!r}; {hint}")
    typer.echo(json.dumps(config.to_record(config.load(Path(what), overrides)), indent=2))


app.command("import-nasbench201")(import_nasbench201)
app.command()(panel)
app.command()(doctor)


def roots(out: str, data_root: str) -> Roots:
    """Where results go and where images lie; `ConfigError` for results that would be lost with a job's folder."""
    from automl_kd.experiment.lab import Roots  # noqa: PLC0415 - torch is slow to import

    results = storage.local(out).absolute()
    if OF_A_JOB in results.parts:
        raise ConfigError(
            f"--out is {out!r}, and Ray deletes the folder of a job that it would lie in; give a folder that all nodes "
            "see by its absolute path, or s3://BUCKET/PREFIX"
        )
    return Roots(results=results, data=storage.local(data_root).absolute())


def carry_out(experiment: Experiment, out: str, data_root: str, address: str, progress: Mode) -> None:
    """Run an experiment to its report; exit code 1 if it has no verdict in the end."""
    try:
        with watching(progress) as shown:
            from automl_kd import experiment as stages  # noqa: PLC0415 - torch and ray are slow to import
            from automl_kd.cli.live_page import LivePage  # noqa: PLC0415 - pandas is slow to import

            place = roots(out, data_root)
            with LivePage(shown, place.results / experiment.name, command_line()) as watcher:
                lab = stages.run(experiment, place, watcher, address=address)
    except KeyboardInterrupt:
        stop("interrupted; what has ended is on record, and the same command continues", 130)
    from automl_kd.cli.report import report  # noqa: PLC0415 - pandas is slow to import

    if not report(output(), [lab.folder], lab.folder, command_line()):
        raise typer.Exit(1)


def command_line() -> str:
    return shlex.join(["automl-kd", *sys.argv[1:]])


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except AutoMLKDError as error:
        stop(str(error), 2)
    except OSError as error:
        if error.errno not in ADVICE:
            raise
        where = f"{error.filename}: " if error.filename else ""
        stop(f"{where}{os.strerror(error.errno)}; {ADVICE[error.errno]}, then run it again", 2)


def stop(sentence: str, code: int) -> NoReturn:
    typer.echo(f"automl-kd: {' '.join(storage.named(sentence).split())}", err=True)
    sys.exit(code)

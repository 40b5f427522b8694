"""The command line: search, score, distill, leaderboard, show.

Mistakes of the user end in one sentence on stderr and exit code 2, without a traceback; an interrupted run ends with
130 and is continued by the same command; 1 means that the work was done in part only.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from automl_kd import config
from automl_kd.cli import catalogue
from automl_kd.cli.report import print_report, print_scores, write_reports
from automl_kd.cli.screen import Screen
from automl_kd.config import Experiment
from automl_kd.errors import AutoMLKDError, ResultError

QUICKSTART = Path(__file__).parents[1] / "quickstart.toml"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Given a teacher and a budget, find the student network and the way of teaching it, "
    "and prove that it was worth it.",
)

Out = Annotated[
    Path,
    typer.Option("--out", envvar="AUTOML_KD_RESULTS", help="Root of all results; each experiment has a folder in it."),
]
DataRoot = Annotated[
    Path, typer.Option("--data-root", envvar="AUTOML_KD_DATA", help="Where CIFAR and other stored image sets lie.")
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
    out: Out = Path("results"),
    data_root: DataRoot = Path("data"),
    address: Address = "",
) -> None:
    """Find a student for a teacher: screen, train under a scheduler, compare with baselines at equal compute.

    Run again, it continues where it ended, however it ended.

    [bold]automl-kd search[/bold]
    [bold]automl-kd search benchmarks/cifar10_resnet_smoke.toml --set search.trials=20[/bold]
    """
    carry_out(config.load(experiment, overrides), out, data_root, address)


@app.command()
def distill(
    student: Annotated[str, typer.Option(help="A model of the zoo, torchvision:NAME or module:function.")],
    teacher: Annotated[str, typer.Option(help="Likewise.")] = "resnet56",
    checkpoint: Annotated[str, typer.Option(help="File with the teacher's weights; without one it is trained.")] = "",
    data: Annotated[str, typer.Option(help="A dataset, folder:PATH or arrays:PATH.npz.")] = "digits",
    method: Annotated[str, typer.Option(help="How to teach; 'automl-kd show methods' lists them.")] = "kd",
    epochs: Annotated[int, typer.Option(help="Length of the student's training.")] = 30,
    seeds: Annotated[int, typer.Option(help="How many seeds.")] = 3,
    name: Annotated[str, typer.Option(help="Name of the results folder; by default made of the choices.")] = "",
    overrides: Overrides = [],  # noqa: B006 - typer reads it, nothing changes it
    out: Out = Path("results"),
    data_root: DataRoot = Path("data"),
    address: Address = "",
) -> None:
    """Teach one student by one method, beside plain KD and training from scratch at equal compute.

    [bold]automl-kd distill --student resnet8 --teacher resnet32 --data digits --epochs 10[/bold]
    """
    record = {
        "name": name
        or "-".join(["distill", method, *(Path(part).stem for part in (student, teacher, data))]).replace(":", "-"),
        "space": f"model:{student}",
        "method": method,
        "data": {"name": data},
        "teacher": {"model": teacher, "checkpoint": checkpoint, "recipe": {"epochs": epochs}},
        "recipe": {"epochs": epochs},
        "finalists": {"seeds": list(range(seeds))},
    }
    for override in overrides:
        config.merge(record, override)
    carry_out(config.parse(Experiment, record, "distill"), out, data_root, address)


@app.command()
def score(
    space: Annotated[str, typer.Argument(help="A search space as module:ATTRIBUTE.")],
    proxies: Annotated[str, typer.Option(help="Names separated by commas; 'automl-kd show proxies' lists them.")],
    sample: Annotated[int, typer.Option(help="How many architectures are drawn.", min=1)] = 100,
    seed: Annotated[int, typer.Option(help="Draws architectures, images and weights.", min=0)] = 0,
    data: Annotated[str, typer.Option(help="A dataset, folder:PATH or arrays:PATH.npz.")] = "digits",
    teacher: Annotated[str, typer.Option(help="Model of the random teacher, for proxies that compare.")] = "resnet56",
    images: Annotated[int, typer.Option(help="Images in a mini-batch.", min=2)] = 64,
    draws: Annotated[int, typer.Option(help="Draws of weights and images that are averaged.", min=1)] = 1,
    top: Annotated[int, typer.Option(help="Rows printed; the file has them all.", min=1)] = 20,
    out: Annotated[Path, typer.Option(help="Folder of the scores; earlier ones in it stay.")] = Path("results/scores"),
    data_root: DataRoot = Path("data"),
) -> None:
    """Rank architectures of a space by zero-cost proxies: no training.

    [bold]automl-kd score search_spaces.nasbench201:SPACE --proxies naswot,synflow --sample 20[/bold]
    """
    from automl_kd.experiment.scoring import score_sample  # noqa: PLC0415 - torch is slow to import

    names = tuple(name.strip() for name in proxies.split(",") if name.strip())
    with Screen() as screen:
        path, frame = score_sample(
            space,
            names,
            sample=sample,
            seed=seed,
            data=data,
            teacher=teacher,
            images=images,
            draws=draws,
            out=out.absolute(),
            data_root=data_root.absolute(),
            watcher=screen,
        )
    print_scores(Console(), frame, top)
    typer.echo(f"written to {path}")


@app.command()
def leaderboard(
    paths: Annotated[list[Path], typer.Argument(help="Folders of experiments, or a root that holds several.")],
    out: Annotated[Path | None, typer.Option(help="Where the two files go; by default into the first folder.")] = None,
) -> None:
    """Rank what was trained: on the terminal, as Markdown and as one HTML page that needs no network."""
    target = (out or paths[0]).absolute()
    if target.suffix:
        raise ResultError(f"--out names a folder for leaderboard.md and leaderboard.html, got {target}")
    print_report(Console(), paths)
    for path in write_reports(paths, target, shlex.join(["automl-kd", *sys.argv[1:]])):
        typer.echo(f"written to {path}")


@app.command()
def show(
    what: Annotated[
        str, typer.Argument(help="An experiment file, or one of: " + ", ".join(catalogue.TABLES) + ".")
    ] = "",
    overrides: Overrides = [],  # noqa: B006 - typer reads it, nothing changes it
) -> None:
    """Show a resolved experiment, or what can be named in one, with its source."""
    if what in catalogue.TABLES or not what:
        catalogue.print_tables(Console(), [what] if what else list(catalogue.TABLES))
        return
    typer.echo(json.dumps(config.to_record(config.load(Path(what), overrides)), indent=2))


def carry_out(experiment: Experiment, out: Path, data_root: Path, address: str) -> None:
    """Run an experiment to its report; exit code 1 if it has no verdict in the end."""
    from automl_kd import experiment as stages  # noqa: PLC0415 - torch and ray are slow to import

    roots = stages.Roots(results=out.absolute(), data=data_root.absolute())
    with Screen() as screen:
        lab = stages.run(experiment, roots, screen, address=address)
    complete = print_report(Console(), [lab.folder])
    for path in write_reports([lab.folder], lab.folder, shlex.join(["automl-kd", *sys.argv[1:]])):
        typer.echo(f"written to {path}")
    if not complete:
        raise typer.Exit(1)


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except AutoMLKDError as error:
        stop(str(error), 2)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EEXIST}:
            raise
        where = f" at {error.filename}" if error.filename else ""
        stop(
            f"cannot write{where}: {os.strerror(error.errno)}; make room or choose another --out, then run it again", 2
        )
    except KeyboardInterrupt:
        stop("interrupted; what has ended is on record, and the same command continues", 130)


def stop(sentence: str, code: int) -> None:
    typer.echo(f"automl-kd: {sentence}", err=True)
    sys.exit(code)

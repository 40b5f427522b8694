"""The command line: compress, search, score, distill, leaderboard, show, check-teacher, pack, export, pick, profile,
init, doctor, upgrade, nasbench.

A user's mistake ends with one sentence on stderr and exit code 2, without a traceback. An interrupted run ends with
130, and the same command continues it. Exit code 1 means that only part of the work was done.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

import automl_kd
from automl_kd import config, storage
from automl_kd.cli import catalogue, nasbench
from automl_kd.cli.check_teacher import check_teacher
from automl_kd.cli.compress import run_compress
from automl_kd.cli.doctor import doctor
from automl_kd.cli.export import export
from automl_kd.cli.init import init
from automl_kd.cli.mistakes import sentence_of
from automl_kd.cli.pack import make_pack
from automl_kd.cli.pick import pick
from automl_kd.cli.profile import profile
from automl_kd.cli.score import score
from automl_kd.cli.upgrade import upgrade
from automl_kd.config import Experiment
from automl_kd.console.options import AcceptTeacher, Address, DataRoot, Out, Overrides, command_line, roots
from automl_kd.console.screen import ProgressMode, ProgressOption, output, watching
from automl_kd.errors import UnknownNameError
from automl_kd.registry import search_beside, suggestion

QUICKSTART = Path(__file__).parents[1] / "quickstart.toml"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Given a teacher and a budget, find the student network and the distillation method, "
    "and prove that the search was worth it.",
)


def print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"automl-kd {automl_kd.__version__}")
        raise typer.Exit


@app.callback()
def answer_version(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=print_version)
    ] = False,
) -> None:
    pass


app.command("compress")(run_compress)


@app.command()
def search(
    experiment: Annotated[
        Path, typer.Argument(help="A TOML file; the default is the built-in quickstart.")
    ] = QUICKSTART,
    overrides: Overrides = [],  # noqa: B006 - typer reads it, nothing changes it
    out: Out = "results",
    data_root: DataRoot = "data",
    address: Address = "",
    progress: ProgressOption = ProgressMode.AUTO,
    accept_teacher: AcceptTeacher = False,
    stand_in: Annotated[
        str,
        typer.Option(
            metavar="DATA",
            help="Try the experiment in minutes on other images, a dataset's name or a folder with train and val: 200 "
            "of 64 pixels, an epoch, an untrained teacher. Results are marked, and the full cost is forecast.",
        ),
    ] = "",
) -> None:
    """Search a student for a teacher, and compare it with baselines at equal compute.

    The same command continues a search that was interrupted or killed.

    [bold]automl-kd search[/bold]
    [bold]automl-kd search benchmarks/cifar10_resnet_smoke.toml --set search.trials=20[/bold]
    """
    described = nasbench.read_experiment(experiment, overrides)
    if not isinstance(described, Experiment):
        nasbench.refuse_kind(described, experiment, "search")
    if stand_in:
        changes = config.stand_in_changes(described, stand_in, experiment)
        described = config.load_experiment(experiment, [*overrides, *changes])
    run_experiment(described, out, data_root, address, progress, accept_teacher=accept_teacher or bool(stand_in))


@app.command()
def distill(
    student: Annotated[
        str, typer.Option(help="A model of the zoo, torchvision:NAME, subgraph:FILE or module:function.")
    ],
    teacher: Annotated[str, typer.Option(help="The same choices, for the teacher.")] = "resnet56",
    checkpoint: Annotated[
        str, typer.Option(help="File with the teacher's weights; by default the teacher is trained.")
    ] = "",
    data: Annotated[
        str, typer.Option(help="A dataset, or folder:PATH; 'automl-kd show datasets' lists all forms.")
    ] = "digits",
    method: Annotated[str, typer.Option(help="The distillation method; 'automl-kd show methods' lists them.")] = "kd",
    epochs: Annotated[int, typer.Option(help="Epochs of the student's training.")] = 30,
    seeds: Annotated[int, typer.Option(help="Number of seeds.")] = 3,
    name: Annotated[str, typer.Option(help="Name of the results folder; by default made from the options.")] = "",
    overrides: Overrides = [],  # noqa: B006 - typer reads it, nothing changes it
    out: Out = "results",
    data_root: DataRoot = "data",
    address: Address = "",
    progress: ProgressOption = ProgressMode.AUTO,
    accept_teacher: AcceptTeacher = False,
) -> None:
    """Train one student by one method, and compare with plain KD and training from scratch at equal compute.

    [bold]automl-kd distill --student resnet8 --teacher resnet32 --data digits --epochs 10[/bold]
    """
    search_beside(Path())
    record = {
        "name": name or default_name(method, student, teacher, data),
        "space": f"model:{student}",
        "method": method,
        "data": {"name": data},
        "teacher": {"model": teacher, "checkpoint": checkpoint, "recipe": {"epochs": epochs}},
        "recipe": {"epochs": epochs},
        "finalists": {"seeds": list(range(seeds))},
    }
    made = config.complete_record(record, overrides, "distill", nasbench.say_aloud)
    described = config.parse_record(Experiment, made, "distill")
    run_experiment(described, out, data_root, address, progress, accept_teacher=accept_teacher)


def default_name(method: str, *parts: str) -> str:
    """Return a name for a results folder; a part that is a path gives its last piece without suffix."""
    pieces = ["distill", method, *(Path(part).stem if "/" in part else part for part in parts)]
    return config.make_name("-".join(pieces))


app.command()(score)


@app.command()
def leaderboard(
    paths: Annotated[list[str], typer.Argument(help="Folders of experiments, or a folder that holds several.")],
    out: Annotated[str | None, typer.Option(help="Folder for the two files; the default is the first folder.")] = None,
) -> None:
    """Rank the trained students: on the terminal, as Markdown and as one HTML page that needs no network.

    [bold]automl-kd leaderboard results/quickstart[/bold]
    [bold]automl-kd leaderboard results --out reports[/bold]
    """
    from automl_kd.console.report import report  # noqa: PLC0415 - pandas is slow to import

    folders = [storage.local_path(path) for path in paths]
    report(output(), folders, storage.local_path(out or paths[0]).absolute(), command_line())


@app.command()
def show(
    what: Annotated[
        str, typer.Argument(help="An experiment file, or one of: " + ", ".join(catalogue.CATALOGUES) + ".")
    ] = "",
    overrides: Overrides = [],  # noqa: B006 - typer reads it, nothing changes it
) -> None:
    """Show a resolved experiment, or the names that an experiment may use, with their sources.

    An experiment is shown as TOML with all its fields: value, meaning, allowed values. It can be saved and edited.

    [bold]automl-kd show proxies[/bold]
    [bold]automl-kd show benchmarks/cifar10_resnet_smoke.toml --set search.trials=20[/bold]
    """
    if what in catalogue.CATALOGUES or not what:
        catalogue.print_tables(output(), [what] if what else list(catalogue.CATALOGUES))
        return
    if not os.path.lexists(what) and not Path(what).suffix:
        hint = suggestion(what, catalogue.CATALOGUES)
        raise UnknownNameError(f"there is neither a table nor a file called {what!r}; {hint}")
    experiment = config.load_experiment(Path(what), overrides, nasbench.KINDS, say=nasbench.say_aloud)
    typer.echo(config.write_commented(experiment), nl=False)


app.command()(check_teacher)
app.command("pack")(make_pack)
app.command()(export)
app.command()(profile)
app.command()(pick)
app.command()(init)
app.command()(doctor)
app.command()(upgrade)
nasbench.mount(app)


def run_experiment(
    experiment: Experiment, out: str, data_root: str, address: str, progress: ProgressMode, *, accept_teacher: bool
) -> None:
    """Run an experiment and print its report; exit code 1 if it ends without a verdict."""
    try:
        with watching(progress) as shown:
            from automl_kd import experiment as stages  # noqa: PLC0415 - torch and ray are slow to import
            from automl_kd.console.live_page import LivePage  # noqa: PLC0415 - pandas is slow to import

            place = roots(out, data_root)
            with LivePage(shown, place.folder_of(experiment.name), command_line()) as watcher:
                context = stages.run_stages(experiment, place, watcher, address=address, accept_teacher=accept_teacher)
    except KeyboardInterrupt:
        stop("interrupted; finished trials are recorded, and the same command continues", 130)
    from automl_kd.console.report import report  # noqa: PLC0415 - pandas is slow to import

    if not report(output(), [context.folder], context.folder, command_line()):
        raise typer.Exit(1)


def main() -> None:
    """Entry point of the console script."""
    try:
        code = app(standalone_mode=False)
    except typer.Abort:
        stop("interrupted", 130)
    except Exception as error:
        if (sentence := sentence_of(error)) is None:
            raise
        stop(sentence, 2)
    if code:
        sys.exit(code)


def stop(sentence: str, code: int) -> NoReturn:
    typer.echo(f"automl-kd: {' '.join(storage.name_addresses(sentence).split())}", err=True)
    sys.exit(code)

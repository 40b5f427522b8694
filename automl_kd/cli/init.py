"""`automl-kd init`: a commented experiment to start from, made from options or from a few questions."""

from __future__ import annotations

import dataclasses
import re
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from automl_kd import files
from automl_kd.config import Experiment, write_commented
from automl_kd.errors import ConfigError
from automl_kd.registry import search_beside
from automl_kd.spec import FRESH, Recipe

DEFAULT_SPACE = "search_spaces.resnet:SPACE"
DEFAULT_PARAMS = 300_000
"""As a ResNet-20 has, the default student of the default space."""

WRITTEN_FIELDS = (
    *("name", "space", "method", "data.name", "data.validation", "teacher.model", "teacher.checkpoint"),
    *("recipe.epochs", "recipe.batch_size", "recipe.lr", "budget.params", "budget.macs"),
    *("search.sampler", "search.trials", "finalists.seeds"),
)
"""What people change first; the others have their defaults."""

QUESTIONS: dict[str, tuple[str, Any]] = {
    "data": ("Data: digits, cifar10, folder:PATH, text:FILE or another form of 'automl-kd show datasets'", "digits"),
    "teacher": ("Teacher: resnet56, torchvision:resnet50, your_module:function, ...", "resnet56"),
    "checkpoint": ("File with the teacher's weights; empty to train the teacher", ""),
    "space": ("Space of students, or model:NAME for one student", DEFAULT_SPACE),
    "params": ("Most parameters that a student may have; 0 for no limit", DEFAULT_PARAMS),
    "trials": ("Trials of the search", 12),
}
"""Each with the answer where none is given; the other options are not asked for."""


def init(
    file: Annotated[Path, typer.Argument(help="Where the experiment goes.", metavar="[FILE]")] = Path(
        "experiment.toml"
    ),
    space: Annotated[str | None, typer.Option(help="Space of students, or model:NAME for one student.")] = None,
    data: Annotated[
        str | None, typer.Option(help="A dataset, or folder:, shards:, parquet:, pack: or arrays:PATH.")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="A model of the zoo, torchvision:NAME, subgraph:FILE or module:function.")
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option(min=0, max=4096, help="Height and width of images; 0 as files have them, which must be one size."),
    ] = None,
    checkpoint: Annotated[str | None, typer.Option(help="File with the teacher's weights.")] = None,
    method: Annotated[str, typer.Option(help="The distillation method; 'automl-kd show methods' lists them.")] = "kd",
    params: Annotated[int | None, typer.Option(help="Most parameters of a student; 0 for no limit.")] = None,
    macs: Annotated[int, typer.Option(help="Most multiply-adds of a student for one image; 0 for no limit.")] = 0,
    trials: Annotated[int | None, typer.Option(help="Trials of the search.")] = None,
    epochs: Annotated[int, typer.Option(help="Epochs of every training.")] = 30,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a commented experiment to start from.

    On a terminal, what no option gives is asked for. 'automl-kd show FILE' lists all fields with their meaning.

    [bold]automl-kd init mine.toml[/bold]
    [bold]automl-kd init mine.toml --data folder:photos --teacher torchvision:resnet50 --params 500000[/bold]
    """
    refuse_overwriting(file, force=force)
    given = {"space": space, "data": data, "teacher": teacher, "checkpoint": checkpoint, "params": params}
    answers = answer_questions({**given, "trials": trials})
    search_beside(file.parent, Path())
    from automl_kd.cli.starting import starting_experiment  # noqa: PLC0415 - torch is slow to import

    name = re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).lstrip("._-") or "experiment"
    named: dict[str, Any] = {"name": name, "folder": file.parent}
    options: dict[str, Any] = {"method": method, "macs": macs, "epochs": epochs, "resolution": resolution}
    write_start(file, starting_experiment(**named, **options, **answers))


def write_start(file: Path, experiment: Experiment) -> None:
    """Write what people change first, and what has not its default."""
    fields = {*WRITTEN_FIELDS, *(["finalists.baseline"] if experiment.finalists.baseline else [])}
    fields |= {"data.resolution"} if experiment.data.resolution else set()
    fields |= {"student.init"} if experiment.student.init != FRESH else set()
    sections = ["recipe"] if experiment.teacher.checkpoint else ["recipe", "teacher.recipe"]
    fields |= {f"{section}.{one}" for section in sections for one in ("epochs", *chosen_of(experiment.recipe))}
    command = shlex.quote(str(file))
    head = f"Run it with: automl-kd search {command}. All other fields: automl-kd show {command}"
    files.write(file, write_commented(experiment, fields.__contains__, head))
    typer.echo(f"written to {file}; run: automl-kd search {command}")


def chosen_of(recipe: Recipe) -> list[str]:
    """The fields that have not their default."""
    return [one.name for one in dataclasses.fields(recipe) if getattr(recipe, one.name) != one.default]


def refuse_overwriting(file: Path, *, force: bool) -> None:
    """Refuse a place where no file can go, before anything is asked."""
    if file.is_dir():
        raise ConfigError(f"{file} is a folder; name a file in it, such as {file / 'experiment.toml'}")
    if file.exists() and not force:
        raise ConfigError(f"{file} is there already; give another name, or --force to replace it")
    if not file.parent.is_dir():
        raise ConfigError(f"there is no folder {file.parent} for {file.name}; make it, or give another path")


def answer_questions(given: dict[str, Any]) -> dict[str, Any]:
    """What was given, the answers to questions about the rest, or without a terminal their defaults."""
    answers = dict(given)
    for name, (question, usual) in QUESTIONS.items():
        if answers[name] is None:
            default = usual_answer(name, usual, answers)
            answers[name] = ask_user(question, default) if on_terminal() else default
    return answers


def usual_answer(name: str, usual: Any, answers: dict[str, Any]) -> Any:
    """The answer to one question where none is given, after those to the questions before it."""
    if name == "params" and answers["space"] != DEFAULT_SPACE:  # what students of another space have is not known
        return 0
    if name == "space" and answers["data"].startswith("text:"):
        from automl_kd.compression.request import TEXT_SPACE  # noqa: PLC0415 - torch is slow to import

        return TEXT_SPACE
    return usual


def ask_user(question: str, usual: Any) -> Any:
    answer = typer.prompt(question, default=usual, type=type(usual))
    return answer.strip() if isinstance(answer, str) else answer


def on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()

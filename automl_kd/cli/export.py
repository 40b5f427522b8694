"""`automl-kd export`: a trained student as a folder to hand on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automl_kd import storage
from automl_kd.console.options import DataRoot
from automl_kd.console.screen import ProgressMode, ProgressOption, watching
from automl_kd.errors import ConfigError, ExportError
from automl_kd.registry import search_beside

if TYPE_CHECKING:
    from automl_kd.export import ExportOptions


@contextmanager
def leaving_on_sigterm() -> Iterator[None]:
    """Inside, SIGTERM ends this process as an exception does, so that nothing half-written is left."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def export_options(**given: Any) -> ExportOptions:
    from automl_kd.export import ExportOptions  # noqa: PLC0415 - torch is slow to import

    try:
        return ExportOptions(**given)
    except ValueError as error:
        raise ConfigError(f"{error}") from error


def export(
    trial: Annotated[
        str, typer.Argument(help="A folder trials/KEY of an experiment, or the experiment's, whose best one is taken.")
    ],
    out: Annotated[str, typer.Argument(help="A new folder.")],
    onnx: Annotated[bool, typer.Option("--onnx/--no-onnx", help="Write student.onnx, one file for any batch.")] = True,
    pt2: Annotated[bool, typer.Option("--pt2/--no-pt2", help="Write student.pt2, a program of torch.export.")] = True,
    int8: Annotated[
        bool, typer.Option("--int8/--no-int8", help="Write student.int8.onnx, quantised with training images.")
    ] = False,
    preprocessing: Annotated[
        bool,
        typer.Option(
            "--preprocessing/--no-preprocessing",
            help="Graphs take bytes (batch, height, width, channels) and return probabilities.",
        ),
    ] = False,
    max_int8_loss: Annotated[
        float, typer.Option(metavar="POINTS", min=0, help="Accuracy that student.int8.onnx may lose, in points.")
    ] = 2.0,
    trusted: Annotated[
        bool, typer.Option("--trusted", help="Also a student that a Python program gave as an object: runs its code.")
    ] = False,
    data: Annotated[
        str, typer.Option(metavar="PLACE", help="Where the data of the training lie now, as folder:PATH, if moved.")
    ] = "",
    data_root: DataRoot = "data",
    progress: ProgressOption = ProgressMode.AUTO,
) -> None:
    """Write a trained student to a folder: weights, graphs, labels, preprocessing, model card.

    Each graph is run on the validation images beside the network. If it does other than the student, nothing is
    written.

    [bold]automl-kd export results/mine mine-student[/bold]
    [bold]automl-kd export results/mine/trials/KEY mine-student --int8 --preprocessing[/bold]
    """
    if "://" in out:
        raise ExportError(f"{out} is no folder of this machine, where an export is made; give one, and copy it after")
    search_beside(Path())
    with watching(progress) as watcher:
        from automl_kd.api.result import find_trained_student  # noqa: PLC0415 - torch is slow to import

        options = export_options(
            onnx=onnx, pt2=pt2, int8=int8, preprocessing=preprocessing, max_int8_loss=max_int8_loss
        )
        found = find_trained_student(storage.local_path(trial).absolute(), storage.local_path(data_root).absolute())
        with leaving_on_sigterm():
            place = found.export_as(out, options, lambda what: watcher.stage(what, 1), trusted=trusted, data=data)
    typer.echo(f"{out} holds {', '.join(sorted(path.name for path in place.iterdir()))}; read {out}/README.md")

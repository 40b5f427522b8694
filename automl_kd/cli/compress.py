"""`automl-kd compress`: a teacher, images and hours in, a student in a folder to hand on out."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automl_kd import storage
from automl_kd.config import Budget
from automl_kd.config.beside import locate
from automl_kd.console.options import AcceptTeacher, Address, DataRoot, Out, Overrides, command_line, roots
from automl_kd.console.screen import ProgressMode, ProgressOption, output, watching
from automl_kd.registry import search_beside
from automl_kd.results import units
from automl_kd.results.quantity import QuantityUnit, parse_quantity

if TYPE_CHECKING:
    from automl_kd.api.compressing import Compressed, PlannedCompression
    from automl_kd.compression import CompressRequest
    from automl_kd.export import ExportOptions

INTERRUPTED = 130

TeacherName = Annotated[
    str, typer.Option(help="timm:, torchvision:, hf:, module:function, file:NET.onnx, or a model of the zoo.")
]
Images = Annotated[
    str, typer.Option(help="folder:, shards:, parquet:, pack:, arrays: or text:PATH, or a dataset's name.")
]
MaxParams = Annotated[str, typer.Option(metavar="COUNT", help="Most parameters of the student, such as 2M.")]
MaxMacs = Annotated[str, typer.Option(metavar="COUNT", help="Most multiply-adds for one image, such as 20M.")]
MaxLatency = Annotated[str, typer.Option(metavar="TIME", help="Longest forward pass of one input, such as 5ms.")]
DeviceFile = Annotated[
    str,
    typer.Option(metavar="FILE", help="Of 'automl-kd profile': the device that --max-latency is of; else this one."),
]
Hours = Annotated[float, typer.Option(metavar="HOURS", help="Wall-clock time for everything, over all sessions.")]
ImageResolution = Annotated[
    int,
    typer.Option(min=0, max=4096, help="Height and width of images; 0 takes their own, or what there is time for."),
]


def run_compress(
    teacher: TeacherName,
    data: Images,
    checkpoint: Annotated[str, typer.Option(help="File with the teacher's weights.")] = "",
    max_params: MaxParams = "",
    max_macs: MaxMacs = "",
    max_latency: MaxLatency = "",
    device_profile: DeviceFile = "",
    budget_hours: Hours = 2.0,
    resolution: ImageResolution = 0,
    space: Annotated[str, typer.Option(help="Space of students; by default one for the size of images.")] = "",
    epochs: Annotated[int, typer.Option(min=0, help="Epochs of each final training; 0 as many as fit.")] = 0,
    seeds: Annotated[int, typer.Option(min=0, max=20, help="Seeds of each final; 0 as many as fit, 2 to 5.")] = 0,
    int8: Annotated[bool, typer.Option("--int8/--no-int8", help="Also write student.int8.onnx.")] = False,
    max_int8_loss: Annotated[float, typer.Option(metavar="POINTS", min=0, help="Accuracy that int8 may lose.")] = 2.0,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether the plan is wanted.")] = False,
    plan_only: Annotated[bool, typer.Option("--plan", help="Print the plan, and end.")] = False,
    name: Annotated[str, typer.Option(help="Name of the results folder; by default made from the options.")] = "",
    overrides: Overrides = [],  # noqa: B006 - typer reads it, nothing changes it
    out: Out = "results",
    data_root: DataRoot = "data",
    address: Address = "",
    progress: ProgressOption = ProgressMode.AUTO,
    accept_teacher: AcceptTeacher = False,
) -> None:
    """Find a student for a teacher within limits and hours, prove what it is worth, and export it.

    Space, resolution, recipe, trials and lengths are chosen so that all of it fits into the hours; the plan is shown
    first. The same command continues what was interrupted.

    [bold]automl-kd compress --teacher timm:local-dir:teacher --data folder:photos --max-params 2M[/bold]
    [bold]automl-kd compress --teacher resnet56 --data digits --max-params 50k --budget-hours 0.2 --yes[/bold]
    """
    search_beside(Path())
    given = dict(locals())
    with watching(progress) as watcher:
        from automl_kd.api.compressing import plan_compression  # noqa: PLC0415 - torch is slow to import
        from automl_kd.export import ExportOptions  # noqa: PLC0415 - likewise

        place, options = roots(out, data_root), ExportOptions(int8=int8, max_int8_loss=max_int8_loss)
        planned = plan_compression(read_options(given), place, watcher, options, address=address)
    for line in planned.lines:
        typer.echo(line)
    if plan_only or not (yes or wanted()):
        typer.echo("nothing was trained; the same command without --plan carries it out")
        return
    finish(carry_out_plan(planned, options, given))


def read_options(given: Mapping[str, Any]) -> CompressRequest:
    """What the command's options ask for. `ConfigError` for a limit that is no quantity, or another number."""
    from automl_kd.api.compressing import make_request  # noqa: PLC0415 - torch is slow to import

    teacher, data, profile = given["teacher"], given["data"], given["device_profile"]
    options: dict[str, tuple[str, QuantityUnit]] = {
        "max_params": ("params", "params"),
        "max_macs": ("macs", "macs"),
        "max_latency": ("latency_ms", "ms"),
    }
    limits = {name: parse_quantity(given[one], unit) for one, (name, unit) in options.items() if given[one]}
    budget = Budget(
        params=int(limits.get("params", 0)),
        macs=int(limits.get("macs", 0)),
        latency_ms=limits.get("latency_ms", 0.0),
        profile=locate(profile, Path(), "--device-profile") if profile else "",
    )
    sized = {"resolution": given["resolution"]} if given["resolution"] else {}
    return make_request(
        name=given["name"] or name_compression(teacher, data),
        teacher={"model": teacher, **({"checkpoint": given["checkpoint"]} if given["checkpoint"] else {})},
        data={"name": data, **sized},
        budget=budget,
        hours=given["budget_hours"],
        overrides=tuple(given["overrides"]),
        **{name: given[name] for name in ("space", "epochs", "seeds")},
    )


def carry_out_plan(planned: PlannedCompression, options: ExportOptions, given: Mapping[str, Any]) -> Compressed:
    from automl_kd.api.compressing import carry_out_compression  # noqa: PLC0415 - torch is slow to import

    try:
        with watching(given["progress"]) as planned.keeper.watcher:
            return carry_out_compression(
                planned,
                options,
                command=command_line(),
                address=given["address"],
                accept_teacher=given["accept_teacher"],
            )
    except KeyboardInterrupt:
        typer.echo("automl-kd: interrupted; finished trials are recorded, and the same command continues", err=True)
        raise typer.Exit(INTERRUPTED) from None


def name_compression(teacher: str, data: str) -> str:
    """Of a results folder; a part that is a path gives its last piece without suffix."""
    pieces = ["compress", *(Path(part.rstrip("/").rpartition(":")[2]).stem for part in (teacher, data))]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(pieces)).strip("-")[:100]


def wanted() -> bool:
    """Ask on a terminal; elsewhere nobody is there to answer, and the command was given to be carried out."""
    return not (sys.stdin.isatty() and sys.stdout.isatty()) or typer.confirm("Carry this out?", default=True)


def finish(found: Compressed) -> None:
    """Print the report and where things are; exit code 1 if there is no verdict."""
    from automl_kd.console.report import report  # noqa: PLC0415 - pandas is slow to import

    complete = report(output(), [found.folder], found.folder, command_line())
    spent = ", ".join(f"{name} {units.duration(seconds)}" for name, seconds in found.spent.items())
    whole = units.duration(sum(found.spent.values()))
    typer.echo(f"time spent: {spent}; {whole} in all, forecast {units.duration(found.forecast)}")
    typer.echo(f"{found.advice.headline} {found.advice.reason}")
    student, page = (
        storage.name_addresses(str(place)) for place in (found.student_folder, found.folder / "decision.html")
    )
    typer.echo(f"the student to hand on is in {student}; read its README.md, and the page {page}")
    if not complete:
        raise typer.Exit(1)

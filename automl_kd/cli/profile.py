"""`automl-kd profile`: what students of a space take on the device that they are for."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from automl_kd import files
from automl_kd.cli import catalogue
from automl_kd.config import Experiment, load_experiment
from automl_kd.console.options import DataRoot
from automl_kd.console.screen import ProgressMode, ProgressOption, watching
from automl_kd.errors import ConfigError
from automl_kd.registry import search_beside

if TYPE_CHECKING:
    from automl_kd.experiment.progress.events import Watcher
    from automl_kd.profiling import DeviceProfile
    from automl_kd.space import InputShape

TARGETS = ("onnxruntime",)
BUSY = 0.5
"""A load of so many processes for each core, when measuring begins, makes times doubtful."""


ProfileFile = Annotated[str, typer.Argument(help="The profile to write, such as pixel.json; none with --prepare.")]
Space = Annotated[str, typer.Option(help="A search space as module:ATTRIBUTE, or model:NAME.")]
ProfiledExperiment = Annotated[
    str, typer.Option(metavar="FILE", help="An experiment whose space and data are taken, in place of --space.")
]
Resolution = Annotated[int, typer.Option(help="Height and width of students' images.", min=0, max=4096)]
TextLength = Annotated[
    int, typer.Option(help="For students of texts, in place of --resolution: the tokens of a text.", min=0, max=65_536)
]
ClassCount = Annotated[int, typer.Option(help="Classes of the data.", min=0)]
ImageChannels = Annotated[int, typer.Option(help="1 for grey images, 3 for coloured ones.", min=1, max=4)]
RuntimeTarget = Annotated[str, typer.Option(help="The runtime: " + ", ".join(TARGETS) + ".")]
Threads = Annotated[int, typer.Option(help="Threads of the runtime.", min=1)]
PassBatch = Annotated[int, typer.Option(help="Images or texts in a pass.", min=1)]
Networks = Annotated[int, typer.Option(help="Networks to measure: the default one and random ones.", min=1)]
LayerCount = Annotated[int, typer.Option(help="Layers of theirs to measure alone, about so many at most.", min=1)]
Rounds = Annotated[int, typer.Option(help="How often all is measured; the quickest counts.", min=1)]
DrawSeed = Annotated[int, typer.Option(help="Seed of the random networks.", min=0, max=999_999)]
Prepare = Annotated[str, typer.Option(metavar="FOLDER", help="Write what is measured, for another device.")]
Measured = Annotated[str, typer.Option(metavar="FILE", help="The measured.json that measure.py wrote there.")]


def profile(
    out: ProfileFile = "",
    space: Space = "",
    experiment: ProfiledExperiment = "",
    resolution: Resolution = 0,
    length: TextLength = 0,
    classes: ClassCount = 0,
    channels: ImageChannels = 3,
    target: RuntimeTarget = TARGETS[0],
    threads: Threads = 1,
    batch: PassBatch = 1,
    networks: Networks = 40,
    operators: LayerCount = 400,
    rounds: Rounds = 2,
    seed: DrawSeed = 0,
    prepare: Prepare = "",
    measured: Measured = "",
    data_root: DataRoot = "data",
    progress: ProgressOption = ProgressMode.AUTO,
) -> None:
    """Measure layers and networks of a space on a device, and fit what predicts the latency of its students.

    Here, with onnxruntime on the processor, alone; or there: --prepare writes a folder to carry to the device, whose
    measure.py needs onnxruntime and numpy, and --measured takes what it wrote. The same command continues after a stop.
    Texts are measured at one length, that of --length or the mean of the experiment's. budget.profile names the file.

    [bold]automl-kd profile here.json --space search_spaces.mobile:SPACE --resolution 96 --classes 10[/bold]
    [bold]automl-kd profile here.json --space search_spaces.bert:SPACE --length 16 --classes 6[/bold]
    [bold]automl-kd profile --prepare graphs --experiment mine.toml[/bold]
    [bold]automl-kd profile pixel.json --measured graphs/measured.json[/bold]
    """
    require_choices(out, prepare, measured, target)
    search_beside(Path())
    with watching(progress) as watcher:
        if measured:
            write_measured(files.expand(measured), out)
            return
        from automl_kd import profiling  # noqa: PLC0415 - torch is slow to import

        sizes = StatedSizes(channels, resolution, length, classes)
        name, shape = described_students(space, experiment, sizes, data_root, watcher)
        numbers = {"networks": networks, "operators": operators, "rounds": rounds, "seed": seed, "threads": threads}
        plan = profiling.ProfilePlan(space=name, shape=shape, batch=batch, **numbers)
        from automl_kd.experiment.stages import device_profile  # noqa: PLC0415 - likewise

        if prepare:
            device_profile.write_profile_graphs(files.expand(prepare), plan, watcher)
            typer.echo(explain_next(prepare))
        else:
            report_profile(device_profile.profile_this_machine(files.expand(out), plan, watcher), out)


def write_measured(path: Path, out: str) -> None:
    from automl_kd import profiling  # noqa: PLC0415 - torch is slow to import

    found = profiling.fit_profile(path)
    found.write(files.expand(out))
    report_profile(found, out)


def explain_next(folder: str) -> str:
    return (
        f"{folder} is ready; carry it to the device, run 'python {folder}/measure.py' there, carry measured.json back "
        f"into it, and run 'automl-kd profile OUT.json --measured {folder}/measured.json'"
    )


def require_choices(out: str, prepare: str, measured: str, target: str) -> None:
    """Raise `ConfigError` for options that contradict each other."""
    if target not in TARGETS:
        raise ConfigError(f"--target {target!r} is no runtime that can be measured; take {', '.join(TARGETS)}")
    if prepare and measured:
        raise ConfigError("--prepare writes what --measured reads later; give one of them")
    if bool(out) == bool(prepare):
        raise ConfigError(
            f"--prepare {prepare} measures nothing, so there is no {out} yet; leave one out"
            if prepare
            else "no file for the profile was named; give one, such as automl-kd profile here.json"
        )
    if any("://" in one for one in (out, prepare, measured)):
        raise ConfigError("a profile is written to this machine; give a path, and copy the file afterwards")


class StatedSizes(NamedTuple):
    """What options say of students' inputs: `resolution` of images or `length` of texts, 0 where nothing is said."""

    channels: int
    resolution: int
    length: int
    classes: int

    @property
    def shape(self) -> InputShape:
        from automl_kd.space import InputShape, TextShape  # noqa: PLC0415 - numpy is slow to import

        if self.length:
            return TextShape(width=self.length, classes=self.classes, longest=max(TextShape.longest, self.length))
        return InputShape(self.channels, self.resolution, self.resolution, self.classes)


def described_students(
    space: str, experiment: str, sizes: StatedSizes, data_root: str, watcher: Watcher
) -> tuple[str, InputShape]:
    """The space and the shape of its students' inputs: those of the options, or of an experiment."""
    if experiment:
        if space or sizes.resolution or sizes.length or sizes.classes:
            raise ConfigError(
                "--experiment says space, resolution or length, and classes itself; leave those options out"
            )
        return students_of_experiment(Path(experiment), data_root, watcher)
    if not (space and sizes.classes and (sizes.resolution or sizes.length)):
        raise ConfigError(
            "a profile is of the students of a space for inputs of a size; give --space, --classes and --resolution, "
            "or --length for texts, or --experiment FILE"
        )
    if sizes.resolution and sizes.length:
        raise ConfigError("--resolution is of images and --length of texts; give one of them")
    catalogue.require_space(space)
    return space, sizes.shape


def students_of_experiment(path: Path, data_root: str, watcher: Watcher) -> tuple[str, InputShape]:
    from automl_kd import data, storage  # noqa: PLC0415 - torch is slow to import
    from automl_kd.experiment.preparation import settle_first_loading  # noqa: PLC0415 - likewise
    from automl_kd.experiment.progress.loading_stages import LoadingStages  # noqa: PLC0415 - likewise
    from automl_kd.experiment.teacher_settings import settle_tokenizer  # noqa: PLC0415 - likewise

    search_beside(path.parent, Path())
    found = load_experiment(path)
    if not isinstance(found, Experiment):
        raise ConfigError(f"{path} searches no students that could be measured; give an experiment with a space")
    root = storage.local_path(data_root).absolute()
    spec, shown = settle_tokenizer(data.resolve_path(found.data), found.teacher), LoadingStages(watcher)
    spec = settle_first_loading(dataclasses.replace(found, data=spec), root, shown)
    dataset = data.load_data(spec, root, found.loader, shown)
    return found.space, dataset.student_shape


def report_profile(found: DeviceProfile, out: str) -> None:
    """Print what a written profile is and how good its predictions are."""
    measured = f"{len(found.networks)} networks, {len(found.operators)} layers for {found.plan.shape.many_inputs}"
    typer.echo(f"{found.label}: {measured}; predictions are {found.describe_error()}")
    if found.load > BUSY * (os.cpu_count() or 1):
        typer.echo(f"other programs ran as measuring began (load {found.load:g}): times may be too long; repeat alone")
    typer.echo(f'written to {out}; set [budget] profile = "{out}" and latency_ms')

"""Experiments from Python: each function makes the experiment that a TOML file would describe, and runs it."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from automl_kd import config, storage
from automl_kd import experiment as stages
from automl_kd.api.images import name_data
from automl_kd.api.objects import name_builder, name_network, name_space, name_student, removed_on_error
from automl_kd.api.progress import Progress, watcher_of
from automl_kd.api.records import Teacher
from automl_kd.api.result import Result
from automl_kd.api.settings import overrides_of
from automl_kd.config import Experiment, complete_record, make_name, parse_record
from automl_kd.config.strict import as_plain
from automl_kd.errors import ConfigError
from automl_kd.methods import METHODS, Method
from automl_kd.registry import search_beside
from automl_kd.spec import default_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from automl_kd.config import Budget
    from automl_kd.space import InputShape, SearchSpace
    from automl_kd.spec import DataSpec, Recipe

    Data = str | DataSpec | Mapping[str, Any] | Any
    TeacherLike = Teacher | nn.Module | str
    StudentLike = str | Callable[[InputShape], nn.Module]


def search(
    space: str | SearchSpace,
    teacher: TeacherLike = "resnet56",
    data: Data = "digits",
    *,
    out: Path | str,
    budget: Budget | None = None,
    trials: int = 12,
    method: str | Method = "kd",
    recipe: Recipe | None = None,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    data_root: Path | str = "data",
    address: str = "",
    progress: Progress = "lines",
    accept_teacher: bool = False,
) -> Result:
    """Search a student for a teacher, and compare it with baselines at equal compute.

    The same call continues a search that was interrupted.

    `space`: a `SearchSpace`, or a reference such as "search_spaces.resnet:SPACE".
    `teacher`: a `Teacher`, an `nn.Module` with its weights, or the name of a model that is trained first.
    `data`: a name ("digits", "folder:PATH", "shards:PATH", ...), arrays x_train, y_train, x_test, y_test (uint8 images,
    (n, height, width) or (n, height, width, channels), integer labels), or a `Dataset` of (image, label), of which
    torchvision's `ImageFolder` without transforms gives its files as they are.
    `out`: the folder of this experiment, such as "results/mine"; trained teachers lie beside it.
    `budget`: what the student may cost. `trials`: of the search, 1 or more. `method`: a name, or one of
    `automl_kd.methods`. `recipe`: of the students, and of a teacher without weights.
    `settings`: any other field of an experiment's file by its dotted key, such as {"search.sampler": "tpe",
    "finalists.seeds": [0, 1, 2]}.
    `address`: a Ray cluster to join. `progress`: "lines", "none" or an object that receives events. `accept_teacher`:
    go on with a teacher that does better under another preprocessing.

    An `AutoMLKDError` says in one sentence what cannot be carried out, before anything is trained.
    """
    folder = folder_of(out)
    search_section = {"search": {"trials": trials}}
    with removed_on_error(folder):
        record = {
            "space": name_space(space, folder),
            **common_fields(folder, teacher, data, recipe, seed),
            **search_section,
            **method_fields(method),
            **({} if budget is None else {"budget": as_plain(budget)}),
        }
        return run_record("search", record, folder, settings, data_root, address, progress, accept_teacher)


def distill(
    student: StudentLike,
    teacher: TeacherLike = "resnet56",
    data: Data = "digits",
    *,
    method: str | Method = "kd",
    epochs: int = 30,
    seeds: int = 3,
    recipe: Recipe | None = None,
    out: Path | str = "",
    settings: Mapping[str, Any] | None = None,
    data_root: Path | str = "data",
    address: str = "",
    progress: Progress = "lines",
    accept_teacher: bool = False,
) -> Result:
    """Train one student by one method, and compare with plain KD and training from scratch at equal compute.

    `student`: a model's name, or a function of an `InputShape` that builds it with fresh weights.
    `epochs`: of the student's training, and of a teacher without weights; 1 or more. `seeds`: how many trainings, 1 or
    more. `out`: the folder of results; empty makes a name from the others, below "results".
    All others: as of `search`. An `AutoMLKDError` says in one sentence what cannot be carried out.
    """
    named = method if isinstance(method, str) else method_name(method)
    folder = folder_of(out or Path("results") / default_folder(named, student, teacher, data))
    with removed_on_error(folder):
        record = {
            "space": name_student(student, folder),
            **common_fields(folder, teacher, data, recipe, 0, epochs),
            **method_fields(method),
            "finalists": {"seeds": list(range(seeds))},
        }
        return run_record("distill", record, folder, settings, data_root, address, progress, accept_teacher)


def compare_methods(
    student: StudentLike,
    teacher: TeacherLike = "resnet56",
    data: Data = "digits",
    *,
    methods: Sequence[str | Method] | Mapping[str, str | Method],
    reference: str = "",
    epochs: int = 30,
    seeds: int = 3,
    recipe: Recipe | None = None,
    out: Path | str,
    settings: Mapping[str, Any] | None = None,
    data_root: Path | str = "data",
    address: str = "",
    progress: Progress = "lines",
    accept_teacher: bool = False,
) -> Result:
    """Train one student by several methods at equal compute, and test which helped.

    `methods`: names or objects of `automl_kd.methods`, by a name of each ({"warm": methods.KD(temperature=8.0)}) or in
    a list. `reference`: the name of the one that others are compared with; empty takes "kd", else the first.
    `epochs`: of the reference; the others train for as many as cost the same.
    All others: as of `distill`. An `AutoMLKDError` says in one sentence what cannot be carried out.
    """
    folder = folder_of(out)
    entries = method_entries(methods)
    names = [one["name"] for one in entries]
    against = reference or ("kd" if "kd" in names or not names else names[0])
    with removed_on_error(folder):
        record = {
            "space": name_student(student, folder),
            **common_fields(folder, teacher, data, recipe, 0, epochs),
            "comparison": {"reference": against, "methods": entries},
            "finalists": {"seeds": list(range(seeds))},
        }
        return run_record("compare", record, folder, settings, data_root, address, progress, accept_teacher)


@dataclass(frozen=True)
class LoadedExperiment:
    """An experiment read from a file, which `run` carries out."""

    experiment: Experiment

    def run(
        self,
        results: Path | str = "results",
        *,
        data_root: Path | str = "data",
        address: str = "",
        progress: Progress = "lines",
        accept_teacher: bool = False,
    ) -> Result:
        """Run or continue it as `automl-kd search FILE --out RESULTS` does; its folder lies in `results`."""
        folder = folder_of(storage.local_path(results) / self.experiment.name)
        return run_experiment_in(self.experiment, folder, data_root, address, progress, accept_teacher)


def open_experiment(path: Path | str, settings: Mapping[str, Any] | None = None) -> LoadedExperiment:
    """The experiment in a TOML file, with `settings` in place of what it says: {"search.trials": 20}.

    `ConfigError` for a file that describes no experiment: one sentence that names the key.
    """
    search_beside(Path(path).parent, Path(), *program_folder())
    return LoadedExperiment(config.load_experiment(Path(path), overrides_of(settings)))


def common_fields(
    folder: Path, teacher: TeacherLike, data: Data, recipe: Recipe | None, seed: int, epochs: int | None = None
) -> dict[str, Any]:
    """The sections that every experiment has. `epochs`: of students, and of a teacher that is trained."""
    described = teacher if isinstance(teacher, Teacher) else Teacher(teacher)
    trained = {} if recipe is None else non_default(recipe)
    trained |= {} if epochs is None else {"epochs": epochs}
    section = {"recipe": dict(trained), **teacher_section(described, folder)}
    images = name_data(data, folder)
    return {"name": make_name(folder.name), "seed": seed, "data": images, "teacher": section, "recipe": trained}


def teacher_section(teacher: Teacher, folder: Path) -> dict[str, Any]:
    """The fields of a teacher, its objects written to `folder`."""
    section = dict(teacher.fields)
    if isinstance(teacher.model, nn.Module):
        section["model"], section["checkpoint"] = name_network(teacher.model, folder)
    elif not isinstance(teacher.model, str):
        section["model"] = name_builder(teacher.model, folder)
    if teacher.others:
        section["others"] = [teacher_section(one, folder) for one in teacher.others]
    return section


def method_fields(method: str | Method) -> dict[str, Any]:
    if isinstance(method, str):
        return {"method": method}
    return {"method": method_name(method), "options": non_default(method)}


def method_name(method: Method) -> str:
    """As in an experiment's file: the table's, or module:attribute."""
    kind = type(method)
    for name, known in METHODS.items():
        if known is kind:
            return name
    if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
        raise ConfigError(
            f"method {kind.__qualname__} is of this program alone, and workers import it; put it into a module "
            "beside it"
        )
    return f"{kind.__module__}:{kind.__qualname__}"


def method_entries(methods: Sequence[str | Method] | Mapping[str, str | Method]) -> list[dict[str, Any]]:
    """The methods of a comparison, each with a name of its own."""
    if isinstance(methods, Mapping):
        return [{"name": name, **method_fields(one)} for name, one in methods.items()]
    fields_of_each = [method_fields(one) for one in methods]
    return [{"name": re.sub(r"[^a-z0-9-]+", "-", one["method"].lower()).strip("-"), **one} for one in fields_of_each]


def non_default(record: Any) -> dict[str, Any]:
    """The fields that differ from their defaults, as whoever writes a file gives them."""
    return {
        item.name: getattr(record, item.name)
        for item in fields(record)
        if getattr(record, item.name) != default_of(item)
    }


def default_folder(method: str, *given: object) -> str:
    """A name for a folder of results; a path gives its last piece without suffix."""
    texts = [one if isinstance(one, str) else getattr(one, "__name__", type(one).__name__) for one in given]
    pieces = ["distill", method, *(Path(text).stem if "/" in text else text for text in texts)]
    return make_name("-".join(pieces))


def folder_of(out: Path | str) -> Path:
    return storage.local_path(out).absolute()


def roots_of(folder: Path, data_root: Path | str) -> stages.Roots:
    """Of an experiment whose own folder is named."""
    data = storage.local_path(data_root).absolute()
    return stages.Roots(results=folder.parent, data=data, own=folder.name)


def program_folder() -> list[Path]:
    """Where the program lies whose modules workers may have to import; nothing for a notebook or a console."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    return [Path(file).parent] if file else []


def run_record(
    caller: str,
    record: dict[str, Any],
    folder: Path,
    settings: Mapping[str, Any] | None,
    data_root: Path | str,
    address: str,
    progress: Progress,
    accept_teacher: bool,
) -> Result:
    search_beside(Path(), *program_folder())
    watcher = watcher_of(progress)
    made = complete_record(record, overrides_of(settings), caller, watcher.note)
    described = parse_record(Experiment, made, caller)
    return run_experiment_in(described, folder, data_root, address, watcher, accept_teacher)


def run_experiment_in(
    experiment: Experiment, folder: Path, data_root: Path | str, address: str, progress: Progress, accept_teacher: bool
) -> Result:
    roots = roots_of(folder, data_root)
    context = stages.run_stages(experiment, roots, watcher_of(progress), address=address, accept_teacher=accept_teacher)
    return Result(context.folder, roots.data)

"""What can be named in an experiment: the members of every table, each in a line."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table

Lines = Iterable[tuple[str, str]]


def first_line(thing: object) -> str:
    text = (thing.__doc__ or "").strip()
    return " ".join(text.split("\n\n")[0].split())


def spaces() -> Lines:
    """The spaces that ship beside the library; your own are named the same way, module:ATTRIBUTE."""
    package = importlib.import_module("search_spaces")
    for module in pkgutil.iter_modules(package.__path__):
        space = importlib.import_module(f"search_spaces.{module.name}").SPACE
        yield f"search_spaces.{module.name}:SPACE", space.source


def methods() -> Lines:
    from automl_kd.methods import METHODS  # noqa: PLC0415

    return [(name, first_line(method)) for name, method in METHODS.items()]


def distillers() -> Lines:
    from automl_kd.distillers import DISTILLERS  # noqa: PLC0415

    return [(name, first_line(distiller)) for name, distiller in DISTILLERS.items()]


def proxies() -> Lines:
    from automl_kd.proxies import AGGREGATES, PROXIES  # noqa: PLC0415

    single = [(name, entry.source) for name, entry in PROXIES.items()]
    return single + [(name, f"rank sum of {' and '.join(members)}") for name, members in AGGREGATES.items()]


def proposers() -> Lines:
    from automl_kd.search import PROPOSERS  # noqa: PLC0415

    return [(name, first_line(proposer)) for name, proposer in PROPOSERS.items()]


def models() -> Lines:
    from automl_kd.models import MODELS, cost  # noqa: PLC0415
    from automl_kd.results.units import count  # noqa: PLC0415
    from automl_kd.space import TaskShape  # noqa: PLC0415

    shape = TaskShape(channels=3, height=32, width=32, classes=10)
    for name, build in MODELS.items():
        spent = cost.count(build(shape), shape)
        yield name, f"{count(spent.params)} parameters, {count(spent.macs)} multiply-adds at 3x32x32, 10 classes"
    yield "torchvision:NAME", "any classification model of torchvision"
    yield "module:function", "a function of your own from a TaskShape to a network"


def datasets() -> Lines:
    from automl_kd.data import DATASETS  # noqa: PLC0415

    yield from [(name, first_line(dataset)) for name, dataset in DATASETS.items()]
    yield "folder:PATH", "a folder of images, one subfolder for each class"
    yield "arrays:PATH.npz", "x_train, y_train, x_test, y_test in one file, images uint8"


TABLES: Mapping[str, Callable[[], Lines]] = {
    "spaces": spaces,
    "methods": methods,
    "distillers": distillers,
    "proxies": proxies,
    "proposers": proposers,
    "models": models,
    "datasets": datasets,
}


def print_tables(console: Console, names: Sequence[str]) -> None:
    for name in names:
        table = Table(title=name, title_justify="left", title_style="bold", box=None, show_header=False, pad_edge=False)
        for member, line in TABLES[name]():
            table.add_row(member, line, style=None)
        console.print(table, highlight=False, markup=False)

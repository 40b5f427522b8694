"""The names that an experiment may use: the members of every table, one per line."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from automl_kd.errors import UnknownNameError
from automl_kd.registry import load_reference, suggestion
from automl_kd.spec.named_recipes import NAMED_RECIPES

CatalogueLines = Iterable[tuple[str, str]]


def first_line_of_docstring(thing: object) -> str:
    text = (thing.__doc__ or "").strip()
    return " ".join(text.split("\n\n")[0].split())


def spaces() -> CatalogueLines:
    """The search spaces that ship with the library; other spaces are named the same way, module:ATTRIBUTE."""
    for reference in space_names():
        yield reference, load_reference(reference).source


def space_names() -> list[str]:
    package = importlib.import_module("search_spaces")
    return [f"search_spaces.{module.name}:SPACE" for module in pkgutil.iter_modules(package.__path__)]


def require_space(reference: str) -> None:
    """Raise `UnknownNameError`, with a suggestion, for a reference that cannot be a space."""
    form, colon, rest = reference.partition(":")
    known = {name.partition(":")[0] for name in space_names()}
    importable = all(piece.isidentifier() for piece in form.split("."))
    if not (colon and rest and importable) or (form.startswith("search_spaces.") and form not in known):
        raise UnknownNameError(f"no space is called {reference!r}; {suggestion(reference, space_names())}")


def methods() -> CatalogueLines:
    from automl_kd.methods import METHODS  # noqa: PLC0415

    return [(name, first_line_of_docstring(method)) for name, method in METHODS.items()]


def distillation_losses() -> CatalogueLines:
    from automl_kd.losses import DISTILLATION_LOSSES  # noqa: PLC0415

    return [(name, first_line_of_docstring(loss)) for name, loss in DISTILLATION_LOSSES.items()]


def proxies() -> CatalogueLines:
    from automl_kd.proxies import AGGREGATES, PROXIES  # noqa: PLC0415

    single = [(name, entry.source) for name, entry in PROXIES.items()]
    return single + [(name, str(aggregate)) for name, aggregate in AGGREGATES.items()]


def samplers() -> CatalogueLines:
    from automl_kd.samplers import SAMPLERS  # noqa: PLC0415

    return [(name, first_line_of_docstring(sampler)) for name, sampler in SAMPLERS.items()]


def models() -> CatalogueLines:
    import torch  # noqa: PLC0415

    from automl_kd.models import MODELS  # noqa: PLC0415
    from automl_kd.models.costs import cost  # noqa: PLC0415
    from automl_kd.results.units import format_count  # noqa: PLC0415
    from automl_kd.space import InputShape  # noqa: PLC0415

    shape = InputShape(channels=3, height=32, width=32, classes=10)
    for name, build in MODELS.items():
        with torch.device("meta"):  # shapes without values: fast for large networks and on busy cores
            network = build(shape)
        spent = cost.count_cost(network, shape)
        yield name, f"{format_count(spent.params)} parameters, {format_count(spent.macs)} multiply-adds on CIFAR-10"
    yield "torchvision:NAME", "any classification model of torchvision"
    yield "timm:NAME, timm:local-dir:PATH", "a network of timm (pip install timm); a teacher by its published weights"
    yield "hf:PATH", "a folder of Hugging Face's save_pretrained (pip install transformers)"
    yield "file:PATH", "a teacher in a .pt2 file of torch.export, or in an .onnx file (pip install 'automl-kd[onnx]')"
    yield "subgraph:FILE", "a student found by method subgraph, from its subgraph.json, with new weights"
    yield "module:function", "your own function from an InputShape to a network"


def datasets() -> CatalogueLines:
    from automl_kd.data import DATASETS  # noqa: PLC0415

    yield from [
        (name, first_line_of_docstring(importlib.import_module(read.__module__))) for name, read in DATASETS.items()
    ]
    yield "folder:PATH", "a folder of images, one subfolder for each class"
    yield "shards:PATH", "a folder of .tar files in the layout of WebDataset, or a pattern NAME-{000..012}.tar"
    yield "parquet:PATH", "Parquet files in the layout of Hugging Face"
    yield "pack:PATH", "a folder made by automl-kd pack: all encoded images in one file"
    yield "arrays:PATH.npz", "x_train, y_train, x_test, y_test in one file, images uint8"
    yield "text:PATH", "a .csv, .tsv, .jsonl, .json or .parquet table with the columns text and label"


def recipes() -> CatalogueLines:
    """Named recipes; [recipe] name = "..." takes their fields, below those that are written beside it."""
    return [(name, recipe.line) for name, recipe in NAMED_RECIPES.items()]


CATALOGUES: Mapping[str, Callable[[], CatalogueLines]] = {
    "spaces": spaces,
    "methods": methods,
    "losses": distillation_losses,
    "proxies": proxies,
    "samplers": samplers,
    "models": models,
    "datasets": datasets,
    "recipes": recipes,
}


def print_tables(console: Console, names: Sequence[str]) -> None:
    for name in names:
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column()
        for member, line in CATALOGUES[name]():
            table.add_row(f"  {member}", line)
        console.print(name, style="bold", highlight=False, markup=False)
        console.print(table, highlight=False, markup=False)

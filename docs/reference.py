"""The API reference as pages of HTML: `python docs/reference.py FOLDER`."""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from pathlib import Path
from textwrap import indent

import pdoc
from jinja2 import pass_context
from jinja2.runtime import Context
from pdoc.render_helpers import to_html, to_markdown_with_context

TEMPLATES = Path(__file__).parent / "templates"

PUBLIC = (
    "automl_kd",
    "automl_kd.config",
    "automl_kd.data",
    "automl_kd.errors",
    "automl_kd.methods.base",
    "automl_kd.models.costs.cost",
    "automl_kd.models.features",
    "automl_kd.samplers.base",
    "automl_kd.space",
    "automl_kd.spec",
    "automl_kd.teacher_cache.cached_teacher",
    "automl_kd.training.trial",
)
"""What is public: of a module with `__all__` the names in it, of another all that it defines, its submodules too."""


def resolve_names(module_name: str) -> None:
    """Import what a module imports when it is first used: pdoc finds only what is there already."""
    module = importlib.import_module(module_name)
    for name in getattr(module, "__all__", ()):
        vars(module)[name] = getattr(module, name)


def markdown_of(docstring: str) -> str:
    """A docstring without what Markdown would take for more than it is: lines that begin with a number, drawn trees."""
    docstring = re.sub(r"(?<=\S\n)(\d+)\. ", r"\1\\. ", docstring)
    return re.sub(
        r"(?:^\S+\n)(?:^[ │]*[├└].*\n?)+", lambda tree: indent(tree[0], "    "), docstring, flags=re.MULTILINE
    )


@pass_context
def to_markdown(context: Context, docstring: str) -> str:
    return str(to_markdown_with_context(context, markdown_of(docstring)))


def build_pages(folder: Path) -> None:
    """Write `index.html` and a page for each module into `folder`. The pages need no network."""
    for name in PUBLIC:
        resolve_names(name)
    pdoc.render.configure(docformat="markdown", footer_text="automl_kd", template_directory=TEMPLATES)
    pdoc.render.env.filters["to_markdown"] = to_markdown
    pdoc.render.env.filters["first_paragraph"] = lambda text: to_html(markdown_of(text).split("\n\n")[0])
    # pdoc reads annotations where a name is public, not where it is defined, and shows as text what it cannot read.
    warnings.filterwarnings("ignore", "Error parsing type annotation")
    pdoc.pdoc(*PUBLIC, output_directory=folder)


if __name__ == "__main__":
    build_pages(Path(sys.argv[1]))

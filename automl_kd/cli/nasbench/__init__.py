"""`automl-kd nasbench`: the table of NAS-Bench-201, searches on it, and proxies compared with its accuracies."""

from __future__ import annotations

import typer

from automl_kd.cli.nasbench.import_table import import_table
from automl_kd.cli.nasbench.options import read_experiment, refuse_kind, say_aloud
from automl_kd.cli.nasbench.proxy_benchmark import benchmark_proxies
from automl_kd.cli.nasbench.proxy_search import search_formulas
from automl_kd.cli.nasbench.table_search import search_table
from automl_kd.errors import ConfigError
from automl_kd.nasbench.config import KINDS

__all__ = ["KINDS", "mount", "read_experiment", "refuse_kind", "say_aloud"]

MOVED_COMMANDS = {"panel": "nasbench proxy-benchmark", "import-nasbench201": "nasbench import"}
"""Commands of earlier versions, and their names now."""

nasbench = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Search the measured architectures of NAS-Bench-201, and compare proxies with their accuracies.",
)
nasbench.command("import")(import_table)
nasbench.command("search")(search_table)
nasbench.command("proxy-search")(search_formulas)
nasbench.command("proxy-benchmark")(benchmark_proxies)


def mount(app: typer.Typer) -> None:
    """Add the commands to `app`, and an error for each of their old names."""
    app.add_typer(nasbench, name="nasbench")
    anything = {"allow_extra_args": True, "ignore_unknown_options": True}
    for name in MOVED_COMMANDS:
        app.command(name, hidden=True, add_help_option=False, context_settings=anything)(refuse_moved_command)


def refuse_moved_command(context: typer.Context) -> None:
    name = str(context.info_name)
    raise ConfigError(f"'automl-kd {name}' is now 'automl-kd {MOVED_COMMANDS[name]}'; run that")
